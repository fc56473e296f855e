//===- LayerLosses.h - What the candidates of each layer do to the model --------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_LAYERLOSSES_H
#define QUANTA_LIB_TRANSFORMS_LAYERLOSSES_H

#include "quanta/Allocate/Allocation.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace mlir::quanta {

struct LossOptions {
  std::string loss; ///< one of getLossNames()
  std::string data;
  int64_t samples = 16, window = 256, batch = 8;
  uint64_t seed = 0;
  std::string store; ///< of what was measured by switching layers; empty: it is not kept
  bool resume = false;
  unsigned threads = 0;
};

llvm::ArrayRef<StringRef> getLossNames();

/// Makes the errors of the problem's candidates, which are the relative errors of their layers' outputs, estimates of what they do to
/// the model (quanta-allocate describes them), and adds interactions if the estimate has some. `layers`, one for each unit, have
/// `quanta.candidates`. Diagnoses what goes wrong.
LogicalResult estimateLosses(ModuleOp module, ArrayRef<Operation *> layers, const LossOptions &options,
                             ::quanta::AllocationProblem &problem);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LAYERLOSSES_H
