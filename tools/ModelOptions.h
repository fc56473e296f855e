//===- ModelOptions.h - Command-line options of tools that run models -----------------------------------------*- C++ -*-===//
#ifndef QUANTA_TOOLS_MODELOPTIONS_H
#define QUANTA_TOOLS_MODELOPTIONS_H

#include "quanta/Support/CompiledModel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

#ifndef QUANTA_VERSION
#define QUANTA_VERSION "unknown"
#endif

namespace quanta {

/// Declared as a member so that a tool's options live and die with its main function.
class ModelOptions {
  /// libLLVM brings options of its own, whose names must not keep a tool from using them.
  struct LibraryOptionsRemover {
    LibraryOptionsRemover() {
      llvm::SmallVector<llvm::cl::Option *> options;
      for (const auto &entry : llvm::cl::getRegisteredOptions())
        if (!llvm::is_contained({"help", "h", "version"}, entry.first))
          options.push_back(entry.second);
      for (llvm::cl::Option *option : options)
        option->removeArgument();
    }
  } libraryOptionsRemover;
  llvm::cl::OptionCategory category{"Options"};

public:
  llvm::cl::opt<std::string> model{llvm::cl::Positional, llvm::cl::Required, llvm::cl::desc("MODEL"), in()};
  llvm::cl::opt<int> threads{"threads", llvm::cl::desc("threads; 0 (the default) uses every CPU"), in()};
  llvm::cl::opt<bool> pin{"pin", llvm::cl::desc("bind each worker thread to a CPU"), in()};
  llvm::cl::opt<std::string> weights{"weights", llvm::cl::desc("file of a model compiled with separate weights"), in()};
  llvm::cl::opt<bool> json{"json", llvm::cl::desc("print one JSON object and nothing else"), in()};
  // Passed on to quantc when the model has to be compiled first.
  llvm::cl::opt<std::string> recipe{"recipe", llvm::cl::desc("quantc's option, for a model that is compiled first"), in()};
  llvm::cl::opt<std::string> calib{"calib", llvm::cl::desc("the same"), in()};
  llvm::cl::opt<std::string> calibSamples{"calib-samples", llvm::cl::desc("the same"), in()};
  llvm::cl::opt<std::string> seed{"seed", llvm::cl::desc("the same"), in()};
  llvm::cl::opt<std::string> store{"store", llvm::cl::desc("the same"), in()};
  llvm::cl::opt<bool> resume{"resume", llvm::cl::desc("the same"), in()};
  llvm::cl::opt<std::string> keep{"keep", llvm::cl::desc("the same"), in()};
  llvm::cl::list<std::string> dims{"dim", llvm::cl::desc("the same; NAME=VALUE, may be repeated"), in()};

  llvm::cl::cat in() { return llvm::cl::cat(category); }

  void parse(int argc, char **argv, llvm::StringRef overview) {
    llvm::cl::HideUnrelatedOptions(category);
    llvm::cl::SetVersionPrinter([](llvm::raw_ostream &os) { os << "Quanta " QUANTA_VERSION "\n"; });
    llvm::cl::ParseCommandLineOptions(argc, argv, overview);
  }

  /// How to load `model`.
  CompiledModel::Options get() const {
    CompiledModel::Options options;
    options.threads = threads;
    options.pin = pin;
    options.weightsFile = weights;
    auto pass = [&](const char *flag, const std::string &value) {
      if (!value.empty())
        options.compileFlags.insert(options.compileFlags.end(), {flag, value});
    };
    pass("--recipe", recipe);
    pass("--calib", calib);
    pass("--calib-samples", calibSamples);
    pass("--seed", seed);
    pass("--store", store);
    if (resume)
      options.compileFlags.push_back("--resume");
    pass("--keep", keep);
    for (const std::string &dim : dims)
      pass("--dim", dim);
    return options;
  }
};

/// JSON has no infinities and no NaN.
inline llvm::json::Value jsonNumber(double value) {
  return std::isfinite(value) ? llvm::json::Value(value) : llvm::json::Value(nullptr);
}

/// Prints the message of a user's error; returns the exit code.
inline int reportError(llvm::StringRef tool, llvm::Error error) {
  llvm::WithColor::error(llvm::errs(), tool) << llvm::toString(std::move(error)) << "\n";
  return 1;
}

} // namespace quanta

#endif // QUANTA_TOOLS_MODELOPTIONS_H
