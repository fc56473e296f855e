//===- StageGraph.h - A model cut in front of its layers ------------------------------------------------------*- C++ -*-===//
//
// Layers that read the same value form a stage; stages come in the order of their first layers. A cut lies in front of each
// stage's first layer. The ops between two cuts can be compiled by themselves: they read the values that live across the
// first one and give those that live across the second. What depends on shapes and constants alone is computed anew in each
// part instead of kept.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_STAGEGRAPH_H
#define QUANTA_CALIBRATE_STAGEGRAPH_H

#include "quanta/Support/CompiledModel.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace mlir::quanta {

/// Marks a selected layer with its number while it is calibrated; survives whatever the nested pipeline does to the op.
inline constexpr llvm::StringLiteral kLayerNumber = "quanta.calibration_layer";
/// Marks an op that solving has put between a stage's input and a layer, with the layer's number: the cut lies in front of it.
inline constexpr llvm::StringLiteral kLayerPart = "quanta.calibration_part";

using LayerStages = std::vector<SmallVector<int64_t>>;

/// Numbers the layers with `quanta.selected` (kLayerNumber) and groups them. Layers whose weight is encoded already are left
/// out. Refuses layers that lie in regions or in other functions than @main.
llvm::Expected<LayerStages> findStages(ModuleOp module);

/// What the model takes, as calibration data must have it.
llvm::Expected<std::vector<::quanta::Port>> getInputPorts(func::FuncOp main);

/// One cut of one module. It is computed from the numbers of the layers, so it may be asked for again after the layers behind it
/// were rewritten.
struct Cut {
  Operation *position = nullptr; ///< the stage's first layer
  Value input;                   ///< of the stage's layers
  SmallVector<Value> live;       ///< in program order; tensors and scalars
};

/// Ops between two cuts. The function has all of the model's inputs, then "value0", "value1", ... for the values that live
/// across the first cut; its outputs are "value0", ... for those of the second cut, and "input", what the layers read.
struct StageModule {
  OwningOpRef<ModuleOp> module;
  int64_t keptInputs = 0, keptOutputs = 0;
};

class StageGraph {
public:
  /// `stages` of this module or of one that it is a clone of.
  static llvm::Expected<StageGraph> create(ModuleOp module, const LayerStages &stages);

  Operation *getLayer(int64_t number) const { return layers.lookup(number); }
  const Cut &getCut(size_t stage) const { return cuts[stage]; }
  /// The ops from the cut of stage `stage` - 1 (or the model's inputs) to that of `stage`.
  llvm::Expected<StageModule> extract(size_t stage, bool keepOutputs) const;
  /// All values that live across any cut or are a stage's input, and the ops from the model's inputs that give them as "value0", ...
  SmallVector<Value> getAllLive() const;
  llvm::Expected<StageModule> extractAll() const;

private:
  llvm::Expected<StageModule> extract(ArrayRef<Value> from, size_t stage, ArrayRef<Value> kept) const;
  void findIndependent();
  void findLive(const LayerStages &stages);

  func::FuncOp main;
  DenseMap<int64_t, Operation *> layers;
  DenseSet<Value> independent; ///< of the data: computed from shapes and constants
  std::vector<Cut> cuts;
};

} // namespace mlir::quanta

#endif // QUANTA_CALIBRATE_STAGEGRAPH_H
