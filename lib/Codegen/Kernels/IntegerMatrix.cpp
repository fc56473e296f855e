//===- IntegerMatrix.cpp - Integer linear layers on a matrix unit -----------------------------------------------------------===//
//
// Activations, bytes or signs, are copied once into registers' order, filled up with zeros to 16 rows and, part by part, to whole registers and chunks:
// what the codes beyond a part are does not matter then. 32 rows by a panel of two tiles of weights stay in four registers of sums
// while the columns go by, a chunk at a time. While one chunk is multiplied, the next is decoded to bytes in the first-level cache,
// some words behind each multiplication: a burst of decoding would keep multiplications out of the processor's window. Panels are
// decoded again for every 32 rows, which is cheaper than reading decoded bytes from the second-level cache.
//
// Scaling is spread in the same way: the sums of a part while the next part is multiplied, and the results of 32 rows by a panel
// while the next ones are.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "IntegerMatrix.h"
#include "quanta/Codegen/MatrixUnit.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Rows that share a task; so many rows of 4096 activations stay in the second-level cache.
constexpr int64_t kTaskRows = 256;
/// Tiles of weights in a panel, and blocks of 16 rows that are multiplied by it at a time.
constexpr int64_t kWidth = 2, kMostHeight = 2;
constexpr int64_t kUnitRows = kMostHeight * kLanes;
/// Panels of a task, if there remain enough tasks.
constexpr int64_t kTaskPanels = 4, kEnoughTasks = 32;

/// Small pieces of work to spread over other work.
using Pieces = SmallVector<std::function<void()>>;

class IntegerMatrix {
public:
  explicit IntegerMatrix(IntegerOperands &operands)
      : x(operands), b(operands.b), weight(operands.weight), element(x.isBFloat ? MatrixElement::BFloat : MatrixElement::Byte),
        registerColumns(kMatrixWords * x.wordColumns()) {
    int64_t registers = llvm::divideCeil(x.mostPartColumns(), registerColumns);
    // Blocks that end within a register are decoded twice by chunks that meet there: longer chunks for them.
    aligned = kMatrixWords % x.blockWords() == 0;
    chunk = std::min<int64_t>(registers, aligned ? 2 : 4);
    partRegisters = llvm::alignTo(registers, chunk);
    int64_t words = chunk * kMatrixWords;
    chunkBlocks = llvm::divideCeil(words + (aligned || partRegisters == chunk ? 0 : x.blockWords() - 1), x.blockWords());
    // Bytes are multiplied where they lie, if registers do not reach beyond their end.
    decodes = x.isBFloat || x.blockWords() > 1 || !x.partsAreMultiplesOf(registerColumns * chunk);
    isCentred = x.isBFloat || (decodes && weight.constantZero());
    isSpread = !x.partTable && (x.partCount() == 1 || partRegisters == chunk);
  }

  void emit() {
    packActivations();
    blocks = b.ceilDiv(x.rows, kLanes);
    Value units = b.ceilDiv(x.rows, kUnitRows);
    int64_t taskUnits = kTaskRows / kUnitRows, panels = llvm::divideCeil(weight.tiles(), kWidth);
    int64_t taskPanels = std::clamp<int64_t>(panels / kEnoughTasks, 1, kTaskPanels), tasks = llvm::divideCeil(panels, taskPanels);
    // Consecutive tasks share rows, as in emitLinear.
    b.parallel(b.mul(b.ceilDiv(units, taskUnits), tasks), [&](Value task) {
      Value firstPanel = b.mul(b.rem(task, tasks), taskPanels), firstUnit = b.mul(b.div(task, tasks), taskUnits);
      Value endPanel = b.min(b.add(firstPanel, taskPanels), b.index(panels));
      emitTask(firstPanel, endPanel, firstUnit, b.min(units, b.add(firstUnit, taskUnits)));
    });
    memref::DeallocOp::create(b, packed);
  }

private:
  //===- Activations ------------------------------------------------------------------------------------------------------===//

  /// packed [block of 16 rows, register of a part, 16 rows, columns of a register].
  void packActivations() {
    int64_t registers = x.partCount() * partRegisters;
    Type codeType = b.getIntegerType(32 / x.wordColumns());
    bool isStatic = !cast<MemRefType>(x.codes.getType()).isDynamicDim(0);
    Value blocks = b.ceilDiv(x.rows, kLanes);
    int64_t known = isStatic ? llvm::divideCeil(cast<MemRefType>(x.codes.getType()).getDimSize(0), kLanes) : ShapedType::kDynamic;
    auto type = MemRefType::get({known, registers, kLanes, registerColumns}, codeType);
    packed = memref::AllocOp::create(b, type, isStatic ? ValueRange() : ValueRange{blocks}, b.getI64IntegerAttr(64));
    Value none = b.index(0);
    b.parallel(b.mul(blocks, kLanes), [&](Value row) {
      Value exists = b.less(row, x.rows), from = b.min(row, b.sub(x.rows, b.index(1)));
      b.loop(none, b.index(x.partCount()), 1, [&](Value index) {
        IntegerOperands::Part one = x.part(index);
        Value columns = arith::SelectOp::create(b, exists, one.columns, none);
        b.loop(none, b.index(partRegisters), 1, [&](Value reg) {
          Value first = b.mul(reg, registerColumns), left = b.max(b.sub(columns, first), none);
          // Registers without columns read nothing.
          Value column = b.add(one.firstColumn, Value(arith::SelectOp::create(b, b.less(none, left), first, none)));
          vector::StoreOp::create(b, x.loadColumns(from, column, left), packed,
                                  ValueRange{b.div(row, kLanes), b.add(b.mul(index, partRegisters), reg), b.rem(row, kLanes), none});
        });
      });
    });
  }

  //===- Codes ------------------------------------------------------------------------------------------------------------===//

  /// A chunk of a part: its first register, word and block in the part, and the block's place in a tile.
  struct Chunk {
    Value reg, word, block, stored;
  };
  Chunk chunkOf(const IntegerOperands::Part &one, Value index) {
    Value reg = b.mul(index, chunk), word = b.mul(reg, kMatrixWords), block = b.div(word, x.blockWords());
    return {reg, word, block, b.add(one.firstBlock, block)};
  }

  /// Decodes a chunk of the panel to decoded[slot], a block of a tile a piece.
  Pieces decodePieces(ArrayRef<Value> tiles, Value stored, Value slot) {
    Pieces pieces;
    if (!decodes)
      return pieces;
    // Chunks may reach beyond their part, but not beyond the weight.
    bool whole = aligned && x.partsAreMultiplesOf(registerColumns * chunk);
    // Multiples are the same for as many blocks as lie in a group.
    auto factors = std::make_shared<llvm::DenseMap<std::pair<int64_t, int64_t>, IntegerTiles::Factors>>();
    int64_t group = weight.groupBlocks(), run = std::min(group, chunkBlocks);
    bool shares = weight.isMultiplied() && aligned && group % run == 0 && chunkBlocks % run == 0;
    for (int64_t block = 0; block < chunkBlocks; ++block)
      for (int64_t t = 0; t < kWidth; ++t)
        pieces.push_back([=, tile = tiles[t]] {
          Value from = b.add(stored, block);
          if (!whole)
            from = b.min(from, b.index(weight.tileBlocks() - 1));
          std::optional<IntegerTiles::Factors> given;
          if (shares) {
            auto [at, isNew] = factors->try_emplace({block / run, t});
            if (isNew)
              at->second = weight.factors(b, tile, b.div(from, group), isCentred);
            given = at->second;
          }
          for (auto [i, word] : llvm::enumerate(decode(tile, from, given)))
            b.storeTile(word, decoded, {slot, b.index(t), b.index(block * x.blockWords() + i), b.index(0)});
        });
    return pieces;
  }

  SmallVector<Value> decode(Value tile, Value block, std::optional<IntegerTiles::Factors> factors) {
    if (x.isBFloat)
      return x.decodeBFloats(tile, block, b.div(block, weight.groupBlocks()));
    return weight.decode(b, tile, block, isCentred, factors);
  }

  Value loadCodes(Value tile, int64_t t, const Chunk &at, int64_t reg, Value slot) {
    if (!decodes) {
      return emitMatrixLoad(b, element, weight.codes(), {tile, b.add(at.stored, reg * kMatrixWords), b.index(0)});
    }
    Value word = b.sub(at.word, b.mul(at.block, x.blockWords()));
    return emitMatrixLoad(b, element, decoded, {slot, b.index(t), b.add(word, reg * kMatrixWords), b.index(0)});
  }

  //===- Products ---------------------------------------------------------------------------------------------------------===//

  /// Multiplies a chunk and does the pieces meanwhile.
  SmallVector<Value> multiply(ArrayRef<Value> tiles, Value block, int64_t height, Value firstRegister, const Chunk &at, Value slot,
                              ValueRange sums, const Pieces &pieces) {
    SmallVector<Value> next(sums);
    int64_t done = 0, all = chunk * height * kWidth;
    for (int64_t reg = 0; reg < chunk; ++reg) {
      SmallVector<Value> codes(kWidth);
      for (int64_t h = 0; h < height; ++h) {
        Value activations = emitMatrixLoad(
            b, element, packed, {b.add(block, h), b.add(b.add(firstRegister, at.reg), reg), b.index(0), b.index(0)});
        for (int64_t t = 0; t < kWidth; ++t) {
          if (!codes[t])
            codes[t] = loadCodes(tiles[t], t, at, reg, slot);
          Value &sum = next[h * kWidth + t];
          sum = emitMatrixDot(b, sum, activations, codes[t], isCentred);
          int64_t count = pieces.size();
          for (int64_t piece = done * count / all; piece < (done + 1) * count / all; ++piece)
            pieces[piece]();
          ++done;
        }
      }
    }
    return next;
  }

  /// Multiplies the chunks of a part and stores the products; `slot` holds its first chunk, and the slot that is returned what begins at the
  /// block `following` of the tiles `nextTiles`.
  Value multiplyPart(ArrayRef<Value> tiles, Value block, int64_t height, Value index, Value following, ArrayRef<Value> nextTiles,
                     Value slot, function_ref<Pieces(Value chunk)> meanwhile) {
    IntegerOperands::Part one = x.part(index);
    SmallVector<Value> carried{slot};
    for (int64_t i = 0; i < height * kWidth; ++i)
      carried.push_back(emitMatrixZero(b, element));
    Value count = x.partTable ? b.ceilDiv(one.columns, chunk * registerColumns) : b.index(partChunks());
    Value firstRegister = b.mul(index, partRegisters), zero = b.index(0);
    auto step = [&](Value i, ValueRange values) {
      Value other = b.sub(b.index(1), values[0]);
      Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.add(i, 1), count);
      auto choose = [&](Value last, Value otherwise) { return Value(arith::SelectOp::create(b, isLast, last, otherwise)); };
      SmallVector<Value> decodedTiles;
      for (auto [next, tile] : llvm::zip_equal(nextTiles, tiles))
        decodedTiles.push_back(choose(next, tile));
      Value stored = choose(following, chunkOf(one, b.add(i, 1)).stored);
      Pieces pieces = interleave(decodePieces(decodedTiles, stored, other), meanwhile(i));
      SmallVector<Value> result{other};
      llvm::append_range(result, multiply(tiles, block, height, firstRegister, chunkOf(one, i), values[0], values.drop_front(), pieces));
      return result;
    };
    // A single chunk needs no loop.
    carried = partChunks() == 1 ? step(zero, carried) : b.loop(zero, count, 1, carried, step);
    for (int64_t h = 0; h < height; ++h)
      for (int64_t t = 0; t < kWidth; ++t)
        emitMatrixStore(b, carried[1 + h * kWidth + t], products, {b.index(h * kLanes), b.index(t * kLanes)});
    return carried[0];
  }

  static void run(const Pieces &pieces) {
    for (auto &piece : pieces)
      piece();
  }
  /// Both lists, evenly mixed.
  static Pieces interleave(Pieces a, Pieces other) {
    Pieces all;
    size_t i = 0, j = 0;
    while (i < a.size() || j < other.size())
      if (j == other.size() || (i < a.size() && i * other.size() <= j * a.size()))
        all.push_back(a[i++]);
      else
        all.push_back(other[j++]);
    return all;
  }

  //===- Units: up to 32 rows by a panel ----------------------------------------------------------------------------------===//

  struct Unit {
    SmallVector<Value> tiles;
    Value block, firstRow; ///< the first block of 16 rows
    Value count;           ///< of rows; none for the unit before the first
    SmallVector<IntegerTiles::Affine> affines; ///< of its last part
  };

  void emitTask(Value firstPanel, Value endPanel, Value begin, Value end) {
    if (decodes)
      decoded = b.scratch({2, kWidth, chunkBlocks * x.blockWords(), kLanes}, b.getI32Type());
    auto sums = [&](Type type) { return b.scratch({kUnitRows, kWidth * kLanes}, type); };
    products = sums(x.isBFloat ? Type(b.getF32Type()) : b.getI32Type());
    totals = x.partCount() > 1 ? sums(b.getF32Type()) : Value();
    Value zero = b.index(0), one = b.index(1), rowsOfPanel = b.sub(end, begin), lastPanel = b.sub(endPanel, one);
    if (totals)
      b.loop(zero, b.index(kUnitRows), 1, [&](Value r) { forTiles(r, [&](int64_t, ArrayRef<Value> at) { b.storeTile(b.tileOf(0.0f), totals, at); }); });
    auto tilesOf = [&](Value number) {
      Value panel = b.min(b.add(firstPanel, Value(arith::DivUIOp::create(b, number, rowsOfPanel))), lastPanel);
      SmallVector<Value> tiles;
      for (int64_t t = 0; t < kWidth; ++t)
        tiles.push_back(b.min(b.add(b.mul(panel, kWidth), t), b.index(weight.tiles() - 1)));
      return tiles;
    };
    auto unit = [&](Value number) {
      Unit result{tilesOf(number), b.mul(b.add(begin, Value(arith::RemUIOp::create(b, number, rowsOfPanel))), kMostHeight), {}, {}, {}};
      result.firstRow = b.mul(result.block, kLanes);
      result.count = b.min(b.index(kUnitRows), b.sub(x.rows, result.firstRow));
      return result;
    };
    Value count = b.mul(b.sub(endPanel, firstPanel), rowsOfPanel);
    run(decodePieces(tilesOf(zero), zero, zero));
    b.loop(zero, count, 1, ValueRange{zero}, [&](Value number, ValueRange carried) {
      Unit current = unit(number), before = unit(b.max(b.sub(number, one), zero));
      before.count = arith::SelectOp::create(b, b.less(zero, number), before.count, zero);
      if (isSpread)
        loadAffines(before);
      SmallVector<Value> nextTiles = tilesOf(b.add(number, 1));
      auto emit = [&](int64_t height) { return SmallVector<Value>{emitUnit(current, height, before, nextTiles, carried[0])}; };
      Value isPair = b.less(b.add(current.block, 1), blocks);
      return b.select(isPair, TypeRange{b.getIndexType()}, [&] { return emit(2); }, [&] { return emit(1); });
    });
    if (!isSpread)
      return;
    Unit last = unit(b.sub(count, one));
    loadAffines(last);
    b.loop(zero, last.count, 1, [&](Value r) { finishRow(last, r); });
  }

  Value emitUnit(const Unit &unit, int64_t height, const Unit &before, ArrayRef<Value> nextTiles, Value slot) {
    int64_t parts = x.partCount(), steps = parts * partChunks();
    Value zero = b.index(0), lastPart = b.index(parts - 1);
    // Lines of the result are asked for meanwhile: stores that wait for them would hold up those of decoded words.
    auto rowsOf = [&](Value part, Value chunkIndex, auto body) {
      Pieces pieces;
      int64_t rows = llvm::divideCeil(kUnitRows, steps);
      for (int64_t r = 0; r < rows; ++r)
        pieces.push_back([=] { body(b.add(b.mul(b.add(b.mul(part, partChunks()), chunkIndex), rows), r)); });
      return pieces;
    };
    auto prefetchRow = [=, tiles = unit.tiles, firstRow = unit.firstRow](Value r) {
      for (Value tile : tiles)
        memref::PrefetchOp::create(b, x.getResult(), ValueRange{lastExisting(b.add(firstRow, r)), b.mul(tile, kLanes)}, /*isWrite=*/true,
                                   /*localityHint=*/3, /*isDataCache=*/true);
    };
    auto multiplyOne = [&](Value index, Value from, function_ref<Pieces(Value)> meanwhile) {
      Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, lastPart);
      auto choose = [&](Value last, Value otherwise) { return Value(arith::SelectOp::create(b, isLast, last, otherwise)); };
      SmallVector<Value> tiles;
      for (auto [next, tile] : llvm::zip_equal(nextTiles, unit.tiles))
        tiles.push_back(choose(next, tile));
      Value following = choose(zero, x.part(b.min(b.add(index, 1), lastPart)).firstBlock);
      return multiplyPart(unit.tiles, unit.block, height, index, following, tiles, from, [&](Value chunkIndex) {
        return interleave(rowsOf(index, chunkIndex, prefetchRow), meanwhile(chunkIndex));
      });
    };
    auto finish = [=](Value r) { finishRow(before, r); };
    if (parts == 1)
      return multiplyOne(zero, slot, [&](Value chunkIndex) { return rowsOf(zero, chunkIndex, finish); });
    auto forAllRows = [&](std::function<void(Value)> body) {
      Pieces pieces;
      for (int64_t r = 0; r < kUnitRows; ++r)
        pieces.push_back([=] { body(b.index(r)); });
      return pieces;
    };
    if (isSpread) {
      slot = multiplyOne(zero, slot, [&](Value) { return forAllRows(finish); });
      return b.loop(b.index(1), b.index(parts), 1, ValueRange{slot}, [&](Value index, ValueRange carried) {
        Value part = b.sub(index, b.index(1));
        SmallVector<IntegerTiles::Affine> affines = affinesOf(unit.tiles, part);
        return SmallVector<Value>{multiplyOne(index, carried[0], [&](Value) {
          return forAllRows([=](Value r) { addRow(affines, r, lastExisting(b.add(unit.firstRow, r)), part); });
        })};
      })[0];
    }
    slot = b.loop(zero, b.index(parts), 1, ValueRange{slot}, [&](Value index, ValueRange carried) {
      Value next = multiplyOne(index, carried[0], [](Value) { return Pieces(); });
      SmallVector<IntegerTiles::Affine> affines = affinesOf(unit.tiles, index);
      b.loop(zero, unit.count, 1, [&](Value r) { addRow(affines, r, b.add(unit.firstRow, r), index); });
      return SmallVector<Value>{next};
    })[0];
    b.loop(zero, unit.count, 1, [&](Value r) {
      forTiles(r, [&](int64_t t, ArrayRef<Value> at) {
        x.store(b.loadTile(totals, at), b.add(unit.firstRow, r), unit.tiles[t]);
        b.storeTile(b.tileOf(0.0f), totals, at);
      });
    });
    return slot;
  }

  //===- Scaling ----------------------------------------------------------------------------------------------------------===//

  void forTiles(Value r, function_ref<void(int64_t, ArrayRef<Value>)> body) {
    for (int64_t t = 0; t < kWidth; ++t)
      body(t, {r, b.index(t * kLanes)});
  }
  Value lastExisting(Value row) { return b.min(row, b.sub(x.rows, b.index(1))); }

  SmallVector<IntegerTiles::Affine> affinesOf(ArrayRef<Value> tiles, Value part) {
    SmallVector<IntegerTiles::Affine> affines;
    for (Value tile : tiles) {
      affines.push_back(x.affine(tile, x.part(part)));
      if (isCentred) // zero has been subtracted from the codes
        affines.back().zero = Value();
    }
    return affines;
  }
  void loadAffines(Unit &unit) { unit.affines = affinesOf(unit.tiles, b.index(x.partCount() - 1)); }

  /// `total` and the products of row r of a unit, which is `row` of the activations.
  Value sumUp(const IntegerTiles::Affine &affine, ArrayRef<Value> at, Value row, Value part, Value total) {
    Value sum = affine.zero || affine.offset ? b.splat(b.load(x.columnSums, {row, part})) : Value();
    return x.addGroup(affine, b.loadTile(products, at), sum, total);
  }

  void addRow(ArrayRef<IntegerTiles::Affine> affines, Value r, Value row, Value part) {
    forTiles(r, [&](int64_t t, ArrayRef<Value> at) { b.storeTile(sumUp(affines[t], at, row, part, b.loadTile(totals, at)), totals, at); });
  }

  /// Adds the last part and stores the result, if the unit has a row r; then totals are zero again.
  void finishRow(const Unit &unit, Value r) {
    Value exists = b.less(r, unit.count), row = lastExisting(b.add(unit.firstRow, r)), part = b.index(x.partCount() - 1);
    forTiles(b.min(r, b.index(kUnitRows - 1)), [&](int64_t t, ArrayRef<Value> at) {
      Value total = totals ? b.loadTile(totals, at) : b.tileOf(0.0f);
      x.store(sumUp(unit.affines[t], at, row, part, total), row, unit.tiles[t], exists);
      if (totals)
        b.storeTile(b.tileOf(0.0f), totals, at);
    });
  }

  IntegerOperands &x;
  KernelBuilder &b;
  const IntegerTiles &weight;
  MatrixElement element;
  int64_t registerColumns;
  int64_t chunk, partRegisters, chunkBlocks; ///< registers of a chunk and of a part, blocks that a chunk decodes
  bool aligned, decodes;
  bool isCentred; ///< zero is subtracted from codes as they are decoded
  bool isSpread;  ///< sums are scaled while others are made
  int64_t partChunks() const { return partRegisters / chunk; }
  Value blocks; ///< of 16 rows
  Value packed, decoded, products, totals;
};

} // namespace

std::optional<int64_t> mlir::quanta::getFewestMatrixRows(const ::quanta::TargetLevel &level, const IntegerTiles &weight) {
  if (level.matrix == ::quanta::MatrixUnit::None)
    return std::nullopt;
  // Measured: the fewer bits, the less there is to gain from reading weights as they lie.
  return weight.uniform().getBits() <= 2 ? 2 : 5;
}

void mlir::quanta::emitIntegerMatrix(IntegerOperands &operands) { IntegerMatrix(operands).emit(); }
