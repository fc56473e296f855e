//===- Matmul.cpp - Products of two activations, batched ------------------------------------------------------------------===//
#include "Gemm.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

/// Rows of the right factor that are asked for ahead of their use.
static constexpr int64_t kRowsAhead = 16;
/// Rows of the left factor that share a copied panel of the right one: 256 × 512 floats stay in the second-level cache.
static constexpr int64_t kRowsOfPanel = 256;

/// At distance d, lanes whose bit d is clear come from row i, the others from row i + d.
void mlir::quanta::transposeTiles(KernelBuilder &b, SmallVectorImpl<Value> &rows) {
  for (int64_t distance : {8, 4, 2, 1}) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      bool upper = lane & distance;
      low.push_back(upper ? kLanes + lane - distance : lane);
      high.push_back(upper ? kLanes + lane : lane + distance);
    }
    for (int64_t i = 0; i < kLanes; ++i) {
      if (i & distance)
        continue;
      Value first = rows[i], second = rows[i + distance];
      rows[i] = b.pick(first, second, low);
      rows[i + distance] = b.pick(first, second, high);
    }
  }
}

std::pair<Value, Value> mlir::quanta::matrixOf(KernelBuilder &b, Value operand, Value batch, Value head, Value heads) {
  auto type = cast<MemRefType>(operand.getType());
  return {type.getDimSize(0) == 1 ? b.index(0) : batch,
          type.getDimSize(1) == 1 ? b.index(0) : b.div(b.mul(head, b.dim(operand, 1)), heads)};
}

void mlir::quanta::emitMatmul(KernelBuilder &b, const KernelArgs &args) {
  Value lhs = args.inputs[0], rhs = args.inputs[1], y = args.outputs[0];
  bool transposed = args.has("transpose_rhs");
  float scale = args.getFloat("scale");
  Value heads = b.dim(y, 1), rows = b.dim(y, 2), columns = b.dim(y, 3), depth = b.dim(lhs, 3);
  Value panels = b.ceilDiv(columns, b.registers.columns()), blocks = b.ceilDiv(rows, kRowsOfPanel);
  Value perMatrix = b.mul(panels, blocks);

  b.parallel(b.mul(b.mul(b.dim(y, 0), heads), perMatrix), [&](Value task) {
    Value matrix = b.div(task, perMatrix), within = b.rem(task, perMatrix);
    Value i = b.div(matrix, heads), h = b.rem(matrix, heads);
    Value rowBegin = b.mul(b.div(within, panels), kRowsOfPanel), column = b.mul(b.rem(within, panels), b.registers.columns());
    Value rowEnd = b.min(rows, b.add(rowBegin, kRowsOfPanel)), valid = b.sub(columns, column);
    Value li, lh, ri, rh;
    std::tie(li, lh) = matrixOf(b, lhs, i, h, heads);
    std::tie(ri, rh) = matrixOf(b, rhs, i, h, heads);
    Value panel = b.scratch({b.registers.tiles, kChunk, kLanes}, b.getF32Type());
    Value zero = b.tileOf(0.0f), factor = b.tileOf(scale);
    auto keep = [&](Value tile, Value k, int64_t c) {
      b.storeTile(scale == 1.0f ? tile : b.mulf(tile, factor), panel, {b.index(c), k, b.index(0)});
    };

    emitChunks(b, depth, kChunk, [&](Value begin, Value count, Value first) {
      auto tileColumn = [&](int64_t c) { return b.add(column, c * kLanes); };
      if (!transposed) {
        b.loop(b.index(0), count, 1, [&](Value k) {
          for (int64_t c = 0; c < b.registers.tiles; ++c) {
            b.prefetch(rhs, {ri, rh, b.add(begin, b.add(k, kRowsAhead)), tileColumn(c)}); // rows of a wide matrix lie far apart
            keep(b.loadMasked(rhs, {ri, rh, b.add(begin, k), tileColumn(c)}, b.mask(b.sub(valid, b.index(c * kLanes))), zero), k, c);
          }
        });
      } else {
        Value lastColumn = b.sub(columns, b.index(1));
        for (int64_t c = 0; c < b.registers.tiles; ++c)
          b.loop(b.index(0), count, kLanes, [&](Value k) {
            Value mask = b.mask(b.sub(count, k));
            SmallVector<Value> tiles;
            for (int64_t lane = 0; lane < kLanes; ++lane)
              tiles.push_back(b.loadMasked(rhs, {ri, rh, b.min(b.add(tileColumn(c), lane), lastColumn), b.add(begin, k)}, mask, zero));
            transposeTiles(b, tiles);
            for (int64_t lane = 0; lane < kLanes; ++lane)
              keep(tiles[lane], b.add(k, lane), c);
          });
      }
      GemmTile tile;
      tile.a = [&](Value row, Value k) { return b.load(lhs, {li, lh, row, b.add(begin, k)}); };
      tile.b = [&](Value k, int64_t c) { return b.loadTile(panel, {b.index(c), k, b.index(0)}); };
      tile.initial = [&](Value, int64_t) { return b.tileOf(0.0f); };
      tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{i, h, row, b.add(column, c * kLanes)}; };
      tile.result = y;
      tile.chunk = count;
      tile.first = first;
      tile.valid = valid;
      emitGemmRows(b, tile, rowBegin, rowEnd);
    });
  });
}
