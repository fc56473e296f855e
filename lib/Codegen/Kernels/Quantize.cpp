//===- Quantize.cpp - Activations become bytes --------------------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

void mlir::quanta::emitQuantize(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.inputs[0], codes = args.outputs[0], scales = args.outputs[1];
  Value rows = b.dim(x, 0);
  int64_t columns = cast<MemRefType>(x.getType()).getDimSize(1), stored = cast<MemRefType>(codes.getType()).getDimSize(1);
  int64_t whole = columns / kLanes * kLanes;
  auto bytes = VectorType::get({kLanes}, b.getI8Type());
  int64_t perTask = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
  b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
      auto load = [&](Value column, bool full) {
        if (full)
          return b.loadTile(x, {row, column});
        return b.loadMasked(x, {row, column}, b.mask(b.index(columns - whole)), b.tileOf(0.0f));
      };
      auto greatest = [&](Value column, Value so_far, bool full) {
        return Value(arith::MaximumFOp::create(b, so_far, Value(math::AbsFOp::create(b, load(column, full)))));
      };
      Value most = b.loop(b.index(0), b.index(whole), kLanes, ValueRange{b.tileOf(0.0f)}, [&](Value column, ValueRange carried) {
        return SmallVector<Value>{greatest(column, carried[0], true)};
      })[0];
      if (whole < columns)
        most = greatest(b.index(whole), most, false);
      Value top = b.reduceMax(most);
      // A row so small that the quotient would overflow is zero.
      Value tiny = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, top, b.f32(0x1p-100f));
      Value factor = arith::SelectOp::create(b, tiny, b.f32(0.0f), Value(arith::DivFOp::create(b, b.f32(127.0f), top)));
      Value scale = arith::SelectOp::create(b, tiny, b.f32(0.0f), b.mulf(top, b.f32(1.0f / 127)));
      memref::StoreOp::create(b, scale, scales, ValueRange{row});
      // Adding 1.5 · 2²³ rounds half to even and leaves the integer in the lowest bits.
      Value wide = b.splat(factor), round = b.tileOf(0x1.8p23f);
      auto convert = [&](Value column, bool full) {
        Value rounded = vector::BitCastOp::create(b, b.i32Tile(), b.addf(b.mulf(load(column, full), wide), round));
        b.storeTile(arith::TruncIOp::create(b, bytes, rounded), codes, {row, column});
      };
      b.loop(b.index(0), b.index(whole), kLanes, [&](Value column) { convert(column, true); });
      if (whole < columns)
        convert(b.index(whole), false);
      Value none = arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, int8_t(0)));
      for (int64_t column = llvm::alignTo(columns, kLanes); column < stored; column += kLanes)
        b.storeTile(none, codes, {row, b.index(column)});
    });
  });
}
