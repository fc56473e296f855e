//===- VerifiedEdits.cpp - Rewrites that are checked by running the model -------------------------------------------------===//
#include "VerifiedEdits.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Compare.h"
#include "quanta/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::CalibrationData;
using ::quanta::userError;

/// Samples whose outputs are compared.
static constexpr int64_t kVerifiedSamples = 8;

//===- Running ------------------------------------------------------------------------------------------------------------===//

llvm::Expected<std::unique_ptr<RunnableGraph>> ModelCheck::prepare(ModuleOp graph) {
  if (!runner)
    runner = createGraphRunner(options.threads);
  if (!runner)
    return userError("this tool cannot run graphs, so it cannot verify a transform");
  return runner->prepare(graph);
}

llvm::Expected<CalibrationData> ModelCheck::open(int64_t samples) {
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
  sampling.batch = 4;
  return CalibrationData::open(options.data, sampling, *ports);
}

static void widen(ChannelRange &range, const Array &array) {
  ElementOffsets at(array.getShape(), range.map.axes);
  ArrayRef<float> data = array.as<float>();
  for (size_t e = 0; e < at.elements.size(); ++e)
    for (int64_t rest : at.rest) {
      float x = data[at.elements[e] + rest];
      range.min[e] = std::min(range.min[e], x);
      range.max[e] = std::max(range.max[e], x);
    }
}

llvm::Error ModelCheck::run(ArrayRef<Value> values, int64_t samples,
                            function_ref<llvm::Error(const CalibrationBatch &, const ArrayMap &, ArrayRef<Array>)> use) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> graph(cast<ModuleOp>(module->clone(mapping)));
  for (auto [i, original] : llvm::enumerate(values)) {
    Value value = mapping.lookup(original);
    OpBuilder builder(graph->getContext());
    builder.setInsertionPointAfterValue(value);
    auto observer = ObserveOp::create(builder, value.getLoc(), value.getType(), value, "value" + std::to_string(i));
    value.replaceAllUsesExcept(observer, observer);
  }
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
    std::vector<Array> observed;
    for (size_t i = 0; i < values.size(); ++i) {
      auto found = outputs->find("observe:value" + std::to_string(i));
      if (found == outputs->end() || found->second.getType() != ::quanta::DType::F32)
        return userError("the model does not hand out an observed value of f32");
      observed.push_back(found->second);
      outputs->erase(found);
    }
    if (llvm::Error error = use(**batch, *outputs, observed))
      return error;
  }
}

llvm::Error ModelCheck::observe(MutableArrayRef<std::pair<Value, ChannelRange>> ranges) {
  SmallVector<Value> values;
  for (auto &[value, range] : ranges) {
    values.push_back(value);
    range.min.assign(range.map.size(), INFINITY);
    range.max.assign(range.map.size(), -INFINITY);
  }
  inputs.clear();
  outputs.clear();
  int64_t samples = ranges.empty() ? std::min(options.samples, kVerifiedSamples) : options.samples;
  return run(values, samples, [&](const CalibrationBatch &batch, const ArrayMap &out, ArrayRef<Array> observed) {
    for (auto [range, array] : llvm::zip_equal(ranges, observed))
      widen(range.second, array);
    if (batch.firstSample < kVerifiedSamples) {
      inputs.push_back(batch.arrays);
      // The model owns its results until it runs again.
      ArrayMap copies;
      for (auto &[name, array] : out) {
        Array copy = Array::zeros(array.getType(), array.getShape().vec());
        memcpy(copy.mutableData(), array.data(), array.getByteSize());
        copies[name] = copy;
      }
      outputs.push_back(std::move(copies));
    }
    return llvm::Error::success();
  });
}

llvm::Expected<double> ModelCheck::difference() {
  auto runnable = prepare(module);
  if (!runnable)
    return runnable.takeError();
  double worst = 0;
  for (auto [input, reference] : llvm::zip_equal(inputs, outputs)) {
    auto results = (*runnable)->run(input);
    if (!results)
      return results.takeError();
    for (auto &[name, array] : reference) {
      if (!::quanta::isFloat(array.getType()))
        continue; // an argmax may flip between equals; the numbers behind it are what counts
      auto comparison = ::quanta::compare((*results)[name], array, 1, 0); // its tolerance is max |reference|
      worst =
          std::max(worst, comparison.tolerance > 0 ? comparison.maxError / comparison.tolerance : comparison.maxError);
    }
  }
  return worst;
}

//===- Applying -----------------------------------------------------------------------------------------------------------===//

static void report(const EditSite &site, const Twine &text) { site.op->emitRemark() << site.what << " " << text.str(); }

llvm::Error mlir::quanta::applyVerified(ModuleOp module, ArrayRef<EditSite> sites, ModelCheck &check,
                                        double tolerance) {
  struct Applied {
    const EditSite *site;
    std::string text;
  };
  auto describe = [](double difference) { return llvm::formatv("{0:e1}", difference).str(); };
  ChannelEdits edits(module.getContext());
  std::vector<Applied> applied;
  for (const EditSite &site : sites)
    if (std::optional<std::string> text = site.apply(edits))
      applied.push_back({&site, std::move(*text)});
  if (!check.canRun()) {
    for (const Applied &one : applied)
      report(*one.site, one.text + "; not verified: there is no data");
    edits.commit(module);
    return llvm::Error::success();
  }
  if (applied.empty())
    return llvm::Error::success();
  auto difference = check.difference();
  if (!difference)
    return difference.takeError();
  if (*difference <= tolerance) {
    for (const Applied &one : applied)
      report(*one.site, one.text + "; the model's outputs differ by " + describe(*difference));
    edits.commit(module);
    return llvm::Error::success();
  }
  edits.undo(0);
  for (const Applied &one : applied) {
    size_t mark = edits.mark();
    std::optional<std::string> text = one.site->apply(edits);
    if (!text)
      continue;
    difference = check.difference();
    if (!difference)
      return difference.takeError();
    if (*difference <= tolerance) {
      report(*one.site, *text + "; the model's outputs differ by " + describe(*difference));
      continue;
    }
    edits.undo(mark);
    report(*one.site, "rolled back: the model's outputs would differ by " + describe(*difference) + ", more than " +
                          describe(tolerance));
  }
  edits.commit(module);
  return llvm::Error::success();
}
