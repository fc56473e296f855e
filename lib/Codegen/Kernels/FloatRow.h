//===- FloatRow.h - One row of floats times a uniform weight ------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_FLOATROW_H
#define QUANTA_LIB_CODEGEN_KERNELS_FLOATROW_H

#include "Kernels.h"

namespace mlir::quanta {

/// Whether emitFloatRow reads this weight.
bool hasFloatRow(Attribute weight, ArrayRef<int64_t> shape);

/// emitLinear for inputs that turn out to have one row.
void emitFloatRow(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
