//===- MeasuredLosses.h - What switching layers does, measured once -------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_MEASUREDLOSSES_H
#define QUANTA_LIB_TRANSFORMS_MEASUREDLOSSES_H

#include "LossStore.h"
#include "SwitchedModel.h"

namespace mlir::quanta {

/// A switched model whose divergences are kept in a store.
class MeasuredLosses {
public:
  struct Options {
    llvm::StringRef data;
    ::quanta::CalibrationOptions sampling;
    unsigned threads;
    llvm::StringRef store;
    bool resume;
  };
  /// `fingerprint` gets that of the data and returns that of all that losses depend on. Errors: of the data and of the store.
  static llvm::Expected<MeasuredLosses> create(ModuleOp module, const Options &options,
                                               llvm::function_ref<uint64_t(uint64_t data)> fingerprint);

  /// The loss of these layers switched: what `measure` returns, unless the store has it.
  llvm::Expected<double> get(const LossStore::Key &switched, llvm::function_ref<llvm::Expected<double>(SwitchedModel &)> measure);

private:
  MeasuredLosses(SwitchedModel model, LossStore store) : model(std::move(model)), store(std::move(store)) {}

  SwitchedModel model;
  LossStore store;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_MEASUREDLOSSES_H
