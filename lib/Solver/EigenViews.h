//===- EigenViews.h - Matrices of Quanta as matrices of Eigen -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_SOLVER_EIGENVIEWS_H
#define QUANTA_LIB_SOLVER_EIGENVIEWS_H

#include "quanta/Solver/Sweep.h"
#include <Eigen/Core>
#include <algorithm>

namespace quanta {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor, 0, Eigen::OuterStride<>>;

inline ConstMap map(MatrixViewF64 view) {
  return {view.row(0), view.rows(), view.columns(), Eigen::OuterStride<>(std::max<int64_t>(view.stride(), 1))};
}

} // namespace quanta

#endif // QUANTA_LIB_SOLVER_EIGENVIEWS_H
