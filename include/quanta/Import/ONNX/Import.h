//===- Import.h - Read ONNX models --------------------------------------------------------------------------------===//
#ifndef QUANTA_IMPORT_ONNX_IMPORT_H
#define QUANTA_IMPORT_ONNX_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "quanta/Import/ONNX/Problems.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBufferRef.h"

namespace mlir::quanta {

struct ImportOptions {
  /// Sizes for named dimensions; an unnamed one is called "INPUT.dimN".
  llvm::StringMap<int64_t> dims;
  /// Take a model whose opset is newer than any known one to mean what the newest known one means.
  bool assumeCompatible = false;
  /// Folder of external data when the model comes from memory; empty: such a model may not have external data.
  std::string externalDirectory;
};

/// Reads a model as `func.func @main` of `onnx.node`s (docs/Architecture.md). On failure `problems` says everything
/// that is wrong; on success it may have warnings. Nothing is printed.
FailureOr<OwningOpRef<ModuleOp>> importONNX(StringRef path, const ImportOptions &options, MLIRContext *context,
                                            Problems &problems);

/// The same from memory; the buffer's identifier stands for the path in locations and in the report.
FailureOr<OwningOpRef<ModuleOp>> importONNX(llvm::MemoryBufferRef buffer, const ImportOptions &options,
                                            MLIRContext *context, Problems &problems);

} // namespace mlir::quanta
#endif
