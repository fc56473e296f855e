//===- Latency.h - Time of a kernel as a function of its size -----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_ALLOCATE_LATENCY_H
#define QUANTA_ALLOCATE_LATENCY_H

#include <optional>
#include <utility>
#include <vector>

namespace quanta {

/// ns = overhead + perWeight · weights: a kernel of one format, number of tokens and threads, whose weights come from one level of the
/// memory, is bound by reading or by multiplying them, and both are proportional to their number.
struct LatencyFit {
  double overhead = 0, perWeight = 0; ///< not negative
  double worst = 0;                   ///< largest relative error of what it was fitted to
  double predict(double weights) const { return overhead + perWeight * weights; }
};

/// Least squares of relative errors of (weights, ns), both above 0. None of fewer than two sizes, as they tell nothing about a third.
std::optional<LatencyFit> fitLatency(const std::vector<std::pair<double, double>> &measured);

/// The middle one, the lower of two.
double medianOf(std::vector<double> values);

} // namespace quanta

#endif // QUANTA_ALLOCATE_LATENCY_H
