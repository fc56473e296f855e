//===- Compare.h - Whether two arrays agree -------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_COMPARE_H
#define QUANTA_SUPPORT_COMPARE_H

#include "quanta/Support/Npy.h"

namespace quanta {

struct Comparison {
  bool passed = false;
  double maxError = 0;  ///< largest |value − reference|; infinite where only one is finite or a NaN
  double tolerance = 0; ///< atol + rtol · largest finite |reference|; 0 for integers and booleans
  std::string problem;  ///< why it failed; empty if it passed
};

/// Floating-point arrays of any width are compared by value: equal infinities and NaNs in the same places agree. Integers
/// and booleans must be equal, shapes always.
Comparison compare(const Array &value, const Array &reference, double rtol, double atol);

} // namespace quanta

#endif // QUANTA_SUPPORT_COMPARE_H
