//===- ONNXUtils.h - Reading and rewriting onnx.node graphs -------------------------------------------------------------===//
//
// What the passes on `onnx.node` share: recognising nodes and constants, making them, and the order in which patterns
// run.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_ONNXUTILS_H
#define QUANTA_LIB_TRANSFORMS_ONNXUTILS_H

#include "quanta/Dialect/ONNX/ONNX.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <cmath>
#include <optional>

namespace mlir::quanta {

//===- Reading ------------------------------------------------------------------------------------------------------------===//

/// The ai.onnx node of this type that computes a value, or null.
onnx::NodeOp getNode(Value value, StringRef opType);
/// The same for a function of one input: its argument, or null.
Value getArgument(Value value, StringRef opType);
inline RankedTensorType getTensorType(Value value) { return dyn_cast<RankedTensorType>(value.getType()); }
/// The number, if the value is a constant with one element. Splats of more do not count: they broadcast.
std::optional<double> getScalar(Value value);
/// All elements of an integer constant of at most 64 elements.
std::optional<SmallVector<int64_t>> getIntegers(Value value);
/// Axes given by an attribute (older versions) or by a constant input, wrapped into [0, rank); nothing if unknown.
std::optional<SmallVector<int64_t>> getAxes(onnx::NodeOp node, unsigned input, int64_t rank);
/// Exporters write constants in f32, from formulas of their own.
inline bool isClose(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(1.0, std::abs(b)); }

/// Tries a predicate on both orders of a binary node's inputs.
template <typename Predicate> bool matchCommuted(onnx::NodeOp node, Predicate match) {
  if (!node || node.getNumOperands() != 2)
    return false;
  return match(node.getOperand(0), node.getOperand(1)) || match(node.getOperand(1), node.getOperand(0));
}

/// Elements of a constant, wherever they are stored.
class ConstantView {
public:
  static std::optional<ConstantView> get(Value value);
  ConstantView(ConstantView &&) = default;
  ArrayRef<int64_t> dims() const { return type.getShape(); }
  Type elementType() const { return type.getElementType(); }
  int64_t size() const { return type.getNumElements(); }
  unsigned width() const { return bytesPerElement; }
  const char *at(int64_t index) const { return data.data() + (splat ? 0 : index * bytesPerElement); }
  double getDouble(int64_t index) const;
  int64_t getInt(int64_t index) const;
  /// The attribute with another shape, its data shared.
  ElementsAttr reshaped(RankedTensorType newType) const;

private:
  ConstantView() = default;
  RankedTensorType type;
  ElementsAttr attr;
  ArrayRef<char> data;
  SmallVector<char, 0> unpacked;
  unsigned bytesPerElement = 0;
  bool splat = false;
};

//===- Making -------------------------------------------------------------------------------------------------------------===//

/// Bytes in memory of an element, 1 for i1; 0 if the type is not handled.
unsigned getByteWidth(Type elementType);
/// Stores a number as an element of a type, rounding to nearest.
void storeDouble(char *to, Type elementType, double value);
void storeInt(char *to, Type elementType, int64_t value);
/// Elements from memory: `dense` when small, else `dense_resource`, as the importer does.
ElementsAttr makeElements(RankedTensorType type, ArrayRef<char> bytes);
Value makeConstant(OpBuilder &builder, Location loc, ElementsAttr value);
Value makeIntegers(OpBuilder &builder, Location loc, ArrayRef<int64_t> values);
Value makeFloat(OpBuilder &builder, Location loc, Type elementType, double value);

/// Creates a node with one result.
Value makeNode(OpBuilder &builder, Location loc, StringRef opType, int64_t sinceVersion, ValueRange inputs, Type result,
               ArrayRef<NamedAttribute> attributes = {}, StringRef domain = "");
/// Prepends dimensions of size 1.
Value unsqueezeTo(OpBuilder &builder, Location loc, Value value, int64_t rank);

//===- Rewriting ----------------------------------------------------------------------------------------------------------===//

/// True if a value may stand for another: nodes take any type, but a function's results are declared.
bool canReplace(Value value, Value replacement);

/// Runs a pattern on each node of the body, last first, and erases what becomes dead on the way. A pattern looks only
/// at what its root depends on, so it always sees the original graph, and larger patterns go before those they contain.
/// It returns the replacement of the root's first result, or null; further results have no uses.
void rewriteUpwards(func::FuncOp function, function_ref<Value(onnx::NodeOp, OpBuilder &)> pattern);

//===- Parts of onnx-fold -------------------------------------------------------------------------------------------------===//

/// The value of a node of constant inputs, or null if it is not computed at compile time.
ElementsAttr foldConstant(onnx::NodeOp node);
/// Folds a per-channel affine node (BatchNormalization, Mul, Add, ...) into the convolution or matrix product before
/// it.
Value foldAffine(onnx::NodeOp node, OpBuilder &builder);

} // namespace mlir::quanta
#endif
