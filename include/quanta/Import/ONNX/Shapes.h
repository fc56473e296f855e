//===- Shapes.h - Symbolic shapes of an ONNX graph ----------------------------------------------------------------------===//
//
// Sizes are affine expressions over symbols: the named dimensions of the graph's inputs and what is computed from them.
// Two sizes are equal exactly when their expressions are; exporters' Shape-Gather-Concat-Reshape chains are evaluated
// on expressions, so that they leave no trace in the compiled model.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_IMPORT_ONNX_SHAPES_H
#define QUANTA_IMPORT_ONNX_SHAPES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineExpr.h"
#include <optional>

namespace mlir::quanta {

/// What a symbol stands for.
struct ShapeSymbol {
  enum class Kind {
    Dim,     ///< a named dimension of graph inputs: `name`
    Min,     ///< min(lhs, rhs)
    Max,     ///< max(lhs, rhs)
    FloorDiv,///< floor(lhs / rhs), rhs not constant or lhs not provably affine
    Mod,     ///< lhs mod rhs, likewise
    Element, ///< element `index` (row major) of the integer tensor `value`: known only at run time
  };
  Kind kind;
  std::string name;
  AffineExpr lhs, rhs;
  Value value;
  int64_t index = 0;
};

/// Interns symbols: equal definitions give the same symbol, hence equal expressions.
class ShapeContext {
public:
  explicit ShapeContext(MLIRContext *context) : context(context) {}
  AffineExpr constant(int64_t value) { return getAffineConstantExpr(value, context); }
  AffineExpr dim(StringRef name);
  AffineExpr min(AffineExpr a, AffineExpr b);
  AffineExpr max(AffineExpr a, AffineExpr b);
  AffineExpr floorDiv(AffineExpr a, AffineExpr b);
  AffineExpr mod(AffineExpr a, AffineExpr b);
  AffineExpr element(Value value, int64_t index);
  /// Symbols by position (AffineSymbolExpr number).
  ArrayRef<ShapeSymbol> symbols() const { return table; }
  /// Product, kept in a canonical order so that equal products are equal expressions.
  AffineExpr product(ArrayRef<AffineExpr> factors);
  /// numerator / denominator if it divides exactly as polynomials (for Reshape's -1), else floorDiv.
  AffineExpr quotient(ArrayRef<AffineExpr> numerator, ArrayRef<AffineExpr> denominator);
  MLIRContext *getContext() const { return context; }

private:
  AffineExpr intern(ShapeSymbol symbol);
  MLIRContext *context;
  SmallVector<ShapeSymbol> table;
};

/// The dimensions of a value and, for an integer tensor of at most 64 elements whose elements are known as expressions,
/// those elements in row-major order.
struct ValueShape {
  SmallVector<AffineExpr> dims;
  std::optional<SmallVector<AffineExpr>> elements;

  /// Constant sizes, ShapedType::kDynamic where symbolic.
  SmallVector<int64_t> getStatic() const;
};

/// Symbolic shapes of every value of a function of onnx.node ops. Uses `quanta.dims` for the arguments.
class SymbolicShapes {
public:
  static FailureOr<SymbolicShapes> compute(func::FuncOp function);
  const ValueShape &get(Value value) const { return shapes.find(value)->second; }
  ShapeContext &context() { return *symbols; }

private:
  std::shared_ptr<ShapeContext> symbols;
  DenseMap<Value, ValueShape> shapes;
};

} // namespace mlir::quanta
#endif
