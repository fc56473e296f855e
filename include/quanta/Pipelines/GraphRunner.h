//===- GraphRunner.h - The compiler's own way of running a graph ----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_GRAPHRUNNER_H
#define QUANTA_PIPELINES_GRAPHRUNNER_H

#include "quanta/Calibrate/GraphRunner.h"

namespace mlir::quanta {

/// Compiles each graph for the host to a shared library in a temporary file and loads it. `threads` as in quanta_options.
std::unique_ptr<GraphRunner> createCompilingGraphRunner(unsigned threads = 0, unsigned optLevel = 2);

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_GRAPHRUNNER_H
