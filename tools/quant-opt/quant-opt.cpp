//===- quant-opt.cpp - mlir-opt with Quanta's dialects and passes -------------------------------------------------------===//
#include "quanta/Pipelines/Registration.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  DialectRegistry registry;
  quanta::registerDialects(registry);
  quanta::registerPasses();
  auto [input, output] = registerAndParseCLIOptions(argc, argv, "Quanta optimizer driver\n", registry);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (config.shouldShowDialects() || config.shouldListPasses())
    return asMainReturnCode(MlirOptMain(argc, argv, input, output, registry));

  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(input, &error);
  std::unique_ptr<llvm::ToolOutputFile> file = buffer ? openOutputFile(output, &error) : nullptr;
  if (!file) {
    llvm::errs() << error << "\n";
    return 1;
  }
  // Bytecode asks for weights that are aligned in memory; a file that is read and not mapped lies anywhere.
  const llvm::Align alignment(64);
  if (!llvm::isAddrAligned(alignment, buffer->getBufferStart())) {
    llvm::StringRef text = buffer->getBuffer();
    auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(text.size(), buffer->getBufferIdentifier(), alignment);
    llvm::copy(text, copy->getBufferStart());
    buffer = std::move(copy);
  }
  if (failed(MlirOptMain(file->os(), std::move(buffer), registry, config)))
    return 1;
  file->keep();
  return 0;
}
