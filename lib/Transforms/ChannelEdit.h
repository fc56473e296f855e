//===- ChannelEdit.h - Does what a plan says, and takes it back -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_CHANNELEDIT_H
#define QUANTA_LIB_TRANSFORMS_CHANNELEDIT_H

#include "mlir/IR/BuiltinOps.h"
#include "quanta/Transforms/ChannelPlan.h"
#include <functional>

namespace mlir::quanta {

/// Elements of an f32 (or any, for permutations) constant as bytes, whatever its attribute; empty if there are none.
std::vector<char> readConstant(Value constant);
std::vector<float> readFloats(Value constant);

/// Where the elements of a row-major tensor are: elements[i] + rest[j] for the i-th element along the axes.
struct ElementOffsets {
  ElementOffsets(ArrayRef<int64_t> shape, ArrayRef<int64_t> axes);
  std::vector<int64_t> elements, rest;
};

/// Edits constants by plans. Plans are used up at once: an edit may add operands to ops. Until commit() everything can
/// be undone, in reverse order; old and new data are in memory.
class ChannelEdits {
public:
  /// Element p is what element order[p] was; within groups.
  void permute(const ChannelPlan &plan, ArrayRef<int32_t> order);
  /// Values are multiplied by the factors, their readers' weights by the inverses (given apart, since a factor for a
  /// channel that is zero throughout has none).
  void scale(const ChannelPlan &plan, ArrayRef<double> factors, ArrayRef<double> inverses);
  void shift(const ChannelPlan &plan, ArrayRef<double> offsets);
  /// `transform` turns the row vector of a group's channels in place, for Rotate and Center.
  void transform(const ChannelPlan &plan, function_ref<void(size_t group, MutableArrayRef<double>)> transform);

  void setOperand(OpOperand &use, Value value);
  /// A new constant of the type of `like` with these floats.
  Value makeConstant(Value like, ArrayRef<float> data);
  /// Uses of `old` get `replacement`, which was made for it; the old op is erased by commit().
  void replace(Operation *old, Operation *replacement);
  /// Any other change: how it is undone.
  void onUndo(std::function<void()> undo) { undos.push_back(std::move(undo)); }

  size_t mark() const { return undos.size(); }
  void undo(size_t mark);
  /// Keeps the edits and frees what they replaced.
  void commit(ModuleOp module);

private:
  using Rewrite = std::function<void(const ChannelMap &, std::vector<char> &, RankedTensorType)>;
  void rewriteAll(const ChannelPlan &plan, const Rewrite &rewrite);
  Value makeConstant(Value like, std::vector<char> bytes);
  void addToBias(Operation *op, ArrayRef<double> addition);

  std::vector<std::function<void()>> undos;
  SmallVector<Operation *> replaced;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CHANNELEDIT_H
