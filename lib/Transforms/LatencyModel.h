//===- LatencyModel.h - How long a layer takes on the target --------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H
#define QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H

#include "quanta/Allocate/Latency.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>

namespace mlir::quanta {

/// Nanoseconds of a linear layer, by the type of its weight.
class LatencyModel {
public:
  /// What was measured: a JSON object of quant-bench, or lines of them (--history), of whose rows those with this number of tokens,
  /// threads and these activations (as its "activation") count; the median of rows that are equal in all this.
  static llvm::Expected<LatencyModel> read(StringRef path, MLIRContext *context, int64_t tokens, int64_t threads, StringRef act);
  /// The roofline: the larger of stored bytes / bandwidth (bytes a ns) and 2·tokens·N·K / peak (operations a ns).
  static LatencyModel roofline(double bandwidth, double peak, int64_t tokens);

  /// Rounded up: as measured, else by the line through what was measured of the encoding. An error if the table has neither the shape
  /// nor two sizes with the encoding.
  llvm::Expected<int64_t> predict(RankedTensorType weight);

  /// Of the encodings that were fitted to predict: the largest relative error that a line has at a measured size. None was: nothing.
  std::optional<double> getWorstFit() const { return worstFit; }

private:
  using Shape = std::pair<int64_t, int64_t>; ///< N, K
  std::map<const void *, std::map<Shape, double>> table; ///< by encoding (null: f32)
  std::string path; ///< of the table
  double bandwidth = 0, peak = 0;
  int64_t tokens = 1;
  std::optional<double> worstFit;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H
