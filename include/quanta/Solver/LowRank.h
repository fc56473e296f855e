//===- LowRank.h - A matrix as a product of two thin ones, alone or beside a quantized one --------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_LOWRANK_H
#define QUANTA_SOLVER_LOWRANK_H

#include "quanta/Solver/Sweep.h"
#include <functional>

namespace quanta {

/// S [channels, channels], in which errors are measured: ‖(W − Ŵ)·S‖² (Frobenius).
struct Whitening {
  enum class Kind : uint8_t {
    Identity,   ///< plain SVD
    Diagonal,   ///< S = diag(scales): ASVD
    Triangular, ///< S = L with H = L·Lᵀ: the error is that of the layer's output
    Spectral    ///< S = Q·diag(scales) with H = Q·diag(scales²)·Qᵀ: the same for any positive semidefinite H
  };
  Kind kind = Kind::Identity;
  int64_t channels = 0;
  std::vector<double> scales; ///< [channels]
  std::vector<double> matrix; ///< [channels, channels]: L or Q
};

Whitening whitenNothing(int64_t channels);
/// ASVD (2312.05821): s_j = a_j^α + 10⁻⁶ for the mean, or largest, magnitude a_j of an input channel.
Whitening whitenChannels(const std::vector<float> &magnitudes, double alpha = 0.5);
/// SVD-LLM (2403.07378), optimal for a layer's output. Becomes whitenSpectrum if H is not positive definite.
Whitening whitenTriangular(MatrixViewF64 hessian);
/// As its second version. Directions that no input has are left to what the other ones make of them.
Whitening whitenSpectrum(MatrixViewF64 hessian);

/// S·Sᵀ [channels, channels]: what stands for H.
std::vector<double> secondMoments(const Whitening &whitening);

/// A·B.
struct LowRank {
  int64_t rows = 0, columns = 0, rank = 0;
  std::vector<double> left, right;    ///< A [rows, rank], B [rank, columns]
  std::vector<double> singularValues; ///< of W·S, falling, all min(rows, columns) of them

  std::vector<double> product() const;
  /// ‖(W − A·B)·S‖², the least that this rank allows.
  double error() const;
};

/// With W·S = U·Σ·Vᵀ: A = U_r·Σ_r^½, B = Σ_r^½·V_rᵀ·S⁻¹. 0 ≤ rank ≤ min(rows, columns). Time rows·columns·min(rows, columns)
/// with a factor of about 20.
LowRank factorLowRank(MatrixViewF64 weights, const Whitening &whitening, int64_t rank);

/// What a matrix becomes when it is quantized for inputs with these second moments: [rows, columns].
using QuantizeMatrix = std::function<std::vector<double>(MatrixViewF64 matrix, MatrixViewF64 hessian)>;

/// B is quantized with H, A becomes the best for it (normal equations), and is quantized in turn with B·H·Bᵀ, the moments of its
/// input. The product stays near `target` [rows, columns].
void quantizeFactors(MatrixViewF64 target, MatrixViewF64 hessian, const QuantizeMatrix &quantize, LowRank &factors);

struct ResidualOptions {
  int64_t rank = 16;
  QuantizeMatrix base;    ///< quantizes W − A·B, with H
  QuantizeMatrix factors; ///< quantizes B with H, then A, as refitted to it, with B·H·Bᵀ; none: they stay as they are
  /// true: W is quantized first, and the factors take what is left (LoRC, 2303.08302; LQER; with a whitening QERA). false:
  /// the factors come first (LQ-LoRA, 2311.12023; CALDERA, 2405.18886).
  bool baseFirst = true;
  int iterations = 1; ///< of both; ends early when the error does not fall any more
};

/// W as Q + A·B.
struct ResidualResult {
  std::vector<double> base; ///< Q [rows, columns]
  LowRank factors;
  double error = 0;                ///< ‖(W − Q − A·B)·S‖², of the best iteration, which is what is returned
  std::vector<double> errors;      ///< after each iteration
};

ResidualResult factorResidual(MatrixViewF64 weights, const Whitening &whitening, const ResidualOptions &options);

} // namespace quanta

#endif // QUANTA_SOLVER_LOWRANK_H
