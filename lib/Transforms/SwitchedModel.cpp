//===- SwitchedModel.cpp - What one layer's encoding does to the model's output -------------------------------------------===//
#include "SwitchedModel.h"
#include "Candidate.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::userError;

double mlir::quanta::measureDivergence(ArrayRef<float> reference, ArrayRef<float> other) {
  auto logNorm = [](ArrayRef<float> logits) {
    double most = *llvm::max_element(logits), sum = 0;
    for (float logit : logits)
      sum += std::exp(logit - most);
    return most + std::log(sum);
  };
  double normP = logNorm(reference), normQ = logNorm(other), result = 0;
  for (auto [a, b] : llvm::zip_equal(reference, other)) {
    double logP = a - normP;
    result += std::exp(logP) * (logP - (b - normQ));
  }
  return result;
}

llvm::Expected<SwitchedModel> SwitchedModel::create(ModuleOp module, StringRef path, const ::quanta::CalibrationOptions &sampling,
                                                    unsigned threads, int64_t skip) {
  SwitchedModel model;
  model.skip = skip;
  model.module = module;
  model.runner = createGraphRunner(threads);
  auto main = module.lookupSymbol<func::FuncOp>("main");
  auto names = main ? main->getAttrOfType<ArrayAttr>("quanta.outputs") : ArrayAttr();
  if (!model.runner || !names || names.empty())
    return userError("this tool cannot run the module, so it cannot measure what layers do to the model's output");
  model.output = cast<StringAttr>(names[0]).str();
  auto ports = getInputPorts(main);
  if (!ports)
    return ports.takeError();
  auto opened = ::quanta::CalibrationData::open(path, sampling, *ports);
  if (!opened)
    return opened.takeError();
  model.data = std::make_unique<::quanta::CalibrationData>(std::move(*opened));
  return model;
}

llvm::Error SwitchedModel::runReference() {
  auto keep = [&](size_t, const Array &output) -> llvm::Error {
    if (output.getType() != ::quanta::DType::F32 || output.getRank() < 1 || output.getElementCount() == 0)
      return userError("the model's first output '" + this->output + "' is no array of f32, but " + output.describe() +
                       "; allocate with loss=proxy");
    if (!llvm::all_of(output.as<float>(), [](float value) { return std::isfinite(value); }))
      return userError("the model's first output '" + this->output + "' is not finite on the data");
    references.push_back(output);
    return llvm::Error::success();
  };
  return forEachOutput(module, keep);
}

llvm::Error SwitchedModel::forEachOutput(ModuleOp graph, llvm::function_ref<llvm::Error(size_t, const Array &)> visit) {
  auto prepared = runner->prepare(graph);
  if (!prepared)
    return prepared.takeError();
  data->seek(skip);
  for (size_t number = 0;; ++number) {
    auto batch = data->next();
    if (!batch)
      return batch.takeError();
    if (!*batch)
      return llvm::Error::success();
    auto outputs = (*prepared)->run((*batch)->arrays);
    if (!outputs)
      return outputs.takeError();
    if (llvm::Error error = visit(number, outputs->find(output)->second))
      return error;
  }
}

llvm::Expected<double> SwitchedModel::measure(ArrayRef<std::pair<Operation *, DictionaryAttr>> switched) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> clone(cast<ModuleOp>(module->clone(mapping)));
  // Where the weight is shared the candidate replaces it everywhere, as it will in the end.
  for (auto [layer, candidate] : switched) {
    Value weight = mapping.lookup(layer)->getOperand(1);
    for (Operation *user : llvm::to_vector(weight.getUsers()))
      if (user->hasAttr("quanta.selected") && user->getOperand(1) == weight)
        replaceWeights(user, candidate);
  }
  return measure(*clone);
}

llvm::Expected<double> SwitchedModel::measure(ModuleOp variant) {
  if (references.empty())
    if (llvm::Error error = runReference())
      return std::move(error);
  double sum = 0;
  int64_t rows = 0;
  auto compare = [&](size_t number, const Array &output) -> llvm::Error {
    const Array &reference = references[number];
    if (output.getShape() != reference.getShape())
      return userError("the model's first output changes its shape from run to run");
    size_t width = reference.getShape().back();
    for (size_t at = 0; at < static_cast<size_t>(reference.getElementCount()); at += width, ++rows)
      sum += measureDivergence(reference.as<float>().slice(at, width), output.as<float>().slice(at, width));
    return llvm::Error::success();
  };
  if (llvm::Error error = forEachOutput(variant, compare))
    return std::move(error);
  if (rows == 0)
    return userError("there is no data to compare the model's outputs on");
  return sum / static_cast<double>(rows);
}
