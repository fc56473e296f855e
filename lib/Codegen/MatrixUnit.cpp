//===- MatrixUnit.cpp - Products of matrices of bytes -----------------------------------------------------------------------===//
#include "quanta/Codegen/MatrixUnit.h"
#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace mlir::quanta;

Type mlir::quanta::getMatrixType(KernelBuilder &b) { return amx::TileType::get({kLanes, kMatrixColumns}, b.getI8Type()); }

Type mlir::quanta::getMatrixSumType(KernelBuilder &b) { return amx::TileType::get({kLanes, kLanes}, b.getI32Type()); }

Value mlir::quanta::emitMatrixLoad(KernelBuilder &b, Value memref, ValueRange indices) {
  return amx::TileLoadOp::create(b, getMatrixType(b), memref, indices);
}

Value mlir::quanta::emitMatrixZero(KernelBuilder &b) { return amx::TileZeroOp::create(b, getMatrixSumType(b)); }

Value mlir::quanta::emitMatrixDot(KernelBuilder &b, Value sums, Value activations, Value codes, bool codesAreSigned) {
  return amx::TileMulIOp::create(b, sums.getType(), activations, codes, sums, /*isZextLhs=*/false, /*isZextRhs=*/!codesAreSigned);
}

void mlir::quanta::emitMatrixStore(KernelBuilder &b, Value sums, Value memref, ValueRange indices) {
  amx::TileStoreOp::create(b, memref, indices, sums);
}
