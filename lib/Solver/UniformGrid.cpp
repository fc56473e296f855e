//===- UniformGrid.cpp - The values that one scale can express -----------------------------------------------------------===//
#include "quanta/Solver/UniformGrid.h"
#include "quanta/Support/Half.h"
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace quanta {

namespace {
class GridFitter {
public:
  GridFitter(MatrixViewF64 weights, const UniformOptions &options, const double *importance)
      : weights(weights), options(options), importance(importance), levels(highestCode(options)) {
    for (int64_t row = 0; row < weights.rows(); ++row)
      for (int64_t column = 0; column < weights.columns(); ++column) {
        double value = weights(row, column);
        min = std::min(min, value);
        max = std::max(max, value);
        sum += std::fabs(value);
      }
    if (options.zero == UniformZero::Point) {
      min = std::min(min, 0.0);
      max = std::max(max, 0.0);
    }
  }

  UniformGrid fit() {
    bool sign = options.bits == 1 && options.zero != UniformZero::Point;
    if (!options.range.enabled() || !(magnitude() > 0))
      return shrunk(1);
    UniformGrid best = sign ? signs() : shrunk(1);
    double least = error(best);
    for (unsigned i = 1; !sign && i < options.range.candidates; ++i)
      keepBetter(shrunk(1 - static_cast<double>(i) / options.range.steps), best, least);
    UniformGrid current = best;
    for (unsigned i = 0; i < options.range.alternations; ++i) {
      UniformGrid next = leastSquares(current);
      if (next.needsF32Scale || !(next.scale > 0) || (next.scale == current.scale && next.offset == current.offset))
        break;
      keepBetter(next, best, least);
      current = next;
    }
    return best;
  }

private:
  double magnitude() const { return std::max(max, -min); } // in this order 0, not -0
  double weight(int64_t column) const { return importance ? importance[column] : 1; }

  /// The grid that covers p times the range.
  UniformGrid shrunk(double p) const {
    UniformGrid grid;
    switch (options.zero) {
    case UniformZero::Symmetric:
      grid.scale = store(options.bits == 1 ? 2 * sum / static_cast<double>(weights.rows() * weights.columns())
                                           : p * magnitude() / (levels / 2),
                         grid);
      break;
    case UniformZero::Point:
      grid.scale = store((p * max - p * min) / levels, grid);
      if (grid.scale > 0)
        grid.zero = static_cast<uint8_t>(std::clamp<double>(std::nearbyint(-p * min / grid.scale), 0, levels));
      break;
    case UniformZero::Offset: {
      // The range shrinks towards its value next to zero: where a density of weights has its mode, if it contains 0.
      double center = std::clamp(0.0, min, max);
      grid.scale = store(p < 1 ? p * (max - min) / levels : (max - min) / levels, grid);
      grid.offset = store(p < 1 ? center + p * (min - center) : min, grid);
      break;
    }
    }
    return grid;
  }

  /// One bit: mean ± mean magnitude around it, where Symmetric has a mean of 0.
  UniformGrid signs() const {
    double total = 0, mean = 0, deviation = 0;
    forEach([&](double value, double h) {
      total += h;
      mean += h * value;
    });
    mean = options.zero == UniformZero::Offset && total > 0 ? mean / total : 0;
    forEach([&](double value, double h) { deviation += h * std::fabs(value - mean); });
    if (!(total > 0))
      return shrunk(1);
    deviation /= total;
    UniformGrid grid;
    grid.scale = store(2 * deviation, grid);
    if (options.zero == UniformZero::Offset)
      grid.offset = store(mean - deviation, grid);
    return grid;
  }

  /// The scale, and with Offset the offset, that are best for the codes that `grid` gives.
  UniformGrid leastSquares(const UniformGrid &grid) const {
    double h0 = 0, level1 = 0, value1 = 0, level2 = 0, product = 0;
    forEach([&](double value, double h) {
      double level = uniformLevel(encodeUniform(value, grid, options), grid, options);
      h0 += h;
      level1 += h * level;
      value1 += h * value;
      level2 += h * level * level;
      product += h * level * value;
    });
    UniformGrid next = grid;
    next.scale = 0;
    if (options.zero != UniformZero::Offset) {
      if (level2 > 0)
        next.scale = store(product / level2, next);
      return next;
    }
    double variance = level2 - level1 * level1 / h0;
    if (h0 > 0 && variance > 1e-9 * level2) {
      double scale = (product - level1 * value1 / h0) / variance;
      next.scale = store(scale, next);
      next.offset = store((value1 - scale * level1) / h0, next);
    }
    return next;
  }

  void keepBetter(const UniformGrid &grid, UniformGrid &best, double &least) const {
    if (grid.needsF32Scale)
      return;
    double sum = error(grid);
    if (sum < least) {
      least = sum;
      best = grid;
    }
  }

  double error(const UniformGrid &grid) const {
    // Adding and subtracting 1.5·2^52 rounds to nearest even, like nearbyint, but in vectors. The clamp before it keeps
    // the sum exact and does not change the clamped code.
    constexpr double kRound = 6755399441055744.0, kLimit = 1 << 20;
    double low = lowestCode(options), high = highestCode(options), scale = grid.scale, offset = grid.offset, sum = 0;
    bool sign = options.zero == UniformZero::Symmetric && options.bits == 1;
    double zero = options.zero == UniformZero::Symmetric ? middleCode(options) : grid.zero;
    double inverse = scale > 0 ? 1 : 0, divisor = scale > 0 ? scale : 1;
    bool square = options.range.norm == 2;
    for (int64_t row = 0; row < weights.rows(); ++row) {
      const double *values = weights.row(row);
      for (int64_t column = 0; column < weights.columns(); ++column) {
        double level = std::min(std::max((values[column] - offset) / divisor * inverse, -kLimit), kLimit);
        level = (level + kRound) - kRound;
        double code = std::min(std::max(level + zero, low), high);
        double value = sign ? (values[column] >= 0 ? scale / 2 : -scale / 2) : scale * (code - zero) + offset;
        double difference = std::fabs(value - values[column]);
        sum += weight(column) * (square ? difference * difference : std::pow(difference, options.range.norm));
      }
    }
    return sum;
  }

  template <typename Body> void forEach(Body body) const {
    for (int64_t row = 0; row < weights.rows(); ++row)
      for (int64_t column = 0; column < weights.columns(); ++column)
        body(weights(row, column), weight(column));
  }

  float store(double value, UniformGrid &grid) const { return storeUniform(value, options, grid.needsF32Scale); }

  MatrixViewF64 weights;
  const UniformOptions &options;
  const double *importance;
  const int levels; // the highest code
  double min = INFINITY, max = -INFINITY, sum = 0;
};
} // namespace

UniformGrid fitUniformGrid(MatrixViewF64 weights, const UniformOptions &options, const double *importance) {
  return GridFitter(weights, options, importance).fit();
}

float storeUniform(double value, const UniformOptions &options, bool &lost) {
  if (!options.halfScale)
    return static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX));
  constexpr float kMaxHalf = 65504;
  float half = halfToFloat(floatToHalf(value));
  if (std::isinf(half) || (half == 0 && value != 0))
    lost = true;
  return std::clamp(half, -kMaxHalf, kMaxHalf);
}

UniformResult makeUniformResult(int64_t rows, int64_t columns, const UniformOptions &options) {
  assert(options.bits >= 1 && options.bits <= 8 && options.group >= -1);
  assert(!options.multiples || (options.group > 0 && options.zero != UniformZero::Offset));
  assert(!options.levels || (options.levels > 1 && options.levels <= 1u << options.bits));
  UniformResult result;
  result.options = options;
  result.rows = rows;
  result.columns = columns;
  result.groupColumns = options.group > 0 ? std::min(options.group, columns) : columns;
  result.groups = result.groupColumns ? (columns + result.groupColumns - 1) / result.groupColumns : 0;
  result.scaleRows = options.group < 0 ? std::min<int64_t>(rows, 1) : rows;
  size_t scales = static_cast<size_t>(result.scaleRows * result.groups);
  result.codes.resize(static_cast<size_t>(rows * columns));
  result.scales.resize(options.multiples ? static_cast<size_t>(result.groups ? rows : 0) : scales);
  result.multiples.resize(options.multiples ? scales : 0);
  result.zeros.resize(options.zero == UniformZero::Point ? scales : 0);
  result.offsets.resize(options.zero == UniformZero::Offset ? scales : 0);
  return result;
}

void setGrid(UniformResult &result, int64_t index, const UniformGrid &grid) {
  if (result.options.multiples) {
    result.multiples[index] = grid.multiple;
    result.scales[index / result.groups] = grid.multiple ? grid.scale / static_cast<float>(grid.multiple) : 0;
  } else {
    result.scales[index] = grid.scale;
  }
  if (result.options.zero == UniformZero::Point)
    result.zeros[index] = grid.zero;
  if (result.options.zero == UniformZero::Offset)
    result.offsets[index] = grid.offset;
  result.needsF32Scale |= grid.needsF32Scale;
}

void measureError(MatrixView weights, UniformResult &result) {
  double squares = 0, errors = 0;
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column) {
      double value = weights(row, column), difference = value - result.decode(row, column);
      squares += value * value;
      errors += difference * difference;
    }
  result.error = squares > 0 ? errors / squares : 0;
}

bool isFinite(MatrixView matrix) {
  for (int64_t row = 0; row < matrix.rows(); ++row)
    for (int64_t column = 0; column < matrix.columns(); ++column)
      if (!std::isfinite(matrix(row, column)))
        return false;
  return true;
}

} // namespace quanta
