//===- Signs.h - Activations that are −1, 0 or 1 ----------------------------------------------------------*- C++ -*-===//
//
// Signs are stored as two planes of bits, 32 channels of a position in a word: which are positive, and which are not zero. Times
// weights of one bit (1: positive) a product is 1, but −1 where bits of the first plane differ from the weight's, and 0 where the second
// has none: Σ w·x = |nonzero| − 2 · |nonzero ∧ (positive ⊕ w)|. What lies outside an image is zero, so that borders need nothing more.
// Rows of linear layers have no second plane if nothing is zero.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_SIGNS_H
#define QUANTA_LIB_CODEGEN_KERNELS_SIGNS_H

#include "Kernels.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

constexpr int64_t kSignBits = 32;

/// x if `value` is its sign, element by element, −1, 0 or 1: the result of one linalg.generic, however it is spelled; `ofZero` gets the
/// sign of zero. A NaN counts as zero if that has the sign 0, else as negative.
Value findSigned(Value value, int64_t &ofZero);

/// Signs of 16 floats: which are positive (or zero, if its sign is 1), and which have a sign.
struct SignLanes {
  Value positive, nonzero; ///< i1
};
SignLanes getSigns(KernelBuilder &b, Value x, int64_t ofZero);
/// A word's lower half from 16 lanes of i1, or, given that, the whole word.
Value joinBits(KernelBuilder &b, Value low, Value lanes);

/// Whether a kernel multiplies signs by such a weight: one bit each, a scale a row, no groups of channels.
bool hasSignKernel(EncodingAttrInterface weight, int64_t groups);

/// Components of the weight [rows, channels · taps] with its columns in the order in which kernels read signs: 32 channels of a tap,
/// then those of the next tap, then the next channels; `columns` gets their number. Null if the codes cannot be read.
DictionaryAttr reorderForSigns(DictionaryAttr weight, int64_t rows, int64_t channels, int64_t taps, int64_t &columns);

} // namespace mlir::quanta
#endif
