//===- RowGrids.h - Codes on a few affine grids of each row -------------------------------------------------*- C++ -*-===//
//
// The form behind all scalar formats. Uniform weights have a grid for each group of columns, ternary and binary ones
// grids of three and two levels, partially binarized ones two grids between which a mask of elements chooses, and
// structured ones two between which a mask of columns chooses. One sweep, one fit of all scales of a row and one descent
// over the codes serve all of them.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SOLVER_ROWGRIDS_H
#define QUANTA_SOLVER_ROWGRIDS_H

#include "quanta/Solver/Sweep.h"
#include "quanta/Solver/UniformGrid.h"

namespace quanta {

/// A matrix whose weight in column c of row r stands for scale · level(code) + offset of the grid that c has in r.
struct RowGrids {
  int64_t rows = 0, columns = 0;
  std::vector<UniformOptions> formats;  ///< [grids]: bits or levels, zero, type of scales, search; group is ignored. With multiples all
                                        ///< of a row's scales are those of one, so that all or none have them, of as many bits
  std::vector<uint16_t> grid;           ///< number of the grid: [columns] if rows agree, else [rows, columns]
  bool shared = false;                  ///< all rows have the same parameters
  std::vector<UniformGrid> parameters;  ///< [rows, grids], or [1, grids] if shared
  std::vector<uint8_t> codes;           ///< [rows, columns]

  /// Room for codes and parameters; `grid` is [columns] or [rows, columns].
  static RowGrids create(int64_t rows, int64_t columns, std::vector<UniformOptions> formats, std::vector<uint16_t> grid);

  int64_t grids() const { return static_cast<int64_t>(formats.size()); }
  bool rowsAgree() const { return static_cast<int64_t>(grid.size()) == columns; }
  int64_t gridOf(int64_t row, int64_t column) const { return grid[rowsAgree() ? column : row * columns + column]; }
  const UniformGrid &parameter(int64_t row, int64_t g) const { return parameters[(shared ? 0 : row) * grids() + g]; }
  UniformGrid &parameter(int64_t row, int64_t g) { return parameters[(shared ? 0 : row) * grids() + g]; }
  float decode(int64_t row, int64_t column) const {
    int64_t g = gridOf(row, column);
    return decodeUniform(codes[row * columns + column], parameter(row, g), formats[g]);
  }
  bool needsF32Scale() const; ///< see UniformResult
  bool hasMultiples() const { return !formats.empty() && formats.front().multiples; }
};

/// A uniform format as a grid for each group of columns, shared by the rows with a scale for the matrix; and back, with
/// `group` columns to a scale, without the error.
RowGrids toRowGrids(const UniformResult &result);
UniformResult toUniform(const RowGrids &grids, int64_t group);

/// Ŵ, row major.
std::vector<double> decodeF64(const RowGrids &result);

/// Gives each row the parameters that suit the weights on each grid by themselves (fitUniformGrid); with `importance` of
/// each column, errors count so much more. Not for shared parameters.
void fitGrids(MatrixViewF64 weights, const double *importance, RowGrids &result);

/// Codes of the error-compensating sweep, in the order of `factor`, with the parameters as they are. Returns the loss,
/// ½·tr((W − Ŵ)·H_d·(W − Ŵ)ᵀ) with the damped H.
double sweepGrids(MatrixViewF64 weights, const HessianFactor &factor, RowGrids &result, int64_t blockColumns = 128);

/// With fixed codes, gives every row the scales (and offsets) of all its grids that together minimize
/// tr((T − Ŵ)·H·(T − Ŵ)ᵀ); of multiples about the best (fitMultiples). A row keeps its own if the new ones, as stored, would not lower that or a scale would not be
/// positive. Returns how many rows (with shared parameters: 1 for all) changed. `hessian` must be positive semidefinite.
int64_t refitGrids(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result);

/// With fixed parameters, passes over the columns and gives each code its best value while all others stay:
/// c_j += round((T − Ŵ)·H_:j / (scale·H_jj)), if that lowers tr((T − Ŵ)·H·(T − Ŵ)ᵀ). Ends early if a pass changes
/// nothing. Returns the number of changes.
int64_t descendCodes(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result, unsigned passes);

/// `rounds` times refitGrids and `descents` passes of descendCodes, and refitGrids at the end. Never raises
/// tr((T − Ŵ)·H·(T − Ŵ)ᵀ).
void refineGrids(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result, unsigned rounds = 4,
                 unsigned descents = 2);

/// What gives the least perplexity among the methods without gradients: grids by a search of the range weighted by H_jj
/// and 8 alternations with least squares, the sweep, and four rounds of refineGrids, all with the damped H of `factor`.
void solveGrids(MatrixViewF64 targets, const HessianFactor &factor, RowGrids &result);

/// solveGrids with one grid for each row, in f32 scales if those in f16 do not do. `format.group` is taken to be 0.
UniformResult solveRows(MatrixViewF64 targets, const HessianFactor &factor, UniformOptions format);

} // namespace quanta

#endif // QUANTA_SOLVER_ROWGRIDS_H
