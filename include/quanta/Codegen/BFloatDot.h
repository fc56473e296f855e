//===- BFloatDot.h - Sums of products of two bf16 a lane -----------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_BFLOATDOT_H
#define QUANTA_CODEGEN_BFLOATDOT_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// The f32 bits of the bf16 that is nearest to x, half to even: the code in the upper half, zeros in the lower. x: an f32 or a tile of it;
/// NaN stays NaN.
Value emitBFloatBits(KernelBuilder &b, Value x);
/// 16 codes, i16, as f32.
Value widenBFloats(KernelBuilder &b, Value codes);

/// True if the target has an instruction for emitBFloatDot.
bool multipliesBFloats(const ::quanta::TargetLevel &level);

/// sum + x[2i] · y[2i] + x[2i + 1] · y[2i + 1] for the 16 lanes i of an f32 tile. `x` and `y` are tiles of 32-bit words, each of two bf16. Numbers
/// that are not normal count as zero.
Value emitBFloatDot(KernelBuilder &b, Value sum, Value x, Value y);

/// The columns 2·half and 2·half + 1 of words of four unsigned bytes (16 rows of weights, quanta/Format/TileLayout.h), less what stands for
/// zero, as words of two bf16, exactly. Bytes use `bits` bits. `zeros`: a tile of i32, the zero point of each row; null: all are `zero`.
Value emitBFloatPairs(KernelBuilder &b, Value words, int64_t half, unsigned bits, Value zeros, int32_t zero);

} // namespace mlir::quanta
#endif
