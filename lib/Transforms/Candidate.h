//===- Candidate.h - What a layer could become ----------------------------------------------------------------*- C++ -*-===//
//
// An entry of `quanta.candidates` holds the weights that a solver made: `type` and `components` (of an encoded weight) or `value`
// (of a float one; with neither the weight stays as it is), and with two weights `input`, a dictionary of the same kind for the
// first one, B. The layer computes W·x, or A·(B·x), or, if its weight has columns for both, [Q | A]·[x; B·x].
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_CANDIDATE_H
#define QUANTA_LIB_TRANSFORMS_CANDIDATE_H

#include "quanta/Dialect/IR/Quanta.h"
#include <optional>

namespace mlir::quanta {

/// The weights of a layer that reads a block argument by itself or through another linear layer, as above. None if it has
/// another form.
std::optional<NamedAttrList> describeWeights(Operation *layer);

/// Gives the layer, which reads its input by itself, these weights.
void replaceWeights(Operation *layer, DictionaryAttr candidate);

/// Types of all weights; the layer's own is the first.
SmallVector<RankedTensorType> getWeightTypes(DictionaryAttr candidate);
/// Of all weights.
int64_t countStoredBits(DictionaryAttr candidate);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CANDIDATE_H
