//===- UniformGrid.h - The values that one scale can express --------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_UNIFORMGRID_H
#define QUANTA_SOLVER_UNIFORMGRID_H

#include "quanta/Solver/Rtn.h"
#include "quanta/Solver/Sweep.h"
#include <algorithm>
#include <cmath>

namespace quanta {

/// The parameters of one group, as they are stored.
struct UniformGrid {
  float scale = 0, offset = 0; ///< of multiples of a row's scale the product, which is exact
  uint8_t zero = 0, multiple = 0;
  bool needsF32Scale = false; ///< see UniformResult
};

/// A grid for weights that share it. `importance`, unless null, has a factor ≥ 0 for the errors of each column; only a
/// search of the range uses it. `options.multiples` is for the caller (quanta/Solver/Multiples.h).
UniformGrid fitUniformGrid(MatrixViewF64 weights, const UniformOptions &options, const double *importance = nullptr);

inline int highestCode(const UniformOptions &options) {
  return options.levels ? static_cast<int>(options.levels) - 1 : (1 << options.bits) - 1;
}
/// The code that stands for zero with Symmetric, and more than one bit.
inline int middleCode(const UniformOptions &options) { return (highestCode(options) + 1) / 2; }
/// 1 if that leaves as many codes below the middle as above.
inline int lowestCode(const UniformOptions &options) {
  return options.zero == UniformZero::Symmetric && options.bits > 1 ? 2 * middleCode(options) - highestCode(options) : 0;
}

/// What the scale is multiplied by: value = scale · level + offset.
inline double uniformLevel(uint8_t code, const UniformGrid &grid, const UniformOptions &options) {
  if (options.zero == UniformZero::Symmetric)
    return options.bits == 1 ? code - 0.5 : code - middleCode(options);
  return static_cast<double>(code) - grid.zero;
}

inline float decodeUniform(uint8_t code, const UniformGrid &grid, const UniformOptions &options) {
  float level = static_cast<float>(uniformLevel(code, grid, options));
  return options.zero == UniformZero::Offset ? grid.scale * level + grid.offset : grid.scale * level;
}

/// The code whose value is nearest.
inline uint8_t encodeUniform(double value, const UniformGrid &grid, const UniformOptions &options) {
  if (options.zero == UniformZero::Symmetric && options.bits == 1)
    return value >= 0;
  double level = grid.scale > 0 ? std::nearbyint((value - grid.offset) / grid.scale) : 0;
  int zero = options.zero == UniformZero::Symmetric ? middleCode(options) : grid.zero;
  return static_cast<uint8_t>(std::clamp<double>(level + zero, lowestCode(options), highestCode(options)));
}

/// The nearest value of the scale's type. What does not fit becomes the largest that does; then, and if something
/// other than zero becomes zero, `lost` is set.
float storeUniform(double value, const UniformOptions &options, bool &lost);

/// A result without codes and scales, but with room for them.
UniformResult makeUniformResult(int64_t rows, int64_t columns, const UniformOptions &options);

inline UniformGrid getGrid(const UniformResult &result, int64_t index) {
  UniformGrid grid;
  if (result.options.multiples) {
    grid.multiple = result.multiples[index];
    grid.scale = result.scales[index / result.groups] * static_cast<float>(grid.multiple);
  } else {
    grid.scale = result.scales[index];
  }
  if (result.options.zero == UniformZero::Point)
    grid.zero = result.zeros[index];
  if (result.options.zero == UniformZero::Offset)
    grid.offset = result.offsets[index];
  return grid;
}
void setGrid(UniformResult &result, int64_t index, const UniformGrid &grid);

/// Sets result.error.
void measureError(MatrixView weights, UniformResult &result);

bool isFinite(MatrixView matrix);

} // namespace quanta

#endif // QUANTA_SOLVER_UNIFORMGRID_H
