//===- Multiples.h - Scales of groups as multiples of a row's ---------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_MULTIPLES_H
#define QUANTA_SOLVER_MULTIPLES_H

#include "quanta/Solver/UniformGrid.h"

namespace quanta {

/// What stands for the scales of a row's groups: scale · multiple.
struct RowMultiples {
  float scale = 0; ///< as it is stored
  std::vector<uint8_t> multiples; ///< [groups], 1 to 2^options.multiples − 1
  bool needsF32Scale = false; ///< see UniformResult
};

/// For the scales θ of a row's groups finds a scale s and integers m with little (θ − s·m)ᵀ·A·(θ − s·m). A [groups, groups], positive
/// semidefinite, says how much errors of scales matter, singly and together. Several s are tried, from which the largest of θ is half to
/// one and a half times the largest multiple, and `start` unless that is 0; from each, m descends by coordinates and s follows by least
/// squares. Products s·m are exact in f32: in place of an f16, s has 17 significant bits.
RowMultiples fitMultiples(const std::vector<double> &scales, MatrixViewF64 errors, const UniformOptions &options, double start = 0);

/// Makes the grids of a row's groups, as fitUniformGrid left them, multiples of one scale. `weights` and `importance` (null: 1) of a group
/// say how much its scale matters: Σ importance · level².
class MultipleFitter {
public:
  explicit MultipleFitter(UniformOptions options) : options(options) {}
  void add(const UniformGrid &grid, MatrixViewF64 weights, const double *importance);
  /// The grids in the order in which they came; none are left.
  std::vector<UniformGrid> fit();

private:
  UniformOptions options;
  std::vector<UniformGrid> grids;
  std::vector<double> curvatures;
};

} // namespace quanta

#endif // QUANTA_SOLVER_MULTIPLES_H
