//===- Calibrate.cpp - Data runs through the model while its layers are solved --------------------------------------------===//
//
// Options, the nested pipeline and messages; lib/Calibrate does the work.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_CALIBRATE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct Calibrate : public mlir::quanta::impl::CalibrateBase<Calibrate> {
  using CalibrateBase::CalibrateBase;

  /// Those of the nested passes, too: a dialect cannot be loaded while passes run.
  void getDependentDialects(DialectRegistry &registry) const override {
    CalibrateBase::getDependentDialects(registry);
    OpPassManager passes(ModuleOp::getOperationName());
    if (succeeded(parsePassPipeline(pipeline, passes, llvm::nulls())))
      passes.getDependentDialects(registry);
  }

  LogicalResult initialize(MLIRContext *context) override {
    nested = OpPassManager(ModuleOp::getOperationName());
    std::string message;
    llvm::raw_string_ostream os(message);
    if (succeeded(parsePassPipeline(pipeline, nested, os)))
      return success();
    return emitError(UnknownLoc::get(context)) << "in the pipeline '" << StringRef(pipeline) << "' of quanta-calibrate: "
                                               << StringRef(message).trim();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::unique_ptr<GraphRunner> runner = createGraphRunner(threads);
    if (!runner) {
      module.emitError("this tool cannot run graphs, so it cannot calibrate");
      return signalPassFailure();
    }
    CalibratorOptions options;
    options.data = data;
    options.sampling.samples = samples;
    options.sampling.window = window;
    options.sampling.seed = seed;
    options.sampling.batch = batch;
    options.store = store;
    options.resume = resume;
    options.sequential = sequential;
    options.method = pipeline;
    llvm::Expected<LogicalResult> result = success();
    if (dryRun) {
      if (llvm::Error error = predict(module, options, *runner, llvm::outs()))
        result = std::move(error);
    } else {
      result = calibrate(module, options, *runner, [&] { return runPipeline(nested, module); }, llvm::errs());
    }
    if (!result) {
      module.emitError() << llvm::toString(result.takeError());
      return signalPassFailure();
    }
    if (failed(*result))
      signalPassFailure();
  }

  OpPassManager nested;
};
} // namespace
