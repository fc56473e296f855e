//===- LayerSolver.h - What all passes that encode weights share ----------------------------------------------*- C++ -*-===//
//
// Solvers know matrices, passes know layers. Between them: which layers, their weights as matrices, their statistics, and
// the constants, attributes and remarks that come of a solution.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_TRANSFORMS_LAYERSOLVER_H
#define QUANTA_LIB_TRANSFORMS_LAYERSOLVER_H

#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Solver/Rtn.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>
#include <optional>

namespace mlir::quanta {

/// A selected layer.
struct SolverLayer {
  Operation *op = nullptr;
  std::string name;            ///< the weight's in the model, or the node's
  RankedTensorType type;       ///< of the weight
  ::quanta::MatrixView weights; ///< finite; lives as long as the layer's constant
  int64_t blocks = 1;          ///< groups of a convolution: each is a block of rows with inputs of its own
};

/// What a solver made of a weight.
struct EncodedWeight {
  EncodingAttrInterface encoding;
  /// The encoding's components by name: of i8 in `integers`, of f16 and f32 in `floats`.
  std::map<std::string, std::vector<uint8_t>, std::less<>> integers;
  std::map<std::string, std::vector<float>, std::less<>> floats;
  double weightError = 0;                               ///< Σ(w − ŵ)²/Σw²
  std::optional<double> errorCalibration, errorHeldOut; ///< relative, of the layer's output
  std::string note;                                     ///< what the report should say
  std::string remark;                                   ///< the decisions; empty: none were made
};

/// `result` in the encoding of its options.
EncodedWeight encodeUniform(const ::quanta::UniformResult &result, MLIRContext *context);

/// Calls `solve` for each layer that is marked `quanta.selected` (and carries `quanta.statistics`, if `calibrated`), puts
/// the encoded constant in place of its weight and takes the mark away. A weight that several layers share is solved
/// once, for the first of them. Constants that nobody uses any more are erased and their data freed. Fails with a
/// diagnostic on weights that are not f32 or not finite, and if `solve` fails.
LogicalResult encodeSelectedLayers(ModuleOp module, bool calibrated,
                                   function_ref<FailureOr<EncodedWeight>(const SolverLayer &)> solve);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LAYERSOLVER_H
