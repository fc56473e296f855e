//===- ShapeContext.cpp - Sizes as polynomials over symbols -------------------------------------------------------===//
#include "quanta/Import/ONNX/Shapes.h"
#include "llvm/Support/MathExtras.h"
#include <map>

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// Symbol positions in ascending order, repeated for powers.
using Monomial = SmallVector<unsigned, 4>;

/// Graded lexicographic: a well-order compatible with multiplication, as exact division needs. Largest first.
struct MonomialOrder {
  bool operator()(const Monomial &a, const Monomial &b) const {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  }
};

/// Bounded in size: sizes come from untrusted files.
struct Polynomial {
  std::map<Monomial, int64_t, MonomialOrder> terms;
  static constexpr size_t maxTerms = 64, maxDegree = 16;

  bool add(const Monomial &monomial, int64_t coefficient) {
    int64_t &entry = terms[monomial];
    if (llvm::AddOverflow(entry, coefficient, entry))
      return false;
    if (entry == 0)
      terms.erase(monomial);
    return terms.size() <= maxTerms && monomial.size() <= maxDegree;
  }
  std::optional<int64_t> constant() const {
    if (terms.empty())
      return 0;
    if (terms.size() == 1 && terms.begin()->first.empty())
      return terms.begin()->second;
    return std::nullopt;
  }
};
} // namespace

static Monomial multiply(const Monomial &a, const Monomial &b) {
  Monomial result(a);
  result.append(b);
  llvm::sort(result);
  return result;
}

static std::optional<Polynomial> multiply(const Polynomial &a, const Polynomial &b) {
  Polynomial result;
  for (auto &[m, c] : a.terms)
    for (auto &[n, d] : b.terms) {
      int64_t product;
      if (llvm::MulOverflow(c, d, product) || !result.add(multiply(m, n), product))
        return std::nullopt;
    }
  return result;
}

static std::optional<Polynomial> combine(const Polynomial &a, const Polynomial &b, int64_t sign) {
  Polynomial result = a;
  for (auto &[m, c] : b.terms) {
    int64_t scaled;
    if (llvm::MulOverflow(c, sign, scaled) || !result.add(m, scaled))
      return std::nullopt;
  }
  return result;
}

/// Only sums and products of symbols and constants occur: everything else is a symbol.
static std::optional<Polynomial> parse(AffineExpr expr) {
  Polynomial result;
  if (!expr)
    return std::nullopt;
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    if (constant.getValue())
      result.terms[{}] = constant.getValue();
    return result;
  }
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    result.terms[{symbol.getPosition()}] = 1;
    return result;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  auto lhs = parse(binary.getLHS()), rhs = parse(binary.getRHS());
  if (!lhs || !rhs)
    return std::nullopt;
  if (binary.getKind() == AffineExprKind::Add)
    return combine(*lhs, *rhs, 1);
  if (binary.getKind() == AffineExprKind::Mul)
    return multiply(*lhs, *rhs);
  return std::nullopt;
}

static AffineExpr build(const std::optional<Polynomial> &polynomial, MLIRContext *context) {
  if (!polynomial)
    return {};
  AffineExpr sum;
  for (auto &[monomial, coefficient] : polynomial->terms) {
    AffineExpr term;
    for (unsigned symbol : monomial) {
      AffineExpr factor = getAffineSymbolExpr(symbol, context);
      term = term ? term * factor : factor;
    }
    term = term ? term * coefficient : getAffineConstantExpr(coefficient, context);
    sum = sum ? sum + term : term;
  }
  return sum ? sum : getAffineConstantExpr(0, context);
}

/// Long division by leading terms; null unless the rest is zero.
static std::optional<Polynomial> divideExactly(Polynomial a, const Polynomial &b) {
  Polynomial quotient;
  if (b.terms.empty())
    return std::nullopt;
  auto &[leading, coefficient] = *b.terms.begin();
  for (unsigned step = 0; step < 2 * Polynomial::maxTerms && !a.terms.empty(); ++step) {
    auto [m, c] = *a.terms.begin();
    if (c == INT64_MIN || c % coefficient || !std::includes(m.begin(), m.end(), leading.begin(), leading.end()))
      return std::nullopt;
    Monomial rest;
    std::set_difference(m.begin(), m.end(), leading.begin(), leading.end(), std::back_inserter(rest));
    Polynomial term;
    term.terms[rest] = c / coefficient;
    auto product = multiply(term, b);
    if (!product || !quotient.add(rest, c / coefficient))
      return std::nullopt;
    auto next = combine(a, *product, -1);
    if (!next)
      return std::nullopt;
    a = std::move(*next);
  }
  if (!a.terms.empty())
    return std::nullopt;
  return quotient;
}

static std::optional<int64_t> constantOf(AffineExpr expr) {
  if (auto constant = dyn_cast_or_null<AffineConstantExpr>(expr))
    return constant.getValue();
  return std::nullopt;
}

AffineExpr ShapeContext::intern(ShapeSymbol symbol) {
  // Decided once: definitions form a graph whose paths may be exponentially many.
  bool lhs = symbol.lhs && isNonNegative(symbol.lhs), rhs = symbol.rhs && isNonNegative(symbol.rhs);
  using Kind = ShapeSymbol::Kind;
  nonNegativeSymbols.push_back(symbol.kind == Kind::Dim || symbol.kind == Kind::Mod ||
                               (symbol.kind == Kind::Max ? lhs || rhs : symbol.kind != Kind::Element && lhs && rhs));
  table.push_back(std::move(symbol));
  return getAffineSymbolExpr(table.size() - 1, context);
}

AffineExpr ShapeContext::dim(StringRef name) {
  auto [it, isNew] = dims.try_emplace(name, table.size());
  if (isNew)
    intern({ShapeSymbol::Kind::Dim, name.str(), {}, {}, {}, 0});
  return getAffineSymbolExpr(it->second, context);
}

AffineExpr ShapeContext::element(Value value, int64_t index) {
  auto [it, isNew] = elements.try_emplace({value, index}, table.size());
  if (isNew)
    intern({ShapeSymbol::Kind::Element, "", {}, {}, value, index});
  return getAffineSymbolExpr(it->second, context);
}

AffineExpr ShapeContext::add(AffineExpr a, AffineExpr b) {
  auto p = parse(a), q = parse(b);
  return p && q ? build(combine(*p, *q, 1), context) : AffineExpr();
}
AffineExpr ShapeContext::sub(AffineExpr a, AffineExpr b) {
  auto p = parse(a), q = parse(b);
  return p && q ? build(combine(*p, *q, -1), context) : AffineExpr();
}
AffineExpr ShapeContext::mul(AffineExpr a, AffineExpr b) {
  auto p = parse(a), q = parse(b);
  return p && q ? build(multiply(*p, *q), context) : AffineExpr();
}
AffineExpr ShapeContext::product(ArrayRef<AffineExpr> factors) {
  AffineExpr result = constant(1);
  for (AffineExpr factor : factors)
    result = mul(result, factor);
  return result;
}
AffineExpr ShapeContext::exactQuotient(AffineExpr a, AffineExpr b) {
  auto p = parse(a), q = parse(b);
  return p && q ? build(divideExactly(*p, *q), context) : AffineExpr();
}
AffineExpr ShapeContext::quotient(ArrayRef<AffineExpr> numerator, ArrayRef<AffineExpr> denominator) {
  // Common factors first: they cancel even where the products would be too large.
  SmallVector<AffineExpr> above(numerator), below;
  for (AffineExpr factor : denominator) {
    auto it = llvm::find(above, factor);
    if (it == above.end())
      below.push_back(factor);
    else
      above.erase(it);
  }
  return floorDiv(product(above), product(below));
}

/// Exporters write "to the end" as one of these.
static bool isInfinite(std::optional<int64_t> value) { return value && *value >= INT32_MAX; }

AffineExpr ShapeContext::min(AffineExpr a, AffineExpr b) {
  if (!a || !b || isInfinite(constantOf(a)))
    return a ? b : a;
  if (isInfinite(constantOf(b)) || isNonNegative(sub(b, a)))
    return a;
  if (isNonNegative(sub(a, b)))
    return b;
  if (constantOf(a))
    std::swap(a, b);
  for (auto [x, y] : {std::pair(a, b), std::pair(b, a)})
    if (auto it = binaries.find({unsigned(ShapeSymbol::Kind::Min), x, y}); it != binaries.end())
      return getAffineSymbolExpr(it->second, context);
  binaries[{unsigned(ShapeSymbol::Kind::Min), a, b}] = table.size();
  return intern({ShapeSymbol::Kind::Min, "", a, b, {}, 0});
}

AffineExpr ShapeContext::max(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  if (isNonNegative(sub(a, b)))
    return a;
  if (isNonNegative(sub(b, a)))
    return b;
  if (constantOf(a))
    std::swap(a, b);
  for (auto [x, y] : {std::pair(a, b), std::pair(b, a)})
    if (auto it = binaries.find({unsigned(ShapeSymbol::Kind::Max), x, y}); it != binaries.end())
      return getAffineSymbolExpr(it->second, context);
  binaries[{unsigned(ShapeSymbol::Kind::Max), a, b}] = table.size();
  return intern({ShapeSymbol::Kind::Max, "", a, b, {}, 0});
}

/// Splits into divisor * first + second for a positive divisor; the second's constant is in [0, divisor).
static std::pair<Polynomial, Polynomial> splitByDivisor(const Polynomial &p, int64_t divisor) {
  std::pair<Polynomial, Polynomial> result;
  for (auto &[monomial, coefficient] : p.terms) {
    if (monomial.empty()) {
      int64_t rest = ((coefficient % divisor) + divisor) % divisor;
      int64_t whole = coefficient / divisor - (coefficient % divisor < 0 ? 1 : 0);
      if (whole)
        result.first.terms[monomial] = whole;
      if (rest)
        result.second.terms[monomial] = rest;
    } else if (coefficient % divisor == 0) {
      result.first.terms[monomial] = coefficient / divisor;
    } else {
      result.second.terms[monomial] = coefficient;
    }
  }
  return result;
}

AffineExpr ShapeContext::floorDiv(AffineExpr a, AffineExpr b) {
  if (!a || !b || constantOf(b) == 0)
    return {};
  if (AffineExpr exact = exactQuotient(a, b))
    return exact;
  AffineExpr whole = constant(0);
  if (auto divisor = constantOf(b); divisor && *divisor > 0 && *divisor < INT32_MAX) {
    auto parts = splitByDivisor(*parse(a), *divisor);
    whole = build(parts.first, context);
    if (parts.second.constant())
      return whole;
    a = build(parts.second, context);
  } else if (auto dividend = constantOf(a); divisor && dividend && *dividend != INT64_MIN) {
    return constant(llvm::divideFloorSigned(*dividend, *divisor));
  }
  auto [it, isNew] = binaries.try_emplace(Binary(unsigned(ShapeSymbol::Kind::FloorDiv), a, b), table.size());
  if (isNew)
    intern({ShapeSymbol::Kind::FloorDiv, "", a, b, {}, 0});
  return add(whole, getAffineSymbolExpr(it->second, context));
}

AffineExpr ShapeContext::ceilDiv(AffineExpr a, int64_t b) { return floorDiv(add(a, constant(b - 1)), constant(b)); }

AffineExpr ShapeContext::mod(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  if (auto divisor = constantOf(b)) {
    if (*divisor <= 0 || *divisor >= INT32_MAX)
      return {};
    a = build(splitByDivisor(*parse(a), *divisor).second, context);
    if (constantOf(a))
      return a;
  } else if (exactQuotient(a, b)) {
    return constant(0);
  }
  auto [it, isNew] = binaries.try_emplace(Binary(unsigned(ShapeSymbol::Kind::Mod), a, b), table.size());
  if (isNew)
    intern({ShapeSymbol::Kind::Mod, "", a, b, {}, 0});
  return getAffineSymbolExpr(it->second, context);
}

bool ShapeContext::isNonNegative(AffineExpr expr, unsigned depth) const {
  auto polynomial = parse(expr);
  if (!polynomial)
    return false;
  if (nonNegative.contains(expr))
    return true;
  // A minimum subtracted is at most either side, a maximum added at least either: try with a side in its place.
  for (auto &[monomial, coefficient] : polynomial->terms) {
    const ShapeSymbol *symbol = monomial.size() == 1 ? &table[monomial[0]] : nullptr;
    if (!depth || !symbol || symbol->kind != (coefficient < 0 ? ShapeSymbol::Kind::Min : ShapeSymbol::Kind::Max))
      continue;
    Polynomial rest = *polynomial;
    rest.terms.erase(monomial);
    for (AffineExpr side : {symbol->lhs, symbol->rhs}) {
      std::optional<Polynomial> scaled = parse(side), factor = Polynomial();
      factor->terms[{}] = coefficient;
      scaled = scaled ? multiply(*scaled, *factor) : scaled;
      auto bound = scaled ? combine(rest, *scaled, 1) : std::nullopt;
      if (bound && isNonNegative(build(bound, context), depth - 1))
        return true;
    }
    break;
  }
  return llvm::all_of(polynomial->terms, [&](auto &term) {
    return term.second >= 0 && llvm::all_of(term.first, [&](unsigned position) {
             return nonNegativeSymbols[position] || nonNegative.contains(getAffineSymbolExpr(position, context));
           });
  });
}

unsigned ShapeContext::rank(AffineExpr expr) const {
  unsigned result = 0;
  expr.walk([&](AffineExpr part) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(part)) {
      auto kind = table[symbol.getPosition()].kind;
      result = std::max(result, kind == ShapeSymbol::Kind::Dim ? 1u : kind == ShapeSymbol::Kind::Element ? 3u : 2u);
    }
  });
  return result;
}

AffineExpr ShapeContext::simpler(AffineExpr a, AffineExpr b) const { return rank(b) < rank(a) ? b : a; }

SmallVector<int64_t> ValueShape::getStatic() const {
  return llvm::map_to_vector(dims, [](AffineExpr dim) { return constantOf(dim).value_or(ShapedType::kDynamic); });
}
