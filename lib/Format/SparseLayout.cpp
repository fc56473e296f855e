//===- SparseLayout.cpp - Single weights that replace those of a dense matrix ---------------------------------------------===//
#include "quanta/Format/SparseLayout.h"
#include <algorithm>
#include <cmath>

namespace quanta {

int64_t choiceBits(int64_t n, int64_t k) {
  k = std::min(k, n - k);
  double log = 0;
  for (int64_t i = 1; i <= k; ++i)
    log += std::log2(static_cast<double>(n - k + i) / static_cast<double>(i));
  // C is an integer: the logarithm of a power of two may come out slightly above its exponent.
  return static_cast<int64_t>(std::ceil(log - 1e-9));
}

} // namespace quanta
