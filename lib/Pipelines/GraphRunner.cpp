//===- GraphRunner.cpp - The compiler's own way of running a graph --------------------------------------------------------===//
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Codegen/Emission.h"
#include "quanta/Support/CompiledModel.h"
#include "quanta/Support/Error.h"
#include "quanta/Target/Target.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::ArrayMap;
using ::quanta::CompiledModel;
using ::quanta::userError;

namespace {

class CompiledGraph : public RunnableGraph {
public:
  explicit CompiledGraph(std::unique_ptr<CompiledModel> model) : model(std::move(model)) {}
  llvm::Expected<ArrayMap> run(const ArrayMap &inputs) override {
    // Samples do not follow each other.
    if (model->getCacheCapacity() > 0)
      if (llvm::Error error = model->reset())
        return std::move(error);
    return model->run(inputs);
  }

private:
  std::unique_ptr<CompiledModel> model;
};

class CompilingGraphRunner : public GraphRunner {
public:
  CompilingGraphRunner(unsigned threads, unsigned optLevel) : threads(threads), optLevel(optLevel) {}

  llvm::Expected<std::unique_ptr<RunnableGraph>> prepare(ModuleOp graph) override {
    llvm::SmallString<128> path;
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("quanta-graph", "so", path))
      return userError("no temporary file for the graph: " + error.message());
    // The loaded library stays when its file goes.
    llvm::FileRemover remover(path);
    OwningOpRef<ModuleOp> module(graph.clone());
    LibraryOptions library;
    library.optLevel = optLevel;
    library.cache = &cache;
    if (llvm::Error error = compileToLibrary(*module, path, library))
      return std::move(error);
    CompiledModel::Options options;
    options.threads = threads;
    auto model = CompiledModel::load(path, options);
    if (!model)
      return model.takeError();
    return std::make_unique<CompiledGraph>(std::move(*model));
  }

private:
  unsigned threads, optLevel;
  ObjectCache cache;
};

} // namespace

llvm::Error mlir::quanta::compileToLibrary(ModuleOp module, StringRef path, const LibraryOptions &options) {
  auto target = ::quanta::Target::resolveAll("", options.cpus);
  if (!target)
    return target.takeError();
  // The only one, or that of the shortest vectors, which any length of scalable ones runs.
  const ::quanta::Target &one = target->back();
  PassManager passes(module.getContext());
  options.lower(passes, one.getLevel());
  std::string errors;
  {
    ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        errors += diagnostic.str() + "\n";
      return success();
    });
    if (failed(passes.run(module)))
      return userError("the graph cannot be run: " + StringRef(errors).rtrim());
  }
  EmissionOptions emission;
  emission.output = path.str();
  emission.kind = EmitKind::Library;
  emission.name = "graph";
  if (!options.cpus.empty())
    emission.cpus = {target->size() == 1 ? options.cpus.front() : one.name};
  emission.optLevel = options.optLevel;
  emission.cache = options.cache;
  return emitModel(module, emission).takeError();
}

std::unique_ptr<GraphRunner> mlir::quanta::createCompilingGraphRunner(unsigned threads, unsigned optLevel) {
  return std::make_unique<CompilingGraphRunner>(threads, optLevel);
}
