//===- Linear.cpp - Rows times a constant weight matrix -------------------------------------------------------------------===//
#include "BFloatLinear.h"
#include "FloatRow.h"
#include "Gemm.h"
#include "IntegerLinear.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

static void emitRows(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.inputs[0], bias = args.inputs.size() > 1 ? args.inputs[1] : Value(), y = args.outputs[0];
  WeightTiles weight(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights);
  int64_t panels = llvm::divideCeil(weight.tiles(), b.registers.tiles);
  Value rows = b.dim(x, 0);

  // Consecutive tasks share a block of rows: a thread's share of the tasks reads it from its own cache.
  b.parallel(b.mul(b.ceilDiv(rows, kRowBlock), panels), [&](Value task) {
    Value panel = b.rem(task, panels), rowBegin = b.mul(b.div(task, panels), kRowBlock);
    Value rowEnd = b.min(rows, b.add(rowBegin, kRowBlock));
    Value column = b.mul(panel, b.registers.columns()), valid = b.sub(b.index(weight.rows()), column);
    SmallVector<Value> tiles, biasTiles;
    for (int64_t c = 0; c < b.registers.tiles; ++c) {
      // The second tile of the last panel may not exist; its columns are computed from the first and never stored.
      tiles.push_back(b.min(b.add(b.mul(panel, b.registers.tiles), c), b.index(weight.tiles() - 1)));
      biasTiles.push_back(bias ? b.loadMasked(bias, {b.add(column, c * kLanes)}, b.mask(b.sub(valid, b.index(c * kLanes))), b.tileOf(0.0f))
                               : b.tileOf(0.0f));
    }
    Value scratch = weight.scratch(b, b.registers.tiles);
    weight.forChunks(b, [&](Value begin, Value count, Value first) {
      for (int64_t c = 0; c < b.registers.tiles; ++c)
        weight.decode(b, tiles[c], begin, b.add(begin, count), scratch, c);
      GemmTile tile;
      tile.a = [&](Value row, Value k) { return b.load(x, {row, weight.column(b, b.add(begin, k))}); };
      tile.b = [&](Value k, int64_t c) { return weight.loadColumn(b, tiles[c], begin, k, scratch, c); };
      tile.initial = [&](Value, int64_t c) { return biasTiles[c]; };
      tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{row, b.add(column, c * kLanes)}; };
      tile.result = y;
      tile.chunk = count;
      tile.first = first;
      tile.valid = valid;
      tile.alwaysFull = weight.rows() % b.registers.columns() == 0;
      emitGemmRows(b, tile, rowBegin, rowEnd);
    });
  });
}

void mlir::quanta::emitLinear(KernelBuilder &b, const KernelArgs &args) {
  Attribute activation = args.config.get("activation");
  (!activation ? emitFloatLinear : isa<NarrowAttr>(activation) ? emitBFloatLinear : emitIntegerLinear)(b, args);
}

void mlir::quanta::emitFloatLinear(KernelBuilder &b, const KernelArgs &args) {
  Value rows = b.dim(args.inputs[0], 0), one = b.index(1);
  APInt constant;
  bool known = matchPattern(rows, m_ConstantInt(&constant));
  if (!hasFloatRow(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase()), args.getInts("shape")) || (known && constant != 1))
    return emitRows(b, args);
  if (known)
    return emitFloatRow(b, args);
  b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rows, one), [&] { emitFloatRow(b, args); }, [&] { emitRows(b, args); });
}
