//===- MatrixUnit.h - Products of matrices of bytes -----------------------------------------------------------*- C++ -*-===//
//
// A register of the unit holds 16 rows of 64 bytes: activations are 16 rows by 64 columns of signed bytes, codes 64 columns by 16 rows of weights,
// where word [w][r] has the columns 4w to 4w + 3 of row r in its bytes, which is how tiles of weights lie (quanta/Format/TileLayout.h).
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CODEGEN_MATRIXUNIT_H
#define QUANTA_CODEGEN_MATRIXUNIT_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// Columns of activations and codes in a register, and words of codes.
constexpr int64_t kMatrixColumns = 64, kMatrixWords = kMatrixColumns / 4;

/// Registers: 16 × 64 bytes, and 16 × 16 sums of 32 bits.
Type getMatrixType(KernelBuilder &b);
Type getMatrixSumType(KernelBuilder &b);

/// 16 rows of 64 bytes from `indices` on; rows are as far apart as those of the last but one dimension.
Value emitMatrixLoad(KernelBuilder &b, Value memref, ValueRange indices);
Value emitMatrixZero(KernelBuilder &b);
/// sums[t][r] + Σⱼ activations[t][j] · codes[j][r], exactly modulo 2³².
Value emitMatrixDot(KernelBuilder &b, Value sums, Value activations, Value codes, bool codesAreSigned);
/// 16 rows of 16 sums.
void emitMatrixStore(KernelBuilder &b, Value sums, Value memref, ValueRange indices);

} // namespace mlir::quanta
#endif
