//===- ModelProbe.h - Values of the running model, and what a change of them does to its output ----------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_MODELPROBE_H
#define QUANTA_LIB_TRANSFORMS_MODELPROBE_H

#include "ObservedModel.h"

namespace mlir::quanta {

/// How much the model's first output changes with an element of a value, as a product of a factor for each of the value's
/// dimensions but the first (samples): an estimate of the diagonal of the Gauss-Newton matrix JᵀJ, scaled to a mean of 1.
struct Sensitivity {
  std::vector<std::vector<double>> axes; ///< [dimension − 1][index]
};

class ModelProbe : public ObservedModel {
public:
  using ObservedModel::ObservedModel;

  /// Runs the model on all samples. `visit` gets the number of a value and what it was on a batch, which is valid during the
  /// call. Values are f32.
  llvm::Error observe(ArrayRef<Value> values, function_ref<llvm::Error(size_t value, const ::quanta::Array &)> visit);

  /// Sensitivities of these values on the first `samples` samples, by running the model with one value perturbed at a time:
  /// by `step` · rms(value) · ±1, signs at random from `options.seed`, on a group of indices of one dimension. The squared
  /// change of the output, divided by that of the value, is the group's mean of diag(JᵀJ), since the signs are independent
  /// (Hutchinson). Groups are the first index alone (it may be a class token) and up to `groups` slices of the others.
  llvm::Expected<std::vector<Sensitivity>> measure(ArrayRef<Value> values, int64_t samples, int64_t groups, double step = 0.02);

  /// Fisher information of layers' outputs on the first `samples` samples: how much the model's output diverges (measureDivergence)
  /// from itself when a layer's output, without its bias, has relative squared errors of 1, to second order ½·δᵀFδ with F the Fisher
  /// information of the distribution that the output describes. Found without gradients, by adding step · rms · ±1 with random
  /// signs (Hutchinson); one run for each layer.
  llvm::Expected<std::vector<double>> measureFisher(ArrayRef<Operation *> layers, int64_t samples, double step = 0.05);
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_MODELPROBE_H
