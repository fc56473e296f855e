//===- VerifiedEdits.cpp - Rewrites that are checked by running the model -------------------------------------------------===//
#include "VerifiedEdits.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "quanta/Support/Compare.h"
#include "quanta/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::userError;

/// Samples whose outputs are compared.
static constexpr int64_t kVerifiedSamples = 8;

//===- Running ------------------------------------------------------------------------------------------------------------===//

static void widen(ChannelRange &range, const Array &array) {
  ElementOffsets at(array.getShape(), range.map.axes);
  ArrayRef<float> data = array.as<float>();
  range.count += at.rest.size();
  for (size_t e = 0; e < at.elements.size(); ++e)
    for (int64_t rest : at.rest) {
      float x = data[at.elements[e] + rest];
      range.min[e] = std::min(range.min[e], x);
      range.max[e] = std::max(range.max[e], x);
      range.squares[e] += double(x) * x;
    }
}

llvm::Error ModelCheck::observe(MutableArrayRef<std::pair<Value, ChannelRange>> ranges) {
  SmallVector<Value> values;
  for (auto &[value, range] : ranges) {
    values.push_back(value);
    range.min.assign(range.map.size(), INFINITY);
    range.max.assign(range.map.size(), -INFINITY);
    range.squares.assign(range.map.size(), 0);
    range.count = 0;
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
  ChannelEdits edits;
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
