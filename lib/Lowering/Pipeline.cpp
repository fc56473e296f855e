//===- Pipeline.cpp - The order of the lowering passes -----------------------------------------------------------===//
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "quanta/Lowering/Passes.h"

using namespace mlir;
using namespace mlir::quanta;

static void addCleanup(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void mlir::quanta::buildLoweringPipeline(OpPassManager &pm, const LoweringOptions &options) {
  // Tensors: kernels, and linalg for everything else.
  pm.addPass(createObserveToOutputs());
  if (options.beforeBufferize)
    options.beforeBufferize(pm);
  addCleanup(pm);
  pm.addNestedPass<func::FuncOp>(createFuseLinalg());
  addCleanup(pm);
  if (options.afterFuse) {
    options.afterFuse(pm);
    addCleanup(pm);
  }
  pm.addPass(createConstantsToWeights());

  // Buffers.
  pm.addPass(createBufferize());
  pm.addPass(createCSEPass()); // equal views of a buffer first: only then are copies onto themselves seen
  pm.addPass(createCanonicalizerPass());
  bufferization::PromoteBuffersToStackPassOptions stack;
  stack.maxAllocSizeInBytes = 256;
  stack.maxRankOfAllocatedMemRef = 0;
  pm.addNestedPass<func::FuncOp>(bufferization::createPromoteBuffersToStackPass(stack));
  pm.addNestedPass<func::FuncOp>(createFreeBuffers());
  if (options.afterBufferize)
    options.afterBufferize(pm);

  // Loops.
  pm.addPass(createLowerAffinePass());
  LinalgToLoopsOptions loops;
  loops.vectorBits = options.vectorBits;
  pm.addPass(createLinalgToLoops(loops));
  addCleanup(pm);
  pm.addPass(createOutlineParallel());
  pm.addPass(createConvertToLLVM());
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<unsigned> vectorBits{*this, "vector-bits", llvm::cl::desc("Width of vectors: 128, 256 or 512"),
                              llvm::cl::init(512)};
};
} // namespace

void mlir::quanta::registerLoweringPipelines() {
  PassPipelineRegistration<PipelineOptions>("quanta-lower", "Tensors without kernels to the LLVM dialect",
                                            [](OpPassManager &pm, const PipelineOptions &parsed) {
                                              LoweringOptions options;
                                              options.vectorBits = parsed.vectorBits;
                                              buildLoweringPipeline(pm, options);
                                            });
}
