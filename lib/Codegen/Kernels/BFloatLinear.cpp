//===- BFloatLinear.cpp - Activations of bf16 times encoded weights ---------------------------------------------------------===//
//
// A code less its zero point is an integer of magnitude 256 at most, which bf16 has; so is each product with a bf16 exact in f32, and only
// sums are rounded. A panel of tiles is decoded to pairs of bf16 for a piece of the columns, short enough that it stays in the
// second-level cache beside the activations of all rows that are multiplied by it. A piece ends where a group does: its sums are scaled and
// added to totals. On a matrix unit the schedule is that of bytes (IntegerMatrix.cpp).
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "BFloatLinear.h"
#include "FloatRow.h"
#include "Gemm.h"
#include "IntegerMatrix.h"
#include "quanta/Codegen/BFloatDot.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Columns of a decoded panel, or about so many: 128 KiB, and 512 KiB of the activations that meet it.
constexpr int64_t kPanelColumns = 2048;
/// Rows that share a decoded panel.
constexpr int64_t kRowsOfPanel = 128;

class BFloatLinear : IntegerOperands {
public:
  using IntegerOperands::ifRows;

  BFloatLinear(KernelBuilder &b, const KernelArgs &args) : IntegerOperands(b, args), width(b.registers.tiles) {
    int64_t most = std::max<int64_t>(1, kPanelColumns / weight.blockColumns()), blocks = weight.groupBlocks();
    groupPieces = llvm::divideCeil(blocks, most);
    pieceBlocks = llvm::divideCeil(blocks, groupPieces);
    pieces = weight.groups() * groupPieces;
    panelPieces = std::clamp<int64_t>(most / pieceBlocks, 1, pieces);
    endsInBlocks = weight.columns() % weight.blockColumns() || (weight.groups() > 1 && weight.groupColumns() % weight.blockColumns());
  }

  void emit() {
    emitColumnSums();
    if (std::optional<int64_t> fewest = getFewestMatrixRows(*b.level, weight))
      ifRows(*fewest, [&] { emitIntegerMatrix(*this); }, [&] { emitPanels(); });
    else
      emitPanels();
    freeColumnSums();
  }

private:
  void emitPanels() {
    int64_t panels = llvm::divideCeil(weight.tiles(), width);
    // Consecutive tasks share rows, as in emitLinear.
    b.parallel(b.mul(b.ceilDiv(rows, kRowsOfPanel), panels), [&](Value task) {
      rowBegin = b.mul(b.div(task, panels), kRowsOfPanel);
      rowEnd = b.min(rows, b.add(rowBegin, kRowsOfPanel));
      Value firstTile = b.mul(b.rem(task, panels), width);
      tiles.clear();
      for (int64_t t = 0; t < width; ++t)
        tiles.push_back(b.min(b.add(firstTile, t), b.index(weight.tiles() - 1)));
      decoded = b.scratch({panelPieces * piecePairs(), width, kLanes}, b.getI32Type());
      totals = b.scratch({kRowsOfPanel, width, kLanes}, b.getF32Type());
      emitTask();
    });
  }

  /// Consecutive columns of a group, whose sums are scaled together.
  struct Piece {
    Value group, firstBlock, blocks, firstColumn, columns;
    Value isFirst; ///< of its group
  };
  Piece piece(Value index) {
    Value group = b.div(index, groupPieces), block = b.mul(b.rem(index, groupPieces), pieceBlocks);
    Value none = b.index(0), column = b.mul(block, weight.blockColumns());
    return {group, b.add(b.mul(group, weight.groupBlocks()), block),
            b.max(none, b.min(b.index(pieceBlocks), b.sub(weight.groupBlocks(b, group), block))),
            b.add(b.mul(group, weight.groupColumns()), column),
            b.max(none, b.min(b.index(pieceBlocks * weight.blockColumns()), b.sub(weight.groupColumns(b, group), column))),
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, block, none)};
  }
  int64_t piecePairs() const { return pieceBlocks * blockWords(); }

  void emitTask() {
    auto forTotals = [&](function_ref<void(Value, Value)> body) {
      b.loop(b.index(0), b.sub(rowEnd, rowBegin), 1, [&](Value row) { b.loop(b.index(0), b.index(width), 1, [&](Value t) { body(row, t); }); });
    };
    forTotals([&](Value row, Value t) { b.storeTile(b.tileOf(0.0f), totals, {row, t, b.index(0)}); });
    b.loop(b.index(0), b.index(pieces), panelPieces, [&](Value first) {
      Value count = b.min(b.index(panelPieces), b.sub(b.index(pieces), first));
      b.loop(b.index(0), count, 1, [&](Value slot) { decode(piece(b.add(first, slot)), b.mul(slot, piecePairs())); });
      forRowBlocks(b, rowBegin, rowEnd, b.registers.rows, [&](Value row, int64_t rowCount) {
        b.loop(b.index(0), count, 1, [&](Value slot) { multiply(row, rowCount, b.add(first, slot), b.mul(slot, piecePairs())); });
      });
    });
    forTotals([&](Value row, Value t) {
      Value tile = b.min(b.add(tiles.front(), t), b.index(weight.tiles() - 1));
      store(b.loadTile(totals, {row, t, b.index(0)}), b.add(rowBegin, row), tile);
    });
  }

  /// A piece of the panel's tiles, pair after pair of columns.
  void decode(const Piece &one, Value firstPair) {
    b.loop(b.index(0), one.blocks, 1, [&](Value block) {
      Value stored = b.add(one.firstBlock, block), ahead = weight.lineAhead(b, stored, width);
      for (auto [t, tile] : llvm::enumerate(tiles)) {
        weight.prefetch(b, tile, ahead);
        for (auto [i, pair] : llvm::enumerate(decodeBFloats(tile, stored, one.group))) {
          Value at = b.add(b.mul(block, blockWords()), i);
          if (endsInBlocks)
            pair = b.andi(pair, b.splat(existing(b.sub(one.columns, b.mul(at, 2)))));
          b.storeTile(pair, decoded, {b.add(firstPair, at), b.index(t), b.index(0)});
        }
      }
    });
  }

  /// A mask of the columns of a pair that exist, if so many are left.
  Value existing(Value left) {
    auto word = [&](int32_t value) { return Value(arith::ConstantIntOp::create(b, b.getI32Type(), value)); };
    Value some = arith::SelectOp::create(b, b.less(b.index(0), left), word(0xffff), word(0));
    return arith::SelectOp::create(b, b.less(b.index(1), left), word(-1), some);
  }

  /// The activations of a row in two columns, in every lane.
  Value loadPair(Value row, Value column) {
    auto two = VectorType::get({2}, b.getI16Type()), word = VectorType::get({1}, b.getI32Type());
    Value loaded = vector::LoadOp::create(b, two, codes, ValueRange{row, column});
    return vector::BroadcastOp::create(b, b.i32Tile(), Value(vector::BitCastOp::create(b, word, loaded)));
  }

  /// Adds a piece to the totals of so many rows.
  void multiply(Value row, int64_t count, Value index, Value firstPair) {
    Piece one = piece(index);
    SmallVector<Value> sums(count * width, b.tileOf(0.0f));
    sums = b.loop(b.index(0), b.ceilDiv(one.columns, 2), 1, sums, [&](Value pair, ValueRange running) {
      SmallVector<Value> weights, next;
      for (int64_t t = 0; t < width; ++t)
        weights.push_back(b.loadTile(decoded, {b.add(firstPair, pair), b.index(t), b.index(0)}));
      Value column = b.add(one.firstColumn, b.mul(pair, 2));
      for (int64_t r = 0; r < count; ++r) {
        Value x = loadPair(b.add(row, r), column);
        for (int64_t t = 0; t < width; ++t)
          next.push_back(emitBFloatDot(b, running[r * width + t], weights[t], x));
      }
      return next;
    });
    for (int64_t t = 0; t < width; ++t) {
      IntegerTiles::Affine affine = weight.affine(b, tiles[t], one.group);
      for (int64_t r = 0; r < count; ++r) {
        Value at = b.add(b.sub(row, rowBegin), r), tile = b.index(t), lane = b.index(0);
        Value columnSum; // of the group, once
        if (affine.offset)
          columnSum = b.splat(arith::SelectOp::create(b, one.isFirst, b.load(columnSums, {b.add(row, r), one.group}), b.f32(0)));
        b.storeTile(addScaled(affine, sums[r * width + t], columnSum, b.loadTile(totals, {at, tile, lane})), totals, {at, tile, lane});
      }
    }
  }

  int64_t width, groupPieces, pieceBlocks, pieces, panelPieces;
  bool endsInBlocks; ///< some group does
  Value rowBegin, rowEnd, decoded, totals;
  SmallVector<Value> tiles;
};

/// As floats.
void emitWidened(KernelBuilder &b, const KernelArgs &args) {
  Value codes = args.inputs[0], rows = b.dim(codes, 0);
  int64_t columns = getMatrixShape(args.getInts("shape")).second, stored = llvm::alignTo(columns, kLanes);
  auto type = MemRefType::get({cast<MemRefType>(codes.getType()).getDimSize(0), stored}, b.getF32Type());
  Value floats = memref::AllocOp::create(b, type, type.isDynamicDim(0) ? ValueRange(rows) : ValueRange(), b.getI64IntegerAttr(64));
  int64_t perTask = std::max<int64_t>(1, 16384 / stored);
  b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
      b.loop(b.index(0), b.index(stored), kLanes, [&](Value column) {
        b.storeTile(widenBFloats(b, b.loadTile(codes, {row, column})), floats, {row, column});
      });
    });
  });
  KernelArgs widened = args;
  SmallVector<Value> inputs(args.inputs);
  inputs.front() = floats;
  widened.inputs = inputs;
  emitFloatLinear(b, widened);
  memref::DeallocOp::create(b, floats);
}

} // namespace

bool mlir::quanta::hasBFloatLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape) {
  auto [rows, columns] = getMatrixShape(shape);
  return isa_and_present<NarrowAttr>(activation) && isa_and_present<UniformAttr>(weight) && rows > 0 && columns > 0;
}

void mlir::quanta::emitBFloatLinear(KernelBuilder &b, const KernelArgs &args) {
  auto widen = [&] { emitWidened(b, args); };
  if (!multipliesBFloats(*b.level))
    return widen();
  BFloatLinear linear(b, args);
  if (!hasFloatRow(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase()), args.getInts("shape")))
    return linear.emit();
  linear.ifRows(2, [&] { linear.emit(); }, widen);
}
