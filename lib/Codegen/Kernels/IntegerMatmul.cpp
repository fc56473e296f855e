//===- IntegerMatmul.cpp - Products of two encoded activations, batched -----------------------------------------------------===//
#include "CodedProduct.h"
#include "Gemm.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

/// Rows of a task.
static constexpr int64_t kRowsOfTask = 64;

void mlir::quanta::emitIntegerMatmul(KernelBuilder &b, const KernelArgs &args) {
  Value lhs = args.inputs[0], rhs = args.inputs[1], y = args.outputs[0];
  bool transposed = args.has("transpose_rhs");
  ProductOfCodes product = *ProductOfCodes::get(args.config.get("lhs"), args.config.get("rhs"));
  product.scale = args.getFloat("scale");
  Value heads = b.dim(y, 1), count = b.dim(y, 2), width = b.dim(y, 3), blocks = b.ceilDiv(count, kRowsOfTask);
  Value matrices = b.mul(b.dim(y, 0), heads);
  CodedColumns columns(b, product, rhs, transposed);
  CodedRows rows(b, product, b.mul(matrices, count), b.dim(lhs, 3));
  columns.encode();
  b.parallel(b.mul(matrices, blocks), [&](Value task) {
    Value matrix = b.div(task, blocks), i = b.div(matrix, heads), h = b.rem(matrix, heads), first = b.mul(matrix, count);
    Value begin = b.mul(b.rem(task, blocks), kRowsOfTask), end = b.min(count, b.add(begin, kRowsOfTask));
    auto left = matrixOf(b, lhs, i, h, heads), right = matrixOf(b, rhs, i, h, heads);
    b.loop(begin, end, 1, [&](Value row) {
      rows.encode(b.add(first, row), [&](Value column, Value mask) {
        SmallVector<Value> at{left.first, left.second, row, column};
        return mask ? b.loadMasked(lhs, at, mask, b.tileOf(0.0f)) : b.loadTile(lhs, at);
      });
    });
    Value rightMatrix = b.add(b.mul(right.first, b.dim(rhs, 1)), right.second);
    emitCodedProduct(b, product, rows, columns, rightMatrix, b.add(first, begin), b.add(first, end), [&](Value row, Value column, Value tile) {
      SmallVector<Value> at{i, h, b.sub(row, first), column};
      int64_t size = cast<MemRefType>(y.getType()).getDimSize(3);
      if (!ShapedType::isDynamic(size) && size % kLanes == 0)
        b.storeTile(tile, y, at);
      else
        b.storeMasked(tile, y, at, b.mask(b.sub(width, column)));
    });
  });
  rows.free();
  columns.free();
}
