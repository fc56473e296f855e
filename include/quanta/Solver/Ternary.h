//===- Ternary.h - Weights of −α, 0 and α ---------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_TERNARY_H
#define QUANTA_SOLVER_TERNARY_H

#include "quanta/Support/MatrixView.h"
#include <vector>

namespace quanta {

enum class TernaryRule : uint8_t {
  AbsMean,   ///< BitNet b1.58: γ = mean|w|, t = clip(round(w/(γ + 1e-5)), −1, 1), α = γ
  AbsMedian, ///< the same with γ = median|w|
  Twn,       ///< ternary weight networks: t = 0 where |w| ≤ 0.7·mean|w|, α = mean|w| of the others
  Optimal,   ///< the least Σ(w − αt)²: keep the k largest |w| that maximise (Σ|w|)²/k, α their mean
};

struct TernaryOptions {
  TernaryRule rule = TernaryRule::Optimal;
  int64_t group = 0;         ///< columns that share a scale; 0: a scale a row; −1: one for the matrix
  bool leastSquares = false; ///< replace α by ⟨w,t⟩/⟨t,t⟩, the best for the codes (Twn and Optimal have it already)
  bool halfScale = true; ///< scales are stored as f16, else f32
};

/// A matrix as scale·(code − 1).
struct TernaryResult {
  TernaryOptions options;
  int64_t rows = 0, columns = 0;
  int64_t groupColumns = 0, groups = 0, scaleRows = 0; ///< as in UniformResult
  std::vector<uint8_t> codes;                          ///< [rows, columns], 0, 1 or 2
  std::vector<float> scales;                           ///< [scaleRows, groups], exactly representable in their type
  double error = 0;                                    ///< Σ(w − ŵ)²/Σw²
  bool nonFinite = false;                              ///< the matrix holds an infinity or NaN; nothing else is set
  bool needsF32Scale = false;                          ///< as in UniformResult

  float decode(int64_t row, int64_t column) const;
  /// Scales, and the codes five to a byte, rows padded to whole bytes.
  int64_t storedBits() const;
};

TernaryResult quantizeTernary(MatrixView weights, const TernaryOptions &options);

/// Given H [columns, columns], alternates `iterations` times the exact scale ⟨wH,t⟩/⟨tH,t⟩ of each row with a pass over
/// its codes that changes each to the best of the three values with the others fixed (coordinate descent); never worse
/// in tr((W−Ŵ)H(W−Ŵ)ᵀ) up to the rounding of scales. Returns that error. A scale a row (group 0) only.
double refineTernary(MatrixView weights, BasicMatrixView<const double> hessian, TernaryResult &result,
                     int iterations = 3);

/// Codes in the forms in which they are stored. Four to a byte, the first lowest:
std::vector<uint8_t> packTernary2(const std::vector<uint8_t> &codes);
/// five to a byte: the number q of their base-3 digits as ⌈256q/243⌉, so that multiplying by 3 shifts out a digit.
std::vector<uint8_t> packTernary243(const std::vector<uint8_t> &codes);
std::vector<uint8_t> unpackTernary2(const std::vector<uint8_t> &bytes, int64_t count);
std::vector<uint8_t> unpackTernary243(const std::vector<uint8_t> &bytes, int64_t count);

/// The exponent of the power of two nearest to |value| on a logarithmic scale, ties to even, within the two limits;
/// `value` itself becomes ±2^exponent, or zero below 2^(lowest − 1/2).
int roundToPowerOfTwo(double &value, int lowest, int highest);

} // namespace quanta

#endif // QUANTA_SOLVER_TERNARY_H
