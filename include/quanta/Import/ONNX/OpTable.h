//===- OpTable.h - The operators that can be imported -------------------------------------------------------------===//
//
// Ops.def has one row for each operator and operand layout. A row is data: names, kinds and defaults of inputs and
// attributes, the schema versions it was written for, a shape function and a conversion. Everything an operator's
// code asks for, it asks by name from a BoundNode, so that what ONNX moved from an attribute to an input (Squeeze's
// axes) is a matter of the row alone.
//
//===--------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_IMPORT_ONNX_OPTABLE_H
#define QUANTA_IMPORT_ONNX_OPTABLE_H

#include "quanta/Dialect/ONNX/ONNX.h"
#include "quanta/Import/ONNX/Shapes.h"
#include <vector>

namespace mlir::quanta {

struct InputSpec {
  enum class Kind { Required, Optional, Variadic };
  StringRef name;
  Kind kind;
  InputSpec(const char *name, Kind kind = Kind::Required) : name(name), kind(kind) {}
};

struct AttrSpec {
  enum class Type { Int, Float, String, Ints, Floats, Tensor };
  enum class Rule {
    Optional, ///< absent is `otherwise`, or absent if that is empty
    Required,
    Ignored, ///< known, has no effect on the result
    OneOf,   ///< one of the texts in `otherwise` (separated by |, the first is the default); integers as text
  };
  StringRef name;
  Type type;
  Rule rule = Rule::Optional;
  int64_t i = 0;
  double f = 0;
  StringRef otherwise = "";
};

struct Versions {
  int64_t first, last;
  bool manyOutputs = false;
};

class Inference;
using InferFn = LogicalResult(Inference &);

struct OpRow {
  StringRef domain, op;
  Versions versions;
  std::vector<InputSpec> inputs;
  std::vector<AttrSpec> attributes;
  InferFn *infer;
  /// Position in Ops.def; the conversion's own column has the same order.
  unsigned index = 0;

  const AttrSpec *findAttribute(StringRef name) const;
  std::optional<unsigned> findInput(StringRef name) const;
};

ArrayRef<OpRow> getOpTable();
/// The row for a schema version, null if none. "ai.onnx" is "".
const OpRow *findRow(StringRef domain, StringRef op, int64_t version);
/// Schema versions covered for an operator, empty if it is not in the table.
SmallVector<Versions> findVersions(StringRef domain, StringRef op);
/// The schema version that an opset of the default domain selects; 0 if the operator does not exist there.
int64_t getSchemaVersion(StringRef op, int64_t opset);
int64_t getNewestOpset();

/// A node together with its row: operands and attributes by the row's names.
class BoundNode {
public:
  /// Null row if the table has none for this node.
  explicit BoundNode(onnx::NodeOp op) : op(op), row(findRow(op.getDomain(), op.getOpType(), op.getSinceVersion())) {}
  explicit operator bool() const { return row; }

  mutable onnx::NodeOp op; ///< generated accessors are not const
  const OpRow *row;

  bool is(StringRef type) const { return op.getOpType() == type; }
  int64_t version() const { return op.getSinceVersion(); }
  /// The operand, null if absent or if the row has no such input.
  Value input(StringRef name) const;
  /// All operands from a variadic input on.
  SmallVector<Value> inputs(StringRef name) const;
  RankedTensorType type(StringRef name) const { return cast<RankedTensorType>(input(name).getType()); }
  /// Attributes; absent ones have the row's default, names that the row does not know `otherwise`.
  bool hasAttr(StringRef name) const { return !!op.getNodeAttr(name); }
  int64_t integer(StringRef name, int64_t otherwise = 0) const;
  double number(StringRef name, double otherwise = 0) const;
  StringRef string(StringRef name, StringRef otherwise = "") const;
  std::optional<SmallVector<int64_t>> integers(StringRef name) const;
  std::optional<SmallVector<double>> numbers(StringRef name) const;
  /// An integer list that is an attribute or an input whose elements are constant: absent is an empty optional. An
  /// input that is present but not constant fails.
  FailureOr<std::optional<SmallVector<int64_t>>> constants(StringRef name, const SymbolicShapes &shapes) const;
  /// The same for sizes that may be expressions. An unknown integer input gives Element symbols.
  FailureOr<std::optional<SmallVector<AffineExpr>>> expressions(StringRef name, SymbolicShapes &shapes) const;
};

/// A negative axis counts from the end; fails if out of range.
FailureOr<int64_t> normalizeAxis(int64_t axis, int64_t rank);

/// Geometry of a convolution or pooling node with `auto_pad` resolved.
struct SlidingWindow {
  SmallVector<int64_t> kernel, strides, dilations, padsBegin, padsEnd;
};
/// Fails if kernel sizes are not static or SAME padding needs a size that is not.
FailureOr<SlidingWindow> getSlidingWindow(const BoundNode &node, const SymbolicShapes &shapes);

/// Axes of a Reduce* node: sorted, normalised; all of them unless `noop_with_empty_axes`.
FailureOr<SmallVector<int64_t>> getReductionAxes(const BoundNode &node, const SymbolicShapes &shapes);

/// Slice in normal form: for each axis of the input start, size and step (0, the size, 1 if not sliced). With a
/// negative step, start is the index of the first element taken.
struct SliceForm {
  SmallVector<AffineExpr> starts, sizes;
  SmallVector<int64_t> steps;
};
FailureOr<SliceForm> getSliceForm(const BoundNode &node, SymbolicShapes &shapes);

/// Pad in normal form: amounts before and after each axis (negative ones crop).
struct PadForm {
  SmallVector<AffineExpr> low, high;
};
FailureOr<PadForm> getPadForm(const BoundNode &node, SymbolicShapes &shapes);

/// Scales of a Resize or Upsample node, one for each of its axes.
FailureOr<SmallVector<double>> getResizeScales(const BoundNode &node, const SymbolicShapes &shapes);

} // namespace mlir::quanta
#endif
