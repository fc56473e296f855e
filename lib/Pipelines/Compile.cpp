//===- Compile.cpp - From a model to a file -----------------------------------------------------------------------------===//
#include "quanta/Pipelines/Compile.h"
#include "quanta/Codegen/Codegen.h"
#include "quanta/Conversion/Passes.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "quanta/Import/ONNX/Import.h"
#include "quanta/Lowering/Passes.h"
#include "quanta/Pipelines/Recipes.h"
#include "quanta/Pipelines/Registration.h"
#include "quanta/Support/Error.h"
#include "quanta/Transforms/Passes.h"
#include "quanta/Target/Target.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Support/ToolOutputFile.h"
#include <chrono>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

//===- Phases -------------------------------------------------------------------------------------------------------------===//

static const PhaseInfo phases[] = {
    {Phase::Import, "import", "read the ONNX file: one onnx.node for each of its nodes"},
    {Phase::Prepare, "prepare", "fold constants, recognise decomposed layers, convert to quanta and linalg"},
    {Phase::Transform, "transform", "rewrite into the same function that is easier to quantize"},
    {Phase::Quantize, "quantize", "encode weights and activations as the recipe says"},
    {Phase::Lower, "lower", "choose kernels and lower to the LLVM dialect"},
    {Phase::Codegen, "codegen", "generate machine code and write the output"},
};

ArrayRef<PhaseInfo> mlir::quanta::getPhases() { return phases; }

StringRef mlir::quanta::getName(Phase phase) { return phases[static_cast<int>(phase)].name; }

std::optional<Phase> mlir::quanta::findPhase(StringRef name) {
  for (const PhaseInfo &info : phases)
    if (info.name == name)
      return info.phase;
  return std::nullopt;
}

std::string mlir::quanta::describePhases() {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const PhaseInfo &info : phases)
    os << "  " << llvm::left_justify(info.name, 12) << info.summary << "\n";
  return text;
}

void mlir::quanta::buildLowerPhase(OpPassManager &passes, const ::quanta::TargetLevel &level) {
  LoweringOptions lowering;
  lowering.vectorBits = level.vectorBits;
  lowering.beforeBufferize = [](OpPassManager &pm) { pm.addPass(createOutlineKernels()); };
  lowering.afterFuse = [](OpPassManager &pm) { pm.addPass(createFuseEpilogues()); };
  lowering.afterBufferize = [&level](OpPassManager &pm) {
    EmitKernelsOptions kernels;
    kernels.target = level.name.str();
    pm.addPass(createEmitKernels(kernels));
  };
  buildLoweringPipeline(passes, lowering);
}

void mlir::quanta::buildLinalg(OpPassManager &passes) {
  passes.addPass(createOutlineKernels());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addNestedPass<func::FuncOp>(createFuseLinalg());
  passes.addPass(createCanonicalizerPass());
}

//===- What to make -------------------------------------------------------------------------------------------------------===//

namespace {
struct OutputKind {
  StringRef name, suffix;
  Phase last;
  std::optional<EmitKind> code; ///< none: MLIR
};
} // namespace

static const OutputKind outputKinds[] = {
    {"obj", ".o", Phase::Codegen, EmitKind::Object},        {"lib", ".so", Phase::Codegen, EmitKind::Library},
    {"exe", "", Phase::Codegen, EmitKind::Executable},      {"llvm", ".ll", Phase::Codegen, EmitKind::LLVMIR},
    {"asm", ".s", Phase::Codegen, EmitKind::Assembly},      {"header", ".h", Phase::Codegen, EmitKind::Header},
    {"quant-ir", ".mlir", Phase::Quantize, std::nullopt},   {"onnx-ir", ".mlir", Phase::Import, std::nullopt},
    {"quant-ir", ".mlirbc", Phase::Quantize, std::nullopt}, {"linalg", ".mlir", Phase::Quantize, std::nullopt},
};

static llvm::Expected<OutputKind> resolveOutput(const CompileOptions &options) {
  StringRef suffix = options.output == "-" ? ".mlir" : llvm::sys::path::extension(options.output);
  const OutputKind *kind = nullptr;
  if (!options.emit.empty()) {
    kind = llvm::find_if(outputKinds, [&](const OutputKind &k) { return k.name == options.emit; });
    if (kind == std::end(outputKinds))
      return userError("--emit=" + options.emit + " is unknown; use onnx-ir, quant-ir, linalg, llvm, asm, obj, lib, exe or header");
  } else if (options.output.empty()) {
    kind = &outputKinds[0];
  } else {
    kind = llvm::find_if(outputKinds, [&](const OutputKind &k) { return k.suffix == suffix; });
    if (kind == std::end(outputKinds))
      return userError("the suffix of '" + options.output +
                       "' does not say what to make; use .o, .so, .ll, .s, .h, .mlir or .mlirbc, or --emit");
  }
  OutputKind result = *kind;
  if (options.compileTo) {
    // An early stop means MLIR, whatever the default is.
    if (*options.compileTo != Phase::Codegen && result.code && !options.emit.empty())
      return userError("--emit=" + options.emit + " needs all phases, but --compile-to stops after '" +
                       getName(*options.compileTo) + "'");
    if (*options.compileTo != Phase::Codegen && result.code && !options.output.empty())
      return userError("--compile-to=" + getName(*options.compileTo) +
                       " gives MLIR: the output must end in .mlir or .mlirbc");
    if (*options.compileTo == Phase::Codegen && !result.code)
      return userError("--compile-to=codegen does not give MLIR; leave it out or change the output's suffix");
    if (*options.compileTo != Phase::Codegen)
      result = {"mlir", suffix == ".mlirbc" ? ".mlirbc" : ".mlir", *options.compileTo, std::nullopt};
  }
  if (!result.code && suffix == ".mlirbc")
    result.suffix = ".mlirbc";
  if (options.compileFrom && *options.compileFrom > result.last)
    return userError("--compile-from=" + getName(*options.compileFrom) + " begins after the last phase, '" +
                     getName(result.last) + "'");
  return result;
}

/// A C identifier from a file name.
static std::string makeName(StringRef path) {
  std::string name = llvm::sys::path::stem(path).str();
  for (char &c : name)
    if (!llvm::isAlnum(c))
      c = '_';
  if (name.empty() || llvm::isDigit(name.front()) || name.front() == '_' || StringRef(name).starts_with("quanta"))
    name = "model_" + name;
  return name;
}

//===- Diagnostics --------------------------------------------------------------------------------------------------------===//

static std::string describeLocation(Location loc) {
  if (std::string name = getNodeName(loc); !name.empty())
    return "'" + name + "': ";
  std::string text;
  loc->walk([&](Location part) {
    auto line = dyn_cast<FileLineColLoc>(part);
    if (!line)
      return WalkResult::advance();
    text = (line.getFilename().getValue() + ":" + Twine(line.getLine()) + ":" + Twine(line.getColumn()) + ": ").str();
    return WalkResult::interrupt();
  });
  return text;
}

namespace {
/// Gathers errors for the caller and prints the rest as it comes.
class DiagnosticCollector {
public:
  DiagnosticCollector(MLIRContext *context, StringRef model, Report &report)
      : model(model), report(report),
        handler(context, [this](Diagnostic &diagnostic) { handle(diagnostic); return success(); }) {}

  /// What went wrong in the phase; everything that its passes said.
  llvm::Error takeError(const Twine &otherwise) {
    if (errors.empty())
      return userError(model + ": internal error: " + otherwise);
    std::string text = std::move(errors);
    errors.clear();
    return userError(StringRef(text).rtrim());
  }

private:
  void handle(Diagnostic &diagnostic) {
    std::string text = describeLocation(diagnostic.getLocation()) + diagnostic.str();
    for (Diagnostic &note : diagnostic.getNotes())
      text += "\n  note: " + describeLocation(note.getLocation()) + note.str();
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error) {
      // One broken op can fail for each of its uses; a screenful is enough.
      if (++errorCount <= 20)
        errors += model + ": " + text + "\n";
      report.problems.push_back(std::move(text));
      return;
    }
    bool warning = diagnostic.getSeverity() == DiagnosticSeverity::Warning;
    if (warning)
      report.problems.push_back(text);
    llvm::errs() << model << ": " << (warning ? "warning: " : "remark: ") << text << "\n";
  }

  std::string model, errors;
  unsigned errorCount = 0;
  Report &report;
  ScopedDiagnosticHandler handler;
};

/// While it lives, a crash writes the IR that the phase began with.
class CrashReproducer {
public:
  CrashReproducer(ModuleOp module, Phase phase, const CompileOptions &options)
      : input(module.clone()), phase(phase), path((options.output.empty() || options.output == "-" ? "quanta" : options.output) +
                                                  ".crash.mlirbc"),
        recipe(options.recipe) {
    static bool once = [] {
      llvm::sys::AddSignalHandler([](void *) { write(); }, nullptr);
      return true;
    }();
    (void)once;
    active = this;
  }
  ~CrashReproducer() { active = nullptr; }

private:
  static void write() {
    CrashReproducer *self = std::exchange(active, nullptr);
    if (!self)
      return;
    llvm::errs() << "quantc: internal error in phase '" << getName(self->phase) << "'";
    std::error_code ec;
    llvm::raw_fd_ostream os(self->path, ec);
    if (!ec && succeeded(writeBytecodeToFile(*self->input, os))) {
      llvm::errs() << "; to reproduce it:\n  quantc --compile-from=" << getName(self->phase);
      if (!self->recipe.empty())
        llvm::errs() << " --recipe='" << self->recipe << "'";
      llvm::errs() << " " << self->path;
    }
    llvm::errs() << "\n";
    llvm::errs().flush();
  }

  static CrashReproducer *active;
  OwningOpRef<ModuleOp> input;
  Phase phase;
  std::string path, recipe;
};
CrashReproducer *CrashReproducer::active = nullptr;

//===- The driver ---------------------------------------------------------------------------------------------------------===//

class Driver {
public:
  Driver(const CompileOptions &options, Report &report)
      : options(options), report(report), context(makeRegistry(), MLIRContext::Threading::DISABLED),
        diagnostics(&context, options.input, report) {
    context.printOpOnDiagnostic(false); // messages name the node; its IR says nothing to a user
    auto strategy = llvm::hardware_concurrency(options.threads);
    llvm::parallel::strategy = strategy;
    if (strategy.compute_thread_count() > 1) {
      pool.emplace(strategy);
      context.setThreadPool(*pool);
    }
  }

  llvm::Error run();

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerDialects(registry);
    registerPasses();
    return registry;
  }

  llvm::Error fail(const Twine &message) { return userError(options.input + ": " + message); }
  llvm::Error import();
  llvm::Error parse();
  Phase guessFirstPhase();
  llvm::Error runPhase(Phase phase);
  llvm::Error addPasses(Phase phase, OpPassManager &passes, const ::quanta::Target &target);
  llvm::Error runPasses(Phase phase, ModuleOp on, const ::quanta::Target &target);
  llvm::Error addTextual(StringRef pipeline, OpPassManager &passes);
  void nameModel();
  llvm::Error writeText(StringRef path, StringRef text);
  llvm::Error writeMLIR();
  llvm::Error emit();

  const CompileOptions &options;
  Report &report;
  MLIRContext context;
  std::optional<llvm::DefaultThreadPool> pool;
  DiagnosticCollector diagnostics;
  std::vector<RecipeUse> recipes;
  OutputKind kind;
  std::string output, name;
  std::vector<::quanta::Target> targets; ///< best first
  OwningOpRef<ModuleOp> module;
  std::vector<OwningOpRef<ModuleOp>> others; ///< from the phase `lower` on: for the second target, the third …
};
} // namespace

llvm::Error Driver::import() {
  ImportOptions importOptions;
  for (auto &[dim, size] : options.dims)
    importOptions.dims[dim] = size;
  Problems problems;
  auto imported = importONNX(options.input, importOptions, &context, problems);
  for (const Problems::Group &group : llvm::concat<const Problems::Group>(problems.getErrors(), problems.getWarnings()))
    report.problems.push_back(group.kind + ": " + group.subject);
  if (!options.importReport.empty())
    if (llvm::Error error = writeText(options.importReport, llvm::formatv("{0:2}", problems.toJSON()).str() + "\n"))
      return error;
  std::string text;
  llvm::raw_string_ostream os(text);
  problems.print(os);
  if (failed(imported)) {
    StringRef message = StringRef(text).trim();
    message.consume_front(options.input + ": error: ");
    return fail(message);
  }
  llvm::errs() << text;
  module = std::move(*imported);
  return llvm::Error::success();
}

llvm::Error Driver::writeText(StringRef path, StringRef text) {
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (ec)
    return fail("cannot write '" + path + "': " + ec.message());
  os << text;
  return llvm::Error::success();
}

llvm::Error Driver::parse() {
  auto buffer = llvm::MemoryBuffer::getFile(options.input, /*IsText=*/false, /*RequiresNullTerminator=*/true);
  if (!buffer)
    return fail(buffer.getError().message());
  // Bytecode holds weights that must be aligned in memory; a small file is not mapped but read to wherever there is room.
  const llvm::Align alignment(64);
  if (!llvm::isAddrAligned(alignment, (*buffer)->getBufferStart())) {
    StringRef text = (*buffer)->getBuffer();
    auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(text.size(), options.input, alignment);
    llvm::copy(text, copy->getBufferStart());
    *buffer = std::move(copy);
  }
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(sources, ParserConfig(&context));
  return module ? llvm::Error::success() : diagnostics.takeError("it cannot be parsed");
}

/// What an MLIR file is, by its ops.
Phase Driver::guessFirstPhase() {
  if (module->lookupSymbol("quanta_entry"))
    return Phase::Codegen;
  bool imported = module->walk([](onnx::NodeOp) { return WalkResult::interrupt(); }).wasInterrupted();
  return imported ? Phase::Prepare : Phase::Transform;
}

llvm::Error Driver::addTextual(StringRef pipeline, OpPassManager &passes) {
  std::string message;
  llvm::raw_string_ostream os(message);
  if (succeeded(parsePassPipeline(pipeline, passes, os)))
    return llvm::Error::success();
  return fail("in the pass pipeline '" + pipeline + "': " + StringRef(message).trim());
}

llvm::Error Driver::addPasses(Phase phase, OpPassManager &passes, const ::quanta::Target &target) {
  for (const RecipeUse &use : recipes)
    if (use.recipe->phase == phase)
      if (llvm::Error error = addTextual(use.getPipeline(), passes))
        return error;
  switch (phase) {
  case Phase::Prepare:
    buildONNXPreparePipeline(passes);
    passes.addPass(createConvertONNXToQuanta());
    passes.addPass(createMergeConstants());
    passes.addPass(createCanonicalizerPass());
    passes.addPass(createCSEPass());
    passes.addPass(createRecognizeWeights());
    break;
  case Phase::Quantize: {
    // Accepts what --dump-pass-pipeline and quant-opt print, too.
    StringRef text = StringRef(options.passPipeline).trim();
    if (text.consume_front("builtin.module("))
      text.consume_back(")");
    if (!text.empty())
      return addTextual(text, passes);
    break;
  }
  case Phase::Lower:
    buildLowerPhase(passes, target.getLevel());
    break;
  case Phase::Import:
  case Phase::Transform:
  case Phase::Codegen:
    break;
  }
  return llvm::Error::success();
}

llvm::Error Driver::runPhase(Phase phase) {
  if (phase == Phase::Import)
    return import();
  CrashReproducer reproducer(*module, phase, options);
  if (phase == Phase::Codegen)
    return emit();
  if (phase == Phase::Lower) {
    std::vector<std::string> keep;
    if (!options.keep.empty())
      keep.push_back(options.keep);
    for (const RecipeUse &use : recipes)
      if (std::string own = use.values.lookup("keep"); !own.empty())
        keep.push_back(own);
    report.addLayers(*module, keep);
    for (const ::quanta::Target &target : llvm::drop_begin(targets)) {
      others.emplace_back(module->clone());
      if (llvm::Error error = runPasses(phase, *others.back(), target))
        return error;
    }
  }
  return runPasses(phase, *module, targets.front());
}

llvm::Error Driver::runPasses(Phase phase, ModuleOp on, const ::quanta::Target &target) {
  PassManager passes(&context);
  if (failed(applyPassManagerCLOptions(passes)))
    return fail("wrong pass manager options");
  if (llvm::Error error = addPasses(phase, passes, target))
    return error;
  if (options.dumpPassPipeline && passes.size()) {
    llvm::errs() << "// " << getName(phase) << "\n";
    passes.dump();
    llvm::errs() << "\n";
  }
  if (passes.size() && failed(passes.run(on)))
    return diagnostics.takeError("phase '" + getName(phase) + "' failed without a message");
  return llvm::Error::success();
}

/// The name and the recipe are the driver's to know.
void Driver::nameModel() {
  auto model = (*module)->getAttrOfType<DictionaryAttr>("quanta.model");
  if (!model)
    return;
  NamedAttrList attrs(model);
  attrs.set("name", StringAttr::get(&context, name));
  if (!options.recipe.empty())
    attrs.set("recipe", StringAttr::get(&context, options.recipe));
  else if (auto recipe = dyn_cast_or_null<StringAttr>(attrs.get("recipe")))
    report.recipe = recipe.str();
  (*module)->setAttr("quanta.model", attrs.getDictionary(&context));
}

llvm::Error Driver::writeMLIR() {
  std::error_code ec;
  llvm::ToolOutputFile file(output, ec, llvm::sys::fs::OF_None);
  if (ec)
    return fail("cannot write '" + output + "': " + ec.message());
  if (kind.suffix == ".mlirbc") {
    if (failed(writeBytecodeToFile(*module, file.os())))
      return diagnostics.takeError("the bytecode could not be written");
  } else {
    module->print(file.os(), OpPrintingFlags().enableDebugInfo());
  }
  report.objectBytes = output == "-" ? 0 : file.os().tell();
  file.os().close();
  if (file.os().has_error()) {
    ec = file.os().error();
    file.os().clear_error();
    return fail("cannot write '" + output + "': " + ec.message());
  }
  file.keep();
  return llvm::Error::success();
}

llvm::Error Driver::emit() {
  nameModel();
  EmissionOptions emission;
  emission.output = output;
  emission.kind = *kind.code;
  emission.name = name;
  emission.triple = options.triple;
  emission.cpus = options.cpus;
  emission.optLevel = options.optLevel;
  emission.weights = options.weights;
  std::vector<ModuleOp> modules = {*module};
  for (OwningOpRef<ModuleOp> &other : others)
    modules.push_back(*other);
  auto result = emitModel(modules, emission);
  if (!result) {
    std::string message = llvm::toString(result.takeError());
    return fail(message);
  }
  report.target = result->target;
  report.weightsBytes = result->weightsBytes;
  report.objectBytes = result->outputBytes;
  return llvm::Error::success();
}

/// As recipes take them.
static RecipeValues getCalibrationValues(const CompileOptions &options) {
  const CalibrationArguments &calibration = options.calibration;
  RecipeValues values;
  values["--calib"] = calibration.data;
  values["--calib-samples"] = std::to_string(calibration.samples);
  values["--window"] = std::to_string(calibration.window);
  values["--seed"] = std::to_string(calibration.seed);
  values["--store"] = calibration.store;
  values["--resume"] = calibration.resume ? "true" : "";
  values["--threads"] = std::to_string(options.threads);
  values["--dry-run"] = calibration.dryRun ? "true" : "";
  return values;
}

llvm::Error Driver::run() {
  report.model = options.input;
  report.recipe = options.recipe;
  auto resolved = resolveOutput(options);
  if (!resolved)
    return fail(llvm::toString(resolved.takeError()));
  kind = *resolved;
  output = options.output;
  if (output.empty()) {
    output = (llvm::sys::path::stem(options.input) + kind.suffix).str();
    if (kind.suffix.empty() && llvm::sys::fs::equivalent(output, options.input))
      return fail("the output would replace the model: give -o");
  }
  name = options.name.empty() ? makeName(output) : options.name;
  if (kind.code)
    if (llvm::Error error = checkModelName(name))
      return fail(llvm::toString(std::move(error)));
  // Everything that can be refused is refused before the work begins.
  auto resolvedTargets = ::quanta::Target::resolveAll(options.triple, options.cpus);
  if (!resolvedTargets)
    return fail(llvm::toString(resolvedTargets.takeError()));
  targets = std::move(*resolvedTargets);
  if (targets.size() > 1 && !kind.code && kind.last >= Phase::Lower)
    return fail("code for several CPUs has no MLIR form: give one of them to --mcpu");
  auto parsed = parseRecipes(options.recipe, options.keep, getCalibrationValues(options));
  if (!parsed)
    return fail(llvm::toString(parsed.takeError()));
  recipes = std::move(*parsed);
  bool calibrated = llvm::any_of(recipes, [](const RecipeUse &use) { return use.recipe->calibrated; });
  if (options.calibration.dryRun && !calibrated)
    return fail("--dry-run says what calibration would do, but no recipe looks at data");
  if (options.calibration.resume && options.calibration.store.empty())
    return fail("--resume needs the folder of the run that it goes on with: give --store");
  report.target = ::quanta::describeTargets(targets);
  if (!llvm::sys::fs::exists(options.input))
    return fail("there is no such file");

  StringRef suffix = llvm::sys::path::extension(options.input);
  Phase first = Phase::Import;
  if (suffix == ".mlir" || suffix == ".mlirbc") {
    if (llvm::Error error = parse())
      return error;
    first = options.compileFrom.value_or(guessFirstPhase());
    if (first == Phase::Import)
      return fail("--compile-from=import needs an ONNX file");
  } else if (options.compileFrom.value_or(first) != first) {
    return fail("--compile-from=" + getName(*options.compileFrom) + " needs MLIR, a file that ends in .mlir or .mlirbc");
  }
  if (targets.size() > 1 && first == Phase::Codegen)
    return fail("this file was lowered for one CPU: give one to --mcpu");
  for (const PhaseInfo &info : phases) {
    if (info.phase < first || info.phase > kind.last)
      continue;
    auto start = std::chrono::steady_clock::now();
    if (llvm::Error error = runPhase(info.phase))
      return error;
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    report.seconds.emplace_back(info.name.str(), taken.count());
    if (options.calibration.dryRun && info.phase == Phase::Quantize)
      return llvm::Error::success();
  }
  if (kind.code)
    return llvm::Error::success();
  if (kind.last >= Phase::Prepare && kind.last < Phase::Lower)
    report.addLayers(*module, {});
  if (kind.name == "linalg") {
    PassManager passes(&context);
    buildLinalg(passes);
    if (failed(passes.run(*module)))
      return diagnostics.takeError("the graph has no linalg form");
  }
  return writeMLIR();
}

llvm::Error mlir::quanta::compileModel(const CompileOptions &options, Report &report) {
  llvm::Error error = Driver(options, report).run();
  report.peakBytes = getPeakBytes();
  if (options.report.empty())
    return error;
  return llvm::joinErrors(std::move(error), report.write(options.report));
}
