//===- Calibrator.h - Runs data through a model, layer by layer -----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CALIBRATE_CALIBRATOR_H
#define QUANTA_CALIBRATE_CALIBRATOR_H

#include "quanta/Calibrate/Data.h"
#include "quanta/Calibrate/GraphRunner.h"

namespace mlir::quanta {

struct CalibratorOptions {
  std::string data; ///< as CalibrationData::open
  ::quanta::CalibrationOptions sampling;
  std::string store; ///< empty: a temporary folder
  bool resume = false;
  /// The layers' inputs come from the encoded prefix, and moments have `cross`; else from the float model.
  bool sequential = true;
  std::string method; ///< text of what solves the layers, for the fingerprint
};

/// Goes through the selected layers stage by stage (StageGraph.h): runs the data from the cut before to the stage, leaves the
/// moments of the layers' inputs in files, sets `quanta.statistics` on the layers, and calls `solve`, which encodes their
/// weights. Every op runs once for each stream of data, float and quantized, whatever the number of layers. What `solve`
/// leaves on the layers is saved, so that a run that was cut off resumes behind it, with the same result to the byte.
///
/// Errors are returned; nothing is returned but failure if `solve` failed, which reports its own errors.
llvm::Expected<LogicalResult> calibrate(ModuleOp module, const CalibratorOptions &options, GraphRunner &runner,
                                        llvm::function_ref<LogicalResult()> solve, llvm::raw_ostream &log);

/// Text that stands for the graph and all that its constants hold.
std::string fingerprintModule(ModuleOp module);

/// Prints what calibrate() would do: layers, memory, disk, and time without the solvers', measured on one batch of the float model.
llvm::Error predict(ModuleOp module, const CalibratorOptions &options, GraphRunner &runner, llvm::raw_ostream &os);

} // namespace mlir::quanta

#endif // QUANTA_CALIBRATE_CALIBRATOR_H
