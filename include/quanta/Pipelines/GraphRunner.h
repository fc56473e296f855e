//===- GraphRunner.h - The compiler's own way of running a graph ----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_GRAPHRUNNER_H
#define QUANTA_PIPELINES_GRAPHRUNNER_H

#include "quanta/Calibrate/GraphRunner.h"
#include "quanta/Codegen/Emission.h"
#include "quanta/Pipelines/Phases.h"
#include <functional>

namespace mlir::quanta {

struct LibraryOptions {
  std::vector<std::string> cpus = {"native"};
  unsigned optLevel = 3;
  /// The passes of the phase `lower`.
  std::function<void(OpPassManager &, const ::quanta::TargetLevel &)> lower = buildLowerPhase;
  ObjectCache *cache = nullptr; ///< see EmissionOptions
};

/// Lowers a module between the phases prepare and lower, which it changes, and writes it as a shared library.
llvm::Error compileToLibrary(ModuleOp module, llvm::StringRef path, const LibraryOptions &options = {});

/// Compiles each graph for the host to a shared library in a temporary file and loads it. `threads` as in quanta_options.
std::unique_ptr<GraphRunner> createCompilingGraphRunner(unsigned threads = 0, unsigned optLevel = 2);

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_GRAPHRUNNER_H
