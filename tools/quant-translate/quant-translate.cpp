//===- quant-translate.cpp - Between Quanta's IR and other formats ------------------------------------------------===//
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/FileUtilities.h"
#include "quanta/Import/ONNX/Import.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
namespace cl = llvm::cl;

static cl::opt<std::string> input(cl::Positional, cl::desc("<model>"), cl::Required);
static cl::opt<bool> importFlag("import-onnx", cl::desc("Read an ONNX model"));
static cl::opt<std::string> output("o", cl::desc("Output file"), cl::value_desc("file"), cl::init("-"));
static cl::list<std::string> dims("dim", cl::desc("Size of a named dimension"), cl::value_desc("NAME=VALUE"));
static cl::opt<std::string> report("import-report", cl::desc("Write all problems and warnings to a JSON file"),
                                   cl::value_desc("file"));
static cl::opt<bool> assumeCompatible("onnx-assume-compatible",
                                      cl::desc("Take an opset newer than any known one to mean the same"));

static int fail(const llvm::Twine &text) {
  llvm::errs() << "quant-translate: error: " << text << '\n';
  return 1;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  cl::ParseCommandLineOptions(argc, argv, "Quanta translation driver\n");
  if (!importFlag)
    return fail("say what to do: --import-onnx");
  quanta::ImportOptions options;
  options.assumeCompatible = assumeCompatible;
  for (llvm::StringRef text : dims) {
    auto [name, value] = text.rsplit('=');
    if (name.empty() || value.getAsInteger(10, options.dims[name]))
      return fail("--dim=" + text + ": expected NAME=VALUE");
  }

  MLIRContext context;
  quanta::Problems problems;
  auto module = quanta::importONNX(input, options, &context, problems);
  problems.print(llvm::errs());
  std::string error;
  if (!report.empty()) {
    auto file = openOutputFile(report, &error);
    if (!file)
      return fail(error);
    file->os() << llvm::formatv("{0:2}", problems.toJSON()) << '\n';
    file->keep();
  }
  if (failed(module))
    return 1;
  auto file = openOutputFile(output, &error);
  if (!file)
    return fail(error);
  (*module)->print(file->os(), OpPrintingFlags());
  file->os() << '\n';
  file->keep();
  return 0;
}
