//===- Shapes.h - Symbolic shapes of an ONNX graph ----------------------------------------------------------------===//
//
// Sizes are polynomials over symbols: the named dimensions of the graph's inputs and what is computed from them.
// Two sizes are equal exactly when their expressions are; exporters' Shape-Gather-Concat-Reshape chains are evaluated
// on expressions, so that they leave no trace in the compiled model.
//
//===--------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_IMPORT_ONNX_SHAPES_H
#define QUANTA_IMPORT_ONNX_SHAPES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineExpr.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"
#include <optional>

namespace mlir::quanta {

/// What a symbol stands for.
struct ShapeSymbol {
  enum class Kind {
    Dim,      ///< a named dimension of graph inputs: `name`
    Min,      ///< min(lhs, rhs)
    Max,      ///< max(lhs, rhs)
    FloorDiv, ///< floor(lhs / rhs), where it is not exact
    Mod,      ///< lhs mod rhs, likewise, rhs > 0
    Element,  ///< element `index` (row major) of the integer tensor `value`: known only at run time
  };
  Kind kind;
  std::string name;
  AffineExpr lhs, rhs;
  Value value;
  int64_t index = 0;
};

/// Interns symbols: equal definitions give the same symbol, hence equal expressions. Expressions are kept as
/// polynomials in the symbols, in one canonical form. A null expression means "not known" (also: too large a number)
/// and propagates.
class ShapeContext {
public:
  explicit ShapeContext(MLIRContext *context) : context(context) {}
  AffineExpr constant(int64_t value) { return getAffineConstantExpr(value, context); }
  AffineExpr dim(StringRef name);
  AffineExpr add(AffineExpr a, AffineExpr b);
  AffineExpr sub(AffineExpr a, AffineExpr b);
  AffineExpr mul(AffineExpr a, AffineExpr b);
  AffineExpr min(AffineExpr a, AffineExpr b);
  AffineExpr max(AffineExpr a, AffineExpr b);
  /// Rounds down; exact parts are taken out of the symbol, e.g. (4n + 6) / 4 = n + 1 + 2 floordiv 4.
  AffineExpr floorDiv(AffineExpr a, AffineExpr b);
  AffineExpr ceilDiv(AffineExpr a, int64_t b);
  AffineExpr mod(AffineExpr a, AffineExpr b);
  AffineExpr element(Value value, int64_t index);
  /// Symbols by position (AffineSymbolExpr number).
  ArrayRef<ShapeSymbol> symbols() const { return table; }
  /// Product, kept in a canonical order so that equal products are equal expressions.
  AffineExpr product(ArrayRef<AffineExpr> factors);
  /// numerator / denominator if it divides exactly as polynomials (for Reshape's -1), else floorDiv.
  AffineExpr quotient(ArrayRef<AffineExpr> numerator, ArrayRef<AffineExpr> denominator);
  /// a / b if it divides exactly as polynomials, else null.
  AffineExpr exactQuotient(AffineExpr a, AffineExpr b);
  /// True if the expression cannot be negative.
  bool isNonNegative(AffineExpr expr, unsigned depth = 3) const;
  /// Sizes of tensors are not negative, whatever their expressions look like.
  void assumeNonNegative(AffineExpr expr) { nonNegative.insert(expr); }
  /// Of two sizes that must be equal at run time the one that is known sooner: named dimensions before Min, Max and
  /// divisions, these before elements of tensors; else the first.
  AffineExpr simpler(AffineExpr a, AffineExpr b) const;
  MLIRContext *getContext() const { return context; }

private:
  AffineExpr intern(ShapeSymbol symbol);
  unsigned rank(AffineExpr expr) const;
  MLIRContext *context;
  SmallVector<ShapeSymbol> table;
  llvm::StringMap<unsigned> dims;
  DenseMap<std::pair<Value, int64_t>, unsigned> elements;
  using Binary = std::tuple<unsigned, AffineExpr, AffineExpr>;
  DenseMap<Binary, unsigned> binaries;
  DenseSet<AffineExpr> nonNegative;
  SmallVector<bool> nonNegativeSymbols;
};

/// The dimensions of a value and, for a tensor of at most 64 elements whose elements are known as integer expressions,
/// those elements in row-major order (booleans are 0 or 1; a float tensor only if every element is integral).
struct ValueShape {
  SmallVector<AffineExpr> dims;
  std::optional<SmallVector<AffineExpr>> elements;

  /// Constant sizes, ShapedType::kDynamic where symbolic.
  SmallVector<int64_t> getStatic() const;
};

/// Symbolic shapes of every value of a function of onnx.node ops. Uses `quanta.dims` for the arguments.
class SymbolicShapes {
public:
  explicit SymbolicShapes(MLIRContext *context) : symbols(std::make_shared<ShapeContext>(context)) {}
  static FailureOr<SymbolicShapes> compute(func::FuncOp function);
  const ValueShape &get(Value value) const { return shapes.find(value)->second; }
  bool contains(Value value) const { return shapes.contains(value); }
  ShapeContext &context() { return *symbols; }
  /// Elements as expressions; an integer tensor of static, small shape gets Element symbols for what is not known.
  std::optional<SmallVector<AffineExpr>> getElements(Value value);
  /// Adds what one operation defines; a pattern that replaces nodes may use these to keep the shapes complete.
  void set(Value value, ValueShape shape) { shapes[value] = std::move(shape); }
  void addConstant(arith::ConstantOp op);
  /// Result types of a node; on failure `why` is a sentence without the node's name.
  FailureOr<SmallVector<Type>> addNode(onnx::NodeOp op, std::string &why);

private:
  std::shared_ptr<ShapeContext> symbols;
  DenseMap<Value, ValueShape> shapes;
};

} // namespace mlir::quanta
#endif
