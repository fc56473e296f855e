//===- Sweep.h - Error-compensating sweep over the columns of a matrix ----------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_SWEEP_H
#define QUANTA_SOLVER_SWEEP_H

#include "quanta/Support/MatrixView.h"
#include <vector>

namespace quanta {

using MatrixViewF64 = BasicMatrixView<const double>;
using MutableMatrixViewF64 = BasicMatrixView<double>;

/// How a Hessian H = (2/T)·Σ x·xᵀ could be factored.
enum class FactorStatus : uint8_t {
  Damped,      ///< with the damping asked for
  MoreDamping, ///< only with 10, 100, ... times that
  Diagonal,    ///< not at all: its diagonal alone stands for it, so that nothing is compensated
  NonFinite    ///< it holds an infinity or NaN: the identity stands for it
};

struct FactorOptions {
  double damping = 0.01;   ///< times the mean of the diagonal: what is added to the diagonal
  double deadDiagonal = 0; ///< what stands for H_jj ≤ 0 before damping; 0: the mean of the others
  unsigned retries = 2;    ///< each with ten times the damping
  bool actOrder = false;   ///< columns with a large H_jj come first (ties: in their order)
};

/// A Hessian made positive definite, and U, upper triangular, with H⁻¹ = UᵀU. U belongs to the order of the sweep:
/// position p is column order[p]. Everything else is in the order of the columns.
struct HessianFactor {
  int64_t columns = 0;
  FactorStatus status = FactorStatus::Damped;
  double damping = 0;          ///< what was added to the diagonal
  std::vector<int64_t> order;  ///< a permutation
  std::vector<uint8_t> dead;   ///< 1: no input ever reached the column (H_jj ≤ 0)
  std::vector<double> hessian; ///< [columns, columns]; what U factors: damped, or diagonal
  std::vector<double> upper;   ///< [columns, columns]

  MatrixViewF64 hessianView() const { return {hessian.data(), columns, columns}; }
  MatrixViewF64 upperView() const { return {upper.data(), columns, columns}; }
};

/// Factors a symmetric matrix. The row and column of a dead column become zero outside the diagonal. An `order` that is
/// not empty is used in place of the natural order and of actOrder.
///
/// H⁻¹ is never formed: with the rows and columns reversed H = L·Lᵀ, so R = L reversed is upper triangular with
/// H = R·Rᵀ, and U = R⁻¹.
HessianFactor factorHessian(MatrixViewF64 hessian, const FactorOptions &options, std::vector<int64_t> order = {});

/// Sets the columns that no input reaches to zero.
void zeroDeadColumns(MutableMatrixViewF64 weights, const HessianFactor &factor);

/// What a sweep asks how to quantize. Columns are arrays of `rows` values; the column at position p of the matrix that
/// is being compensated begins at weights + p · rows.
class SweepQuantizer {
public:
  virtual ~SweepQuantizer() = default;

  /// Columns at positions [begin, end) come next. All columns from `begin` on hold the errors of all columns before.
  virtual void beginBlock(int64_t begin, int64_t end, const double *weights) {}

  /// Quantizes a whole block and returns true, or returns false to be asked for each column. No column of a block that
  /// is quantized at once compensates another one of that block. `quantized` is the first column's.
  virtual bool quantizeBlock(int64_t begin, int64_t end, const double *weights, double *quantized) { return false; }

  /// Quantizes the column at `position`; `column` and `quantized` are arrays of `rows` values.
  virtual void quantizeColumn(int64_t position, const double *column, double *quantized) = 0;
};

struct SweepOptions {
  int64_t blockColumns = 128; ///< the result depends on it only if the quantizer looks at blocks
  /// Positions, ascending, where a block begins in any case.
  std::vector<int64_t> blockStarts;
};

struct SweepResult {
  std::vector<double> quantized;  ///< [rows, columns]
  std::vector<double> columnLoss; ///< ½·Σ_rows e²; their sum is ½·tr((W − Q)·H·(W − Q)ᵀ)
  double loss = 0;                ///< the sum
};

/// Quantizes one column after the other; with e_j = (w_j − q_j) / U_jj the later columns become w_k − e_j · U_jk, which
/// is the best they can do about the error in column j. Columns behind the block are brought up to date at its end.
SweepResult sweepColumns(MatrixViewF64 weights, const HessianFactor &factor, const SweepOptions &options,
                         SweepQuantizer &quantizer);

/// tr((W − Q)·H·(W − Q)ᵀ).
double hessianError(MatrixViewF64 weights, MatrixViewF64 quantized, MatrixViewF64 hessian);

/// What the layer should aim at when its inputs x̂ come from a quantized predecessor, so that its outputs on them are
/// nearest those of the original weights on the original inputs x: W' = W + W·(C − H)·H_d⁻¹ with H of x̂, C = (2/T)·Σ
/// x·x̂ᵀ, and H_d the damped H. [rows, columns]. With status Diagonal or NonFinite the result is W.
std::vector<double> correctTargets(MatrixViewF64 weights, MatrixViewF64 hessian, MatrixViewF64 cross,
                                   const HessianFactor &factor);

} // namespace quanta

#endif // QUANTA_SOLVER_SWEEP_H
