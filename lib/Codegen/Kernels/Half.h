//===- Half.h - f16 in integer arithmetic ----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_HALF_H
#define QUANTA_LIB_CODEGEN_KERNELS_HALF_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// 16 lanes of f16 to f32 in integer arithmetic: targets without the conversion would call a compiler's support library. The
/// exponent is moved and rebiased by a multiplication, which also normalises small numbers. Infinities do not occur.
Value widenHalf(KernelBuilder &b, Value half);

/// The other way, to the nearest; what is too large (an infinity or NaN, too) becomes the largest number.
Value narrowToHalf(KernelBuilder &b, Value tile);

} // namespace mlir::quanta
#endif
