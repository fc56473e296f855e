//===- MeasuredLosses.cpp - What switching layers does, measured once -----------------------------------------------------===//
#include "MeasuredLosses.h"

using namespace mlir;
using namespace mlir::quanta;

llvm::Expected<MeasuredLosses> MeasuredLosses::create(ModuleOp module, const Options &options,
                                                      llvm::function_ref<uint64_t(uint64_t data)> fingerprint) {
  auto model = SwitchedModel::create(module, options.data, options.sampling, options.threads);
  if (!model)
    return model.takeError();
  auto data = model->getDataFingerprint();
  if (!data)
    return data.takeError();
  auto store = LossStore::open(options.store, fingerprint(*data), options.resume);
  if (!store)
    return store.takeError();
  return MeasuredLosses(std::move(*model), std::move(*store));
}

llvm::Expected<double> MeasuredLosses::get(const LossStore::Key &switched,
                                           llvm::function_ref<llvm::Expected<double>(SwitchedModel &)> measure) {
  if (std::optional<double> known = store.find(switched))
    return *known;
  auto loss = measure(model);
  if (!loss)
    return loss.takeError();
  if (llvm::Error error = store.add(switched, *loss))
    return std::move(error);
  return *loss;
}
