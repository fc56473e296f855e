//===- GraphRunner.cpp - Runs a graph on data while the compiler works on it ----------------------------------------------===//
#include "quanta/Calibrate/GraphRunner.h"

using namespace mlir::quanta;

static GraphRunnerFactory factory = nullptr;

void mlir::quanta::registerGraphRunner(GraphRunnerFactory function) { factory = function; }

std::unique_ptr<GraphRunner> mlir::quanta::createGraphRunner(unsigned threads) {
  return factory ? factory(threads) : nullptr;
}
