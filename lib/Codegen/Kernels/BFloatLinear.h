//===- BFloatLinear.h - Activations of bf16 times encoded weights ---------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_BFLOATLINEAR_H
#define QUANTA_LIB_CODEGEN_KERNELS_BFLOATLINEAR_H

#include "Kernels.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Whether emitBFloatLinear multiplies these: #quanta.narrow<bf16> by a uniform weight.
bool hasBFloatLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape);

/// y[M, N] = x · Wᵀ + bias. ins: codes of x [M, K′], i16, zeros from column K on; bias?. weights: tiles of W; config: activation, encoding, shape.
/// Where the target has no product of bf16, and for one row, codes are widened and multiplied as f32 are.
void emitBFloatLinear(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
