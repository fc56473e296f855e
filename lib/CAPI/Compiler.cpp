//===- Compiler.cpp - C interface of the compiler -----------------------------------------------------------------------===//
#include "quanta-c/Compiler.h"
#include "quanta/Pipelines/Compile.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <cstring>
#include <mutex>

using namespace mlir;
using namespace mlir::quanta;

struct QuantaCompileOptions {
  CompileOptions value;
};

//===- Options ------------------------------------------------------------------------------------------------------------===//

namespace {
struct StringOption {
  StringRef name;
  std::string CompileOptions::*member;
};
} // namespace

static const StringOption stringOptions[] = {
    {"input", &CompileOptions::input},   {"output", &CompileOptions::output},
    {"emit", &CompileOptions::emit},     {"name", &CompileOptions::name},
    {"recipe", &CompileOptions::recipe}, {"pass-pipeline", &CompileOptions::passPipeline},
    {"keep", &CompileOptions::keep},     {"mtriple", &CompileOptions::triple},
    {"report", &CompileOptions::report},
};

/// Keeps the message for the caller.
static const char *refuse(const Twine &message) {
  static thread_local std::string last;
  last = message.str();
  return last.c_str();
}

static const char *setPhase(std::optional<Phase> &phase, StringRef name, StringRef value) {
  phase = findPhase(value);
  return phase ? nullptr : refuse(name + ": unknown phase '" + value + "'; there are:\n" + StringRef(describePhases()).rtrim());
}

/// Options about calibration data; false: it is none of them.
static bool setCalibration(CalibrationArguments &options, StringRef name, StringRef value, const char *&problem) {
  problem = nullptr;
  auto number = [&](auto &to) { problem = value.getAsInteger(10, to) ? refuse(name + " must be a number, got '" + value + "'") : nullptr; };
  if (name == "calib")
    options.data = value.str();
  else if (name == "store")
    options.store = value.str();
  else if (name == "calib-samples")
    number(options.samples);
  else if (name == "window")
    number(options.window);
  else if (name == "seed")
    number(options.seed);
  else if (name == "resume" && (value == "true" || value == "false"))
    options.resume = value == "true";
  else if (name == "resume")
    problem = refuse("resume must be true or false, got '" + value + "'");
  else
    return false;
  return true;
}

static const char *set(CompileOptions &options, StringRef name, StringRef value) {
  for (const StringOption &option : stringOptions)
    if (option.name == name) {
      options.*option.member = value.str();
      return nullptr;
    }
  if (const char *problem; setCalibration(options.calibration, name, value, problem))
    return problem;
  if (name == "mcpu") {
    options.cpus.clear();
    for (StringRef cpu : llvm::split(value, ','))
      options.cpus.push_back(cpu.str());
    return nullptr;
  }
  if (name == "O") {
    unsigned level;
    if (value.getAsInteger(10, level) || level > 3)
      return refuse("optimization level '" + value + "' does not exist; use 0 to 3");
    options.optLevel = level;
    return nullptr;
  }
  if (name == "threads")
    return value.getAsInteger(10, options.threads) ? refuse("threads must be a number, got '" + value + "'") : nullptr;
  if (name == "weights") {
    auto placement = llvm::StringSwitch<std::optional<WeightsPlacement>>(value)
                         .Case("auto", WeightsPlacement::Auto)
                         .Case("large", WeightsPlacement::Large)
                         .Case("file", WeightsPlacement::File)
                         .Default(std::nullopt);
    if (!placement)
      return refuse("weights must be auto, large or file, got '" + value + "'");
    options.weights = *placement;
    return nullptr;
  }
  if (name == "compile-to")
    return setPhase(options.compileTo, name, value);
  if (name == "compile-from")
    return setPhase(options.compileFrom, name, value);
  return refuse("unknown option '" + name + "'");
}

QuantaCompileOptions *quantaCompileOptionsCreate() { return new QuantaCompileOptions; }

void quantaCompileOptionsDestroy(QuantaCompileOptions *options) { delete options; }

const char *quantaCompileOptionsSet(QuantaCompileOptions *options, const char *name, const char *value) {
  return set(options->value, name, value);
}

const char *quantaCompileOptionsSetDim(QuantaCompileOptions *options, const char *name, int64_t size) {
  if (!*name || size < 1)
    return refuse("dimension '" + Twine(name) + "' must have a name and a positive size, got " + Twine(size));
  options->value.dims[name] = size;
  return nullptr;
}

//===- Compiling ----------------------------------------------------------------------------------------------------------===//

static QuantaStatus classify(const CompileOptions &options, const Report &report) {
  StringRef suffix = llvm::sys::path::extension(options.input);
  bool onnx = suffix != ".mlir" && suffix != ".mlirbc";
  // Nothing before the import has problems to list.
  return onnx && report.seconds.empty() && !report.problems.empty() ? QuantaStatusImportProblem : QuantaStatusInvalid;
}

int quantaCompile(const QuantaCompileOptions *options, QuantaDiagnosticHandler handler, void *userData, char **report) {
  Report result;
  QuantaStatus status = QuantaStatusOk;
  auto emit = [&](QuantaSeverity severity, const std::string &message) {
    if (handler)
      handler(severity, message.c_str(), userData);
  };
  llvm::Error error = [&] {
    // Crash handling and the thread count of llvm::parallel are the process's.
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    // The driver applies these options, with their defaults here, and they must exist for that.
    registerPassManagerCLOptions();
    return compileModel(options->value, result);
  }();
  if (error) {
    status = classify(options->value, result);
    llvm::handleAllErrors(std::move(error),
                          [&](const llvm::ErrorInfoBase &info) { emit(QuantaSeverityError, info.message()); });
  } else {
    for (const std::string &problem : result.problems)
      emit(QuantaSeverityWarning, problem);
  }
  if (report) {
    std::string text;
    llvm::raw_string_ostream(text) << result.toJSON();
    *report = strdup(text.c_str());
  }
  return status;
}

void quantaStringDestroy(char *string) { free(string); }

const char *quantaVersion() { return QUANTA_VERSION; }
