//===- SwitchedModel.h - What one layer's encoding does to the model's output ---------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_SWITCHEDMODEL_H
#define QUANTA_LIB_TRANSFORMS_SWITCHEDMODEL_H

#include "quanta/Calibrate/Data.h"
#include "quanta/Calibrate/GraphRunner.h"
#include "quanta/Dialect/IR/Quanta.h"
#include <memory>

namespace mlir::quanta {

/// Σ p·log(p/q) with p, q the softmax of one row of logits each.
double measureDivergence(ArrayRef<float> reference, ArrayRef<float> other);

/// The float model's first outputs on some data, kept to compare with: 4 bytes for each of their elements.
class SwitchedModel {
public:
  /// Without the first `skip` batches of the data. Errors: data that is missing or does not fit.
  static llvm::Expected<SwitchedModel> create(ModuleOp module, StringRef data, const ::quanta::CalibrationOptions &sampling,
                                              unsigned threads, int64_t skip = 0);

  /// Mean divergence (of rows of logits, above) of the model's first output, as it is and as this variant of the model has it.
  /// Compiles and runs the variant, the first time also the model. Errors: an output that is not finite f32, or no data.
  llvm::Expected<double> measure(ModuleOp variant);

  /// The same for the model with these candidates (see quanta-measure-candidates) as the weights of these layers.
  llvm::Expected<double> measure(ArrayRef<std::pair<Operation *, DictionaryAttr>> switched);

  /// Of the data and how it is sampled.
  llvm::Expected<uint64_t> getDataFingerprint() const { return data->getFingerprint(); }

private:
  llvm::Error runReference();
  llvm::Error forEachOutput(ModuleOp graph, llvm::function_ref<llvm::Error(size_t, const ::quanta::Array &)> visit);

  ModuleOp module;
  std::string output;
  int64_t skip = 0;
  std::unique_ptr<GraphRunner> runner;
  std::unique_ptr<::quanta::CalibrationData> data;
  std::vector<::quanta::Array> references;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_SWITCHEDMODEL_H
