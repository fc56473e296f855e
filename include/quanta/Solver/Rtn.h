//===- Rtn.h - Round to nearest -------------------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_RTN_H
#define QUANTA_SOLVER_RTN_H

#include "quanta/Support/MatrixView.h"
#include <vector>

namespace quanta {

/// What stands for zero in a uniform format; see the encoding #quanta.uniform.
enum class UniformZero : uint8_t { Symmetric, Point, Offset };

/// How the range that a scale covers is found. The candidates are p·range with p = 1 − i/steps; the first with the
/// least Σ |w − ŵ|^norm wins.
struct RangeSearch {
  unsigned candidates = 0;   ///< i < candidates; 0: the whole range is covered
  unsigned steps = 100;
  double norm = 2.4;
  unsigned alternations = 0; ///< then so often: the nearest codes, the scale (and offset) of least squares for them

  bool enabled() const { return candidates > 0; }
  /// As GPTQ was published.
  static constexpr RangeSearch published() { return {80, 100, 2.4, 0}; }
  /// Meant for weights whose importance is known, see fitUniformGrid; better at two bits.
  static constexpr RangeSearch leastSquares() { return {38, 50, 2, 8}; }
};

struct UniformOptions {
  unsigned bits = 4;   ///< 1 to 8
  int64_t group = 0;   ///< columns that share a scale; 0: a scale a row; -1: one for the matrix
  UniformZero zero = UniformZero::Point;
  bool halfScale = true;  ///< scales and offsets are stored as f16, else f32
  RangeSearch range = {}; ///< off: min-max
  unsigned levels = 0;    ///< codes are 0 to levels − 1; 0: all of `bits` bits. Ternary is 3 levels with 2 bits
  unsigned multiples = 0; ///< bits of the integers by which groups multiply one scale of their row; 0: groups have scales. Not of Offset
};

/// A matrix as codes q of `bits` bits:
///   Symmetric: scale·(q − 2^(bits−1)), for 1 bit scale·(q − 1/2), for 3 levels scale·(q − 1);
///   Point: scale·(q − zero);  Offset: scale·q + offset.
struct UniformResult {
  UniformOptions options;
  int64_t rows = 0, columns = 0;
  int64_t groupColumns = 0;          ///< of all groups but the last
  int64_t groups = 0, scaleRows = 0; ///< scaleRows is 1 with group = −1, else rows
  std::vector<uint8_t> codes;        ///< [rows, columns]
  std::vector<float> scales;         ///< [scaleRows, groups], exactly representable in the scale's type; with multiples [rows, 1]
  std::vector<uint8_t> multiples;    ///< [rows, groups], 1 to 2^options.multiples − 1: the group's scale is that multiple of the row's
  std::vector<uint8_t> zeros;        ///< the same shape; only with Point
  std::vector<float> offsets;        ///< the same shape, rounded like scales; only with Offset
  double error = 0;                  ///< Σ(w − ŵ)² / Σw², 0 for a matrix of zeros
  bool nonFinite = false;            ///< the matrix holds an infinity or NaN; nothing else is set
  /// A scale or offset is too large for f16, or so small that it became zero although its weights differ: the result
  /// clips or loses them. Call again with halfScale = false.
  bool needsF32Scale = false;

  float decode(int64_t row, int64_t column) const;
  /// The whole matrix, row major.
  void decode(float *out) const;
};

/// Round to nearest (half to even), min-max unless options.range says otherwise. Point extends the range of a group to
/// contain 0 and stores 0 exactly. With Symmetric and two bits or more the codes are 1 to 2^bits − 1 (0 to 2 of three
/// levels); with one bit the scale is twice the mean magnitude. A group that is all zero has scale 0. Codes are computed
/// with the scale as it is stored. A search of the range with one bit and no zero point has nothing to shrink: its values
/// are the mean (0 with Symmetric) plus and minus the mean magnitude around it.
UniformResult quantizeRtn(MatrixView weights, const UniformOptions &options);

} // namespace quanta

#endif // QUANTA_SOLVER_RTN_H
