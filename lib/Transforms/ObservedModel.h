//===- ObservedModel.h - A model that runs on data and hands out its values -----------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_OBSERVEDMODEL_H
#define QUANTA_LIB_TRANSFORMS_OBSERVEDMODEL_H

#include "quanta/Calibrate/Data.h"
#include "quanta/Calibrate/GraphRunner.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::quanta {

/// The option words of passes that run the model on data.
struct DataOptions {
  std::string data;
  int64_t samples, window;
  uint64_t seed;
  unsigned threads;
};

class ObservedModel {
public:
  ObservedModel(ModuleOp module, const DataOptions &options) : module(module), options(options) {}

  /// Runs the model, as it is, on so many samples, and hands out each batch with the f32 arrays of the values. Arrays are valid
  /// until `use` returns.
  llvm::Error run(ArrayRef<Value> values, int64_t samples,
                  function_ref<llvm::Error(const ::quanta::CalibrationBatch &batch, const ::quanta::ArrayMap &outputs,
                                           ArrayRef<::quanta::Array> observed)>
                      use);

protected:
  /// Lets the graph that the value is in hand it out when it runs; takeObserved finds the first `count` of them, and leaves the others.
  static void observeValue(Value value, size_t number);
  static llvm::Expected<std::vector<::quanta::Array>> takeObserved(::quanta::ArrayMap &outputs, size_t count);
  llvm::Expected<std::unique_ptr<RunnableGraph>> prepare(ModuleOp graph);
  /// The model's data, `batch` samples at a time.
  llvm::Expected<::quanta::CalibrationData> open(int64_t samples, int64_t batch = 4);

  ModuleOp module;
  DataOptions options;

private:
  std::unique_ptr<GraphRunner> runner; // knows the code of what it ran before
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_OBSERVEDMODEL_H
