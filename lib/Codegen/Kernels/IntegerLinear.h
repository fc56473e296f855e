//===- IntegerLinear.h - Encoded activations times encoded weights -------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGERLINEAR_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGERLINEAR_H

#include "Kernels.h"

namespace mlir::quanta {

/// Whether emitIntegerLinear multiplies these: 8-bit symmetric activations with a scale a row, uniform weights whose groups are
/// short enough for sums of 32 bits.
bool hasIntegerLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape);

/// y[M, N] = x · Wᵀ + bias. ins: codes of x [M, K′] (q − 128 as i8, zeros from column K on), scales [M], bias?; weights: tiles
/// of W; config: activation, encoding, shape. Integer sums are exact within a group.
void emitIntegerLinear(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
