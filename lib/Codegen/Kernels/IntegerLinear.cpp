//===- IntegerLinear.cpp - Encoded activations times encoded weights --------------------------------------------------------===//
//
// One row of activations (decoding a sentence): the weights pass through once, so they are multiplied as they lie, several
// adjacent tiles of rows in turn, a block of each: one stream of reads does not use the bandwidth of the memory.
//
// Several rows: a panel of tiles is multiplied by a block of rows, some of them at a time in registers. The first of those decode the
// panel to bytes as they multiply it, in the shadow of the multiplications, and the others find it in the cache. Where the target
// multiplies two rows by two, the panel is decoded first and its words are interleaved in pairs.
//
// Groups whose scales are multiples of the row's stay integers to the end: a single row multiplies the sum of each group by its
// multiple, and several decode the panel to bytes that are multiplied already, so that to the loops behind it has one scale a row.
//
// Rows and tiles are shared among threads; a sum is always made by one of them in one order.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "IntegerLinear.h"
#include "BitLookups.h"
#include "Gemm.h"
#include "IntegerMatrix.h"
#include "quanta/Codegen/IntegerDot.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Columns of a group whose sums surely fit 32 bits: 255 · 127 · 32768 < 2³⁰, doubled and by 3 below 2³².
constexpr int64_t kMostGroupColumns = 16384;
/// Columns of a row whose products with multiples surely fit: 127 · 127 · 131072 < 2³¹.
constexpr int64_t kMostMultipliedColumns = 131072;
/// Rows that share a decoded panel.
constexpr int64_t kRowsOfPanel = 128;

class IntegerLinear : IntegerOperands {
public:
  using IntegerOperands::IntegerOperands;

  void emit() {
    auto row = [&] { emitRow(); };
    auto rows = [&] {
      if (std::optional<int64_t> fewest = getFewestMatrixRows(*b.level, weight))
        ifRows(*fewest, [&] { emitIntegerMatrix(*this); }, [&] { emitPanels(); });
      else
        emitPanels();
    };
    if (!weight.hasMultiples())
      return withColumnSums([&] { ifRows(2, rows, row); });
    // Code for one row is emitted first; from then on codes are multiplied, and the sums are other ones.
    auto multiplied = [&] {
      multiplyCodes();
      withColumnSums(rows);
    };
    ifRows(2, multiplied, [&] { withColumnSums(row); });
  }

private:
  void withColumnSums(function_ref<void()> body) {
    emitColumnSums();
    body();
    freeColumnSums();
  }

  /// The activations of columns `column` to `column + 3` of a row in every lane. Behind the last column, where codes are zero, anything.
  Value loadWord(Value row, Value column) {
    auto four = VectorType::get({4}, b.getI8Type()), word = VectorType::get({1}, b.getI32Type());
    Value loaded = vector::LoadOp::create(b, four, codes, ValueRange{row, column});
    return vector::BroadcastOp::create(b, b.i32Tile(), Value(vector::BitCastOp::create(b, word, loaded)));
  }

  //===- One row ----------------------------------------------------------------------------------------------------------===//

  /// Tiles walked in turn: as many as leave their sums in registers, or as processors follow by themselves.
  int64_t streams() {
    if (lookups)
      return std::min<int64_t>(4, weight.tiles() / 2 * 2);
    int64_t registers = b.level->vectorRegisters * b.level->vectorBits / 512 * 3 / 4; // of 16 lanes
    int64_t sums = weight.sums(b), ofTile = sums == 1 ? 1 : sums + 1;
    if (!waitsForMemory())
      return std::clamp<int64_t>(llvm::bit_floor<uint64_t>(registers / ofTile), 1, std::min<int64_t>(8, weight.tiles()));
    // The last task may make tiles of the one before again, but few of them.
    for (int64_t count : {6, 5})
      if (int64_t all = llvm::alignTo(weight.tiles(), count); 50 * (all - weight.tiles()) <= all)
        return count;
    return std::min<int64_t>(4, weight.tiles());
  }

  /// Whether a line is multiplied in less time than the memory takes to bring it: two multiplications at most. Then processors read ahead of a
  /// few streams by themselves, and requests of ours only take up buffers.
  bool waitsForMemory() const { return weight.fields().size() == 1 && weight.fields().front().width >= 4; }

  /// Σ q·x of a part for each tile.
  SmallVector<Value> multiplyBlocks(ArrayRef<Value> tiles, Value row, const Part &one, Value index) {
    int64_t streamCount = tiles.size(), sums = lookups ? 1 : weight.sums(b), most = lookups ? BitLookups::kMostBlocks : weight.mostBlocks(b);
    SmallVector<Value> none(streamCount * sums, lookups ? lookups->zero() : b.tileOf(0));
    auto multiply = [&](Value begin, Value end) {
      SmallVector<Value> running = b.loop(begin, end, 1, none, [&](Value block, ValueRange running) {
        Value column = b.add(one.firstColumn, b.mul(block, weight.blockColumns()));
        llvm::DenseMap<int64_t, Value> words;
        auto x = [&](int64_t j) {
          Value &word = words[j];
          if (!word)
            word = loadWord(row, b.add(column, j));
          return word;
        };
        SmallVector<Value> next(running);
        if (!waitsForMemory())
          prefetch(tiles, b.add(one.firstBlock, block));
        if (lookups)
          lookups->accumulate(tiles, index, block, b.add(one.firstBlock, block), next);
        else
          for (int64_t s = 0; s < streamCount; ++s)
            weight.accumulate(b, tiles[s], b.add(one.firstBlock, block), MutableArrayRef(next).slice(s * sums, sums), x);
        return next;
      });
      SmallVector<Value> products;
      for (int64_t s = 0; s < streamCount; ++s)
        products.push_back(lookups ? lookups->finish(running[s]) : weight.finish(b, ArrayRef(running).slice(s * sums, sums)));
      return products;
    };
    if (llvm::divideCeil(mostPartColumns(), weight.blockColumns()) <= static_cast<uint64_t>(most))
      return multiply(b.index(0), one.blocks);
    return b.loop(b.index(0), one.blocks, most, SmallVector<Value>(streamCount, b.tileOf(0)), [&](Value begin, ValueRange carried) {
      SmallVector<Value> products = multiply(begin, b.min(one.blocks, b.add(begin, most)));
      for (auto [product, before] : llvm::zip_equal(products, carried))
        product = b.add(product, before);
      return products;
    });
  }

  /// Whether groups are added up as integers, since their scales are multiples of the row's.
  bool hasExactGroups() const { return weight.hasMultiples() && !partTable; }
  Value addMultiple(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
    return b.add(sum, b.mul(affine.multiple, b.sub(products, b.mul(affine.zero, columnSum))));
  }

  void emitRow() {
    if (BitLookups::serves(*b.level, weight))
      lookups.emplace(static_cast<IntegerOperands &>(*this));
    int64_t streamCount = streams();
    Value row = b.index(0);
    b.parallel(b.index(llvm::divideCeil(weight.tiles(), streamCount)), [&](Value task) {
      // Tiles at fixed distances need one address. The last task may make some that others make, too.
      Value firstTile = b.min(b.mul(task, streamCount), b.index(weight.tiles() - streamCount));
      SmallVector<Value> tiles;
      for (int64_t s = 0; s < streamCount; ++s)
        tiles.push_back(b.add(firstTile, s));
      bool apart = hasExactGroups();
      SmallVector<Value> totals(streamCount, apart ? b.tileOf(0) : b.tileOf(0.0f));
      totals = b.loop(b.index(0), b.index(partCount()), 1, totals, [&](Value index, ValueRange carried) {
        Part one = part(index);
        for (Value tile : tiles)
          weight.prefetchAffine(b, tile, one.group, streamCount);
        if (waitsForMemory()) { // for the next task: streams are noticed after their first lines
          Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, b.index(partCount() - 1));
          b.ifThen(isLast, [&] { weight.prefetchTiles(b, tiles.front(), streamCount); });
        }
        SmallVector<Value> products = multiplyBlocks(tiles, row, one, index);
        Value columnSum = b.splat(b.load(columnSums, {row, index}));
        SmallVector<Value> next;
        for (int64_t s = 0; s < streamCount; ++s)
          next.push_back(apart ? addMultiple(weight.affine(b, tiles[s], one.group, apart), products[s], columnSum, carried[s])
                               : addGroup(affine(tiles[s], one), products[s], columnSum, carried[s]));
        return next;
      });
      if (apart)
        for (auto [total, tile] : llvm::zip_equal(totals, tiles))
          total = b.mulf(arith::SIToFPOp::create(b, b.f32Tile(), total), weight.affine(b, tile, b.index(0), apart).scale);
      storeBlock(totals, row, 1, tiles, epilogue.isEmpty() ? Value() : b.scratch({streamCount, kLanes}, b.getF32Type()));
    });
    if (lookups)
      lookups->free();
  }

  /// Sums of `count` rows by these tiles, which follow each other but for the last. With an epilogue they wait in `waiting` for a loop,
  /// so that it is there once and not for each sum; no sums: they wait already.
  void storeBlock(ArrayRef<Value> sums, Value row, int64_t count, ArrayRef<Value> tiles, Value waiting) {
    int64_t width = tiles.size();
    if (epilogue.isEmpty()) {
      for (int64_t r = 0; r < count; ++r)
        for (int64_t t = 0; t < width; ++t)
          store(sums[r * width + t], b.add(row, r), tiles[t]);
      return;
    }
    for (auto [i, sum] : llvm::enumerate(sums))
      b.storeTile(sum, waiting, {b.index(i), b.index(0)});
    b.loop(b.index(0), b.index(count * width), 1, [&](Value i) {
      Value tile = b.min(b.add(tiles.front(), b.rem(i, width)), b.index(weight.tiles() - 1));
      store(b.loadTile(waiting, {i, b.index(0)}), b.add(row, b.div(i, width)), tile);
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
      int64_t groups = weight.isMultiplied() ? 1 : weight.groups();
      Value decoded = needsDecoding() ? b.scratch({groups * panelWords(), width, kLanes}, b.getI32Type()) : Value();
      if (inPairs())
        b.loop(b.index(0), b.index(groups), 1, [&](Value group) {
          Part one = part(group);
          forBlocks(tiles, one, ValueRange(), [&](Value block, ArrayRef<IntegerTiles::Factors> factors, ValueRange) {
            Value stored = b.add(one.firstBlock, block);
            prefetch(tiles, stored);
            decode(tiles, stored, factors, decoded, b.add(b.mul(group, panelWords()), b.mul(block, weight.blockWords())));
            return SmallVector<Value>();
          });
          interleave(decoded, one, width);
        });
      emitRows(tiles, decoded, rowBegin, rowEnd);
    });
  }

  void prefetch(ArrayRef<Value> tiles, Value block) {
    Value ahead = weight.lineAhead(b, block, tiles.size());
    for (Value tile : tiles)
      weight.prefetch(b, tile, ahead);
  }

  /// The blocks of a part. Multiplied codes have factors of each tile, which are the same throughout a group.
  SmallVector<Value> forBlocks(ArrayRef<Value> tiles, const Part &one, ValueRange init,
                               function_ref<SmallVector<Value>(Value block, ArrayRef<IntegerTiles::Factors> factors, ValueRange)> body) {
    if (!weight.isMultiplied())
      return b.loop(b.index(0), one.blocks, 1, init, [&](Value block, ValueRange running) { return body(block, {}, running); });
    return b.loop(b.index(0), b.index(weight.groups()), 1, init, [&](Value group, ValueRange outer) {
      SmallVector<IntegerTiles::Factors> factors;
      for (Value tile : tiles)
        factors.push_back(weight.factors(b, tile, group));
      Value first = b.mul(group, weight.groupBlocks());
      return b.loop(b.index(0), weight.groupBlocks(b, group), 1, outer,
                    [&](Value block, ValueRange running) { return body(b.add(first, block), factors, running); });
    });
  }

  /// The words of a stored block, for each tile in turn, which it also stores from `firstWord` on.
  SmallVector<SmallVector<Value>> decode(ArrayRef<Value> tiles, Value block, ArrayRef<IntegerTiles::Factors> factors, Value decoded,
                                         Value firstWord) {
    SmallVector<SmallVector<Value>> words;
    for (auto [t, tile] : llvm::enumerate(tiles)) {
      words.push_back(weight.decode(b, tile, block, /*centred=*/false,
                                    factors.empty() ? std::optional<IntegerTiles::Factors>() : factors[t]));
      if (decoded)
        for (auto [i, code] : llvm::enumerate(words.back()))
          b.storeTile(code, decoded, {b.add(firstWord, i), b.index(t), b.index(0)});
    }
    return words;
  }

  /// Two rows by two, if pairs of words lie within the stored activations: groups begin at eighth columns, rows end at cache lines.
  bool inPairs() const { return !partTable && multipliesPairs(*b.level) && (partCount() == 1 || weight.groupColumns() % 8 == 0); }

  /// Codes of eight bits are multiplied where they lie.
  bool needsDecoding() const { return weight.blockColumns() > 4 || inPairs(); }

  /// Room for the words of a part that is a group, or a row, in a panel.
  int64_t panelWords() const {
    int64_t words = (weight.isMultiplied() ? weight.tileBlocks() : weight.groupBlocks()) * weight.blockWords();
    return inPairs() ? llvm::alignTo(words, 2) : words;
  }

  /// Lane 2j of the first and the second, or lane 2j + 1 of both, side by side: an instruction that works within registers of any width.
  Value transposed(Value first, Value second, int64_t which) {
    SmallVector<int64_t> lanes;
    for (int64_t j = 0; j < kLanes; j += 2)
      lanes.append({j + which, kLanes + j + which});
    return vector::ShuffleOp::create(b, first, second, lanes);
  }

  /// Words 2i and 2i + 1 of a row side by side: the two tiles of a pair hold eight codes of 16 rows, first those of even ones. A missing
  /// second word is zero.
  void interleave(Value decoded, const Part &one, int64_t width) {
    Value first = b.mul(one.group, panelWords()), count = b.mul(one.blocks, weight.blockWords());
    b.loop(b.index(0), count, 2, [&](Value word) {
      Value at = b.add(first, word), next = b.add(at, 1), exists = b.less(b.add(word, 1), count);
      for (int64_t t = 0; t < width; ++t) {
        auto load = [&](Value row) { return b.loadTile(decoded, {row, b.index(t), b.index(0)}); };
        Value first = load(at), second = arith::SelectOp::create(b, exists, load(next), b.tileOf(0));
        for (int64_t odd : {0, 1})
          b.storeTile(transposed(first, second, odd), decoded, {odd ? next : at, b.index(t), b.index(0)});
      }
    });
  }

  void emitRows(ArrayRef<Value> tiles, Value decoded, Value begin, Value end) {
    int64_t most = partCount() > 1 && inPairs() && b.level->vectorBits == 128 ? 4 : b.registers.rows;
    // With several parts sums of floats wait in the cache, so that those of integers have the registers.
    auto scratch = [&](bool needed) { return needed ? b.scratch({most * static_cast<int64_t>(tiles.size()), kLanes}, b.getF32Type()) : Value(); };
    Value totals = scratch(partCount() > 1), waiting = totals ? totals : scratch(!epilogue.isEmpty());
    forRowBlocks(b, begin, end, most, [&](Value row, int64_t count) {
      Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, begin);
      emitBlock(tiles, decoded, row, count, first, totals, waiting);
    });
  }

  /// What sums of a part begin with: −zero · Σ x of each row, for each tile.
  SmallVector<Value> startSums(ArrayRef<IntegerTiles::Affine> affines, ArrayRef<Value> rows, Value index) {
    SmallVector<Value> sums;
    for (Value row : rows) {
      Value columnSum = b.sub(arith::ConstantIntOp::create(b, b.getI32Type(), 0), b.load(columnSums, {row, index}));
      std::optional<int32_t> zero = weight.constantZero();
      Value same = zero ? b.splat(b.mul(columnSum, arith::ConstantIntOp::create(b, b.getI32Type(), *zero))) : Value();
      for (const IntegerTiles::Affine &affine : affines)
        sums.push_back(same ? same : affine.zero ? b.mul(affine.zero, b.splat(columnSum)) : b.tileOf(0));
    }
    return sums;
  }

  /// Σ q·x of a part, added to `sums`, for each row of activations and tile of the panel. The `first` rows decode the panel.
  SmallVector<Value> multiplyWords(ArrayRef<Value> tiles, Value decoded, ArrayRef<Value> rows, const Part &one, Value first, ArrayRef<Value> sums) {
    Value firstWord = b.mul(one.firstBlock, weight.blockWords());
    auto multiply = [&](ArrayRef<Value> panel, Value column, ValueRange running) {
      SmallVector<Value> next;
      for (auto [r, row] : llvm::enumerate(rows)) {
        Value x = loadWord(row, b.add(one.firstColumn, column));
        for (auto [t, word] : llvm::enumerate(panel))
          next.push_back(emitIntegerDot(b, running[r * panel.size() + t], word, x, weight.codeBits()));
      }
      return next;
    };
    auto decodeAndMultiply = [&] {
      return forBlocks(tiles, one, sums, [&](Value block, ArrayRef<IntegerTiles::Factors> factors, ValueRange running) {
        Value stored = b.add(one.firstBlock, block);
        prefetch(tiles, stored);
        SmallVector<SmallVector<Value>> words = decode(tiles, stored, factors, decoded, b.mul(stored, weight.blockWords()));
        SmallVector<Value> next(running);
        for (int64_t i = 0; i < weight.blockWords(); ++i) {
          SmallVector<Value> panel;
          for (ArrayRef<Value> ofTile : words)
            panel.push_back(ofTile[i]);
          next = multiply(panel, b.add(b.mul(block, weight.blockColumns()), 4 * i), next);
        }
        return next;
      });
    };
    auto multiplyPanel = [&] {
      return b.loop(b.index(0), b.ceilDiv(one.columns, 4), 1, sums, [&](Value word, ValueRange running) {
        SmallVector<Value> panel;
        for (auto [t, tile] : llvm::enumerate(tiles))
          panel.push_back(decoded ? b.loadTile(decoded, {b.add(firstWord, word), b.index(t), b.index(0)}) : weight.line(b, tile, b.add(firstWord, word), 0));
        return multiply(panel, b.mul(word, 4), running);
      });
    };
    return b.select(first, TypeRange(ValueRange(sums)), decodeAndMultiply, multiplyPanel);
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
        for (int64_t t = 0; t < width; ++t)
          next.push_back(emitPairDot(b, running[r / 2 * width + t], panel[t], first, second));
      }
      return next;
    });
    SmallVector<Value> products;
    for (size_t r = 0; r < rows.size(); ++r)
      for (int64_t t = 0; t < width; ++t) {
        auto half = [&](int64_t which) {
          return Value(vector::ExtractStridedSliceOp::create(b, pairs[r / 2 * width + t], {which * kLanes}, {kLanes}, {1}));
        };
        products.push_back(transposed(half(0), half(1), r % 2));
      }
    return products;
  }

  /// `count` rows by the panel.
  void emitBlock(ArrayRef<Value> tiles, Value decoded, Value row, int64_t count, Value first, Value totals, Value waiting) {
    int64_t width = tiles.size();
    SmallVector<Value> rowIndex;
    for (int64_t r = 0; r < count; ++r)
      rowIndex.push_back(b.add(row, r));
    if (totals)
      for (int64_t i = 0; i < count * width; ++i)
        b.storeTile(b.tileOf(0.0f), totals, {b.index(i), b.index(0)});
    SmallVector<Value> sums(count * width, b.tileOf(0.0f));
    auto emitPart = [&](Value index) {
      Part one = part(index);
      SmallVector<IntegerTiles::Affine> affines;
      for (Value tile : tiles)
        affines.push_back(affine(tile, one));
      SmallVector<Value> products = startSums(affines, rowIndex, index);
      if (inPairs())
        for (auto [product, sum] : llvm::zip_equal(multiplyPairs(decoded, rowIndex, one, width), products))
          sum = b.add(sum, product);
      else
        products = multiplyWords(tiles, decoded, rowIndex, one, first, products);
      for (int64_t r = 0; r < count; ++r)
        for (int64_t t = 0; t < width; ++t) {
          Value &sum = sums[r * width + t];
          if (totals)
            sum = b.loadTile(totals, {b.index(r * width + t), b.index(0)});
          sum = addScaled(affines[t], products[r * width + t], b.splat(b.load(columnSums, {rowIndex[r], index})), sum);
          if (totals)
            b.storeTile(sum, totals, {b.index(r * width + t), b.index(0)});
        }
    };
    if (totals)
      b.loop(b.index(0), b.index(partCount()), 1, emitPart);
    else
      emitPart(b.index(0));
    if (totals && epilogue.isEmpty())
      for (int64_t i = 0; i < count * width; ++i)
        sums[i] = b.loadTile(totals, {b.index(i), b.index(0)});
    storeBlock(totals && !epilogue.isEmpty() ? ArrayRef<Value>() : sums, row, count, tiles, waiting);
  }

  std::optional<BitLookups> lookups; ///< instead of multiplications of one row
};

} // namespace

bool mlir::quanta::isTokenActivation(UniformAttr encoding) {
  // Codes above an offset have no sign and use all bits: 8 are too many for a signed byte.
  bool fits = encoding.getZero() == ZeroKind::Symmetric ? encoding.getBits() >= 2
                                                        : encoding.getZero() == ZeroKind::Offset && encoding.getBits() <= 7;
  return fits && !encoding.getLevels() && encoding.getGroup() == UniformAttr::kRow && encoding.getScale().isF32();
}

SmallVector<float> mlir::quanta::getSegmentScales(Attribute activation) {
  if (auto affine = dyn_cast<AffineAttr>(activation))
    return SmallVector<float>(affine.getScales().asArrayRef());
  auto twin = cast<TwinAttr>(activation);
  float fine = twin.getScale().getValue().convertToFloat();
  return {std::ldexp(fine, static_cast<int>(twin.getShift())), fine};
}

int64_t mlir::quanta::getCodeColumns(Attribute activation, int64_t columns) {
  // One more, which the last pair of an odd number reads. So rows of a power of two do not compete for the same places of a cache, either.
  if (isa<NarrowAttr>(activation))
    return llvm::alignTo(columns + 1, 32);
  return llvm::alignTo(columns, 64) * (isa<TwinAttr>(activation) ? 2 : 1);
}

std::vector<IntegerPart> mlir::quanta::getIntegerParts(Attribute activation, UniformAttr weight, ArrayRef<int64_t> shape) {
  auto [rows, columns] = getMatrixShape(shape);
  ::quanta::TileShape tiles = *::quanta::TileShape::get({rows, columns, weight.getBits(), weight.getGroup(), weight.getLevels()});
  std::vector<IntegerPart> parts;
  auto affine = dyn_cast<AffineAttr>(activation);
  SmallVector<int64_t> bounds = affine ? affine.getBounds(columns) : SmallVector<int64_t>{0, columns};
  for (size_t segment = 0; segment + 1 < bounds.size(); ++segment)
    for (int64_t column = bounds[segment], end; column < bounds[segment + 1]; column = end) {
      int64_t group = column / tiles.groupColumns, inGroup = column % tiles.groupColumns;
      if (inGroup % tiles.blockColumns)
        return {};
      end = std::min(bounds[segment + 1], (group + 1) * tiles.groupColumns);
      parts.push_back({tiles.getFirstBlock(group) + inGroup / tiles.blockColumns, column, end - column, group, int64_t(segment)});
    }
  if (affine)
    return parts;
  for (size_t coarse = 0, count = parts.size(); coarse < count; ++coarse) {
    IntegerPart fine = parts[coarse];
    fine.firstColumn += getCodeColumns(activation, columns) / 2;
    fine.segment = 1;
    parts.push_back(fine);
  }
  return parts;
}

bool mlir::quanta::hasIntegerLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape) {
  auto w = dyn_cast_or_null<UniformAttr>(weight);
  auto [rows, columns] = getMatrixShape(shape);
  if (!w || rows <= 0 || columns <= 0 || w.getGroupSize(columns) > kMostGroupColumns)
    return false;
  if (w.getMultiples() && columns > kMostMultipliedColumns)
    return false;
  if (isa_and_present<AffineAttr, TwinAttr>(activation))
    return !getIntegerParts(activation, w, shape).empty();
  auto x = dyn_cast_or_null<UniformAttr>(activation);
  return x && isTokenActivation(x);
}

void mlir::quanta::emitIntegerLinear(KernelBuilder &b, const KernelArgs &args) { IntegerLinear(b, args).emit(); }
