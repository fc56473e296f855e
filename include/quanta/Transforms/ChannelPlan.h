//===- ChannelPlan.h - Who must change if the channels of a value change ----------------------------------------*- C++ -*-===//
//
// An equivalent transform changes the channels of a value - their order, their scale, their basis - and changes
// constants elsewhere so that the model computes the same function. Whether that is possible, and what else must
// change, is one question for every transform: walk from the value through producers and users. Each op says which of
// its operands and results must carry the same change (lib/Transforms/ChannelRules.cpp has one rule an op); constants
// absorb it; model inputs, outputs and ops that do not commute with it forbid it.
//
// A channel is a variable of the change: a position for permutations, a factor for scales. Walking merges variables
// where the graph ties elements together (the query heads that share a key head, the two halves of a rotary pair) and
// notes which may be exchanged with each other (those of one head, say).
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_TRANSFORMS_CHANNELPLAN_H
#define QUANTA_TRANSFORMS_CHANNELPLAN_H

#include "quanta/Dialect/IR/Quanta.h"
#include <optional>
#include <string>
#include <vector>

namespace mlir::quanta {

/// What is done to the channels x of a value, seen as a row vector.
enum class ChannelTransform {
  Permute,   ///< x'[p] = x[order[p]]
  Scale,     ///< x' = x · diag(s), s > 0
  Shift,     ///< x' = x + z
  Rotate,    ///< x' = x · R, R orthogonal
  Center,    ///< x' = x − mean(x)
  Duplicate, ///< x'[p] = x[source[p]], sources may repeat; whoever sums over the channels divides by the repetitions
};
std::optional<ChannelTransform> findChannelTransform(StringRef verb);
/// "permutation", "scale" ...
StringRef getNoun(ChannelTransform kind);

struct PlanOptions {
  ChannelTransform kind = ChannelTransform::Permute;
  /// A norm may store its result in another order than it reads its input in: a permutation can end there, at the cost
  /// of gathering loads.
  bool permutedStores = false;
};

/// To which channel each element along some axes of a value belongs.
struct ChannelMap {
  SmallVector<int64_t> axes;     ///< ascending
  SmallVector<int64_t> sizes;    ///< of the axes
  std::vector<int32_t> channels; ///< row-major over the axes; −1: an element that does not change
  /// Scale: the factor's exponent is −1 (a weight that reads the value). Empty: nowhere.
  std::vector<bool> inverse;

  int64_t size() const { return static_cast<int64_t>(channels.size()); }
};

struct ChannelPlan {
  PlanOptions options;
  /// Why not; empty if the transform may be applied.
  std::string refusal;
  Operation *culprit = nullptr;
  bool isLegal() const { return refusal.empty(); }

  int64_t channels = 0;
  /// Permute, Rotate, Duplicate: the channels that may be exchanged or mixed with each other, in order of first
  /// appearance.
  std::vector<std::vector<int32_t>> groups;

  /// Values that change.
  struct Carrier {
    Value value;
    ChannelMap map;
  };
  std::vector<Carrier> carriers;

  /// Constants that change, by the operand that reads them: other readers of the same constant keep the old one.
  struct Absorber {
    enum Role {
      Same,       ///< the constant changes as a value would
      BiasOfShift ///< Shift: this weight reads x + z, so its op's bias changes by −W·z
    };
    OpOperand *use;
    ChannelMap map;
    Role role = Same;
  };
  std::vector<Absorber> absorbers;
  /// Shift: ops whose bias is missing and must be added, with the map of the result's last axis.
  std::vector<Carrier> missingBiases;
  /// Norms that store their result permuted.
  SmallVector<Operation *> stores;

  struct Cost {
    int64_t rewrittenBytes = 0; ///< of constants, at compile time
    int64_t untiedBytes = 0;    ///< of constants that other readers keep as they were: stored twice from now on
    int64_t gathers = 0;        ///< norms with gathering loads at run time
  };
  Cost cost;

  const ChannelMap *find(Value value) const;
};

/// The plan for changing `value` along `axes` (ascending, of static size). Never changes the IR. Time and memory are
/// linear in the elements along the channel axes of all values that take part.
ChannelPlan planTransform(Value value, ArrayRef<int64_t> axes, const PlanOptions &options);

/// The order of a map's elements that a permutation of channels means: element e of the changed value is element
/// result[e] of the old one. `order` permutes within groups. The k-th element of a channel goes where the k-th element
/// of the other one was.
std::vector<int64_t> liftOrder(const ChannelMap &map, ArrayRef<int32_t> order);

/// For each group the vectors of a map's elements that are rotated together, each in the group's order.
std::vector<std::vector<std::vector<int64_t>>> liftGroups(const ChannelMap &map, const ChannelPlan &plan);

} // namespace mlir::quanta

#endif // QUANTA_TRANSFORMS_CHANNELPLAN_H
