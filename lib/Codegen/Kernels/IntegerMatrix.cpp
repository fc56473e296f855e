//===- IntegerMatrix.cpp - Integer linear layers on a matrix unit -----------------------------------------------------------===//
//
// Activations are copied once into registers' order, filled up with zeros to 16 rows and, part by part, to whole registers and chunks:
// what the codes beyond a part are does not matter then. 32 rows by a panel of two tiles of weights stay in four registers of sums while the columns go by,
// a chunk at a time. While one chunk is multiplied, the next is decoded to bytes in the first-level cache, some words behind each
// multiplication: a burst of decoding would keep multiplications out of the processor's window. Panels are decoded again for every 32 rows,
// which is cheaper than reading decoded bytes from the second-level cache.
//
// With several parts the sums of a part are scaled and added up while the next part is multiplied, a few rows behind each multiplication.
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

/// Small pieces of work to spread over other work.
using Pieces = SmallVector<std::function<void()>>;

class IntegerMatrix {
public:
  explicit IntegerMatrix(IntegerOperands &operands) : x(operands), b(operands.b), weight(operands.weight) {
    int64_t registers = llvm::divideCeil(x.mostPartColumns(), kMatrixColumns);
    // Blocks that end within a register are decoded twice by chunks that meet there: longer chunks for them.
    aligned = kMatrixWords % weight.blockWords() == 0;
    chunk = std::min<int64_t>(registers, aligned ? 2 : 4);
    partRegisters = llvm::alignTo(registers, chunk);
    int64_t words = chunk * kMatrixWords;
    chunkBlocks = llvm::divideCeil(words + (aligned || partRegisters == chunk ? 0 : weight.blockWords() - 1), weight.blockWords());
    // Bytes are multiplied where they lie, if registers do not reach beyond their end.
    decodes = weight.blockWords() > 1 || !x.partsAreMultiplesOf(kMatrixColumns * chunk);
  }

  void emit() {
    packActivations();
    Value blocks = b.ceilDiv(x.rows, kLanes);
    int64_t panels = llvm::divideCeil(weight.tiles(), kWidth), taskBlocks = kTaskRows / kLanes;
    // Consecutive tasks share rows, as in emitLinear.
    b.parallel(b.mul(b.ceilDiv(blocks, taskBlocks), panels), [&](Value task) {
      Value panel = b.rem(task, panels), begin = b.mul(b.div(task, panels), taskBlocks);
      emitTask(panel, begin, b.min(blocks, b.add(begin, taskBlocks)));
    });
    memref::DeallocOp::create(b, packed);
  }

private:
  //===- Activations ------------------------------------------------------------------------------------------------------===//

  /// packed [block of 16 rows, register of a part, 16 rows, 64 columns].
  void packActivations() {
    int64_t registers = x.partCount() * partRegisters;
    bool isStatic = !cast<MemRefType>(x.codes.getType()).isDynamicDim(0);
    Value blocks = b.ceilDiv(x.rows, kLanes);
    int64_t known = isStatic ? llvm::divideCeil(cast<MemRefType>(x.codes.getType()).getDimSize(0), kLanes) : ShapedType::kDynamic;
    auto type = MemRefType::get({known, registers, kLanes, kMatrixColumns}, b.getI8Type());
    packed = memref::AllocOp::create(b, type, isStatic ? ValueRange() : ValueRange{blocks}, b.getI64IntegerAttr(64));
    auto bytes = VectorType::get({kMatrixColumns}, b.getI8Type()), mask = VectorType::get({kMatrixColumns}, b.getI1Type());
    Value zeros = arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, int8_t(0))), none = b.index(0);
    b.parallel(b.mul(blocks, kLanes), [&](Value row) {
      Value exists = b.less(row, x.rows), from = b.min(row, b.sub(x.rows, b.index(1)));
      b.loop(none, b.index(x.partCount()), 1, [&](Value index) {
        IntegerOperands::Part one = x.part(index);
        Value columns = arith::SelectOp::create(b, exists, one.columns, none);
        b.loop(none, b.index(partRegisters), 1, [&](Value reg) {
          Value first = b.mul(reg, kMatrixColumns), left = b.max(b.sub(columns, first), none);
          // Registers without columns read nothing.
          Value column = b.add(one.firstColumn, Value(arith::SelectOp::create(b, b.less(none, left), first, none)));
          Value lanes = vector::CreateMaskOp::create(b, mask, ValueRange{left});
          Value loaded = vector::MaskedLoadOp::create(b, bytes, x.codes, ValueRange{from, column}, lanes, zeros);
          vector::StoreOp::create(b, loaded, packed,
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
    Value reg = b.mul(index, chunk), word = b.mul(reg, kMatrixWords), block = b.div(word, weight.blockWords());
    return {reg, word, block, b.add(one.firstBlock, block)};
  }

  /// Decodes a chunk of the panel to decoded[slot] and asks for those far behind it, a block of a tile a piece.
  Pieces decodePieces(ArrayRef<Value> tiles, const Chunk &at, Value slot) {
    Pieces pieces;
    // Chunks may reach beyond their part, but not beyond the weight.
    bool whole = aligned && x.partsAreMultiplesOf(kMatrixColumns * chunk);
    auto ahead = std::make_shared<Value>();
    for (int64_t block = 0; block < chunkBlocks; ++block)
      for (int64_t t = 0; t < kWidth; ++t)
        pieces.push_back([=, tile = tiles[t], stored = at.stored] {
          Value from = b.add(stored, block);
          if (!whole)
            from = b.min(from, b.index(weight.tileBlocks() - 1));
          if (!*ahead)
            *ahead = weight.lineAhead(b, stored, kWidth);
          weight.prefetch(b, tile, b.add(*ahead, block * weight.blockLines()));
          if (!decodes)
            return;
          for (auto [i, word] : llvm::enumerate(weight.decode(b, tile, from)))
            b.storeTile(word, decoded, {slot, b.index(t), b.index(block * weight.blockWords() + i), b.index(0)});
        });
    return pieces;
  }

  Value loadCodes(Value tile, int64_t t, const Chunk &at, int64_t reg, Value slot) {
    if (!decodes) {
      return emitMatrixLoad(b, weight.codes(), {tile, b.add(at.stored, reg * kMatrixWords), b.index(0)});
    }
    Value word = b.sub(at.word, b.mul(at.block, weight.blockWords()));
    return emitMatrixLoad(b, decoded, {slot, b.index(t), b.add(word, reg * kMatrixWords), b.index(0)});
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
            b, packed, {b.add(block, h), b.add(b.add(firstRegister, at.reg), reg), b.index(0), b.index(0)});
        for (int64_t t = 0; t < kWidth; ++t) {
          if (!codes[t])
            codes[t] = loadCodes(tiles[t], t, at, reg, slot);
          Value &sum = next[h * kWidth + t];
          sum = emitMatrixDot(b, sum, activations, codes[t]);
          int64_t count = pieces.size();
          for (int64_t piece = done * count / all; piece < (done + 1) * count / all; ++piece)
            pieces[piece]();
          ++done;
        }
      }
    }
    return next;
  }

  /// Rows of 32 × 32 products: a part's sums, times scales and with zero points, are added to `totals`.
  Pieces addPieces(ArrayRef<Value> tiles, Value firstRow, int64_t height, const IntegerOperands::Part &one, Value index) {
    auto affines = std::make_shared<SmallVector<IntegerTiles::Affine>>();
    Pieces pieces;
    for (int64_t r = 0; r < height * kLanes; ++r)
      pieces.push_back([=, tiles = SmallVector<Value>(tiles)] {
        if (affines->empty())
          for (Value tile : tiles)
            affines->push_back(x.affine(tile, one));
        for (int64_t t = 0; t < kWidth; ++t) {
          SmallVector<Value> at{b.index(r), b.index(t * kLanes)};
          b.storeTile(addRow((*affines)[t], at, b.add(firstRow, r), index, b.loadTile(totals, at)), totals, at);
        }
      });
    return pieces;
  }

  Value addRow(const IntegerTiles::Affine &affine, ArrayRef<Value> at, Value row, Value part, Value total) {
    Value sum = b.splat(b.load(x.columnSums, {b.min(row, b.sub(x.rows, b.index(1))), part}));
    return x.addGroup(affine, b.loadTile(products, at), sum, total);
  }

  /// Multiplies chunks of the part `index`; the chunk behind them is `following`'s first. Returns the slot of that one; the products are stored.
  Value multiplyPart(ArrayRef<Value> tiles, Value block, int64_t height, Value index, const IntegerOperands::Part &one,
                     const IntegerOperands::Part &following, Value slot, function_ref<Pieces(Value chunk)> meanwhile) {
    SmallVector<Value> carried{slot};
    for (int64_t i = 0; i < height * kWidth; ++i)
      carried.push_back(emitMatrixZero(b));
    int64_t chunks = partRegisters / chunk;
    Value count = x.partTable ? b.ceilDiv(one.columns, chunk * kMatrixColumns) : b.index(chunks);
    Value firstRegister = b.mul(index, partRegisters), zero = b.index(0), unit = b.index(1);
    auto step = [&](Value i, ValueRange values) {
      Chunk at = chunkOf(one, i), next = at;
      Value other = b.sub(unit, values[0]);
      Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.add(i, 1), count);
      next.stored = arith::SelectOp::create(b, isLast, following.firstBlock, chunkOf(one, b.add(i, 1)).stored);
      Pieces pieces = interleave(decodePieces(tiles, next, other), meanwhile(i));
      SmallVector<Value> result{other};
      llvm::append_range(result, multiply(tiles, block, height, firstRegister, at, values[0], values.drop_front(), pieces));
      return result;
    };
    // A single chunk needs no loop.
    carried = chunks == 1 ? step(zero, carried) : b.loop(zero, count, 1, carried, step);
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

  //===- Blocks of rows ---------------------------------------------------------------------------------------------------===//

  void emitTask(Value panel, Value begin, Value end) {
    SmallVector<Value> tiles;
    for (int64_t t = 0; t < kWidth; ++t)
      tiles.push_back(b.min(b.add(b.mul(panel, kWidth), t), b.index(weight.tiles() - 1)));
    if (decodes)
      decoded = b.scratch({2, kWidth, chunkBlocks * weight.blockWords(), kLanes}, b.getI32Type());
    auto sums = [&](Type type) { return b.scratch({kMostHeight * kLanes, kWidth * kLanes}, type); };
    products = sums(b.getI32Type());
    totals = x.partCount() > 1 ? sums(b.getF32Type()) : Value();
    Value zero = b.index(0), slot = zero;
    if (decodes)
      run(decodePieces(tiles, chunkOf(x.part(zero), zero), slot));
    Value pairs = b.add(begin, b.mul(b.div(b.sub(end, begin), kMostHeight), kMostHeight));
    slot = b.loop(begin, pairs, kMostHeight, ValueRange{slot}, [&](Value block, ValueRange carried) {
      return SmallVector<Value>{emitBlock(tiles, block, kMostHeight, carried[0])};
    })[0];
    b.ifThen(b.less(pairs, end), [&] { emitBlock(tiles, pairs, 1, slot); });
  }

  /// 16 · `height` rows by the panel. `slot` holds its first chunk, and the slot that is returned, again.
  Value emitBlock(ArrayRef<Value> tiles, Value block, int64_t height, Value slot) {
    Value zero = b.index(0), firstRow = b.mul(block, kLanes), last = b.sub(x.rows, b.index(1));
    int64_t parts = x.partCount(), height16 = height * kLanes;
    auto following = [&](Value index) {
      Value next = b.add(index, 1);
      return x.part(arith::SelectOp::create(b, b.less(next, b.index(parts)), next, zero));
    };
    // Lines of the result are asked for meanwhile, some rows a chunk.
    int64_t chunks = partRegisters / chunk, rowsOfChunk = llvm::divideCeil(height16, chunks * parts);
    auto prefetchPieces = [&](Value index, Value chunkIndex) {
      Pieces pieces;
      for (int64_t r = 0; r < rowsOfChunk; ++r)
        pieces.push_back([=, tiles = SmallVector<Value>(tiles)] {
          Value row = b.add(b.mul(b.add(b.mul(index, chunks), chunkIndex), rowsOfChunk), r);
          for (Value tile : tiles)
            memref::PrefetchOp::create(b, x.getResult(), ValueRange{b.min(b.add(firstRow, row), last), b.mul(tile, kLanes)}, /*isWrite=*/true,
                                       /*localityHint=*/3, /*isDataCache=*/true);
        });
      return pieces;
    };
    auto multiplyOne = [&](Value index, Value from, function_ref<Pieces()> meanwhile) {
      return multiplyPart(tiles, block, height, index, x.part(index), following(index), from, [&](Value chunkIndex) {
        return interleave(prefetchPieces(index, chunkIndex), meanwhile());
      });
    };
    auto nothing = [] { return Pieces(); };
    Value count = b.min(b.index(height16), b.sub(x.rows, firstRow));
    auto forRows = [&](function_ref<void(Value)> body) { b.loop(zero, count, 1, body); };
    auto forTiles = [&](Value r, function_ref<void(int64_t, ArrayRef<Value>)> body) {
      for (int64_t t = 0; t < kWidth; ++t)
        body(t, {r, b.index(t * kLanes)});
    };
    // With one part its sums are all.
    auto affinesOf = [&](Value index) {
      SmallVector<IntegerTiles::Affine> affines;
      for (Value tile : tiles)
        affines.push_back(x.affine(tile, x.part(index)));
      return affines;
    };
    if (parts == 1) {
      slot = multiplyOne(zero, slot, nothing);
      SmallVector<IntegerTiles::Affine> affines = affinesOf(zero);
      forRows([&](Value r) {
        forTiles(r, [&](int64_t t, ArrayRef<Value> at) {
          Value row = b.add(firstRow, r);
          x.store(addRow(affines[t], at, row, zero, b.tileOf(0.0f)), row, tiles[t]);
        });
      });
      return slot;
    }
    forRows([&](Value r) { forTiles(r, [&](int64_t, ArrayRef<Value> at) { b.storeTile(b.tileOf(0.0f), totals, at); }); });
    auto addAll = [&](Value index) {
      run(addPieces(tiles, firstRow, height, x.part(index), index));
    };
    if (chunks == 1 && !x.partTable) {
      slot = multiplyOne(zero, slot, nothing);
      slot = b.loop(b.index(1), b.index(parts), 1, ValueRange{slot}, [&](Value index, ValueRange carried) {
        Value before = b.sub(index, b.index(1));
        return SmallVector<Value>{multiplyOne(index, carried[0], [&] { return addPieces(tiles, firstRow, height, x.part(before), before); })};
      })[0];
      addAll(b.index(parts - 1));
    } else {
      slot = b.loop(zero, b.index(parts), 1, ValueRange{slot}, [&](Value index, ValueRange carried) {
        Value next = multiplyOne(index, carried[0], nothing);
        addAll(index);
        return SmallVector<Value>{next};
      })[0];
    }
    forRows([&](Value r) {
      forTiles(r, [&](int64_t t, ArrayRef<Value> at) { x.store(b.loadTile(totals, at), b.add(firstRow, r), tiles[t]); });
    });
    return slot;
  }

  IntegerOperands &x;
  KernelBuilder &b;
  const IntegerTiles &weight;
  int64_t chunk, partRegisters, chunkBlocks; ///< registers of a chunk and of a part, blocks that a chunk decodes
  bool aligned, decodes;
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
