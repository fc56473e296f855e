//===- GraphRunner.h - Runs a graph on data while the compiler works on it ------------------------------------*- C++ -*-===//
//
// Calibration and verification run graphs. They know only this interface; its implementation compiles the graph as the
// product does (lib/Pipelines/GraphRunner.cpp), so that no second execution engine exists.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_GRAPHRUNNER_H
#define QUANTA_CALIBRATE_GRAPHRUNNER_H

#include "quanta/Support/Npy.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace mlir::quanta {

/// A graph that is ready to run.
class RunnableGraph {
public:
  virtual ~RunnableGraph() = default;
  /// Arrays by input name to arrays by output name, with empty key/value caches. Each `quanta.observe` of the graph is one more output, `observe:POINT`.
  virtual llvm::Expected<::quanta::ArrayMap> run(const ::quanta::ArrayMap &inputs) = 0;
};

class GraphRunner {
public:
  virtual ~GraphRunner() = default;
  /// Prepares a module between the phases prepare and lower; the module itself is not changed.
  virtual llvm::Expected<std::unique_ptr<RunnableGraph>> prepare(ModuleOp graph) = 0;
};

/// Set once by the library that has the implementation (lib/Pipelines/Registration.cpp), so that passes can run graphs without
/// depending on it. `threads` as in quanta_options.
using GraphRunnerFactory = std::unique_ptr<GraphRunner> (*)(unsigned threads);
void registerGraphRunner(GraphRunnerFactory factory);
/// Null if none is registered.
std::unique_ptr<GraphRunner> createGraphRunner(unsigned threads);

} // namespace mlir::quanta

#endif // QUANTA_CALIBRATE_GRAPHRUNNER_H
