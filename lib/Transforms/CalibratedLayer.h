//===- CalibratedLayer.h - Layers with statistics of their inputs ---------------------------------------------*- C++ -*-===//
//
// What the passes that use second moments share: reading and factoring them, the targets, rows in parallel, errors.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H
#define QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H

#include "LayerSolver.h"
#include "quanta/Calibrate/Moments.h"
#include "quanta/Solver/Sweep.h"
#include <memory>

namespace mlir::quanta {

/// Moments of a layer's input, made positive definite and factored in the order of large H_jj first, block by block. The
/// damping, relative to the mean of the diagonal, grows when there are few rows: 1.2 · channels / rows from 0.01 to 0.3.
struct LayerStatistics {
  ::quanta::LayerMoments moments;
  std::vector<::quanta::HessianFactor> factors; ///< [blocks]
  double damping = 0;                           ///< relative

  ::quanta::MatrixViewF64 fit(int64_t block) const { return view(moments.fit, block); }
  ::quanta::MatrixViewF64 heldOut(int64_t block) const { return view(moments.heldOut, block); }
  ::quanta::MatrixViewF64 cross(int64_t block) const { return view(moments.cross, block); }
  ::quanta::FactorOptions factorOptions() const;

private:
  ::quanta::MatrixViewF64 view(const std::vector<double> &data, int64_t block) const;
};

/// Rows that can be solved by themselves.
struct RowSlice {
  int64_t begin = 0, block = 0;       ///< first row in the layer; block of the statistics
  ::quanta::MatrixViewF64 targets;    ///< [rows, columns]
  int64_t rows() const { return targets.rows(); }
};

class CalibratedLayers {
public:
  explicit CalibratedLayers(MLIRContext *context) : context(context) {}

  /// The statistics of the file that the layer names; those of the last file are kept, because layers with the same input
  /// come one after the other. Diagnoses what cannot be read, does not fit the layer, or holds no rows.
  FailureOr<std::shared_ptr<const LayerStatistics>> load(const SolverLayer &layer);

  /// Cuts the rows of each block into slices, the same ones for any number of threads, and calls `solve` for each on some
  /// thread: it fills `decoded` [rows, columns] with what the chosen codes stand for. With cross moments the targets are
  /// corrected (correctTargets), else they are the weights. Sets the three errors of `result`.
  void solveRows(const SolverLayer &layer, const LayerStatistics &statistics, EncodedWeight &result,
                 function_ref<void(const RowSlice &slice, size_t index, ::quanta::MutableMatrixViewF64 decoded)> solve);
  static size_t countSlices(const SolverLayer &layer);

  /// Says in the remark, and if it is a fallback in the note, how the moments could be used and what error is left.
  static void describe(const LayerStatistics &statistics, EncodedWeight &result);

private:
  MLIRContext *context;
  std::string path;
  std::shared_ptr<const LayerStatistics> last;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CALIBRATEDLAYER_H
