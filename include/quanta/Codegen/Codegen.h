//===- Codegen.h - Kernel families and their passes -----------------------------------------------------------------------===//
#ifndef QUANTA_CODEGEN_CODEGEN_H
#define QUANTA_CODEGEN_CODEGEN_H

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"

namespace mlir::quanta {
#define GEN_PASS_DECL
#include "quanta/Codegen/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "quanta/Codegen/Passes.h.inc"

/// Attaches the decode implementations of the encodings to the dialect.
void registerDecodeModels(DialectRegistry &registry);
} // namespace mlir::quanta
#endif
