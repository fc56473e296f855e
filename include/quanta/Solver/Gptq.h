//===- Gptq.h - Uniform codes that minimize the error of a layer's output -------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_GPTQ_H
#define QUANTA_SOLVER_GPTQ_H

#include "quanta/Solver/Rtn.h"
#include "quanta/Solver/Sweep.h"

namespace quanta {

struct GptqOptions {
  UniformOptions uniform;
  double damping = 0.01;      ///< see FactorOptions
  bool actOrder = true;       ///< columns with a large H_jj come first; needs static groups if a row has several
  bool staticGroups = true;   ///< grids come from the weights, not from what the sweep made of them at a group's begin; multiples need it
  bool sweep = true;          ///< false: the refinement starts from the nearest codes
  bool weightedRange = false; ///< a search of the range counts errors in column j H_jj times
  int64_t blockColumns = 128;
  unsigned refinements = 0; ///< so often: scales of least squares, then descents; last scales again
  unsigned descents = 2;    ///< passes over the codes in each refinement
  bool refitScales = true;  ///< false: a refinement only changes codes

  /// What gives the least perplexity among the methods without gradients.
  static GptqOptions recommended(const UniformOptions &uniform) {
    GptqOptions options;
    options.uniform = uniform;
    options.uniform.range = RangeSearch::leastSquares();
    options.weightedRange = true;
    options.refinements = 4;
    return options;
  }
};

struct GptqResult {
  UniformResult uniform;
  /// tr((T − Ŵ)·H·(T − Ŵ)ᵀ) / tr(T·H·Tᵀ), T the targets (the weights if there is no cross matrix), with H as given, or
  /// if that had to be replaced (status) with what stands for it. 0 if the denominator is 0.
  double layerError = 0;
  FactorStatus status = FactorStatus::Damped;
  double damping = 0;             ///< what was added to the diagonal of H
  double sweepLoss = 0;           ///< of the sweep alone: ½·tr((T − Ŵ)·H_d·(T − Ŵ)ᵀ) with the damped H
  std::vector<double> columnLoss; ///< the same for each column; both are only set by a sweep
  std::vector<int64_t> order;     ///< of the sweep
};

/// GPTQ. `hessian` is (2/T)·Σ x·xᵀ (any positive factor gives the same codes). Weights of columns that no input reaches
/// become 0, or what is nearest. With a cross matrix the targets are those of correctTargets. A Hessian that is not
/// positive definite even with more damping is replaced by its diagonal. With infinities or NaN in the weights only
/// uniform.nonFinite is set.
GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const GptqOptions &options,
                        MatrixViewF64 cross = {});

/// The same with a Hessian that was factored before with gptqFactorOptions(options, columns): for several matrices with
/// the same input, several formats of a matrix, or parts of its rows, which are independent unless group is -1.
GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const HessianFactor &factor,
                        const GptqOptions &options, MatrixViewF64 cross = {});
FactorOptions gptqFactorOptions(const GptqOptions &options, int64_t columns);

/// With fixed codes, gives every row the scales (and offsets) of all its groups that minimize
/// tr((T − Ŵ)·H·(T − Ŵ)ᵀ). A row whose stored scales would not lower the error, or not be positive, keeps its own.
/// Returns how many scale rows changed. `hessian` must be positive semidefinite.
int64_t refitScales(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result);

/// With fixed scales, passes over the columns and gives each code its best value while all others stay:
/// c_j += round((T − Ŵ)·H_:j / (scale·H_jj)), if that lowers tr((T − Ŵ)·H·(T − Ŵ)ᵀ). Ends early if a pass changes
/// nothing. Returns the number of changes.
int64_t descendCodes(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result, unsigned passes);

/// Ŵ as doubles.
std::vector<double> decodeF64(const UniformResult &result);

} // namespace quanta

#endif // QUANTA_SOLVER_GPTQ_H
