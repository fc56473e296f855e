//===- SymbolicSizes.cpp - Sizes of tensors as values, bounds and checks ----------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

std::optional<int64_t> quanta::getConstant(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant ? std::optional(constant.getValue()) : std::nullopt;
}
bool quanta::isConstant(AffineExpr expr, int64_t value) { return getConstant(expr) == value; }

std::optional<SmallVector<AffineExpr>> ConvertContext::elements(Value onnxValue) {
  if (const auto &known = shapes.get(onnxValue).elements)
    return known;
  ElementsAttr attr = constantOf(onnxValue);
  if (!attr || !isa<IntegerType>(attr.getElementType()))
    return std::nullopt;
  return llvm::map_to_vector(readInts(attr), [&](int64_t value) { return constant(value); });
}

std::optional<SmallVector<int64_t>> ConvertContext::integers(Value onnxValue) {
  auto exprs = elements(onnxValue);
  if (!exprs || !llvm::all_of(*exprs, [](AffineExpr expr) { return isa<AffineConstantExpr>(expr); }))
    return std::nullopt;
  return llvm::map_to_vector(*exprs, [](AffineExpr expr) { return *getConstant(expr); });
}

/// True if the value follows from the arguments alone, so that it can be computed at the top.
bool ConvertContext::isEarly(AffineExpr expr) {
  bool early = true;
  expr.walk([&](AffineExpr part) {
    auto symbolExpr = dyn_cast<AffineSymbolExpr>(part);
    if (!symbolExpr)
      return;
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    if (symbol.kind == ShapeSymbol::Kind::Element)
      early &= isa<BlockArgument>(symbol.value);
    else if (symbol.kind != ShapeSymbol::Kind::Dim)
      early &= isEarly(symbol.lhs) && isEarly(symbol.rhs);
  });
  return early;
}

Value ConvertContext::materialize(AffineExpr expr) {
  if (auto it = indices.find(expr); it != indices.end())
    return it->second;
  OpBuilder::InsertionGuard guard(b);
  Location loc = b.getLoc();
  if (isEarly(expr)) {
    b.setInsertionPoint(prologue);
    b.setLoc(function.getLoc());
  }
  ScalarBuilder s{b};
  auto floorDiv = [&](Value x, Value y) -> Value { return arith::FloorDivSIOp::create(b, x, y); };
  auto binary = [&](AffineExprKind kind, Value x, Value y) -> Value {
    switch (kind) {
    case AffineExprKind::Add: return s.add(x, y);
    case AffineExprKind::Mul: return s.mul(x, y);
    case AffineExprKind::FloorDiv: return floorDiv(x, y);
    case AffineExprKind::CeilDiv: return arith::CeilDivSIOp::create(b, x, y);
    default: return s.sub(x, s.mul(floorDiv(x, y), y));
    }
  };
  Value result;
  if (auto constant = getConstant(expr)) {
    result = s.index(*constant);
  } else if (auto operation = dyn_cast<AffineBinaryOpExpr>(expr)) {
    auto negated = dyn_cast<AffineBinaryOpExpr>(operation.getRHS());
    if (expr.getKind() == AffineExprKind::Add && negated && negated.getKind() == AffineExprKind::Mul &&
        isConstant(negated.getRHS(), -1)) {
      Value lhs = materialize(operation.getLHS());
      result = s.sub(lhs, materialize(negated.getLHS()));
    } else {
      Value lhs = materialize(operation.getLHS());
      result = binary(expr.getKind(), lhs, materialize(operation.getRHS()));
    }
  } else {
    // A copy: materializing operands may not grow the table, but computing values may.
    ShapeSymbol symbol = symbols().symbols()[cast<AffineSymbolExpr>(expr).getPosition()];
    using Kind = ShapeSymbol::Kind;
    if (symbol.kind == Kind::Dim) {
      auto source = dimSources.find(expr);
      assert(source != dimSources.end() && "a named size that no argument has");
      result = tensor::DimOp::create(b, source->second.first, source->second.second);
    } else if (symbol.kind == Kind::Element) {
      Tensor tensor = get(symbol.value);
      SmallVector<Value> position(tensor.rank());
      int64_t rest = symbol.index;
      for (int64_t i = tensor.rank() - 1; i >= 0; --i) {
        int64_t size = getConstant(tensor.dims[i]).value_or(std::numeric_limits<int64_t>::max());
        position[i] = materialize(this->constant(rest % size));
        rest /= size;
      }
      Value scalar = extract(tensor, position);
      Type from = getElementTypeOrSelf(symbol.value.getType());
      result = from.isUnsignedInteger() ? Value(arith::IndexCastUIOp::create(b, b.getIndexType(), scalar))
                                        : Value(arith::IndexCastOp::create(b, b.getIndexType(), scalar));
    } else {
      Value lhs = materialize(symbol.lhs), rhs = materialize(symbol.rhs);
      if (symbol.kind == Kind::Min)
        result = s.min(lhs, rhs);
      else if (symbol.kind == Kind::Max)
        result = s.max(lhs, rhs);
      else
        result = binary(symbol.kind == Kind::FloorDiv ? AffineExprKind::FloorDiv : AffineExprKind::Mod, lhs, rhs);
    }
  }
  b.setLoc(loc);
  return indices[expr] = result;
}

OpFoldResult ConvertContext::size(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return b.getIndexAttr(*constant);
  return materialize(expr);
}
SmallVector<OpFoldResult> ConvertContext::sizes(ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector(exprs, [&](AffineExpr expr) { return size(expr); });
}

RankedTensorType ConvertContext::type(ArrayRef<AffineExpr> dims, Type element) {
  return RankedTensorType::get(
      llvm::map_to_vector(dims, [](AffineExpr expr) { return getConstant(expr).value_or(ShapedType::kDynamic); }),
      element);
}

std::optional<int64_t> ConvertContext::lowerBound(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return constant;
  auto both = [&](AffineExpr x, AffineExpr y, auto combine) -> std::optional<int64_t> {
    std::optional<int64_t> a = lowerBound(x), b = lowerBound(y);
    return a && b ? std::optional<int64_t>(combine(*a, *b)) : std::nullopt;
  };
  if (auto symbolExpr = dyn_cast<AffineSymbolExpr>(expr)) {
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    switch (symbol.kind) {
    case ShapeSymbol::Kind::Dim: return 0;
    case ShapeSymbol::Kind::Min:
      return both(symbol.lhs, symbol.rhs, [](int64_t a, int64_t b) { return std::min(a, b); });
    case ShapeSymbol::Kind::Max: {
      auto a = lowerBound(symbol.lhs), b = lowerBound(symbol.rhs);
      return a && b ? std::optional(std::max(*a, *b)) : a ? a : b;
    }
    case ShapeSymbol::Kind::FloorDiv:
    case ShapeSymbol::Kind::Mod: {
      auto bound = both(symbol.lhs, symbol.rhs, [](int64_t a, int64_t b) { return a >= 0 && b >= 0 ? 0 : -1; });
      return bound && *bound == 0 ? bound : std::nullopt;
    }
    case ShapeSymbol::Kind::Element: return std::nullopt;
    }
  }
  auto operation = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!operation)
    return std::nullopt;
  auto lhs = lowerBound(operation.getLHS()), rhs = lowerBound(operation.getRHS());
  if (!lhs || !rhs)
    return std::nullopt;
  auto factor = getConstant(operation.getRHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add: return *lhs + *rhs;
  case AffineExprKind::Mul:
    if ((factor && *factor >= 0) || (*lhs >= 0 && *rhs >= 0))
      return *lhs * *rhs;
    return std::nullopt;
  case AffineExprKind::FloorDiv:
    return factor && *factor > 0 ? std::optional(llvm::divideFloorSigned(*lhs, *factor)) : std::nullopt;
  case AffineExprKind::CeilDiv:
    return factor && *factor > 0 ? std::optional(llvm::divideCeilSigned(*lhs, *factor)) : std::nullopt;
  case AffineExprKind::Mod: return 0;
  default: return std::nullopt;
  }
}

bool ConvertContext::isAtMost(AffineExpr a, AffineExpr b) {
  auto bound = lowerBound(simplifyAffineExpr(b - a, 0, symbols().symbols().size()));
  return bound && *bound >= 0;
}
AffineExpr ConvertContext::max(AffineExpr a, AffineExpr b) {
  return isAtMost(a, b) ? b : isAtMost(b, a) ? a : symbols().max(a, b);
}
AffineExpr ConvertContext::min(AffineExpr a, AffineExpr b) {
  return isAtMost(a, b) ? a : isAtMost(b, a) ? b : symbols().min(a, b);
}

std::string ConvertContext::describe(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return std::to_string(*constant);
  if (auto symbolExpr = dyn_cast<AffineSymbolExpr>(expr)) {
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    static const char *const names[] = {"", "min", "max", "floordiv", "mod"};
    if (symbol.kind == ShapeSymbol::Kind::Dim)
      return symbol.name;
    if (symbol.kind == ShapeSymbol::Kind::Element)
      return "a computed size";
    return names[static_cast<int>(symbol.kind)] + ("(" + describe(symbol.lhs) + ", " + describe(symbol.rhs) + ")");
  }
  auto operation = cast<AffineBinaryOpExpr>(expr);
  StringRef sign = expr.getKind() == AffineExprKind::Add        ? " + "
                   : expr.getKind() == AffineExprKind::Mul      ? " * "
                   : expr.getKind() == AffineExprKind::FloorDiv ? " floordiv "
                   : expr.getKind() == AffineExprKind::CeilDiv  ? " ceildiv "
                                                                : " mod ";
  return (describe(operation.getLHS()) + sign + describe(operation.getRHS())).str();
}

LogicalResult ConvertContext::requireEqual(onnx::NodeOp op, AffineExpr x, AffineExpr y, const Twine &what) {
  if (x == y || checked.contains({x, y}))
    return success();
  if (isa<AffineConstantExpr>(x) && isa<AffineConstantExpr>(y))
    return op.emitError() << "node " << getNodeName(op) << ": " << describe(x) << " and " << describe(y) << " differ ("
                          << what << ")";
  checked.insert({x, y});
  OpBuilder::InsertionGuard guard(b);
  if (isEarly(x) && isEarly(y))
    b.setInsertionPoint(prologue);
  Value lhs = materialize(x), rhs = materialize(y);
  require(op, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lhs, rhs),
          describe(x) + " and " + describe(y) + " differ (" + what + ")");
  return success();
}

void ConvertContext::require(onnx::NodeOp op, Value condition, const Twine &message) {
  cf::AssertOp::create(b, condition, b.getStringAttr("node " + getNodeName(op) + ": " + message));
}

LogicalResult ConvertContext::requireBroadcast(onnx::NodeOp op, ArrayRef<Tensor> inputs, ArrayRef<AffineExpr> out) {
  for (const Tensor &input : inputs)
    for (auto [have, want] : llvm::zip(llvm::reverse(input.dims), llvm::reverse(out)))
      if (!isConstant(have, 1) && failed(requireEqual(op, have, want, "broadcast")))
        return failure();
  return success();
}
