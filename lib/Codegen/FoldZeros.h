//===- FoldZeros.h - Zero points of activations in a bias ------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_FOLDZEROS_H
#define QUANTA_LIB_CODEGEN_FOLDZEROS_H

#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// What zero points of activations add to each row of a product: −Σ_segments scale · zero · Σ_columns w, in double precision.
/// `components` are those of a weight of this encoding and shape.
FailureOr<SmallVector<float>> foldZeros(AffineAttr activation, UniformAttr weight, DictionaryAttr components, ArrayRef<int64_t> shape);

} // namespace mlir::quanta
#endif
