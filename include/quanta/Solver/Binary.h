//===- Binary.h - Weights of two values -----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_BINARY_H
#define QUANTA_SOLVER_BINARY_H

#include "quanta/Solver/Sweep.h"

namespace quanta {

/// ŵ = μ + α·sign(w − μ), sign(0) = 1. How μ and α follow from the weights of a row or group:
enum class BinaryScale : uint8_t {
  Exact,     ///< μ = mean w, α = mean|w − μ| (PB-LLM eq. 6-9)
  Optimal,   ///< the least Σ(w − ŵ)²: the two means on either side of the best of all thresholds
  PbLlmCode, ///< as PB-LLM's code: weights that are left out count as zeros, which makes α too small
  Uncentred, ///< μ = mean w, α = mean|w| (PTQ1.61, BiBERT)
};

struct BinaryParameters {
  double mean = 0, scale = 0;
};

/// Of the values whose `kept` is not 0, or of all if it is null. Without the mean μ = 0 in all formulas.
BinaryParameters fitBinary(const double *values, const uint8_t *kept, int64_t count, BinaryScale rule,
                           bool useMean = true);

/// ARB-LLM: from (μ, α) and B = sign(w − μ), `iterations` times μ += mean(w − μ − αB), α = mean(B(w − μ)), then
/// B = sign(w − μ). Never worse in Σ(w − μ − αB)².
void alternateBinary(const double *values, const uint8_t *kept, int64_t count, int iterations,
                     BinaryParameters &parameters);

struct BinaryOptions {
  int64_t group = 0; ///< columns that share μ and α; 0: all of a row
  BinaryScale scale = BinaryScale::Exact;
  bool mean = true;
  int alternations = 0;  ///< of alternateBinary, only with the mean
  bool halfScale = true; ///< μ and α are stored as f16, else f32
};

/// A matrix as mean + scale where the sign is 1, mean − scale where it is 0.
struct BinaryResult {
  BinaryOptions options;
  int64_t rows = 0, columns = 0;
  int64_t groupColumns = 0, groups = 0; ///< as in UniformResult
  std::vector<uint8_t> signs;           ///< [rows, columns]
  std::vector<float> scales, means;     ///< [rows, groups], exactly representable in their type; no means without mean
  double error = 0;                     ///< Σ(w − ŵ)²/Σw²
  double loss = 0;            ///< of a sweep or refinement: tr((W − Ŵ)·H·(W − Ŵ)ᵀ) with the H it was given
  bool nonFinite = false;     ///< the matrix holds an infinity or NaN; nothing else is set
  bool needsF32Scale = false; ///< as in UniformResult

  float decode(int64_t row, int64_t column) const;
  int64_t storedBits() const;
};

BinaryResult quantizeBinary(MatrixView weights, const BinaryOptions &options);

/// Signs are those of the weights that the sweep has compensated; μ and α are of the original weights.
BinaryResult sweepBinary(MatrixView weights, const HessianFactor &factor, const BinaryOptions &options);

/// Alternates the exact μ and α of each row under H with a descent on its signs, `iterations` times, and ends with μ
/// and α. Monotone in the loss but for the rounding of scales. A few tokens are overfitted: pass a damped H then.
void refineBinary(MatrixView weights, MatrixViewF64 hessian, BinaryResult &result, int iterations = 4, int sweeps = 3);

/// The parts of refineBinary. Both minimise tr((V − Ŵ)·H·(V − Ŵ)ᵀ) for targets V that are only given as V·H:
/// `products` [rows, columns].
///
/// The normal equations in the μ and α of all groups of a row, for its signs. A negative α becomes positive with the
/// opposite signs. parameters: [rows, groups].
void fitBinaryHessian(MatrixViewF64 products, MatrixViewF64 hessian, int64_t groupColumns, bool useMean,
                      std::vector<uint8_t> &signs, std::vector<BinaryParameters> &parameters);

/// With G = (V − Ŵ)·H, a flip of sign b changes the residual by d = 2αb and the loss by 2dG_j + d²H_jj: flips wherever
/// that is negative, column by column, at most `sweeps` times over. Returns the number of flips.
int64_t descendSigns(MatrixViewF64 products, MatrixViewF64 hessian, int64_t groupColumns,
                     const std::vector<BinaryParameters> &parameters, std::vector<uint8_t> &signs, int sweeps);

} // namespace quanta

#endif // QUANTA_SOLVER_BINARY_H
