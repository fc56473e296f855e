//===- StageResult.h - What solving a stage has changed -------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CALIBRATE_STAGERESULT_H
#define QUANTA_LIB_CALIBRATE_STAGERESULT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace mlir::quanta {

/// A layer before it is solved.
struct LayerRecord {
  int64_t number;
  SmallVector<std::pair<Value, Attribute>> operands; ///< with a constant's value

  LayerRecord(int64_t number, Operation *layer);
};

/// Writes attributes and new operands (constants, and ops on the layer's input) of layers that were solved: bytecode of a
/// function with the layers, whose arguments are the operands that are as they were. The file appears complete or not at all.
llvm::Error saveStageResult(ArrayRef<LayerRecord> before, llvm::function_ref<Operation *(int64_t)> getLayer, StringRef path);

/// Does to the layers what the file says.
llvm::Error restoreStageResult(MLIRContext *context, llvm::function_ref<Operation *(int64_t)> getLayer, StringRef path);

} // namespace mlir::quanta

#endif // QUANTA_LIB_CALIBRATE_STAGERESULT_H
