//===- ChannelRules.h - How each op relates the channels of its operands and results ----------------------------*- C++ -*-===//
//
// Rules are stated like the indexing of a contraction: a link has dimensions, and each member says by which of them its
// axes are indexed. All members carry the same change along the link's dimensions.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_CHANNELRULES_H
#define QUANTA_LIB_TRANSFORMS_CHANNELRULES_H

#include "quanta/Transforms/ChannelPlan.h"

namespace mlir::quanta {

/// An axis of a member: index = ⌊i / divide⌋ · stride + offset, where i is the row-major index over `dims`. Without
/// dims the link says nothing about the axis.
struct AxisIndex {
  SmallVector<unsigned, 2> dims;
  int64_t divide = 1, stride = 1, offset = 0;
};

struct LinkMember {
  Value value;
  OpOperand *use = nullptr; ///< null for results
  SmallVector<AxisIndex> axes;
  bool inverse = false; ///< Scale: carries the inverse factors
  /// Takes part without carrying a change itself: it must not differ between channels.
  bool uniform = false;
  ChannelPlan::Absorber::Role role = ChannelPlan::Absorber::Same;
};

struct ChannelLink {
  SmallVector<int64_t> sizes; ///< of the dimensions; kDynamic ones cannot be channels
  std::vector<LinkMember> members;
  /// If this dimension takes part, the others that do stay where they are: the op works along this one for each index
  /// of the others.
  std::optional<unsigned> inner;
  bool needsInner = false; ///< the others cannot change without it
  /// The two halves of this dimension are pairs that stay together.
  std::optional<unsigned> pairs;
  SmallVector<unsigned> always; ///< dimensions that take part whenever others do
  SmallVector<unsigned> opaque; ///< dimensions that cannot be channels
  std::string opaqueReason;
  Operation *store = nullptr;       ///< a norm that must store permuted if this link is used
  Operation *missingBias = nullptr; ///< Shift: needs a bias that is not there; the first member is its result
};

struct ChannelRules {
  /// Ways to obey, in order of preference; in each, all links hold at once.
  std::vector<std::vector<ChannelLink>> alternatives;
  /// The op looks at shapes only.
  bool ignore = false;
  /// Why a value that no link covers may not change.
  std::string reason;
};

ChannelRules getChannelRules(Operation *op, const PlanOptions &options);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CHANNELRULES_H
