//===- FactoredBinary.h - Weights as products of signs --------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_FACTOREDBINARY_H
#define QUANTA_SOLVER_FACTOREDBINARY_H

#include "quanta/Solver/Sweep.h"

namespace quanta {

/// W ≈ sign(W) ⊙ (U·V) with U·V the best approximation of |W| of this rank; sign(0) = 1.
struct SignMagnitude {
  int64_t rows = 0, columns = 0, rank = 0;
  std::vector<uint8_t> signs;      ///< [rows, columns]; 1: +1, 0: −1
  std::vector<double> left, right; ///< U [rows, rank], V [rank, columns]

  std::vector<double> decode() const;
  /// With factors in f16.
  int64_t storedBits() const { return rows * columns + 16 * rank * (rows + columns); }
};

/// OneBit (2402.11295) with rank 1.
SignMagnitude factorMagnitudes(MatrixViewF64 weights, int64_t rank = 1);

/// BitStack (2410.23918): each block is factorMagnitudes of what the blocks before leave. Any prefix is a model; errors
/// fall with every block.
std::vector<SignMagnitude> stackMagnitudes(MatrixViewF64 weights, int64_t blocks, int64_t rank = 16);

/// W ≈ diag(rowScales)·A·B·diag(columnScales), A and B of signs (DBF 2505.11076, NanoQuant).
struct FactoredBinary {
  int64_t rows = 0, columns = 0, rank = 0;
  std::vector<uint8_t> left, right;            ///< A [rows, rank], B [rank, columns]; 1: +1, 0: −1
  std::vector<double> rowScales, columnScales; ///< [rows], [columns]
  double error = 0; ///< Σ d_j·(w − ŵ)², or after refineFactoredBinary tr((W − Ŵ)·H·(W − Ŵ)ᵀ)

  std::vector<double> decode() const;
  /// With scales in f16.
  int64_t storedBits() const { return (rank + 16) * (rows + columns); }
};

/// The rank, a multiple of 32, at which a matrix has at most so many stored bits per weight; at least 32.
int64_t factoredBinaryRank(int64_t rows, int64_t columns, double bitsPerWeight);

struct FactoredBinaryOptions {
  int64_t rank = 32;
  int iterations = 100;        ///< of the alternating direction method
  double regularization = 0.03;
  int scaleIterations = 10;    ///< of the alternating least squares of both scales
  /// A [rows, rank] and B [rank, columns] to begin with; empty: normal random numbers, always the same.
  std::vector<double> left, right;
};

/// Finds A and B by the alternating direction method of multipliers on W·diag(√d): least squares with what the other
/// factor is projected to, sign(Z) ⊙ (rank 1 of |Z|), and a pull towards the projection that grows with (t/T)³. Then the
/// scales. `importance`: d_j > 0 of each column (H_jj); empty: 1. Time iterations·(2·rows·columns·rank + rank²·(rows + columns)).
FactoredBinary factorBinary(MatrixViewF64 weights, const std::vector<double> &importance,
                            const FactoredBinaryOptions &options);

/// With the whole H: `iterations` times the best row scales, then the best column scales; then `sweeps` descents on the
/// signs of A. Monotone. Returns the error after each half iteration and after the descents.
std::vector<double> refineFactoredBinary(MatrixViewF64 weights, MatrixViewF64 hessian, FactoredBinary &result,
                                         int iterations = 2, int sweeps = 1);

} // namespace quanta

#endif // QUANTA_SOLVER_FACTOREDBINARY_H
