//===- CalibratedLayer.h - Layers with statistics of their inputs ---------------------------------------------*- C++ -*-===//
//
// What the passes that use second moments share: reading and factoring them, the targets, rows in parallel, errors.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H
#define QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H

#include "LayerSolver.h"
#include "quanta/Calibrate/Moments.h"
#include "quanta/Solver/RowGrids.h"
#include <memory>

namespace mlir::quanta {

/// Moments of a layer's input, made positive definite and factored in the order of large H_jj first, block by block.
struct LayerStatistics {
  ::quanta::LayerMoments moments;
  std::vector<::quanta::HessianFactor> factors; ///< [blocks]
  double damping = 0;                           ///< relative to the mean of the diagonal

  ::quanta::MatrixViewF64 fit(int64_t block) const { return view(moments.fit, block); }
  ::quanta::MatrixViewF64 heldOut(int64_t block) const { return view(moments.heldOut, block); }
  ::quanta::MatrixViewF64 cross(int64_t block) const { return view(moments.cross, block); }
  ::quanta::FactorOptions factorOptions() const;

private:
  ::quanta::MatrixViewF64 view(const std::vector<double> &data, int64_t block) const;
};

class CalibratedLayers {
public:
  /// `damping` is relative to the mean of H's diagonal. 0 lets it grow when there are few rows: 1.2 · channels / rows, from
  /// 0.01 to 0.3.
  explicit CalibratedLayers(MLIRContext *context, double damping = 0) : context(context), damping(damping) {}

  /// The statistics of the file that the layer names; those of the last file are kept, because layers with the same input
  /// come one after the other. Diagnoses what cannot be read, does not fit the layer, or holds no rows.
  FailureOr<std::shared_ptr<const LayerStatistics>> load(const SolverLayer &layer);

  /// Calls ::quanta::solveGrids for slices of the rows of `grids`, which has formats but no codes yet, in parallel: the
  /// same slices for any number of threads. `factors` [blocks] say in which order the columns come. With cross moments the
  /// targets are corrected (correctTargets), else they are the weights. Scales are f16, or f32 if those do not do. Sets the
  /// errors of `weight`, and adds to its remark, and where it is a fallback to its note, how the moments could be used.
  void solve(const SolverLayer &layer, const LayerStatistics &statistics, ArrayRef<::quanta::HessianFactor> factors,
             ::quanta::RowGrids &grids, EncodedWeight &weight);

  /// What the layer should aim at, [rows, columns]: its weights, or with cross moments what correctTargets makes of them.
  std::vector<float> computeTargets(const SolverLayer &layer, const LayerStatistics &statistics);

  /// Sets the errors of `weight`: of the layer's output on both parts of the data, and of the weights.
  void measure(const SolverLayer &layer, const LayerStatistics &statistics,
               function_ref<float(int64_t row, int64_t column)> decode, EncodedWeight &weight);

private:
  void forEachSlice(const SolverLayer &layer, const LayerStatistics &statistics, ArrayRef<::quanta::HessianFactor> factors,
                    function_ref<void(int64_t index, int64_t block, int64_t begin, ::quanta::MatrixViewF64 targets)> body);
  void solveSlices(const SolverLayer &layer, const LayerStatistics &statistics, ArrayRef<::quanta::HessianFactor> factors,
                   ::quanta::RowGrids &result);

  MLIRContext *context;
  double damping;
  std::string path;
  std::shared_ptr<const LayerStatistics> last;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H
