//===- Fuse.cpp - Tensor ops into linalg, elementwise chains into single ops -------------------------------------===//
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "quanta/Lowering/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_FUSELINALG
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

/// Whether computing the op again costs no more than loading its result.
static bool isCheap(linalg::GenericOp op) {
  unsigned count = 0;
  for (Operation &bodyOp : op.getBody()->without_terminator())
    if (isa<math::MathDialect>(bodyOp.getDialect()) || isa<arith::DivFOp, arith::DivSIOp, tensor::ExtractOp>(bodyOp) ||
        bodyOp.getNumRegions() || ++count > 2)
      return false;
  return true;
}

/// Fuses into the only user. More operands than registers and address streams would make the loop slower.
static bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || !operand->get().hasOneUse() ||
      producer.getNumDpsInputs() + consumer.getNumDpsInputs() > 12)
    return false;
  return consumer.getNumLoops() == producer.getNumLoops() || isCheap(producer);
}

namespace {
struct FuseLinalg : quanta::impl::FuseLinalgBase<FuseLinalg> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet decompose(context);
    tensor::populateDecomposeTensorConcatPatterns(decompose);
    linalg::populateDecomposePadPatterns(decompose);
    linalg::populateElementwiseToLinalgConversionPatterns(decompose);
    if (failed(applyPatternsGreedily(getOperation(), std::move(decompose))))
      return signalPassFailure();

    IRRewriter rewriter(context);
    SmallVector<linalg::LinalgOp> named;
    getOperation()->walk([&](linalg::LinalgOp op) {
      if (!isa<linalg::GenericOp, linalg::FillOp>(op))
        named.push_back(op);
    });
    for (linalg::LinalgOp op : named) {
      rewriter.setInsertionPoint(op);
      if (failed(linalg::generalizeNamedOp(rewriter, op))) {
        op->emitError("expected a linalg op that can be generalised");
        return signalPassFailure();
      }
    }

    RewritePatternSet fuse(context);
    linalg::populateElementwiseOpsFusionPatterns(fuse, shouldFuse);
    linalg::GenericOp::getCanonicalizationPatterns(fuse, context);
    memref::populateResolveRankedShapedTypeResultDimsPatterns(fuse);
    if (failed(applyPatternsGreedily(getOperation(), std::move(fuse))))
      return signalPassFailure();
  }
};
} // namespace
