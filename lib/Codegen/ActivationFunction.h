//===- ActivationFunction.h - Activation functions of one element ----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_ACTIVATIONFUNCTION_H
#define QUANTA_LIB_CODEGEN_ACTIVATIONFUNCTION_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// The function of a float `x`, as scalar ops.
Value emitActivation(KernelBuilder &k, ActivationKind kind, Value x);

} // namespace mlir::quanta

#endif // QUANTA_LIB_CODEGEN_ACTIVATIONFUNCTION_H
