//===- Compile.h - From a model to a file ---------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_COMPILE_H
#define QUANTA_PIPELINES_COMPILE_H

#include "quanta/Codegen/Emission.h"
#include "quanta/Pipelines/Phases.h"
#include "quanta/Pipelines/Report.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mlir::quanta {

/// Data for recipes that look at it, and what becomes of the run (quanta-calibrate).
struct CalibrationArguments {
  /// .npz, a folder of them, or an .npy token stream
  std::string data;
  int64_t samples = 128, window = 256;
  uint64_t seed = 0;
  /// Folder to keep the run in; empty: a temporary one.
  std::string store;
  bool resume = false;
  /// Only print what calibration would do, with memory, disk and time.
  bool dryRun = false;
};

struct CompileOptions {
  /// .onnx, .mlir or .mlirbc
  std::string input;
  /// Empty: the input's stem with the suffix of what is made, in the current folder. "-" is standard output, for MLIR.
  std::string output;
  /// onnx-ir, quant-ir, llvm, asm, obj, lib, exe, header; empty: as the output's suffix says.
  std::string emit;
  /// Prefix of the C symbols; empty: the output's stem.
  std::string name;
  std::string recipe, passPipeline, keep;
  CalibrationArguments calibration;
  /// Sizes of symbolic dimensions.
  std::map<std::string, int64_t> dims;
  std::string triple;
  std::vector<std::string> cpus;
  unsigned optLevel = 3;
  /// Threads of the compiler; 0: one for each CPU.
  unsigned threads = 0;
  WeightsPlacement weights = WeightsPlacement::Auto;
  std::optional<Phase> compileTo, compileFrom;
  /// Print each phase's passes to standard error.
  bool dumpPassPipeline = false;
  /// .json or .html
  std::string report;
  /// What the importer found, with every name, as .json.
  std::string importReport;
};

/// Runs the phases. Errors name the model, what is wrong and the remedy; warnings go to standard error. A crash leaves the
/// IR that the phase began with beside the output.
llvm::Error compileModel(const CompileOptions &options, Report &report);

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_COMPILE_H
