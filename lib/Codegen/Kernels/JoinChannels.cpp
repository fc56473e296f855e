//===- JoinChannels.cpp - Weights of convolutions in the order of words of channels ---------------------------------------===//
#include "JoinChannels.h"

using namespace mlir;
using namespace mlir::quanta;

DictionaryAttr mlir::quanta::joinChannels(DictionaryAttr weight, int64_t rows, int64_t channels, int64_t taps, int64_t count, char none,
                                          llvm::function_ref<int64_t(int64_t)> placeOf, int64_t &columns) {
  SmallVector<char> storage;
  auto codes = getRawData(weight.get("codes"), storage);
  columns = llvm::alignTo(channels, count) * taps;
  if (!codes || static_cast<int64_t>(codes->size()) != rows * channels * taps)
    return {};
  std::vector<char> ordered(rows * columns, none);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t tap = 0; tap < taps; ++tap)
        ordered[row * columns + (channel / count * taps + tap) * count + placeOf(channel % count)] = (*codes)[(row * channels + channel) * taps + tap];
  auto type = RankedTensorType::get({rows, columns}, IntegerType::get(weight.getContext(), 8));
  NamedAttrList parts(weight);
  // Not a resource, whose name would differ between an object's modules for several CPUs, which share weights.
  parts.set("codes", DenseElementsAttr::getFromRawBuffer(type, ordered));
  return parts.getDictionary(weight.getContext());
}
