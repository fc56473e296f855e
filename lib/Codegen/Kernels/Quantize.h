//===- Quantize.h - Codes of activations -----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_QUANTIZE_H
#define QUANTA_LIB_CODEGEN_KERNELS_QUANTIZE_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// A number, or a tile of it, as `like` is.
Value constantLike(KernelBuilder &b, Value like, float value);

/// The code of #quanta.affine with this many bits, as a float: x · inverse + zero, clamped, half to even. All f32 or tiles of it.
Value emitAffineCode(KernelBuilder &b, Value x, Value inverse, Value zero, unsigned bits);

/// A tile of small integers that are floats, as bytes.
Value emitByte(KernelBuilder &b, Value rounded);

} // namespace mlir::quanta
#endif
