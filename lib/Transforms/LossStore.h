//===- LossStore.h - Losses that were measured, on disk -------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_LOSSSTORE_H
#define QUANTA_LIB_TRANSFORMS_LOSSSTORE_H

#include "quanta/Calibrate/RunFolder.h"
#include <map>
#include <optional>
#include <vector>

namespace mlir::quanta {

/// What candidates of layers do to the model's output. Every loss is written when it is known, so that a run that was cut off, or
/// one with another budget, goes on with what there is.
class LossStore {
public:
  /// Numbers of a layer and its candidate, of all layers that are switched at once.
  using Key = std::vector<std::pair<size_t, size_t>>;

  /// In a folder of `store` as RunFolder has it; `store` empty: in memory only.
  static llvm::Expected<LossStore> open(llvm::StringRef store, uint64_t fingerprint, bool resume);

  std::optional<double> find(const Key &switched) const;
  llvm::Error add(const Key &switched, double loss);

private:
  std::unique_ptr<::quanta::RunFolder> folder;
  std::map<Key, double> losses;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LOSSSTORE_H
