//===- Recognize.cpp - Weights that are quantized already ---------------------------------------------------------===//
#include "quanta/Solver/Recognize.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace quanta {

namespace {
/// The distinct weights of a group, in ascending order.
using Levels = std::vector<float>;

/// What a group needs: its scale, for Uniform the range of multiples, for PowerOfTwo the largest exponent.
struct GroupFit {
  float scale = 0;
  int lowest = 0, highest = 0;
};

/// The largest magnitude of sorted levels.
float largest(const Levels &levels) { return levels.empty() ? 0 : std::max(levels.back(), -levels.front()); }

std::optional<GroupFit> fitTernary(const Levels &levels) {
  float scale = largest(levels);
  for (float level : levels)
    if (level != 0 && std::fabs(level) != scale)
      return std::nullopt;
  return GroupFit{scale};
}

std::optional<GroupFit> fitBinary(const Levels &levels) {
  bool zero = std::binary_search(levels.begin(), levels.end(), 0.0f);
  return zero && levels.size() > 1 ? std::nullopt : fitTernary(levels);
}

std::optional<GroupFit> fitPowerOfTwo(const Levels &levels) {
  int mantissaExponent = 0, lowest = 0, highest = 0;
  float smallest = 0, mantissa = 0;
  for (float level : levels) {
    if (level == 0)
      continue;
    float magnitude = std::fabs(level), part = std::frexp(magnitude, &mantissaExponent);
    if (smallest == 0) {
      mantissa = part;
      smallest = magnitude;
      lowest = highest = mantissaExponent;
    }
    if (part != mantissa)
      return std::nullopt;
    smallest = std::min(smallest, magnitude);
    lowest = std::min(lowest, mantissaExponent);
    highest = std::max(highest, mantissaExponent);
  }
  return GroupFit{smallest, 0, highest - lowest};
}

/// The multiples of `scale` that f32 arithmetic rounds to the levels.
bool multiplies(const Levels &levels, float scale, GroupFit &fit) {
  fit = {scale, 0, 0};
  for (float level : levels) {
    float multiple = std::nearbyint(level / scale);
    if (!(std::fabs(multiple) <= 255) || scale * multiple != level)
      return false;
    fit.lowest = std::min(fit.lowest, static_cast<int>(multiple));
    fit.highest = std::max(fit.highest, static_cast<int>(multiple));
  }
  return true;
}

/// `value` and two floats on either side, the nearest first.
std::array<float, 5> neighbours(float value) {
  float below = std::nextafter(value, 0.0f), above = std::nextafter(value, INFINITY);
  return {value, below, above, std::nextafter(below, 0.0f), std::nextafter(above, INFINITY)};
}

/// The largest magnitude is K steps for some K. Each level is a rounded product, so the step is a neighbour of
/// largest/K.
std::optional<GroupFit> fitUniform(const Levels &levels, int maxCode) {
  float peak = largest(levels);
  if (peak == 0)
    return GroupFit{};
  for (int steps = 1; steps <= maxCode; ++steps) {
    GroupFit fit;
    for (float candidate : neighbours(peak / static_cast<float>(steps)))
      if (candidate > 0 && multiplies(levels, candidate, fit) && fit.highest - fit.lowest <= maxCode)
        return fit;
  }
  return std::nullopt;
}

class Recognizer {
public:
  Recognizer(MatrixView weights, const RecognizeOptions &options) : weights(weights), options(options) {}

  std::optional<RecognizedWeights> tryGroups(bool scalePerRow, int64_t groupColumns) {
    result = {};
    result.rows = weights.rows();
    result.columns = weights.columns();
    result.groupColumns = groupColumns;
    result.groups = result.columns / groupColumns;
    result.scaleRows = scalePerRow ? result.rows : 1;
    if (!collectLevels())
      return std::nullopt;
    std::optional<RecognizedWeights> best;
    for (RecognizedKind kind :
         {RecognizedKind::Binary, RecognizedKind::Ternary, RecognizedKind::PowerOfTwo, RecognizedKind::Uniform})
      if ((kind != RecognizedKind::PowerOfTwo || options.powersOfTwo) && fitKind(kind) && (!best || result.bits < best->bits) && encode())
        best = result;
    return best;
  }

private:
  /// No code has more than 2^maxBits values. Stops at the first group with more, or with values that have no common
  /// scale: groups of few columns have few values whatever they are.
  bool collectLevels() {
    groups.clear();
    size_t most = size_t(1) << options.maxBits;
    for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow)
      for (int64_t group = 0; group < result.groups; ++group) {
        int64_t rowBegin = result.scaleRows == 1 ? 0 : scaleRow, rowCount = result.scaleRows == 1 ? result.rows : 1;
        MatrixView part = weights.block(rowBegin, group * result.groupColumns, rowCount, result.groupColumns);
        std::set<float> levels;
        for (int64_t row = 0; row < part.rows(); ++row)
          for (int64_t column = 0; column < part.columns(); ++column) {
            if (!std::isfinite(part(row, column)))
              return false;
            if (levels.insert(part(row, column)).second && levels.size() > most)
              return false;
          }
        groups.emplace_back(levels.begin(), levels.end());
        if (!fitPowerOfTwo(groups.back()) && !fitUniform(groups.back(), (1 << options.maxBits) - 1))
          return false;
      }
    return true;
  }

  /// The fits of all groups, and the bits that the widest needs.
  bool fitKind(RecognizedKind kind) {
    result.kind = kind;
    fits.clear();
    int codes = kind == RecognizedKind::Ternary ? 3 : 2;
    for (const Levels &levels : groups) {
      std::optional<GroupFit> fit = kind == RecognizedKind::Binary    ? fitBinary(levels)
                                    : kind == RecognizedKind::Ternary ? fitTernary(levels)
                                    : kind == RecognizedKind::PowerOfTwo
                                        ? fitPowerOfTwo(levels)
                                        : fitUniform(levels, (1 << options.maxBits) - 1);
      if (!fit)
        return false;
      fits.push_back(*fit);
      if (kind == RecognizedKind::PowerOfTwo)
        codes = std::max(codes, 2 * fit->highest + 3);
      if (kind == RecognizedKind::Uniform)
        codes = std::max(codes, fit->highest - fit->lowest + 1);
    }
    for (result.bits = 1; 1 << result.bits < codes; ++result.bits)
      if (result.bits == options.maxBits)
        return false;
    return true;
  }

  /// Whatever the fits assumed, only what decodes to the weights is returned.
  bool encode() {
    result.codes.resize(static_cast<size_t>(result.rows * result.columns));
    result.scales.clear();
    result.zeros.clear();
    for (const GroupFit &fit : fits) {
      result.scales.push_back(fit.scale);
      if (result.kind == RecognizedKind::Uniform)
        result.zeros.push_back(static_cast<uint8_t>(-fit.lowest));
    }
    for (int64_t row = 0; row < result.rows; ++row)
      for (int64_t column = 0; column < result.columns; ++column) {
        int64_t group = (result.scaleRows == 1 ? 0 : row) * result.groups + column / result.groupColumns;
        float weight = weights(row, column);
        result.codes[static_cast<size_t>(row * result.columns + column)] =
            encodeWeight(weight, fits[static_cast<size_t>(group)]);
        if (result.decode(row, column) != weight)
          return false;
      }
    return true;
  }

  uint8_t encodeWeight(float weight, const GroupFit &fit) const {
    switch (result.kind) {
    case RecognizedKind::Binary:
      return weight >= 0;
    case RecognizedKind::Ternary:
      return static_cast<uint8_t>((weight > 0) - (weight < 0) + 1);
    case RecognizedKind::PowerOfTwo:
      if (weight == 0)
        return 0;
      return static_cast<uint8_t>(2 * std::ilogb(std::fabs(weight) / fit.scale) + 1 + (weight < 0));
    case RecognizedKind::Uniform:
      return fit.scale > 0 ? static_cast<uint8_t>(std::nearbyint(weight / fit.scale) - static_cast<float>(fit.lowest))
                           : 0;
    }
    return 0;
  }

  MatrixView weights;
  const RecognizeOptions &options;
  RecognizedWeights result;
  std::vector<Levels> groups;
  std::vector<GroupFit> fits;
};
} // namespace

float RecognizedWeights::decode(int64_t row, int64_t column) const {
  auto index = static_cast<size_t>((scaleRows == 1 ? 0 : row) * groups + column / groupColumns);
  int code = codes[static_cast<size_t>(row * columns + column)];
  float scale = scales[index];
  switch (kind) {
  case RecognizedKind::Binary:
    return scale * static_cast<float>(2 * code - 1);
  case RecognizedKind::Ternary:
    return scale * static_cast<float>(code - 1);
  case RecognizedKind::PowerOfTwo:
    if (code == 0)
      return 0;
    return std::ldexp(code % 2 ? scale : -scale, (code - 1) / 2);
  case RecognizedKind::Uniform:
    return scale * static_cast<float>(code - zeros[index]);
  }
  return 0;
}

int64_t RecognizedWeights::storedBits() const {
  return rows * columns * bits + static_cast<int64_t>(scales.size()) * 32 + static_cast<int64_t>(zeros.size()) * bits;
}

std::optional<RecognizedWeights> recognizeWeights(MatrixView weights, const RecognizeOptions &options) {
  assert(options.maxBits >= 1 && options.maxBits <= 8);
  int64_t rows = weights.rows(), columns = weights.columns();
  if (rows == 0 || columns == 0)
    return std::nullopt;
  Recognizer recognizer(weights, options);
  if (auto result = recognizer.tryGroups(false, columns))
    return result;
  for (int64_t shards : {2, 3, 4, 6, 8})
    if (columns % shards == 0 && columns / shards >= options.minColumns)
      if (auto result = recognizer.tryGroups(false, columns / shards))
        return result;
  if (columns >= options.minColumns)
    if (auto result = recognizer.tryGroups(true, columns))
      return result;
  for (int64_t group : {256, 128, 64, 32})
    if (group < columns && columns % group == 0 && group >= options.minColumns)
      if (auto result = recognizer.tryGroups(true, group))
        return result;
  return std::nullopt;
}

} // namespace quanta
