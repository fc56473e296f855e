//===- MatrixUnit.h - Products of matrices of bytes or bf16 ---------------------------------------------------*- C++ -*-===//
//
// A register of the unit holds 16 rows of 64 bytes: activations are 16 rows by 64 columns of signed bytes, codes 64 columns by 16 rows of weights,
// where word [w][r] has the columns 4w to 4w + 3 of row r in its bytes, which is how tiles of weights lie (quanta/Format/TileLayout.h). Of bf16
// there are 32 columns, and 2 in a word; sums are f32.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CODEGEN_MATRIXUNIT_H
#define QUANTA_CODEGEN_MATRIXUNIT_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// Words of activations and codes in a row of a register.
constexpr int64_t kMatrixWords = 16;

/// What is multiplied.
enum class MatrixElement { Byte, BFloat };

/// 16 rows of 64 bytes from `indices` on; rows are as far apart as those of the last but one dimension.
Value emitMatrixLoad(KernelBuilder &b, MatrixElement element, Value memref, ValueRange indices);
/// 16 × 16 sums of 32 bits.
Value emitMatrixZero(KernelBuilder &b, MatrixElement element);
/// sums[t][r] + Σⱼ activations[t][j] · codes[j][r], of bytes exactly modulo 2³²; whether their codes are signed. Of bf16 even and odd columns are
/// summed up apart, each in order of j, and added to the sum at the end; all of it is rounded to f32.
Value emitMatrixDot(KernelBuilder &b, Value sums, Value activations, Value codes, bool codesAreSigned);
/// 16 rows of 16 sums.
void emitMatrixStore(KernelBuilder &b, Value sums, Value memref, ValueRange indices);

} // namespace mlir::quanta
#endif
