//===- ActivationGrid.cpp - Quantizers with one set of parameters for a tensor --------------------------------------------===//
#include "quanta/Solver/ActivationGrid.h"
#include <algorithm>
#include <cmath>

namespace quanta {

static constexpr unsigned kMostShift = 15;

/// Steps of one region of a twin format.
static double stepsOf(const ActivationGrid &grid) { return std::ldexp(1.0, static_cast<int>(grid.bits) - 1); }

double roundExponent(double value, double scale, bool root) {
  return value > 0 ? std::nearbyint((root ? -2 : -1) * std::log2(value / scale)) : INFINITY;
}

double decodeExponent(double exponent, double scale, bool root, double levels) {
  if (exponent >= levels)
    return 0;
  exponent = std::max(exponent, 0.0);
  if (!root)
    return scale * std::exp2(-exponent);
  return scale * std::exp2(-std::ceil(exponent / 2)) * (std::fmod(exponent, 2) == 1 ? std::sqrt(2.0) : 1);
}

uint8_t ActivationGrid::encode(double value) const {
  double steps = stepsOf(*this);
  auto magnitude = [&](double x, double step) { return std::clamp(std::nearbyint(x / step), 0.0, steps - 1); };
  double coarse = std::ldexp(scale, static_cast<int>(shift));
  switch (format) {
  case ActivationFormat::Uniform:
    return static_cast<uint8_t>(std::clamp<double>(std::nearbyint(value / scale) + zero, lowestCode(), highestCode()));
  case ActivationFormat::Twin:
    return static_cast<uint8_t>(value < steps * scale ? magnitude(value, scale) : steps + magnitude(value, coarse));
  case ActivationFormat::TwinSigned:
    return static_cast<uint8_t>(value < 0 ? magnitude(-value, scale) : steps + magnitude(value, coarse));
  case ActivationFormat::Log2:
  case ActivationFormat::LogRoot2:
    return static_cast<uint8_t>(
        std::clamp<double>(roundExponent(value, scale, format == ActivationFormat::LogRoot2), 0, highestCode()));
  }
  return 0;
}

int64_t ActivationGrid::getInteger(uint8_t code) const {
  int64_t steps = int64_t(1) << (bits - 1), magnitude = code & (steps - 1);
  if (format == ActivationFormat::Uniform)
    return code - zero;
  if (code & steps)
    return magnitude << shift;
  return format == ActivationFormat::TwinSigned ? -magnitude : magnitude;
}

double ActivationGrid::decode(uint8_t code) const {
  if (format == ActivationFormat::Log2 || format == ActivationFormat::LogRoot2)
    return decodeExponent(code, scale, format == ActivationFormat::LogRoot2, highestCode());
  return static_cast<double>(getInteger(code)) * scale;
}

ValueRange findRange(MatrixView values) {
  ValueRange range;
  for (int64_t row = 0; row < values.rows(); ++row)
    for (int64_t column = 0; column < values.columns(); ++column) {
      range.min = std::min<double>(range.min, values(row, column));
      range.max = std::max<double>(range.max, values(row, column));
    }
  return range;
}

ActivationGrid fitGrid(ActivationFormat format, unsigned bits, ValueRange range, double factor) {
  ActivationGrid grid;
  grid.format = format;
  grid.bits = bits;
  double largest = std::max(range.max, -range.min), steps = stepsOf(grid);
  if (!(largest > 0))
    largest = 1; // all zeros: any scale will do
  switch (format) {
  case ActivationFormat::Uniform:
    grid.scale = factor * largest / (steps - 0.5);
    grid.zero = 1 << (bits - 1);
    break;
  case ActivationFormat::Twin:
    grid.shift = static_cast<unsigned>(std::clamp<double>(-std::nearbyint(std::log2(factor)), 0, kMostShift));
    grid.scale = std::ldexp(1 / steps, -static_cast<int>(grid.shift));
    break;
  case ActivationFormat::TwinSigned: {
    double coarse = factor * (range.max > 0 ? range.max : largest) / (steps - 0.5), fine = -range.min / (steps - 0.5);
    if (fine > 0)
      grid.shift = static_cast<unsigned>(std::clamp<double>(std::floor(std::log2(coarse / fine)), 0, kMostShift));
    grid.scale = std::ldexp(coarse, -static_cast<int>(grid.shift));
    break;
  }
  case ActivationFormat::Log2:
  case ActivationFormat::LogRoot2:
    grid.scale = factor * largest;
    break;
  }
  return grid;
}

ActivationGrid fitAffineGrid(unsigned bits, ValueRange range, double factor) {
  ActivationGrid grid;
  grid.bits = bits;
  double min = std::min(range.min, 0.0) * factor, max = std::max(range.max, 0.0) * factor;
  int lowest = grid.lowestCode(), highest = grid.highestCode();
  grid.scale = max > min ? (max - min) / (highest - lowest) : 1;
  grid.zero = static_cast<int>(std::clamp<double>(lowest + std::nearbyint(-min / grid.scale), lowest, highest));
  return grid;
}

std::vector<ActivationGrid> makeCandidates(ActivationFormat format, bool affine, unsigned bits, ValueRange range,
                                           const CandidateOptions &options) {
  std::vector<ActivationGrid> candidates;
  if (format == ActivationFormat::Twin) {
    for (unsigned shift = 0; shift <= kMostShift; ++shift)
      candidates.push_back(fitGrid(format, bits, range, std::ldexp(1.0, -static_cast<int>(shift))));
    return candidates;
  }
  for (unsigned i = 0; i < options.count; ++i) {
    double factor = options.least + i * (options.most - options.least) / options.count;
    candidates.push_back(affine ? fitAffineGrid(bits, range, factor) : fitGrid(format, bits, range, factor));
  }
  return candidates;
}

ActivationGrid fitToValues(MatrixView values, unsigned bits, const CandidateOptions &options) {
  ActivationGrid best;
  double least = INFINITY;
  for (const ActivationGrid &grid : makeCandidates(ActivationFormat::Uniform, true, bits, findRange(values), options)) {
    double error = 0;
    for (int64_t row = 0; row < values.rows(); ++row)
      for (int64_t column = 0; column < values.columns(); ++column) {
        double difference = values(row, column) - grid.round(values(row, column));
        error += difference * difference;
      }
    if (error < least) {
      least = error;
      best = grid;
    }
  }
  return best;
}

} // namespace quanta
