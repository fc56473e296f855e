//===- Rate.h - Bits by closed formulas, where damage falls with a fixed factor a bit -------------------*- C++ -*-===//
#ifndef QUANTA_ALLOCATE_RATE_H
#define QUANTA_ALLOCATE_RATE_H

#include <cstdint>
#include <optional>
#include <vector>

namespace quanta {

/// Rates R_u, fractions of a bit, within [low, high] that minimize Σ n_u·a_u·4^−R_u with Σ n_u·R_u ≤ budget (reverse
/// water-filling): R_u = clip(½·log2(a_u/θ), low, high). a_u > 0, n_u > 0. If even `low` exceeds the budget: low.
std::vector<double> fillRates(const std::vector<double> &coefficients, const std::vector<double> &counts, double budget,
                              double low, double high);

/// Each rate goes down to one of `candidates` (ascending), then the step up with the best gain per bit that fits is taken as
/// long as there is one. None if the lowest candidates exceed the budget.
std::optional<std::vector<int>> roundRates(const std::vector<double> &rates, const std::vector<double> &coefficients,
                                           const std::vector<double> &counts, double budget,
                                           const std::vector<int> &candidates);

/// BAQ: the levels of columns, or of groups of them, that have the losses l_j ≥ 0 at equal rates. All losses become equal
/// with 2^R_j = (l_j/GM(l)·2^(θ·R))^(1/θ), at least 1, rounded; one level is a column of zeros. θ = 1.95 as published: what
/// a bit gains is a little less than a factor of 4.
std::vector<int64_t> baqLevels(const std::vector<double> &losses, double rate, double theta = 1.95);

/// Rounding and clipping move the mean of log2(levels) away from `rate`. This looks for the rate that keeps the mean at or
/// below `meanRate`, and rounds to `allowed` levels (ascending, on a logarithmic scale), if there are any.
std::vector<int64_t> baqLevelsWithin(const std::vector<double> &losses, double meanRate,
                                     const std::vector<int64_t> &allowed = {}, double theta = 1.95);

/// GM/AM of the losses: what is left of them, at best, when they are equal at the same mean rate.
double equalLossGain(const std::vector<double> &losses);

/// The least mean squared error of a standard normal variable with so many levels (Lloyd-Max), levels ≥ 1. The rate
/// distortion bound for log2(levels) bits is 1/levels².
double gaussianError(int levels);

} // namespace quanta

#endif // QUANTA_ALLOCATE_RATE_H
