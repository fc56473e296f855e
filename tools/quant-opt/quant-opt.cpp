//===- quant-opt.cpp - mlir-opt with Quanta's dialects and passes -------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllPasses();
  registry.insert<mlir::quanta::QuantaDialect, mlir::onnx::ONNXDialect>();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Quanta optimizer driver\n", registry));
}
