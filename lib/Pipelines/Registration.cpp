//===- Registration.cpp - Everything that Quanta's tools know -----------------------------------------------------------===//
#include "quanta/Pipelines/Registration.h"
#include "quanta/Codegen/Codegen.h"
#include "quanta/Codegen/Emission.h"
#include "quanta/Conversion/Passes.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "quanta/Lowering/Passes.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"

using namespace mlir;

void mlir::quanta::registerDialects(DialectRegistry &registry) {
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<QuantaDialect, onnx::ONNXDialect>();
  registerEmissionTranslations(registry);
  registerLoweringInterfaces(registry);
  registerDecodeModels(registry);
}

void mlir::quanta::registerPasses() {
  static bool once = [] {
    registerAllPasses();
    registerQuantaTransformsPasses();
    registerQuantaConversionPasses();
    registerQuantaLoweringPasses();
    registerLoweringPipelines();
    registerQuantaCodegenPasses();
    registerGraphRunner([](unsigned threads) { return createCompilingGraphRunner(threads); });
    return true;
  }();
  (void)once;
}
