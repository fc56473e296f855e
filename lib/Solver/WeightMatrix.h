//===- WeightMatrix.h - Weights and what they decode to, in double --------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_SOLVER_WEIGHTMATRIX_H
#define QUANTA_LIB_SOLVER_WEIGHTMATRIX_H

#include "EigenViews.h"
#include "quanta/Solver/UniformGrid.h"

namespace quanta {

inline MatrixViewF64 asView(const RowMajor &matrix) { return {matrix.data(), matrix.rows(), matrix.cols()}; }

inline RowMajor toDouble(MatrixView view) {
  RowMajor matrix(view.rows(), view.columns());
  for (int64_t row = 0; row < view.rows(); ++row)
    std::copy(view.row(row), view.row(row) + view.columns(), matrix.data() + row * view.columns());
  return matrix;
}

/// What a result decodes to.
template <typename Result> RowMajor decodeAll(const Result &result) {
  RowMajor matrix(result.rows, result.columns);
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column)
      matrix(row, column) = result.decode(row, column);
  return matrix;
}

/// Σ(w − ŵ)²/Σw², 0 for a matrix of zeros.
inline double relativeError(const RowMajor &weights, const RowMajor &decoded) {
  double squares = weights.squaredNorm();
  return squares > 0 ? (weights - decoded).squaredNorm() / squares : 0;
}

/// The columns that share parameters: `group`, or all of them.
template <typename Result> void setGroups(Result &result, int64_t group) {
  result.groupColumns = group > 0 ? std::min(group, result.columns) : result.columns;
  result.groups = result.groupColumns ? (result.columns + result.groupColumns - 1) / result.groupColumns : 0;
}

inline float storeScale(double value, bool half, bool &needsF32) {
  UniformOptions options;
  options.halfScale = half;
  return storeUniform(value, options, needsF32);
}

} // namespace quanta

#endif // QUANTA_LIB_SOLVER_WEIGHTMATRIX_H
