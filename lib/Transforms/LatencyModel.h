//===- LatencyModel.h - How long a layer takes on the target --------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H
#define QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/Error.h"
#include <map>
#include <tuple>

namespace mlir::quanta {

/// Nanoseconds of a linear layer, by the type of its weight.
class LatencyModel {
public:
  /// What was measured: a JSON object of quant-bench, of whose rows those with this number of tokens, threads and these activations
  /// (as its "activation") count.
  static llvm::Expected<LatencyModel> read(StringRef path, MLIRContext *context, int64_t tokens, int64_t threads, StringRef act);
  /// The roofline: the larger of stored bytes / bandwidth (bytes a ns) and 2·tokens·N·K / peak (operations a ns).
  static LatencyModel roofline(double bandwidth, double peak, int64_t tokens);

  /// Rounded up. An error if the table has no such layer.
  llvm::Expected<int64_t> predict(RankedTensorType weight) const;

private:
  using Key = std::tuple<const void *, int64_t, int64_t>; ///< encoding (null: f32), N, K
  std::map<Key, double> table;
  std::string path; ///< of the table
  double bandwidth = 0, peak = 0;
  int64_t tokens = 1;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LATENCYMODEL_H
