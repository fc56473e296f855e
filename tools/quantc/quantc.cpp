//===- quantc.cpp - The compiler driver ---------------------------------------------------------------------------------===//
#include "../CleanSlate.h"
#include "quanta/Pipelines/Compile.h"
#include "quanta/Pipelines/Recipes.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;
using namespace mlir::quanta;

template <typename T> using Opt = cl::opt<T>;

namespace {
struct CommandLine : CleanSlate {
  cl::OptionCategory category{"Options"};
  cl::cat in{category};

  Opt<std::string> input{cl::Positional, cl::Required, cl::desc("MODEL"), in};
  Opt<std::string> output{"o", cl::value_desc("file"), in,
                          cl::desc("what to write; the suffix (.o .so .ll .s .h .mlir .mlirbc, none: executable) says what")};
  Opt<std::string> name{"name", cl::desc("prefix of the C functions (default: the output's stem)"), in};
  Opt<std::string> emit{"emit", cl::desc("onnx-ir, quant-ir, linalg, llvm, asm, obj, lib, exe or header"), cl::value_desc("kind"),
                        in};
  Opt<std::string> recipe{"recipe", cl::desc("how to quantize: NAME{option=value ...}[,...]"), in};
  Opt<std::string> passPipeline{"pass-pipeline", cl::desc("MLIR passes to run after the recipe"), in};
  Opt<std::string> keep{"keep", cl::desc("leave nodes or weights whose name matches in float"), cl::value_desc("regex"), in};
  Opt<std::string> calib{"calib", cl::value_desc("file|folder"), in,
                         cl::desc("data for recipes that look at it: .npz, a folder of them, or an .npy token stream")};
  Opt<int64_t> calibSamples{"calib-samples", cl::desc("calibrate with at most so many (default: 128)"), cl::init(128), in};
  Opt<int64_t> window{"window", cl::desc("tokens of a sample of a token stream (default: 256)"), cl::init(256), in};
  Opt<uint64_t> seed{"seed", cl::desc("of the samples that are drawn from a token stream (default: 0)"), cl::init(0), in};
  Opt<std::string> store{"store", cl::desc("keep what calibration has done, for --resume"), cl::value_desc("folder"), in};
  Opt<bool> resume{"resume", cl::desc("go on with the calibration in --store that was cut off"), in};
  Opt<bool> dryRun{"dry-run", cl::desc("print what calibration would do, with memory, disk and time, and stop"), in};
  cl::list<std::string> dims{"dim", cl::desc("fix a symbolic size; may be repeated"), cl::value_desc("name=value"), in};
  Opt<std::string> triple{"mtriple", cl::desc("x86_64-linux-gnu or aarch64-linux-gnu (default: this machine)"), in};
  cl::list<std::string> cpus{
      "mcpu", cl::CommaSeparated, in,
      cl::desc("target CPUs, NAME or NAME+FEATURE, the best of which is taken at run time (default: native, or generic)")};
  Opt<unsigned> optLevel{"O", cl::desc("optimization level, 0 to 3"), cl::Prefix, cl::init(3), in};
  Opt<unsigned> threads{"threads", cl::desc("threads of the compiler; 0 (the default) uses every CPU"), in};
  Opt<WeightsPlacement> weights{
      "weights", cl::desc("where the weights lie:"), in,
      cl::values(clEnumValN(WeightsPlacement::Auto, "auto", "in the object, by size (default)"),
                 clEnumValN(WeightsPlacement::Large, "large", "in the object, in a section for data beyond 2 GiB"),
                 clEnumValN(WeightsPlacement::File, "file", "in a file of their own, OUTPUT.weights"))};
  Opt<std::string> compileTo{"compile-to", cl::desc("last phase"), cl::value_desc("phase"), in};
  Opt<std::string> compileFrom{"compile-from", cl::desc("first phase, for MLIR input (default: by its ops)"),
                               cl::value_desc("phase"), in};
  Opt<bool> dumpPassPipeline{"dump-pass-pipeline", cl::desc("print each phase's passes to standard error"), in};
  Opt<std::string> report{"report", cl::desc("what was done, as .json or .html"), cl::value_desc("file"), in};
  Opt<std::string> importReport{"import-report", cl::desc("what is wrong with the model, with every name, as .json"),
                                cl::value_desc("file"), in};
};
} // namespace

static int fail(const Twine &message) {
  WithColor::error(errs(), "quantc") << message << "\n";
  return 1;
}

static bool parsePhase(const Opt<std::string> &option, std::optional<Phase> &phase) {
  if (option.empty())
    return true;
  phase = findPhase(option);
  return phase.has_value();
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  CommandLine flags;
  setBugReportMsg("This is a bug in Quanta; please report it with the model and the command line.\n");
  // Not shown by --help: printing and timing of passes, as in mlir-opt.
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerAsmPrinterCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  cl::HideUnrelatedOptions(flags.category);
  cl::SetVersionPrinter([](raw_ostream &os) { os << "Quanta " QUANTA_VERSION "\n"; });
  std::string more = "\nPhases:\n" + describePhases() + "\nRecipes:\n" + describeRecipes();
  cl::extrahelp help(more);
  cl::ParseCommandLineOptions(argc, argv, "Quantize an ONNX model and compile it\n");

  CompileOptions options;
  options.input = flags.input;
  options.output = flags.output;
  options.emit = flags.emit;
  options.name = flags.name;
  options.recipe = flags.recipe;
  options.passPipeline = flags.passPipeline;
  options.keep = flags.keep;
  options.calibration = {flags.calib, flags.calibSamples, flags.window, flags.seed, flags.store, flags.resume, flags.dryRun};
  options.triple = flags.triple;
  if (!flags.cpus.empty())
    options.cpus.assign(flags.cpus.begin(), flags.cpus.end());
  options.optLevel = flags.optLevel;
  options.threads = flags.threads;
  options.weights = flags.weights;
  options.dumpPassPipeline = flags.dumpPassPipeline;
  options.report = flags.report;
  options.importReport = flags.importReport;
  if (flags.optLevel > 3)
    return fail("-O" + Twine(flags.optLevel) + " does not exist; use -O0 to -O3");
  for (StringRef dim : flags.dims) {
    auto [symbol, value] = dim.split('=');
    int64_t size;
    if (symbol.empty() || value.getAsInteger(10, size) || size < 1)
      return fail("--dim " + dim + " must be NAME=VALUE with a positive number");
    options.dims[symbol.str()] = size;
  }
  if (!parsePhase(flags.compileTo, options.compileTo) || !parsePhase(flags.compileFrom, options.compileFrom))
    return fail("unknown phase; there are:\n" + StringRef(describePhases()).rtrim());

  Report result;
  if (Error error = compileModel(options, result)) {
    handleAllErrors(std::move(error), [](const ErrorInfoBase &info) { fail(info.message()); });
    return 1;
  }
  return 0;
}
