//===- ModelProbe.cpp - Values of the running model, and what a change of them does to its output -------------------------===//
#include "ModelProbe.h"
#include "LayerSolver.h"
#include "SwitchedModel.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <cstring>
#include <random>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::DType;
using ::quanta::userError;

llvm::Error ModelProbe::observe(ArrayRef<Value> values, function_ref<llvm::Error(size_t, const Array &)> visit) {
  return run(values, options.samples, [&](const CalibrationBatch &, const ArrayMap &, ArrayRef<Array> observed) -> llvm::Error {
    for (auto [i, array] : llvm::enumerate(observed))
      if (llvm::Error error = visit(i, array))
        return error;
    return llvm::Error::success();
  });
}

//===- Sensitivities ------------------------------------------------------------------------------------------------------===//

namespace {
/// The model with each value replaced by its sum with an input of its own, "probe0", "probe1", ...
OwningOpRef<ModuleOp> makePerturbed(ModuleOp module, ArrayRef<Value> values) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> graph(cast<ModuleOp>(module->clone(mapping)));
  auto main = graph->lookupSymbol<func::FuncOp>("main");
  SmallVector<Attribute> names(main->getAttrOfType<ArrayAttr>("quanta.inputs").getValue());
  for (auto [i, original] : llvm::enumerate(values)) {
    Value value = mapping.lookup(original);
    auto type = cast<RankedTensorType>(value.getType());
    (void)main.insertArgument(main.getNumArguments(), type, {}, value.getLoc());
    Value probe = main.getArguments().back();
    ImplicitLocOpBuilder b(value.getLoc(), graph->getContext());
    b.setInsertionPointAfterValue(value);
    Value empty = tensor::EmptyOp::create(b, tensor::getMixedSizes(b, b.getLoc(), value), type.getElementType());
    SmallVector<AffineMap> maps(3, b.getMultiDimIdentityMap(type.getRank()));
    SmallVector<utils::IteratorType> loops(type.getRank(), utils::IteratorType::parallel);
    auto sum = linalg::GenericOp::create(b, TypeRange{type}, ValueRange{value, probe}, ValueRange{empty}, maps, loops,
                                         [](OpBuilder &inner, Location loc, ValueRange args) {
                                           Value added = arith::AddFOp::create(inner, loc, args[0], args[1]);
                                           linalg::YieldOp::create(inner, loc, added);
                                         });
    value.replaceUsesWithIf(sum.getResult(0), [&](OpOperand &use) {
      return use.getOwner() != sum && !isa<tensor::DimOp>(use.getOwner());
    });
    names.push_back(b.getStringAttr("probe" + Twine(i)));
  }
  main->setAttr("quanta.inputs", ArrayAttr::get(graph->getContext(), names));
  return graph;
}

using Slice = std::pair<int64_t, int64_t>; ///< of indices, from the first to behind the last

/// The first index alone, and slices of the others.
std::vector<Slice> groupIndices(int64_t size, int64_t groups) {
  std::vector<Slice> result;
  if (size > 0)
    result.push_back({0, 1});
  groups = std::min(groups, size - 1);
  for (int64_t g = 0; g < groups; ++g)
    result.push_back({1 + g * (size - 1) / groups, 1 + (g + 1) * (size - 1) / groups});
  return result;
}

/// Elements of an array of this shape whose index in dimension `axis` is from `begin` to `end`.
template <typename Body> void forSlice(ArrayRef<int64_t> shape, size_t axis, int64_t begin, int64_t end, Body body) {
  int64_t inner = 1, outer = 1;
  for (size_t d = axis + 1; d < shape.size(); ++d)
    inner *= shape[d];
  for (size_t d = 0; d < axis; ++d)
    outer *= shape[d];
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t e = (o * shape[axis] + begin) * inner; e < (o * shape[axis] + end) * inner; ++e)
      body(e);
}

/// The array's one sample, several times.
Array repeat(const Array &array, int64_t copies) {
  std::vector<int64_t> shape = array.getShape().vec();
  shape[0] = copies;
  Array result = Array::zeros(array.getType(), shape);
  for (int64_t copy = 0; copy < copies; ++copy)
    std::memcpy(result.mutableData() + copy * array.getByteSize(), array.data(), array.getByteSize());
  return result;
}

/// Runs copies of a sample, each with a perturbation of its own.
class Prober {
public:
  /// `inputs` and `values` of one sample.
  Prober(RunnableGraph &graph, const ArrayMap &inputs, StringRef output, ArrayRef<Array> values, int64_t copies)
      : graph(graph), output(output), copies(copies) {
    for (auto &[name, array] : inputs)
      this->inputs[name] = array.getRank() ? repeat(array, copies) : array;
    for (auto [i, value] : llvm::enumerate(values)) {
      std::vector<int64_t> shape = value.getShape().vec();
      shape[0] = copies;
      this->inputs[name(i)] = Array::zeros(DType::F32, shape);
    }
  }

  llvm::Error begin() {
    auto found = run();
    if (!found)
      return found.takeError();
    reference = std::move(*found);
    return llvm::Error::success();
  }

  /// For each slice of dimension `axis`, at most as many as there are copies: ‖change of the output‖² / amplitude² / elements.
  llvm::Expected<std::vector<double>> measure(size_t value, size_t axis, ArrayRef<Slice> slices, float amplitude,
                                              std::mt19937_64 &random) {
    Array zeros = inputs[name(value)], probe = Array::zeros(DType::F32, zeros.getShape().vec());
    ArrayRef<int64_t> one = zeros.getShape().drop_front();
    int64_t size = zeros.getElementCount() / copies;
    std::vector<int64_t> elements(slices.size());
    for (auto [copy, slice] : llvm::enumerate(slices)) {
      float *data = reinterpret_cast<float *>(probe.mutableData()) + static_cast<int64_t>(copy) * size;
      forSlice(one, axis, slice.first, slice.second, [&, count = &elements[copy]](int64_t e) {
        data[e] = random() & 1 ? amplitude : -amplitude;
        ++*count;
      });
    }
    inputs[name(value)] = probe;
    auto changed = run();
    inputs[name(value)] = zeros;
    if (!changed)
      return changed.takeError();
    std::vector<double> result;
    size_t outputs = reference.size() / copies;
    for (size_t copy = 0; copy < slices.size(); ++copy) {
      double sum = 0;
      for (size_t e = copy * outputs; e < (copy + 1) * outputs; ++e)
        sum += (double(reference[e]) - (*changed)[e]) * (double(reference[e]) - (*changed)[e]);
      result.push_back(sum / (double(amplitude) * amplitude) / static_cast<double>(elements[copy]));
    }
    return result;
  }

private:
  static std::string name(size_t value) { return "probe" + std::to_string(value); }

  llvm::Expected<std::vector<float>> run() {
    auto results = graph.run(inputs);
    if (!results)
      return results.takeError();
    const Array &array = results->find(output)->second;
    if (array.getType() != DType::F32 || array.getRank() < 1 || array.getShape()[0] != copies)
      return userError("the model's first output '" + output + "' is no array of f32 with a row for each sample, but " +
                       array.describe() + ", so nothing can be measured by it");
    return array.as<float>().vec();
  }

  RunnableGraph &graph;
  ArrayMap inputs;
  std::string output;
  int64_t copies;
  std::vector<float> reference;
};

/// A copy of one sample.
Array takeSample(const Array &array, int64_t sample) {
  Array slice = array.slice(sample, sample + 1);
  return Array::copyOf<float>(DType::F32, slice.getShape().vec(), slice.as<float>());
}

double rms(const Array &array) {
  double sum = 0;
  for (float x : array.as<float>())
    sum += double(x) * x;
  return std::sqrt(sum / std::max<double>(1, array.getElementCount()));
}

void normalise(std::vector<double> &factors) {
  double mean = 0;
  for (double factor : factors)
    mean += factor / static_cast<double>(factors.size());
  for (double &factor : factors)
    factor = mean > 0 && std::isfinite(mean) ? factor / mean : 1;
}
} // namespace

llvm::Expected<std::vector<Sensitivity>> ModelProbe::measure(ArrayRef<Value> values, int64_t samples, int64_t groups, double step) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  auto outputs = main ? main->getAttrOfType<ArrayAttr>("quanta.outputs") : ArrayAttr();
  if (!outputs || outputs.empty())
    return userError("the model has no output");
  // What the values are decides about sizes and amplitudes.
  DataOptions all = options;
  options.samples = samples;
  std::vector<std::vector<Array>> observed(values.size()); // [value][sample]
  llvm::Error failed = observe(values, [&](size_t value, const Array &array) {
    for (int64_t sample = 0; sample < array.getShape()[0]; ++sample)
      observed[value].push_back(takeSample(array, sample));
    return llvm::Error::success();
  });
  options = all;
  if (failed)
    return std::move(failed);
  OwningOpRef<ModuleOp> perturbed = makePerturbed(module, values);
  auto graph = prepare(*perturbed);
  if (!graph)
    return graph.takeError();
  auto data = open(samples, 1);
  if (!data)
    return data.takeError();

  // Samples side by side are cheaper than one by one.
  bool fixedBatch = llvm::any_of(main.getArgumentTypes(), [](Type type) {
    auto tensor = cast<RankedTensorType>(type);
    return tensor.getRank() == 0 || !tensor.isDynamicDim(0);
  });
  int64_t copies = fixedBatch ? 1 : groups + 1;
  std::vector<Sensitivity> result(values.size());
  for (auto [value, arrays] : llvm::enumerate(observed))
    for (int64_t size : arrays[0].getShape().drop_front())
      result[value].axes.emplace_back(size);
  std::mt19937_64 random(options.seed);
  for (size_t sample = 0; sample < observed[0].size(); ++sample) {
    auto batch = data->next();
    if (!batch)
      return batch.takeError();
    if (!*batch || (*batch)->samples != 1)
      return userError("the model takes several samples at once only, so they cannot be perturbed one by one");
    std::vector<Array> current;
    for (std::vector<Array> &arrays : observed)
      current.push_back(arrays[sample]);
    Prober prober(**graph, (*batch)->arrays, cast<StringAttr>(outputs[0]).getValue(), current, copies);
    if (llvm::Error error = prober.begin())
      return std::move(error);
    for (size_t value = 0; value < values.size(); ++value) {
      double amplitude = step * rms(current[value]);
      if (!(amplitude > 0))
        continue;
      for (size_t axis = 0; axis < result[value].axes.size(); ++axis) {
        std::vector<Slice> slices = groupIndices(current[value].getShape()[axis + 1], groups);
        for (size_t first = 0; first < slices.size(); first += copies) {
          ArrayRef<Slice> some = ArrayRef(slices).slice(first, std::min<size_t>(copies, slices.size() - first));
          auto changes = prober.measure(value, axis, some, static_cast<float>(amplitude), random);
          if (!changes)
            return changes.takeError();
          for (auto [slice, change] : llvm::zip_equal(some, *changes))
            for (int64_t index = slice.first; index < slice.second; ++index)
              result[value].axes[axis][index] += change;
        }
      }
    }
  }
  for (Sensitivity &sensitivity : result)
    for (std::vector<double> &factors : sensitivity.axes)
      normalise(factors);
  return result;
}

//===- Fisher information -------------------------------------------------------------------------------------------------===//

/// Root mean square of a layer's output without its constant bias.
static double rmsWithoutBias(Operation *layer, const Array &output) {
  SmallVector<float> storage;
  Attribute value;
  std::optional<ArrayRef<float>> bias;
  if (isa<LinearOp>(layer) && layer->getNumOperands() > 2 && matchPattern(layer->getOperand(2), m_Constant(&value)))
    bias = getFloats(value, storage);
  if (!bias)
    return rms(output);
  double sum = 0;
  for (auto [i, x] : llvm::enumerate(output.as<float>())) {
    double y = double(x) - (*bias)[i % bias->size()];
    sum += y * y;
  }
  return std::sqrt(sum / std::max<double>(1, output.getElementCount()));
}

llvm::Expected<std::vector<double>> ModelProbe::measureFisher(ArrayRef<Operation *> layers, int64_t samples, double step) {
  auto values = llvm::map_to_vector(layers, [](Operation *op) -> Value { return op->getResult(0); });
  auto main = module.lookupSymbol<func::FuncOp>("main");
  auto outputs = main ? main->getAttrOfType<ArrayAttr>("quanta.outputs") : ArrayAttr();
  if (!outputs || outputs.empty())
    return userError("the model has no output");
  std::string output = cast<StringAttr>(outputs[0]).str();
  OwningOpRef<ModuleOp> perturbed = makePerturbed(module, values);
  auto graph = prepare(*perturbed);
  if (!graph)
    return graph.takeError();
  std::vector<double> sums(layers.size());
  int64_t rows = 0;
  std::mt19937_64 random(options.seed);
  auto use = [&](const CalibrationBatch &batch, const ArrayMap &found, ArrayRef<Array> observed) -> llvm::Error {
    const Array &reference = found.find(output)->second;
    if (reference.getType() != DType::F32 || reference.getRank() < 1 || reference.getElementCount() == 0)
      return userError("the model's first output '" + output + "' is no array of f32, but " + reference.describe());
    ArrayMap inputs = batch.arrays;
    for (auto [i, array] : llvm::enumerate(observed))
      inputs["probe" + std::to_string(i)] = Array::zeros(DType::F32, array.getShape().vec());
    size_t width = reference.getShape().back(), count = reference.getElementCount();
    rows += static_cast<int64_t>(count / width);
    for (auto [i, layer, array] : llvm::enumerate(layers, observed)) {
      Array &probe = inputs["probe" + std::to_string(i)], noise = Array::zeros(DType::F32, array.getShape().vec()), zeros = probe;
      auto amplitude = static_cast<float>(step * rmsWithoutBias(layer, array));
      auto *data = reinterpret_cast<float *>(noise.mutableData());
      for (int64_t e = 0; e < array.getElementCount(); ++e)
        data[e] = random() & 1 ? amplitude : -amplitude;
      probe = noise;
      auto changed = (*graph)->run(inputs);
      probe = zeros;
      if (!changed)
        return changed.takeError();
      const Array &other = changed->find(output)->second;
      for (size_t at = 0; at < count; at += width)
        sums[i] += measureDivergence(reference.as<float>().slice(at, width), other.as<float>().slice(at, width));
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = run(values, samples, use))
    return std::move(error);
  for (double &sum : sums)
    sum /= static_cast<double>(rows) * step * step;
  return sums;
}
