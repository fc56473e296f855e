//===- JoinChannels.h - Weights of convolutions in the order of words of channels ---------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_JOINCHANNELS_H
#define QUANTA_LIB_CODEGEN_KERNELS_JOINCHANNELS_H

#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Components of a weight [rows, channels · taps] with its columns in the order in which kernels read words of `count` channels of a pixel:
/// those of a tap, then those of the next tap, then the next channels. `placeOf` says where a word has its i-th channel, `none` is the
/// code of channels that do not exist; `columns` gets the number of columns. Null if the codes cannot be read.
DictionaryAttr joinChannels(DictionaryAttr weight, int64_t rows, int64_t channels, int64_t taps, int64_t count, char none,
                            llvm::function_ref<int64_t(int64_t channel)> placeOf, int64_t &columns);

} // namespace mlir::quanta
#endif
