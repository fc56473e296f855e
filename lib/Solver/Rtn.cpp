//===- Rtn.cpp - Round to nearest -----------------------------------------------------------------------------------------===//
#include "quanta/Solver/Rtn.h"
#include "quanta/Support/Half.h"
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace quanta {

namespace {
/// Magnitudes of the weights that share a scale.
struct Range {
  double min = INFINITY, max = -INFINITY, sum = 0;
  int64_t count = 0;

  void add(float value) {
    min = std::min<double>(min, value);
    max = std::max<double>(max, value);
    sum += std::fabs(value);
    ++count;
  }
  double magnitude() const { return std::max(max, -min); } // in this order 0, not -0
};

/// The parameters of one group, as they are stored.
struct Affine {
  float scale = 0, offset = 0;
  int zero = 0;
};

class RtnSolver {
public:
  RtnSolver(MatrixView weights, UniformResult &result)
      : weights(weights), result(result), options(result.options), levels((1 << options.bits) - 1) {}

  void solve() {
    for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow) {
      bool whole = options.group < 0;
      int64_t rowBegin = whole ? 0 : scaleRow, rowEnd = whole ? result.rows : scaleRow + 1;
      for (int64_t group = 0; group < result.groups; ++group) {
        int64_t begin = group * result.groupColumns, end = std::min(begin + result.groupColumns, result.columns);
        solveGroup(scaleRow * result.groups + group, rowBegin, rowEnd, begin, end);
      }
    }
  }

private:
  void solveGroup(int64_t index, int64_t rowBegin, int64_t rowEnd, int64_t begin, int64_t end) {
    Range range;
    for (int64_t row = rowBegin; row < rowEnd; ++row)
      std::for_each(weights.row(row) + begin, weights.row(row) + end, [&](float value) { range.add(value); });
    Affine affine = fit(range);
    result.scales[index] = affine.scale;
    if (options.zero == UniformZero::Point)
      result.zeros[index] = static_cast<uint8_t>(affine.zero);
    if (options.zero == UniformZero::Offset)
      result.offsets[index] = affine.offset;
    for (int64_t row = rowBegin; row < rowEnd; ++row)
      for (int64_t column = begin; column < end; ++column)
        result.codes[row * result.columns + column] = encode(weights(row, column), affine);
  }

  Affine fit(Range range) {
    Affine affine;
    switch (options.zero) {
    case UniformZero::Symmetric:
      affine.scale = store(options.bits == 1 ? 2 * range.sum / range.count : range.magnitude() / (levels / 2));
      break;
    case UniformZero::Point:
      range.add(0);
      affine.scale = store((range.max - range.min) / levels);
      if (affine.scale > 0)
        affine.zero = static_cast<int>(std::clamp<double>(std::nearbyint(-range.min / affine.scale), 0, levels));
      break;
    case UniformZero::Offset:
      affine.scale = store((range.max - range.min) / levels);
      affine.offset = store(range.min);
      break;
    }
    return affine;
  }

  /// The nearest value of the scale's type. What does not fit becomes the largest that does.
  float store(double value) {
    if (!options.halfScale)
      return static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX));
    constexpr float kMaxHalf = 65504;
    float half = halfToFloat(floatToHalf(value));
    if (std::isinf(half) || (half == 0 && value != 0))
      result.needsF32Scale = true;
    return std::clamp(half, -kMaxHalf, kMaxHalf);
  }

  uint8_t encode(float value, const Affine &affine) const {
    int half = 1 << (options.bits - 1);
    if (options.zero == UniformZero::Symmetric && options.bits == 1)
      return value >= 0;
    double shifted = static_cast<double>(value) - affine.offset;
    double level = affine.scale > 0 ? std::nearbyint(shifted / affine.scale) : 0;
    if (options.zero == UniformZero::Symmetric)
      return static_cast<uint8_t>(std::clamp<double>(level, 1 - half, half - 1) + half);
    return static_cast<uint8_t>(std::clamp<double>(level + affine.zero, 0, levels));
  }

  MatrixView weights;
  UniformResult &result;
  const UniformOptions &options;
  const int levels; // 2^bits − 1
};
} // namespace

float UniformResult::decode(int64_t row, int64_t column) const {
  int64_t index = (scaleRows == 1 ? 0 : row) * groups + (groupColumns ? column / groupColumns : 0);
  float code = codes[row * columns + column], scale = scales[index];
  switch (options.zero) {
  case UniformZero::Symmetric:
    return scale * (code - (options.bits == 1 ? 0.5f : static_cast<float>(1 << (options.bits - 1))));
  case UniformZero::Point:
    return scale * (code - zeros[index]);
  case UniformZero::Offset:
    return scale * code + offsets[index];
  }
  return 0;
}

void UniformResult::decode(float *out) const {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      *out++ = decode(row, column);
}

UniformResult quantizeRtn(MatrixView weights, const UniformOptions &options) {
  assert(options.bits >= 1 && options.bits <= 8 && options.group >= -1);
  UniformResult result;
  result.options = options;
  result.rows = weights.rows();
  result.columns = weights.columns();
  result.groupColumns = options.group > 0 ? std::min(options.group, result.columns) : result.columns;
  result.groups = result.groupColumns ? (result.columns + result.groupColumns - 1) / result.groupColumns : 0;
  result.scaleRows = options.group < 0 ? std::min<int64_t>(result.rows, 1) : result.rows;
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column)
      if (!std::isfinite(weights(row, column))) {
        result.nonFinite = true;
        return result;
      }

  size_t scales = static_cast<size_t>(result.scaleRows * result.groups);
  result.codes.resize(static_cast<size_t>(result.rows * result.columns));
  result.scales.resize(scales);
  result.zeros.resize(options.zero == UniformZero::Point ? scales : 0);
  result.offsets.resize(options.zero == UniformZero::Offset ? scales : 0);
  RtnSolver(weights, result).solve();

  double squares = 0, errors = 0;
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column) {
      double value = weights(row, column), difference = value - result.decode(row, column);
      squares += value * value;
      errors += difference * difference;
    }
  result.error = squares > 0 ? errors / squares : 0;
  return result;
}

} // namespace quanta
