//===- ObservedModel.cpp - A model that runs on data and hands out its values ---------------------------------------------===//
#include "ObservedModel.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::CalibrationData;
using ::quanta::userError;

llvm::Expected<std::unique_ptr<RunnableGraph>> ObservedModel::prepare(ModuleOp graph) {
  if (!runner)
    runner = createGraphRunner(options.threads);
  if (!runner)
    return userError("this tool cannot run graphs, so it cannot look at the values of a model");
  return runner->prepare(graph);
}

llvm::Expected<CalibrationData> ObservedModel::open(int64_t samples, int64_t batch) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return userError("the module has no function @main");
  auto ports = getInputPorts(main);
  if (!ports)
    return ports.takeError();
  ::quanta::CalibrationOptions sampling;
  sampling.samples = samples;
  sampling.window = options.window;
  sampling.seed = options.seed;
  sampling.batch = batch;
  return CalibrationData::open(options.data, sampling, *ports);
}

void ObservedModel::observeValue(Value value, size_t number) {
  OpBuilder builder(value.getContext());
  builder.setInsertionPointAfterValue(value);
  auto observer = ObserveOp::create(builder, value.getLoc(), value.getType(), value, "value" + std::to_string(number));
  value.replaceAllUsesExcept(observer, observer);
}

llvm::Expected<std::vector<Array>> ObservedModel::takeObserved(ArrayMap &outputs, size_t count) {
  std::vector<Array> observed;
  for (size_t i = 0; i < count; ++i) {
    auto found = outputs.find("observe:value" + std::to_string(i));
    if (found == outputs.end() || found->second.getType() != ::quanta::DType::F32)
      return userError("the model does not hand out an observed value of f32");
    observed.push_back(found->second);
    outputs.erase(found);
  }
  return observed;
}

llvm::Error ObservedModel::run(ArrayRef<Value> values, int64_t samples,
                            function_ref<llvm::Error(const CalibrationBatch &, const ArrayMap &, ArrayRef<Array>)> use) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> graph(cast<ModuleOp>(module->clone(mapping)));
  for (auto [i, original] : llvm::enumerate(values))
    observeValue(mapping.lookup(original), i);
  auto runnable = prepare(*graph);
  if (!runnable)
    return runnable.takeError();
  auto data = open(samples);
  if (!data)
    return data.takeError();
  for (bool any = false;; any = true) {
    auto batch = data->next();
    if (!batch)
      return batch.takeError();
    if (!*batch)
      return any ? llvm::Error::success() : userError("'" + options.data + "' holds no samples");
    auto outputs = (*runnable)->run((*batch)->arrays);
    if (!outputs)
      return outputs.takeError();
    auto observed = takeObserved(*outputs, values.size());
    if (!observed)
      return observed.takeError();
    if (llvm::Error error = use(**batch, *outputs, *observed))
      return error;
  }
}
