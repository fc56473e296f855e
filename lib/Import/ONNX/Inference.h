//===- Inference.h - What a shape function works with -------------------------------------------------------------===//
#ifndef QUANTA_LIB_IMPORT_ONNX_INFERENCE_H
#define QUANTA_LIB_IMPORT_ONNX_INFERENCE_H

#include "quanta/Import/ONNX/OpTable.h"

namespace mlir::quanta {

/// At most this many elements are followed as expressions.
constexpr int64_t maxElements = 64;

using Exprs = SmallVector<AffineExpr>;

/// One node whose results are being inferred.
class Inference {
public:
  Inference(BoundNode node, SymbolicShapes &shapes) : node(node), shapes(shapes), c(shapes.context()) {}

  BoundNode node;
  SymbolicShapes &shapes;
  ShapeContext &c;

  const Exprs &dims(Value value) const { return shapes.get(value).dims; }
  const Exprs &dims(StringRef name) const { return dims(node.input(name)); }
  int64_t rank(StringRef name) const { return dims(name).size(); }
  Type elementType(StringRef name) const { return node.type(name).getElementType(); }
  /// Elements as far as they are known already.
  const std::optional<Exprs> &known(Value value) const { return shapes.get(value).elements; }

  LogicalResult error(const Twine &text) {
    if (why.empty())
      why = text.str();
    return failure();
  }
  /// Adds a result. Elements may have null entries: these become Element symbols, or make all unknown.
  LogicalResult result(Type elementType, Exprs dims, std::optional<Exprs> elements = std::nullopt);
  /// The size if it is static.
  static std::optional<int64_t> constant(AffineExpr expr) {
    if (auto value = dyn_cast_or_null<AffineConstantExpr>(expr))
      return value.getValue();
    return std::nullopt;
  }
  /// Number of elements, if static and small enough to be followed.
  static std::optional<int64_t> smallCount(ArrayRef<AffineExpr> dims);
  /// The joint shape of two operands; nothing if they do not agree.
  std::optional<Exprs> broadcast(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b);
  /// The size of a dimension that two operands share; null if they cannot be equal.
  AffineExpr unify(AffineExpr a, AffineExpr b);
  /// Positions in an operand of this shape for every element of a result, both small and static.
  static SmallVector<int64_t> broadcastPositions(ArrayRef<AffineExpr> operand, ArrayRef<AffineExpr> result);

  std::string why;
  SmallVector<ValueShape> results;
  SmallVector<Type> types;
};

namespace infer {
#define ROW(domain, op, versions, inputs, attributes, infer, convert) LogicalResult infer(Inference &);
#include "quanta/Import/ONNX/Ops.def"
} // namespace infer

} // namespace mlir::quanta
#endif
