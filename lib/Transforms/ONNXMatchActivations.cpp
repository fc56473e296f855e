//===- ONNXMatchActivations.cpp - Recognise activations by expanding them -----------------------------------------------===//
//
// Exporters multiply the factors of 0.5 x (1 + erf(x / sqrt 2)) in every order. Rather than list the orders, an
// expression is expanded into a polynomial in x and in one transcendental value e of the graph, and the coefficients
// are compared.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"
#include "quanta/Transforms/Passes.h"
#include <array>

namespace mlir::quanta {
#define GEN_PASS_DEF_ONNXMATCHACTIVATIONS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

namespace {
/// Coefficients of xⁱ eʲ for i ≤ 3, j ≤ 1.
struct Polynomial {
  std::array<std::array<double, 4>, 2> c = {};

  static Polynomial term(unsigned i, unsigned j, double value) {
    Polynomial p;
    p.c[j][i] = value;
    return p;
  }
  std::optional<double> getConstant() const {
    for (unsigned j = 0; j < 2; ++j)
      for (unsigned i = 0; i < 4; ++i)
        if ((i || j) && c[j][i] != 0)
          return std::nullopt;
    return c[0][0];
  }
  bool operator==(const Polynomial &other) const {
    for (unsigned j = 0; j < 2; ++j)
      for (unsigned i = 0; i < 4; ++i)
        if (!isClose(c[j][i], other.c[j][i]))
          return false;
    return true;
  }
  Polynomial operator+(const Polynomial &other) const {
    Polynomial sum = *this;
    for (unsigned j = 0; j < 2; ++j)
      for (unsigned i = 0; i < 4; ++i)
        sum.c[j][i] += other.c[j][i];
    return sum;
  }
  /// Nothing if a power is too high.
  std::optional<Polynomial> operator*(const Polynomial &other) const {
    Polynomial product;
    for (unsigned j = 0; j < 4; ++j)
      for (unsigned i = 0; i < 16; ++i) {
        double value = c[j / 2][i / 4] * other.c[j % 2][i % 4];
        unsigned degree = i / 4 + i % 4, e = j / 2 + j % 2;
        if (value == 0)
          continue;
        if (degree > 3 || e > 1)
          return std::nullopt;
        product.c[e][degree] += value;
      }
    return product;
  }
};

/// Expands expressions in two chosen values.
struct Expansion {
  Value x, e;

  /// The depth bounds the work: shared subexpressions are expanded again wherever they appear.
  std::optional<Polynomial> operator()(Value value, unsigned depth = 8) const {
    if (value == x)
      return Polynomial::term(1, 0, 1);
    if (value == e)
      return Polynomial::term(0, 1, 1);
    if (auto number = getScalar(value))
      return Polynomial::term(0, 0, *number);
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || depth == 0 || node.getNumOperands() != 2)
      return std::nullopt;
    bool isDiv = node.is("Div"), isPow = node.is("Pow"), isSub = node.is("Sub");
    if (!(isDiv || isPow || isSub || node.is("Add") || node.is("Mul")))
      return std::nullopt;
    auto a = (*this)(node.getOperand(0), depth - 1), b = a ? (*this)(node.getOperand(1), depth - 1) : std::nullopt;
    if (!a || !b)
      return std::nullopt;
    auto number = b->getConstant();
    if (isDiv)
      return number && *number != 0 ? *a * Polynomial::term(0, 0, 1 / *number) : std::nullopt;
    if (isPow && (number == 2.0 || number == 3.0)) {
      auto square = *a * *a;
      return number == 2.0 || !square ? square : *square * *a;
    }
    if (isPow)
      return std::nullopt;
    if (node.is("Mul"))
      return *a * *b;
    if (isSub)
      b = *b * Polynomial::term(0, 0, -1);
    return *a + *b;
  }
};

/// The values that an expression is made of by + − · /, down to a depth that covers the exporters' forms.
void collectTerms(Value value, unsigned depth, SetVector<Value> &terms) {
  auto node = value.getDefiningOp<NodeOp>();
  if (getScalar(value) || !terms.insert(value) || !node || depth == 0 ||
      !(node.is("Mul") || node.is("Div") || node.is("Add") || node.is("Sub")))
    return;
  for (Value operand : node.getOperands())
    collectTerms(operand, depth - 1, terms);
}

struct Activation {
  StringRef name, domain = "";
  int64_t sinceVersion = 1;
  SmallVector<NamedAttribute, 2> attributes = {};
};
} // namespace

/// Bounds of a Clip with a lower bound of 0: its upper bound.
static std::optional<double> getUpperBound(NodeOp clip) {
  auto bound = [&](unsigned input, StringRef name) -> std::optional<double> {
    if (Value value = clip.getInput(input))
      return getScalar(value);
    return clip.getNodeAttr(name) ? std::optional<double>(clip.getFloat(name, 0)) : std::nullopt;
  };
  return bound(1, "min") == 0.0 ? bound(2, "max") : std::nullopt;
}

/// Which function of x the root is, given its expansion in x and the value of node e.
static std::optional<Activation> classify(Value root, Value x, NodeOp e, Builder &builder) {
  auto outer = Expansion{x, e.getResult(0)}(root);
  auto inner = outer ? Expansion{x, {}}(e.getInput(0)) : std::nullopt;
  if (!inner)
    return std::nullopt;
  auto [one, xe] = std::pair(Polynomial::term(1, 0, 1), Polynomial::term(1, 1, 1));
  Polynomial half = Polynomial::term(1, 0, 0.5) + Polynomial::term(1, 1, 0.5);
  auto gelu = [&](StringRef approximation) {
    return Activation{"Gelu", "", 20, {builder.getNamedAttr("approximate", builder.getStringAttr(approximation))}};
  };
  if (e.is("Erf") && *outer == half && *inner == Polynomial::term(1, 0, std::sqrt(0.5)))
    return gelu("none");
  double k = std::sqrt(2 / M_PI);
  if (e.is("Tanh") && *outer == half && *inner == Polynomial::term(1, 0, k) + Polynomial::term(3, 0, 0.044715 * k))
    return gelu("tanh");
  if (e.is("Sigmoid") && *outer == xe && *inner == one)
    return Activation{"Silu", "quanta"};
  if (e.is("HardSigmoid") && *outer == xe && *inner == one && isClose(e.getFloat("alpha", 0.2), 1.0 / 6) &&
      isClose(e.getFloat("beta", 0.5), 0.5))
    return Activation{"HardSwish", "", 14};
  // clip(m (x / 6 + 1/2), 0, m) / m for m = 1 or 6
  auto bound = e.is("Clip") ? getUpperBound(e) : std::nullopt;
  if (!bound || *bound <= 0 || !(*inner == Polynomial::term(1, 0, *bound / 6) + Polynomial::term(0, 0, *bound / 2)))
    return std::nullopt;
  if (*outer == Polynomial::term(1, 1, 1 / *bound))
    return Activation{"HardSwish", "", 14};
  if (*outer == Polynomial::term(0, 1, 1 / *bound))
    return Activation{"HardSigmoid",
                      "",
                      6,
                      {builder.getNamedAttr("alpha", builder.getF32FloatAttr(1.0f / 6)),
                       builder.getNamedAttr("beta", builder.getF32FloatAttr(0.5f))}};
  return std::nullopt;
}

static Value matchActivation(NodeOp root, OpBuilder &builder) {
  Value result = root.getResult(0);
  if (!root.is("Mul") && !root.is("Div") && !root.is("Clip"))
    return {};
  SetVector<Value> terms;
  collectTerms(result, /*depth=*/4, terms);
  for (Value term : terms) {
    auto e = term.getDefiningOp<NodeOp>();
    if (!e || e.getNumOperands() == 0 ||
        !llvm::is_contained({"Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip"}, e.getOpType()))
      continue;
    // x is a factor of the root or, for HardSigmoid, only of the argument.
    SetVector<Value> candidates = terms;
    collectTerms(e.getInput(0), /*depth=*/3, candidates);
    for (Value x : candidates) {
      auto type = getTensorType(x), resultType = getTensorType(result);
      if (x == result || x == term || !type || !resultType || type.getRank() != resultType.getRank() ||
          !isa<FloatType>(type.getElementType()))
        continue;
      if (auto activation = classify(result, x, e, builder))
        return makeNode(builder, builder.getFusedLoc({e.getLoc(), root.getLoc()}), activation->name,
                        activation->sinceVersion, x, result.getType(), activation->attributes, activation->domain);
    }
  }
  return {};
}

namespace {
struct ONNXMatchActivations : quanta::impl::ONNXMatchActivationsBase<ONNXMatchActivations> {
  void runOnOperation() override { rewriteUpwards(getOperation(), matchActivation); }
};
} // namespace
