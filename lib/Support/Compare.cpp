//===- Compare.cpp - Whether two arrays agree -----------------------------------------------------------------------------===//
#include "quanta/Support/Compare.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace llvm;

namespace quanta {

// Multi-dimensional position of an element: "[0, 3, 17]".
static std::string positionOf(const Array &array, int64_t index) {
  std::string text;
  ArrayRef<int64_t> shape = array.getShape();
  for (size_t d = shape.size(); d-- > 0; index /= shape[d])
    text = std::to_string(index % shape[d]) + (text.empty() ? "" : ", ") + text;
  return "[" + text + "]";
}

Comparison compare(const Array &value, const Array &reference, double rtol, double atol) {
  Comparison result;
  bool floating = isFloat(value.getType());
  if (value.getShape() != reference.getShape() || floating != isFloat(reference.getType())) {
    result.maxError = INFINITY;
    result.problem = "it is " + value.describe() + ", the reference " + reference.describe();
    return result;
  }
  int64_t worst = -1;
  double largest = 0;
  for (int64_t i = 0; i < value.getElementCount(); ++i) {
    double error;
    if (floating) {
      double a = value.getDouble(i), b = reference.getDouble(i);
      bool same = a == b || (std::isnan(a) && std::isnan(b));
      error = same ? 0 : std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : INFINITY;
      if (std::isfinite(b))
        largest = std::max(largest, std::fabs(b));
    } else {
      int64_t a = value.getInt(i), b = reference.getInt(i);
      // At least 1 where doubles would call them equal.
      error = a == b ? 0 : std::max(1.0, std::fabs(value.getDouble(i) - reference.getDouble(i)));
    }
    if (error > result.maxError || (error > 0 && worst < 0)) {
      result.maxError = error;
      worst = i;
    }
  }
  result.tolerance = floating ? atol + rtol * largest : 0;
  result.passed = worst < 0 || result.maxError <= result.tolerance;
  if (!result.passed)
    result.problem = formatv("at {0} it is {1}, the reference {2}: an error of {3:e3}, more than the tolerance {4:e3}",
                             positionOf(value, worst), value.getDouble(worst), reference.getDouble(worst),
                             result.maxError, result.tolerance);
  return result;
}

} // namespace quanta
