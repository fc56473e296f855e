//===- IntegerLinear.cpp - Encoded activations times encoded weights --------------------------------------------------------===//
//
// One row of activations (decoding a sentence): the weights pass through once, so they are multiplied as they lie, several
// adjacent tiles of rows in turn, a block of each: one stream of reads does not use the bandwidth of the memory.
//
// Several rows: a panel of tiles is decoded to bytes in the cache and multiplied by a block of rows, some of them at a time in
// registers. Where the target multiplies two rows by two, words of the panel are interleaved in pairs for it.
//
// Rows and tiles are shared among threads; a sum is always made by one of them in one order.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "IntegerLinear.h"
#include "Gemm.h"
#include "IntegerTiles.h"
#include "quanta/Codegen/IntegerDot.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Columns of a group whose sums surely fit 32 bits: 255 · 127 · 32768 < 2³⁰, doubled and by 3 below 2³².
constexpr int64_t kMostGroupColumns = 16384;
/// Rows that share a decoded panel.
constexpr int64_t kRowsOfPanel = 128;

class IntegerLinear {
public:
  IntegerLinear(KernelBuilder &b, const KernelArgs &args)
      : b(b), weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("shape"),
                     args.weights),
        codes(args.inputs[0]), y(args.outputs[0]), rows(b.dim(codes, 0)) {
    ValueRange inputs = args.inputs.drop_front();
    if (auto affine = dyn_cast<AffineAttr>(args.config.get("activation"))) {
      parts = getIntegerParts(affine, weight.uniform(), args.getInts("shape"));
      if (affine.getSegmentCount() == 1)
        constantScale = affine.getScales()[0];
      else
        partTable = inputs[0], factors = inputs[1];
      inputs = inputs.drop_front(partTable ? 2 : 0);
    } else {
      scales = inputs[0];
      if (cast<UniformAttr>(args.config.get("activation")).getZero() == ZeroKind::Offset)
        offsets = inputs[1], weightSums = inputs[2];
      inputs = inputs.drop_front(offsets ? 3 : 1);
    }
    bias = inputs.empty() ? Value() : inputs[0];
  }

  void emit() {
    emitColumnSums();
    APInt constant;
    Value one = b.index(1);
    if (matchPattern(rows, m_ConstantInt(&constant)))
      constant == 1 ? emitRow() : emitPanels();
    else
      b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rows, one), [&] { emitRow(); }, [&] { emitPanels(); });
    memref::DeallocOp::create(b, columnSums);
  }

private:
  /// Columns that share the scales of weights and activations: a group of the weight, or what lies of one in a segment.
  struct Part {
    Value firstBlock, blocks, firstColumn, columns, group;
    Value factor; ///< of the activations, where segments differ
  };
  int64_t partCount() const { return partTable ? static_cast<int64_t>(parts.size()) : weight.groups(); }
  Part part(Value index) {
    if (!partTable)
      return {b.mul(index, weight.groupBlocks()), weight.groupBlocks(b, index), b.mul(index, weight.groupColumns()),
              weight.groupColumns(b, index), index, Value()};
    auto field = [&](int64_t f) {
      return Value(arith::IndexCastOp::create(b, b.getIndexType(), b.load(partTable, {index, b.index(f)})));
    };
    Value columns = field(2);
    return {field(0), b.ceilDiv(columns, weight.blockColumns()), field(1), columns, field(3), b.load(factors, {index})};
  }
  /// Whether all parts are whole multiples of so many columns.
  bool partsAreMultiplesOf(int64_t width) const {
    if (!partTable)
      return weight.groupColumns() % width == 0 && weight.columns() % width == 0;
    return llvm::all_of(parts, [&](const IntegerPart &one) { return one.columns % width == 0; });
  }

  Value toFloat(Value integers) { return arith::SIToFPOp::create(b, b.f32Tile(), integers); }

  /// The activations of columns `column` to `column + 3` of a row in every lane.
  Value loadWord(Value row, Value column) {
    auto four = VectorType::get({4}, b.getI8Type()), word = VectorType::get({1}, b.getI32Type());
    Value loaded = vector::LoadOp::create(b, four, codes, ValueRange{row, column});
    return vector::BroadcastOp::create(b, b.i32Tile(), Value(vector::BitCastOp::create(b, word, loaded)));
  }

  /// Σ x of each row and part, which zero points are multiplied by.
  void emitColumnSums() {
    constexpr int64_t kWidth = 4 * kLanes;
    auto type = MemRefType::get({cast<MemRefType>(codes.getType()).getDimSize(0), partCount()}, b.getI32Type());
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(rows);
    columnSums = memref::AllocOp::create(b, type, sizes, b.getI64IntegerAttr(64));
    auto i8s = VectorType::get({kWidth}, b.getI8Type());
    Value ones = b.tileOf(0x01010101), none = arith::ConstantOp::create(b, DenseElementsAttr::get(i8s, int8_t(0)));
    int64_t perTask = std::max<int64_t>(1, 65536 / weight.columns());
    b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
      Value first = b.mul(task, perTask);
      b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
        b.loop(b.index(0), b.index(partCount()), 1, [&](Value index) {
          Part one = part(index);
          Value begin = one.firstColumn, columns = one.columns;
          auto add = [&](Value column, Value sum, bool whole) {
            Value loaded = vector::LoadOp::create(b, i8s, codes, ValueRange{row, b.add(begin, column)});
            if (!whole) {
              Value mask = vector::CreateMaskOp::create(b, VectorType::get({kWidth}, b.getI1Type()), ValueRange{b.sub(columns, column)});
              loaded = arith::SelectOp::create(b, mask, loaded, none);
            }
            return emitIntegerDot(b, sum, ones, vector::BitCastOp::create(b, b.i32Tile(), loaded), 1);
          };
          Value whole = b.mul(b.div(columns, kWidth), kWidth);
          Value sum = b.loop(b.index(0), whole, kWidth, ValueRange{b.tileOf(0)}, [&](Value column, ValueRange carried) {
            return SmallVector<Value>{add(column, carried[0], true)};
          })[0];
          if (!partsAreMultiplesOf(kWidth))
            sum = b.select(b.less(whole, columns), TypeRange{sum.getType()}, [&] { return SmallVector<Value>{add(whole, sum, false)}; },
                           [&] { return SmallVector<Value>{sum}; })[0];
          memref::StoreOp::create(b, b.reduceAdd(sum), columnSums, ValueRange{row, index});
        });
      });
    });
  }

  /// scale · (Σ q·x − zero · Σ x) + offset · Σ x, added to the sum over parts.
  Value addGroup(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
    if (affine.zero)
      products = b.sub(products, b.mul(affine.zero, columnSum));
    sum = b.fma(toFloat(products), affine.scale, sum);
    return affine.offset ? b.fma(toFloat(columnSum), affine.offset, sum) : sum;
  }

  /// The weight's, times the activations'.
  IntegerTiles::Affine affine(Value tile, const Part &one) {
    IntegerTiles::Affine result = weight.affine(b, tile, one.group);
    if (one.factor) {
      Value factor = b.splat(one.factor);
      result.scale = b.mulf(result.scale, factor);
      result.offset = result.offset ? b.mulf(result.offset, factor) : Value();
    }
    return result;
  }

  void store(Value sum, Value row, Value tile) {
    Value column = b.mul(tile, kLanes);
    Value scale = b.splat(scales ? b.load(scales, {row}) : b.f32(constantScale));
    bool whole = weight.rows() % kLanes == 0;
    Value mask = whole ? Value() : b.mask(b.sub(b.index(weight.rows()), column));
    auto loadVector = [&](Value vector) {
      return whole ? b.loadTile(vector, {column}) : b.loadMasked(vector, {column}, mask, b.tileOf(0.0f));
    };
    Value result = bias ? b.fma(sum, scale, loadVector(bias)) : b.mulf(sum, scale);
    if (offsets)
      result = b.fma(b.splat(b.load(offsets, {row})), loadVector(weightSums), result);
    whole ? b.storeTile(result, y, {row, column}) : b.storeMasked(result, y, {row, column}, mask);
  }

  //===- One row ----------------------------------------------------------------------------------------------------------===//

  /// Tiles walked in turn: as many as leave their sums in registers.
  int64_t streams() {
    int64_t registers = b.level->vectorRegisters * b.level->vectorBits / 512 * 3 / 4; // of 16 lanes
    return std::clamp<int64_t>(llvm::bit_floor<uint64_t>(registers / (weight.sums(b) + 1)), 1, std::min<int64_t>(8, weight.tiles()));
  }

  void emitRow() {
    int64_t streamCount = streams(), sums = weight.sums(b);
    Value row = b.index(0);
    b.parallel(b.index(llvm::divideCeil(weight.tiles(), streamCount)), [&](Value task) {
      // Tiles at fixed distances need one address. The last task may make some that others make, too.
      Value firstTile = b.min(b.mul(task, streamCount), b.index(weight.tiles() - streamCount));
      SmallVector<Value> tiles;
      for (int64_t s = 0; s < streamCount; ++s)
        tiles.push_back(b.add(firstTile, s));
      SmallVector<Value> totals(streamCount, b.tileOf(0.0f)), none(streamCount * sums, b.tileOf(0));
      totals = b.loop(b.index(0), b.index(partCount()), 1, totals, [&](Value index, ValueRange carried) {
        Part one = part(index);
        for (Value tile : tiles)
          weight.prefetchAffine(b, tile, one.group, streamCount);
        SmallVector<Value> products = b.loop(b.index(0), one.blocks, 1, none, [&](Value block, ValueRange running) {
          Value column = b.add(one.firstColumn, b.mul(block, weight.blockColumns()));
          llvm::DenseMap<int64_t, Value> words;
          auto x = [&](int64_t j) {
            Value &word = words[j];
            if (!word)
              word = loadWord(row, b.add(column, j));
            return word;
          };
          SmallVector<Value> next(running);
          Value ahead = weight.lineAhead(b, b.add(one.firstBlock, block), streamCount);
          for (Value tile : tiles)
            weight.prefetch(b, tile, ahead);
          for (int64_t s = 0; s < streamCount; ++s)
            weight.accumulate(b, tiles[s], b.add(one.firstBlock, block), MutableArrayRef(next).slice(s * sums, sums), x);
          return next;
        });
        Value columnSum = b.splat(b.load(columnSums, {row, index}));
        SmallVector<Value> next;
        for (int64_t s = 0; s < streamCount; ++s)
          next.push_back(addGroup(affine(tiles[s], one), weight.finish(b, ArrayRef(products).slice(s * sums, sums)), columnSum,
                                  carried[s]));
        return next;
      });
      for (int64_t s = 0; s < streamCount; ++s)
        store(totals[s], row, tiles[s]);
    });
  }

  //===- Several rows -----------------------------------------------------------------------------------------------------===//

  void emitPanels() {
    int64_t width = b.registers.tiles, panels = llvm::divideCeil(weight.tiles(), width);
    // Consecutive tasks share rows, as in emitLinear.
    b.parallel(b.mul(b.ceilDiv(rows, kRowsOfPanel), panels), [&](Value task) {
      Value panel = b.rem(task, panels), rowBegin = b.mul(b.div(task, panels), kRowsOfPanel);
      Value rowEnd = b.min(rows, b.add(rowBegin, kRowsOfPanel));
      SmallVector<Value> tiles;
      for (int64_t t = 0; t < width; ++t)
        tiles.push_back(b.min(b.add(b.mul(panel, width), t), b.index(weight.tiles() - 1)));
      if (!needsDecoding())
        return emitRows(tiles, Value(), rowBegin, rowEnd);
      Value decoded = b.scratch({weight.groups() * panelWords(), width, kLanes}, b.getI32Type());
      b.loop(b.index(0), b.index(weight.groups()), 1, [&](Value group) {
        b.loop(b.index(0), weight.groupBlocks(b, group), 1, [&](Value block) {
          Value stored = b.add(b.mul(group, weight.groupBlocks()), block);
          Value word = b.add(b.mul(group, panelWords()), b.mul(block, weight.blockWords()));
          Value ahead = weight.lineAhead(b, stored, width);
          for (Value tile : tiles)
            weight.prefetch(b, tile, ahead);
          for (int64_t t = 0; t < width; ++t)
            for (auto [i, code] : llvm::enumerate(weight.decode(b, tiles[t], stored)))
              b.storeTile(code, decoded, {b.add(word, i), b.index(t), b.index(0)});
        });
        if (inPairs())
          interleave(decoded, group, width);
      });
      emitRows(tiles, decoded, rowBegin, rowEnd);
    });
  }

  /// Two rows by two, if pairs of words lie within the stored activations: groups begin at eighth columns, rows end at cache lines.
  bool inPairs() const { return !partTable && multipliesPairs(*b.level) && (weight.groups() == 1 || weight.groupColumns() % 8 == 0); }

  /// Codes of eight bits are multiplied where they lie.
  bool needsDecoding() const { return weight.blockColumns() > 4 || inPairs(); }

  /// Room for the words of a group in a panel.
  int64_t panelWords() const {
    int64_t words = weight.groupBlocks() * weight.blockWords();
    return inPairs() ? llvm::alignTo(words, 2) : words;
  }

  /// Words 2i and 2i + 1 of a row side by side: the two tiles of a pair hold eight codes of 16 rows. A missing second word is zero.
  void interleave(Value decoded, Value group, int64_t width) {
    Value first = b.mul(group, panelWords()), count = b.mul(weight.groupBlocks(b, group), weight.blockWords());
    b.loop(b.index(0), count, 2, [&](Value word) {
      Value at = b.add(first, word), next = b.add(at, 1), exists = b.less(b.add(word, 1), count);
      for (int64_t t = 0; t < width; ++t) {
        auto load = [&](Value row) { return b.loadTile(decoded, {row, b.index(t), b.index(0)}); };
        Value second = arith::SelectOp::create(b, exists, load(next), b.tileOf(0));
        Value both = vector::InterleaveOp::create(b, load(at), second);
        for (int64_t half : {0, 1})
          b.storeTile(vector::ExtractStridedSliceOp::create(b, both, {half * kLanes}, {kLanes}, {1}), decoded,
                      {half ? next : at, b.index(t), b.index(0)});
      }
    });
  }

  void emitRows(ArrayRef<Value> tiles, Value decoded, Value begin, Value end) {
    // With several parts there is a sum of floats beside each sum of integers.
    int64_t most = b.registers.rows;
    if (partCount() > 1)
      most = b.level->vectorBits >= 512 ? 6 : inPairs() ? 2 : std::max<int64_t>(1, most / 2);
    forRowBlocks(b, begin, end, most, [&](Value row, int64_t count) { emitBlock(tiles, decoded, row, count); });
  }

  /// Σ q·x of a part for each row of activations and tile of the panel.
  SmallVector<Value> multiplyWords(ArrayRef<Value> tiles, Value decoded, ArrayRef<Value> rows, const Part &one) {
    int64_t width = tiles.size();
    Value firstWord = b.mul(one.firstBlock, weight.blockWords());
    SmallVector<Value> none(rows.size() * width, b.tileOf(0));
    return b.loop(b.index(0), b.ceilDiv(one.columns, 4), 1, none, [&](Value word, ValueRange running) {
      SmallVector<Value> panel, next;
      for (int64_t t = 0; t < width; ++t)
        panel.push_back(decoded ? b.loadTile(decoded, {b.add(firstWord, word), b.index(t), b.index(0)})
                                : weight.line(b, tiles[t], b.add(firstWord, word), 0));
      for (size_t r = 0; r < rows.size(); ++r) {
        Value x = loadWord(rows[r], b.add(one.firstColumn, b.mul(word, 4)));
        for (int64_t t = 0; t < width; ++t)
          next.push_back(emitIntegerDot(b, running[r * width + t], panel[t], x, weight.codeBits()));
      }
      return next;
    });
  }

  SmallVector<Value> multiplyPairs(Value decoded, ArrayRef<Value> rows, const Part &one, int64_t width) {
    Value firstPair = b.mul(one.group, panelWords());
    auto eight = VectorType::get({8}, b.getI8Type());
    auto sums = VectorType::get({2 * kLanes}, b.getI32Type());
    SmallVector<Value> none(llvm::divideCeil(rows.size(), 2) * width, arith::ConstantOp::create(b, DenseElementsAttr::get(sums, int32_t(0))));
    SmallVector<Value> pairs = b.loop(b.index(0), b.ceilDiv(one.columns, 8), 1, none, [&](Value pair, ValueRange running) {
      SmallVector<Value> next;
      Value column = b.add(one.firstColumn, b.mul(pair, 8)), word = b.add(firstPair, b.mul(pair, 2));
      SmallVector<Value> panel;
      for (int64_t t = 0; t < width; ++t) {
        auto half = [&](int64_t which) { return b.loadTile(decoded, {b.add(word, which), b.index(t), b.index(0)}); };
        panel.push_back(vector::ShuffleOp::create(b, half(0), half(1), llvm::to_vector(llvm::seq<int64_t>(2 * kLanes))));
      }
      for (size_t r = 0; r < rows.size(); r += 2) {
        auto load = [&](size_t row) { return Value(vector::LoadOp::create(b, eight, codes, ValueRange{rows[row], column})); };
        Value first = load(r), second = r + 1 < rows.size() ? load(r + 1) : first;
        Value x = vector::ShuffleOp::create(b, first, second, llvm::to_vector(llvm::seq<int64_t>(16)));
        for (int64_t t = 0; t < width; ++t)
          next.push_back(emitPairDot(b, running[r / 2 * width + t], panel[t], x));
      }
      return next;
    });
    SmallVector<Value> products;
    for (size_t r = 0; r < rows.size(); ++r)
      for (int64_t t = 0; t < width; ++t)
        products.push_back(vector::DeinterleaveOp::create(b, pairs[r / 2 * width + t]).getResult(r % 2));
    return products;
  }

  /// `count` rows by the panel.
  void emitBlock(ArrayRef<Value> tiles, Value decoded, Value row, int64_t count) {
    int64_t width = tiles.size();
    SmallVector<Value> rowIndex;
    for (int64_t r = 0; r < count; ++r)
      rowIndex.push_back(b.add(row, r));
    SmallVector<Value> totals(count * width, b.tileOf(0.0f));
    totals = b.loop(b.index(0), b.index(partCount()), 1, totals, [&](Value index, ValueRange carried) {
      Part one = part(index);
      SmallVector<Value> products = inPairs() ? multiplyPairs(decoded, rowIndex, one, width) : multiplyWords(tiles, decoded, rowIndex, one);
      SmallVector<IntegerTiles::Affine> affines;
      for (Value tile : tiles)
        affines.push_back(affine(tile, one));
      SmallVector<Value> next;
      for (int64_t r = 0; r < count; ++r) {
        Value columnSum = b.splat(b.load(columnSums, {rowIndex[r], index}));
        for (int64_t t = 0; t < width; ++t)
          next.push_back(addGroup(affines[t], products[r * width + t], columnSum, carried[r * width + t]));
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      for (int64_t t = 0; t < width; ++t)
        store(totals[r * width + t], rowIndex[r], tiles[t]);
  }

  KernelBuilder &b;
  IntegerTiles weight;
  std::vector<IntegerPart> parts;
  Value codes, partTable, factors, bias, y, rows, columnSums; ///< factors: of parts
  Value scales, offsets, weightSums;                          ///< scales, offsets: of rows
  float constantScale = 1; ///< of all activations, without scales and factors
};

} // namespace

bool mlir::quanta::isTokenActivation(UniformAttr encoding) {
  // Codes above an offset have no sign and use all bits: 8 are too many for a signed byte.
  bool fits = encoding.getZero() == ZeroKind::Symmetric ? encoding.getBits() >= 2
                                                        : encoding.getZero() == ZeroKind::Offset && encoding.getBits() <= 7;
  return fits && !encoding.getLevels() && encoding.getGroup() == UniformAttr::kRow && encoding.getScale().isF32();
}

std::vector<IntegerPart> mlir::quanta::getIntegerParts(AffineAttr activation, UniformAttr weight, ArrayRef<int64_t> shape) {
  auto [rows, columns] = getMatrixShape(shape);
  ::quanta::TileShape tiles = *::quanta::TileShape::get({rows, columns, weight.getBits(), weight.getGroup(), weight.getLevels()});
  std::vector<IntegerPart> parts;
  SmallVector<int64_t> bounds = activation.getBounds(columns);
  for (int64_t segment = 0; segment < activation.getSegmentCount(); ++segment)
    for (int64_t column = bounds[segment], end; column < bounds[segment + 1]; column = end) {
      int64_t group = column / tiles.groupColumns, inGroup = column % tiles.groupColumns;
      if (inGroup % tiles.blockColumns)
        return {};
      end = std::min(bounds[segment + 1], (group + 1) * tiles.groupColumns);
      parts.push_back({tiles.getFirstBlock(group) + inGroup / tiles.blockColumns, column, end - column, group, segment});
    }
  return parts;
}

bool mlir::quanta::hasIntegerLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape) {
  auto w = dyn_cast_or_null<UniformAttr>(weight);
  auto [rows, columns] = getMatrixShape(shape);
  if (!w || rows <= 0 || columns <= 0 || w.getGroupSize(columns) > kMostGroupColumns)
    return false;
  if (auto affine = dyn_cast_or_null<AffineAttr>(activation))
    return !getIntegerParts(affine, w, shape).empty();
  auto x = dyn_cast_or_null<UniformAttr>(activation);
  return x && isTokenActivation(x);
}

void mlir::quanta::emitIntegerLinear(KernelBuilder &b, const KernelArgs &args) { IntegerLinear(b, args).emit(); }
