//===- Passes.h - Passes of lib/Transforms ------------------------------------------------------------------------------===//
#ifndef QUANTA_TRANSFORMS_PASSES_H
#define QUANTA_TRANSFORMS_PASSES_H

#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "mlir/Pass/Pass.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace mlir::quanta {

#define GEN_PASS_DECL
#include "quanta/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "quanta/Transforms/Passes.h.inc"

/// Folds an imported graph and names what exporters decomposed: runs on a module with functions of onnx.node ops.
void buildONNXPreparePipeline(OpPassManager &pm);

} // namespace mlir::quanta
#endif
