//===- quant-opt.cpp - mlir-opt with Quanta's dialects and passes -------------------------------------------------------===//
#include "quanta/Pipelines/Registration.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::quanta::registerDialects(registry);
  mlir::quanta::registerPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Quanta optimizer driver\n", registry));
}
