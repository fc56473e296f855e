//===- Reparameterize.cpp - A grid for each channel becomes one for the layer ---------------------------------------------===//
#include "quanta/Solver/Reparameterize.h"
#include <cmath>
#include <numeric>

namespace quanta {

Reparameterization reparameterize(const std::vector<double> &scales, const std::vector<double> &zeros, bool integerZero) {
  auto mean = [](const std::vector<double> &values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  Reparameterization change;
  change.scale = mean(scales);
  change.zero = integerZero ? std::nearbyint(mean(zeros)) : mean(zeros);
  for (size_t channel = 0; channel < scales.size(); ++channel) {
    change.factors.push_back(scales[channel] / change.scale);
    change.shifts.push_back((change.zero - zeros[channel]) * change.scale);
  }
  return change;
}

void applyToNorm(const Reparameterization &change, double *scale, double *shift) {
  for (size_t channel = 0; channel < change.factors.size(); ++channel) {
    scale[channel] /= change.factors[channel];
    shift[channel] = shift[channel] / change.factors[channel] - change.shifts[channel];
  }
}

void applyToReader(const Reparameterization &change, BasicMatrixView<double> weights, double *bias) {
  for (int64_t output = 0; output < weights.rows(); ++output)
    for (int64_t channel = 0; channel < weights.columns(); ++channel) {
      weights(output, channel) *= change.factors[channel];
      bias[output] += weights(output, channel) * change.shifts[channel];
    }
}

} // namespace quanta
