//===- MatrixUnit.cpp - Products of matrices of bytes or bf16 ---------------------------------------------------------------===//
#include "quanta/Codegen/MatrixUnit.h"
#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace mlir::quanta;

Value mlir::quanta::emitMatrixLoad(KernelBuilder &b, MatrixElement element, Value memref, ValueRange indices) {
  Type type = element == MatrixElement::Byte ? Type(b.getI8Type()) : b.getBF16Type();
  return amx::TileLoadOp::create(b, amx::TileType::get({kLanes, kMatrixWords * 32 / type.getIntOrFloatBitWidth()}, type), memref, indices);
}

Value mlir::quanta::emitMatrixZero(KernelBuilder &b, MatrixElement element) {
  Type type = element == MatrixElement::Byte ? Type(b.getI32Type()) : b.getF32Type();
  return amx::TileZeroOp::create(b, amx::TileType::get({kLanes, kLanes}, type));
}

Value mlir::quanta::emitMatrixDot(KernelBuilder &b, Value sums, Value activations, Value codes, bool codesAreSigned) {
  if (cast<amx::TileType>(codes.getType()).getElementType().isBF16())
    return amx::TileMulFOp::create(b, sums.getType(), activations, codes, sums);
  return amx::TileMulIOp::create(b, sums.getType(), activations, codes, sums, /*isZextLhs=*/false, /*isZextRhs=*/!codesAreSigned);
}

void mlir::quanta::emitMatrixStore(KernelBuilder &b, Value sums, Value memref, ValueRange indices) {
  amx::TileStoreOp::create(b, memref, indices, sums);
}
