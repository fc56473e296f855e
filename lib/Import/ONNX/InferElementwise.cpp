//===- InferElementwise.cpp - Shapes and values of pointwise operators --------------------------------------------===//
#include "Inference.h"
#include "ModelFile.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

static bool isBool(Type type) { return type.isInteger(1); }

//===- One input --------------------------------------------------------------------------------------------------===//

/// Value of an operator at an integer, null if unknown or not integral.
static AffineExpr evaluate(Inference &s, AffineExpr x) {
  const BoundNode &n = s.node;
  auto value = Inference::constant(x);
  if (n.is("Floor") || n.is("Ceil") || n.is("Round"))
    return x;
  if (n.is("Neg"))
    return s.c.sub(s.c.constant(0), x);
  if (n.is("Abs") || n.is("Relu"))
    return s.c.isNonNegative(x) ? x
           : value              ? n.is("Abs") ? s.c.sub(s.c.constant(0), x) : s.c.constant(0)
                                : AffineExpr();
  if (n.is("Sign") && value)
    return s.c.constant((*value > 0) - (*value < 0));
  if (n.is("Sqrt") && value && *value >= 0) {
    int64_t root = std::llround(std::sqrt(double(*value)));
    if (root < INT32_MAX && root * root == *value)
      return s.c.constant(root);
  }
  return {};
}

LogicalResult infer::unary(Inference &s) {
  Value x = s.node.input("x");
  Type type = s.elementType("x");
  if (isBool(type))
    return s.error("booleans are not numbers");
  std::optional<Exprs> elements;
  if (s.known(x))
    elements = llvm::map_to_vector(*s.known(x), [&](AffineExpr e) { return evaluate(s, e); });
  return s.result(type, s.dims(x), elements);
}

LogicalResult infer::floatUnary(Inference &s) {
  if (!isa<FloatType>(s.elementType("x")))
    return s.error("the input must be of a floating-point type");
  return unary(s);
}

LogicalResult infer::logicalNot(Inference &s) {
  Value x = s.node.input("x");
  if (!isBool(s.elementType("x")))
    return s.error("the input must be boolean");
  std::optional<Exprs> elements;
  if (s.known(x))
    elements = llvm::map_to_vector(*s.known(x), [&](AffineExpr e) { return s.c.sub(s.c.constant(1), e); });
  return s.result(s.elementType("x"), s.dims(x), elements);
}

LogicalResult infer::isNaN(Inference &s) {
  if (!isa<FloatType>(s.elementType("x")))
    return s.error("the input must be of a floating-point type");
  return s.result(IntegerType::get(s.c.getContext(), 1), s.dims("x"));
}

LogicalResult infer::identity(Inference &s) {
  return s.result(s.elementType("x"), s.dims("x"), s.known(s.node.input("x")));
}

LogicalResult infer::dropout(Inference &s) {
  if (Value training = s.node.input("training_mode")) {
    const auto &elements = s.known(training);
    if (!elements || elements->size() != 1 || Inference::constant((*elements)[0]) != 0)
      return s.error("only for inference: training_mode must be the constant false");
  }
  return identity(s);
}

LogicalResult infer::castType(Inference &s) {
  Value x = s.node.input("x");
  auto type = getElementType(s.node.integer("to"), s.c.getContext());
  if (!type)
    return s.error("cannot cast to data type " + Twine(s.node.integer("to")));
  std::optional<Exprs> elements;
  if (s.known(x) && isBool(*type))
    elements = llvm::map_to_vector(*s.known(x), [&](AffineExpr e) {
      if (auto value = Inference::constant(e))
        return s.c.constant(*value != 0);
      return s.c.isNonNegative(s.c.sub(e, s.c.constant(1))) ? s.c.constant(1) : AffineExpr();
    });
  else if (s.known(x) && (type->isInteger(64) || type->isInteger(32) || type->isF32() || type->isF64()))
    elements = s.known(x);
  return s.result(*type, s.dims(x), elements);
}

LogicalResult infer::clip(Inference &s) {
  Type type = s.elementType("x");
  std::optional<Exprs> elements = s.known(s.node.input("x"));
  for (StringRef bound : {"min", "max"}) {
    Value value = s.node.input(bound);
    if (!value) {
      if (s.node.hasAttr(bound))
        elements.reset();
      continue;
    }
    if (s.elementType(bound) != type || Inference::smallCount(s.dims(value)) != 1)
      return s.error("bound '" + bound + "' must be one value of the input's type");
    const auto &limit = s.known(value);
    if (!limit)
      elements.reset();
    for (AffineExpr &e : elements ? MutableArrayRef(*elements) : MutableArrayRef<AffineExpr>())
      e = bound == "min" ? s.c.max(e, (*limit)[0]) : s.c.min(e, (*limit)[0]);
  }
  if (isBool(type))
    return s.error("booleans are not numbers");
  return s.result(type, s.dims("x"), elements);
}

//===- Several inputs ---------------------------------------------------------------------------------------------===//

/// Is a < b? Decided only if it holds for all values of the symbols.
static std::optional<bool> less(ShapeContext &c, AffineExpr a, AffineExpr b) {
  AffineExpr difference = c.sub(b, a);
  if (!difference)
    return std::nullopt;
  if (auto value = Inference::constant(difference))
    return *value > 0;
  if (c.isNonNegative(c.sub(difference, c.constant(1))))
    return true;
  if (c.isNonNegative(c.sub(a, b)))
    return false;
  return std::nullopt;
}

static AffineExpr evaluate(Inference &s, AffineExpr a, AffineExpr b, bool isFloat) {
  const BoundNode &n = s.node;
  ShapeContext &c = s.c;
  auto x = Inference::constant(a), y = Inference::constant(b);
  auto truth = [&](std::optional<bool> value) { return value ? c.constant(*value) : AffineExpr(); };
  auto negate = [](std::optional<bool> value) { return value ? std::optional(!*value) : value; };
  if (!a || !b)
    return {};
  if (n.is("Add") || n.is("Sum"))
    return c.add(a, b);
  if (n.is("Sub"))
    return c.sub(a, b);
  if (n.is("Mul"))
    return c.mul(a, b);
  if (n.is("Min"))
    return c.min(a, b);
  if (n.is("Max"))
    return c.max(a, b);
  if (n.is("Div")) {
    if (AffineExpr exact = c.exactQuotient(a, b); exact || isFloat)
      return exact;
    if (x && y)
      return *y == 0 || *x == INT64_MIN ? AffineExpr() : c.constant(*x / *y);
    return c.isNonNegative(a) && c.isNonNegative(b) ? c.floorDiv(a, b) : AffineExpr();
  }
  if (n.is("Mod") && y && *y > 0 && !isFloat && (c.isNonNegative(a) || !n.integer("fmod")))
    return c.mod(a, b);
  if (n.is("Pow") && x && y && *y >= 0 && *y < 64) {
    AffineExpr power = c.constant(1);
    for (int64_t i = 0; i < *y; ++i)
      power = c.mul(power, a);
    return power;
  }
  if (n.is("Less"))
    return truth(less(c, a, b));
  if (n.is("Greater"))
    return truth(less(c, b, a));
  if (n.is("GreaterOrEqual"))
    return truth(negate(less(c, a, b)));
  if (n.is("LessOrEqual"))
    return truth(negate(less(c, b, a)));
  if (n.is("Equal")) {
    if (a == b)
      return c.constant(1);
    return less(c, a, b) == true || less(c, b, a) == true ? c.constant(0) : AffineExpr();
  }
  if (n.is("And"))
    return x == 0 || y == 0 ? c.constant(0) : x && y ? c.constant(1) : AffineExpr();
  if (n.is("Or"))
    return x == 1 || y == 1 ? c.constant(1) : x && y ? c.constant(0) : AffineExpr();
  if (n.is("Xor") && x && y)
    return c.constant(*x ^ *y);
  return {};
}

/// Broadcasts two operands and evaluates the operator on what is known of them.
static LogicalResult combine(Inference &s, Value lhs, Value rhs, Type resultType) {
  auto dims = s.broadcast(s.dims(lhs), s.dims(rhs));
  if (!dims)
    return s.error("shapes cannot be broadcast");
  std::optional<Exprs> elements, a = s.known(lhs), b = s.known(rhs);
  // A size computed from an input's value: the input's elements become symbols.
  if (dims->size() <= 1 && (a || b)) {
    a = a ? a : s.shapes.getElements(lhs);
    b = b ? b : s.shapes.getElements(rhs);
  }
  if (a && b && Inference::smallCount(*dims)) {
    bool isFloat = isa<FloatType>(cast<ShapedType>(lhs.getType()).getElementType());
    auto p = Inference::broadcastPositions(s.dims(lhs), *dims), q = Inference::broadcastPositions(s.dims(rhs), *dims);
    elements = Exprs();
    for (auto [i, j] : llvm::zip(p, q))
      elements->push_back(evaluate(s, (*a)[i], (*b)[j], isFloat));
  }
  return s.result(resultType, *dims, elements);
}

static LogicalResult sameTypes(Inference &s, bool numbers = true) {
  Type type = s.elementType("a");
  if (type != s.elementType("b"))
    return s.error("operands have different element types");
  return numbers && isBool(type) ? s.error("booleans are not numbers") : success();
}

LogicalResult infer::arithmetic(Inference &s) {
  return failed(sameTypes(s)) ? failure() : combine(s, s.node.input("a"), s.node.input("b"), s.elementType("a"));
}

LogicalResult infer::power(Inference &s) {
  if (isBool(s.elementType("a")) || isBool(s.elementType("b")))
    return s.error("booleans are not numbers");
  return combine(s, s.node.input("a"), s.node.input("b"), s.elementType("a"));
}

LogicalResult infer::compare(Inference &s) {
  if (failed(sameTypes(s, !s.node.is("Equal"))))
    return failure();
  return combine(s, s.node.input("a"), s.node.input("b"), IntegerType::get(s.c.getContext(), 1));
}

LogicalResult infer::logical(Inference &s) {
  if (!isBool(s.elementType("a")) || !isBool(s.elementType("b")))
    return s.error("operands must be boolean");
  return combine(s, s.node.input("a"), s.node.input("b"), s.elementType("a"));
}

LogicalResult infer::variadicArithmetic(Inference &s) {
  SmallVector<Value> values = s.node.inputs("x");
  Type type = cast<ShapedType>(values[0].getType()).getElementType();
  if (isBool(type) ||
      llvm::any_of(values, [&](Value v) { return cast<ShapedType>(v.getType()).getElementType() != type; }))
    return s.error("operands must be numbers of one type");
  if (values.size() == 1)
    return s.result(type, s.dims(values[0]), s.known(values[0]));
  if (values.size() == 2)
    return combine(s, values[0], values[1], type);
  Exprs dims = s.dims(values[0]);
  for (Value value : ArrayRef(values).drop_front()) {
    auto joint = s.broadcast(dims, s.dims(value));
    if (!joint)
      return s.error("shapes cannot be broadcast");
    dims = *joint;
  }
  return s.result(type, dims);
}

LogicalResult infer::where(Inference &s) {
  Value condition = s.node.input("condition"), x = s.node.input("x"), y = s.node.input("y");
  Type type = s.elementType("x");
  if (!isBool(s.elementType("condition")) || type != s.elementType("y"))
    return s.error("the condition must be boolean and both values of one type");
  auto values = s.broadcast(s.dims(x), s.dims(y));
  auto dims = values ? s.broadcast(*values, s.dims(condition)) : std::nullopt;
  if (!dims)
    return s.error("shapes cannot be broadcast");
  std::optional<Exprs> elements;
  if (auto choice = s.known(condition); choice && Inference::smallCount(*dims)) {
    // An unknown branch does not matter where it is not taken.
    std::optional<Exprs> a = s.known(x), b = s.known(y);
    auto c = Inference::broadcastPositions(s.dims(condition), *dims),
         p = Inference::broadcastPositions(s.dims(x), *dims), q = Inference::broadcastPositions(s.dims(y), *dims);
    if (a || b) {
      elements = Exprs();
      for (auto [k, i, j] : llvm::zip(c, p, q)) {
        AffineExpr left = a ? (*a)[i] : AffineExpr(), right = b ? (*b)[j] : AffineExpr();
        auto taken = Inference::constant((*choice)[k]);
        elements->push_back(taken ? *taken ? left : right : left == right ? left : AffineExpr());
      }
    }
  }
  return s.result(type, *dims, elements);
}
