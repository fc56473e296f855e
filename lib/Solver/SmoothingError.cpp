//===- SmoothingError.cpp - What scales of channels do to the error of quantized layers -----------------------------------===//
#include "quanta/Solver/SmoothingError.h"
#include <algorithm>
#include <cmath>

namespace quanta {

double predictSmoothingError(const std::vector<SmoothedReader> &readers, const SmoothedInput &input, const std::vector<double> &scales,
                             const SmoothingFormat &format) {
  double largest = 0, error = 0;
  std::vector<double> power(scales.size()), lost(scales.size()); // of the scaled input, and of what rounding takes from it
  for (size_t c = 0; c < scales.size(); ++c) {
    largest = std::max(largest, input.absMax[c] / scales[c]);
    power[c] = input.meanSquare[c] / (scales[c] * scales[c]);
  }
  double inputStep = 2 * largest / double((1u << format.actBits) - 1);
  for (size_t c = 0; format.actBits && c < scales.size(); ++c)
    lost[c] = std::min(inputStep * inputStep / 12, power[c]);
  for (const SmoothedReader &reader : readers) {
    size_t columns = reader.channels.size(), group = format.group > 0 ? static_cast<size_t>(format.group) : columns;
    for (size_t row = 0; columns && row < reader.weights.size() / columns; ++row)
      for (size_t begin = 0; begin < columns; begin += group) {
        size_t end = std::min(columns, begin + group);
        auto scaled = [&](size_t j) {
          int32_t channel = reader.channels[j];
          return reader.weights[row * columns + j] * (channel < 0 ? 1 : scales[channel]);
        };
        double low = 0, high = 0; // the range has a code for zero
        for (size_t j = begin; j < end; ++j) {
          low = std::min(low, scaled(j));
          high = std::max(high, scaled(j));
        }
        double step = (high - low) / double((1u << format.weightBits) - 1);
        for (size_t j = begin; step > 0 && j < end; ++j)
          if (int32_t channel = reader.channels[j]; channel >= 0) {
            double w = scaled(j), off = std::nearbyint(w / step) * step - w;
            error += off * off * power[channel] + w * w * lost[channel];
          }
      }
  }
  return error;
}

SmoothingChoice searchSmoothing(const std::vector<SmoothedReader> &readers, const SmoothedInput &input, const std::vector<double> &weightMax,
                                const SmoothingFormat &format) {
  size_t channels = weightMax.size();
  SmoothingChoice best;
  best.scales.assign(channels, 1);
  best.error = best.unscaledError = predictSmoothingError(readers, input, best.scales, format);
  for (int twentieths = 0; twentieths <= 20; ++twentieths)
    for (bool byWeights : {true, false}) {
      double alpha = twentieths / 20.0, beta = byWeights ? 1 - alpha : 0;
      std::vector<double> scales(channels, 1);
      for (size_t c = 0; c < channels; ++c)
        if (input.absMax[c] > 0 && weightMax[c] > 0)
          scales[c] = std::clamp(std::pow(input.absMax[c], alpha) / std::pow(weightMax[c], beta), 1e-5, 1e5);
      if (double error = predictSmoothingError(readers, input, scales, format); error < best.error) {
        best.scales = std::move(scales);
        best.alpha = alpha, best.beta = beta, best.error = error;
      }
    }
  return best;
}

} // namespace quanta
