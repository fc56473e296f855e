//===- VerifiedEdits.h - Rewrites that are checked by running the model -----------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_VERIFIEDEDITS_H
#define QUANTA_LIB_TRANSFORMS_VERIFIEDEDITS_H

#include "ChannelEdit.h"
#include "ObservedModel.h"

namespace mlir::quanta {

/// What the elements of a value along its channels were on the data.
struct ChannelRange {
  ChannelMap map;                   ///< its axes; channels are the plan's
  std::vector<float> min, max;      ///< by element of the map
  std::vector<double> squares = {}; ///< sums of them
  int64_t count = 0;                ///< of values of each element

  float absMax(size_t element) const { return std::max(std::abs(min[element]), std::abs(max[element])); }
};

/// Runs the model as it is and as it was.
class ModelCheck : public ObservedModel {
public:
  /// Without data nothing can be run, and edits are not verified.
  using ObservedModel::ObservedModel;

  bool canRun() const { return !options.data.empty(); }
  /// Runs the model on all samples: keeps the outputs of the first of them for difference() and fills in the ranges'
  /// min and max.
  llvm::Error observe(MutableArrayRef<std::pair<Value, ChannelRange>> values);
  /// Largest |y − y₀| / max |y₀| over the outputs, against the model that observe() saw; infinite if one is not finite.
  llvm::Expected<double> difference();

private:
  std::vector<::quanta::ArrayMap> inputs, outputs; // of the first batches
};

/// One rewrite. `apply` edits, or says why not; it plans anew, because others were applied before it.
struct EditSite {
  Operation *op;
  std::string what; ///< "scale of the input" ...
  /// Returns a description of what was done; nothing, after a remark of its own, if it was refused.
  std::function<std::optional<std::string>(ChannelEdits &)> apply;
};

/// Applies the sites, runs the model, and keeps the edits if the outputs agree to `tolerance`; else tries one site
/// after the other and rolls those back that make a difference. A remark at each site says what became of it.
llvm::Error applyVerified(ModuleOp module, ArrayRef<EditSite> sites, ModelCheck &check, double tolerance = 1e-4);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_VERIFIEDEDITS_H
