//===- KernelBuilder.cpp - Short names for what kernel emitters write most ------------------------------------------------===//
#include "quanta/Codegen/KernelBuilder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;

Value KernelBuilder::widen(Value tile) {
  if (cast<VectorType>(tile.getType()).getElementType().isF32())
    return tile;
  if (level->widensHalf)
    return arith::ExtFOp::create(*this, f32Tile(), tile);
  // Targets without the conversion would call a compiler's support library.
  // The exponent is moved, and rebiased by a multiplication, which also normalises small numbers.
  auto i16s = VectorType::get({kLanes}, getI16Type());
  Value word = arith::ExtUIOp::create(*this, i32Tile(), Value(vector::BitCastOp::create(*this, i16s, tile)));
  Value sign = arith::ShLIOp::create(*this, andi(word, tileOf(0x8000)), tileOf(16));
  Value magnitude = arith::ShLIOp::create(*this, andi(word, tileOf(0x7fff)), tileOf(13));
  Value scaled = mulf(vector::BitCastOp::create(*this, f32Tile(), magnitude), tileOf(0x1p112f));
  Value result = arith::OrIOp::create(*this, Value(vector::BitCastOp::create(*this, i32Tile(), scaled)), sign);
  return vector::BitCastOp::create(*this, f32Tile(), result);
}

Value KernelBuilder::lookUp(Value table, Value indices) {
  assert(level->looksUp16);
  return LLVM::CallIntrinsicOp::create(*this, f32Tile(), getStringAttr("llvm.x86.avx512.permvar.sf.512"), ValueRange{table, indices})
      .getResult(0);
}
