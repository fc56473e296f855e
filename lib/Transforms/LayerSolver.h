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

  /// To the note and to the remark.
  void addNote(const Twine &text);
};

/// The f32 elements of a constant, where they lie if they are aligned, else copied to `storage`.
std::optional<ArrayRef<float>> getFloats(Attribute attr, SmallVectorImpl<float> &storage);

/// A constant of the encoded `weight` beside the one it stands for. Its arrays are named after `name`.
Value createEncodedConstant(Value constant, StringRef name, const EncodedWeight &weight);

/// Erases those of the constants that nobody uses, and frees the data that no other constant shares: blobs live as long as
/// the context.
void eraseUnusedConstants(ModuleOp module, ArrayRef<Operation *> constants);

/// Sets the encoding and the components.
void encodeUniform(const ::quanta::UniformResult &result, MLIRContext *context, EncodedWeight &weight);
UniformAttr getUniformEncoding(const ::quanta::UniformOptions &options, MLIRContext *context);

/// Bytes or floats as a resource attribute of this type.
DenseResourceElementsAttr makeByteResource(StringRef key, RankedTensorType type, ArrayRef<uint8_t> data);
DenseResourceElementsAttr makeFloatResource(StringRef key, RankedTensorType type, ArrayRef<float> data);

/// Calls `visit` for each layer that is marked `quanta.selected` (and carries `quanta.statistics`, if `calibrated`). Fails
/// with a diagnostic on weights that are not f32 or not finite, and if `visit` fails.
LogicalResult visitSelectedLayers(ModuleOp module, bool calibrated, function_ref<LogicalResult(const SolverLayer &)> visit);

/// The same with a solver: puts the encoded constant in place of the weight and takes the mark away. A weight that several
/// selected layers share is solved once, for the first of them. Constants that nobody uses any more are erased and their
/// data freed.
LogicalResult encodeSelectedLayers(ModuleOp module, bool calibrated,
                                   function_ref<FailureOr<EncodedWeight>(const SolverLayer &)> solve);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LAYERSOLVER_H
