//===- Half.h - f16 in integer arithmetic ----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_HALF_H
#define QUANTA_LIB_CODEGEN_KERNELS_HALF_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// 16 lanes of f32 to f16 in integer arithmetic (KernelBuilder::widen is the other way), to the nearest; what is too large (an
/// infinity or NaN, too) becomes the largest number.
Value narrowToHalf(KernelBuilder &b, Value tile);

} // namespace mlir::quanta
#endif
