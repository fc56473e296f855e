//===- ONNXPipeline.cpp - The passes on a freshly imported graph --------------------------------------------------------===//
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mlir::quanta;

void quanta::buildONNXPreparePipeline(OpPassManager &pm) {
  OpPassManager &functions = pm.nest<func::FuncOp>();
  // Patterns see constants and no repeated nodes.
  functions.addPass(createONNXFold());
  // Norms and activations are named before attention looks through what lies between them.
  functions.addPass(createONNXMatchNorms());
  functions.addPass(createONNXMatchActivations());
  functions.addPass(createONNXMatchAttention());
  // What the patterns added for each match is shared again.
  functions.addPass(createONNXFold());
}
