//===- Rate.cpp - Bits by closed formulas ---------------------------------------------------------------------------===//
#include "quanta/Allocate/Rate.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

namespace quanta {

namespace {
/// The largest of the values between two, of which the first does and the second may not fit. `fits` is monotone.
template <typename Fits> double bisect(double fitting, double other, int steps, Fits fits) {
  for (int i = 0; i < steps; ++i) {
    double middle = (fitting + other) / 2;
    (fits(middle) ? fitting : other) = middle;
  }
  return fitting;
}

double geometricMean(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += std::log(value + 1e-8); // as published; a loss of 0 has no logarithm
  return std::exp(sum / static_cast<double>(values.size()));
}

double meanBits(const std::vector<int64_t> &levels) {
  double sum = 0;
  for (int64_t level : levels)
    sum += std::log2(static_cast<double>(level));
  return sum / static_cast<double>(levels.size());
}

int64_t nearestAllowed(int64_t level, const std::vector<int64_t> &allowed) {
  auto distance = [&](int64_t other) { return std::fabs(std::log2(static_cast<double>(level) / static_cast<double>(other))); };
  return *std::min_element(allowed.begin(), allowed.end(), [&](int64_t a, int64_t b) { return distance(a) < distance(b); });
}
} // namespace

std::vector<double> fillRates(const std::vector<double> &coefficients, const std::vector<double> &counts, double budget,
                              double low, double high) {
  assert(coefficients.size() == counts.size() && low <= high);
  auto rates = [&](double logTheta) {
    std::vector<double> result;
    for (double a : coefficients)
      result.push_back(std::clamp((std::log2(a) - logTheta) / 2, low, high));
    return result;
  };
  auto fits = [&](double logTheta) {
    std::vector<double> result = rates(logTheta);
    return std::inner_product(result.begin(), result.end(), counts.begin(), 0.0) <= budget;
  };
  if (coefficients.empty())
    return {};
  auto [least, most] = std::minmax_element(coefficients.begin(), coefficients.end());
  double deep = std::log2(*least) - 2 * std::min(high, 64.0) - 2, shallow = std::log2(*most) - 2 * low + 2;
  return rates(fits(deep) ? deep : bisect(shallow, deep, 200, fits));
}

std::optional<std::vector<int>> roundRates(const std::vector<double> &rates, const std::vector<double> &coefficients,
                                           const std::vector<double> &counts, double budget,
                                           const std::vector<int> &candidates) {
  assert(!candidates.empty() && std::is_sorted(candidates.begin(), candidates.end()));
  std::vector<size_t> at;
  double used = 0;
  for (size_t u = 0; u < rates.size(); ++u) {
    auto above = std::lower_bound(candidates.begin(), candidates.end(), rates[u] + 1e-9);
    at.push_back(above == candidates.begin() ? 0 : static_cast<size_t>(above - candidates.begin()) - 1);
    used += counts[u] * candidates[at[u]];
  }
  if (used > budget + 1e-9)
    return std::nullopt;
  while (true) {
    double best = 0;
    size_t next = rates.size();
    for (size_t u = 0; u < rates.size(); ++u) {
      if (at[u] + 1 == candidates.size())
        continue;
      int from = candidates[at[u]], to = candidates[at[u] + 1];
      double gain = coefficients[u] * (std::exp2(-2 * from) - std::exp2(-2 * to)) / (to - from);
      if (used + counts[u] * (to - from) <= budget + 1e-9 && gain > best) {
        best = gain;
        next = u;
      }
    }
    if (next == rates.size())
      break;
    used += counts[next] * (candidates[at[next] + 1] - candidates[at[next]]);
    ++at[next];
  }
  std::vector<int> bits;
  for (size_t position : at)
    bits.push_back(candidates[position]);
  return bits;
}

std::vector<int64_t> baqLevels(const std::vector<double> &losses, double rate, double theta) {
  double mean = geometricMean(losses);
  std::vector<int64_t> levels;
  for (double loss : losses) {
    double level = std::pow(loss / mean * std::exp2(theta * rate), 1 / theta);
    levels.push_back(static_cast<int64_t>(std::nearbyint(std::clamp(level, 1.0, 0x1p62))));
  }
  return levels;
}

std::vector<int64_t> baqLevelsWithin(const std::vector<double> &losses, double meanRate,
                                     const std::vector<int64_t> &allowed, double theta) {
  auto at = [&](double rate) {
    std::vector<int64_t> levels = baqLevels(losses, rate, theta);
    if (!allowed.empty())
      for (int64_t &level : levels)
        level = nearestAllowed(level, allowed);
    return levels;
  };
  return at(bisect(-8, meanRate + 8, 60, [&](double rate) { return meanBits(at(rate)) <= meanRate; }));
}

double equalLossGain(const std::vector<double> &losses) {
  return geometricMean(losses) / (std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size()));
}

double gaussianError(int levels) {
  assert(levels >= 1);
  auto mass = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  auto density = [](double x) { return std::exp(-x * x / 2) / std::sqrt(2 * M_PI); };
  std::vector<double> values;
  for (int i = 0; i < levels; ++i)
    values.push_back(levels == 1 ? 0 : -1.5 + 3.0 * i / (levels - 1));
  // Each value becomes the mean of what is nearest to it. Then E[x·x̂] = E[x̂²].
  double error = 1;
  double change = 1;
  for (int pass = 0; pass < 20000 && change > 1e-13; ++pass) {
    std::vector<double> means;
    error = 1;
    for (int i = 0; i < levels; ++i) {
      double low = i == 0 ? -40 : (values[i - 1] + values[i]) / 2;
      double high = i + 1 == levels ? 40 : (values[i] + values[i + 1]) / 2;
      double probability = mass(high) - mass(low);
      means.push_back((density(low) - density(high)) / probability);
      error -= probability * means.back() * means.back();
    }
    change = 0;
    for (int i = 0; i < levels; ++i)
      change = std::max(change, std::fabs(means[i] - values[i]));
    values = std::move(means);
  }
  return error;
}

} // namespace quanta
