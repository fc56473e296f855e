//===- CorrectBiases.cpp - Biases take the mean error of what quantized layers compute ------------------------------------===//
//
// M. Nagel et al., Data-Free Quantization through Weight Equalization and Bias Correction, 2019, §4.2: the empirical form.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "LayerConstants.h"
#include "ObservedModel.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_MEASUREOUTPUTS
#define GEN_PASS_DEF_CORRECTBIASES
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;

/// Of a layer: the mean of each channel of its output before it was quantized.
static constexpr StringLiteral kOutputMean = "quanta.output_mean";

static size_t getOutputChannels(Operation *layer) { return cast<RankedTensorType>(layer->getOperand(1).getType()).getDimSize(0); }

/// A layer of @main whose bias can take something up.
static bool isLayer(Operation *op) {
  auto function = dyn_cast<func::FuncOp>(op->getParentOp());
  return isa<LinearOp, Conv2DOp>(op) && function && function.getName() == "main" && LayerConstants::canChangeBias(op) &&
         cast<RankedTensorType>(op->getResult(0).getType()).getElementType().isF32();
}

namespace {
/// The model with biases that are inputs, so that it is compiled once.
class BiasedModel : public ObservedModel {
public:
  static llvm::Expected<BiasedModel> create(ModuleOp module, ArrayRef<Operation *> layers, const DataOptions &options) {
    BiasedModel model(module, layers, options);
    auto ports = getInputPorts(module.lookupSymbol<func::FuncOp>("main"));
    if (!ports)
      return ports.takeError();
    auto graph = model.prepare(*model.makeGraph(*ports));
    if (!graph)
      return graph.takeError();
    model.graph = std::move(*graph);
    return model;
  }

  /// The mean of each channel of these layers' outputs with the biases as they are.
  llvm::Expected<std::vector<std::vector<double>>> measure(ArrayRef<size_t> layers);

  std::vector<std::vector<double>> biases; ///< of each layer

private:
  BiasedModel(ModuleOp module, ArrayRef<Operation *> layers, const DataOptions &options) : ObservedModel(module, options), layers(layers) {
    for (Operation *layer : layers)
      biases.push_back(LayerConstants::getBias(layer));
  }
  static std::string name(size_t layer) { return "bias" + std::to_string(layer); }
  OwningOpRef<ModuleOp> makeGraph(ArrayRef<::quanta::Port> inputs);
  static bool addChannels(Operation *layer, const Array &output, MutableArrayRef<double> sums);

  ArrayRef<Operation *> layers;
  std::unique_ptr<RunnableGraph> graph;
};
} // namespace

OwningOpRef<ModuleOp> BiasedModel::makeGraph(ArrayRef<::quanta::Port> inputs) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone(mapping)));
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  Builder b(copy->getContext());
  SmallVector<Attribute> names = llvm::map_to_vector(inputs, [&](const ::quanta::Port &port) -> Attribute { return b.getStringAttr(port.name); });
  for (auto [i, original] : llvm::enumerate(layers)) {
    Operation *layer = mapping.lookup(original);
    auto type = RankedTensorType::get({static_cast<int64_t>(getOutputChannels(layer))}, b.getF32Type());
    (void)main.insertArgument(main.getNumArguments(), type, {}, layer->getLoc());
    names.push_back(b.getStringAttr(name(i)));
    if (auto linear = dyn_cast<LinearOp>(layer))
      linear.getBiasMutable().assign(main.getArguments().back());
    else
      cast<Conv2DOp>(layer).getBiasMutable().assign(main.getArguments().back());
    observeValue(layer->getResult(0), i);
  }
  main->setAttr("quanta.inputs", b.getArrayAttr(names));
  return copy;
}

/// Adds a layer's output to the sums of its channels; false if it is not finite.
bool BiasedModel::addChannels(Operation *layer, const Array &output, MutableArrayRef<double> sums) {
  ArrayRef<float> data = output.as<float>();
  size_t pixels = isa<LinearOp>(layer) ? 1 : output.getShape()[2] * output.getShape()[3];
  for (size_t e = 0; e < data.size(); ++e)
    sums[e / pixels % sums.size()] += data[e];
  return llvm::all_of(sums, [](double sum) { return std::isfinite(sum); });
}

llvm::Expected<std::vector<std::vector<double>>> BiasedModel::measure(ArrayRef<size_t> chosen) {
  auto data = open(options.samples);
  if (!data)
    return data.takeError();
  ArrayMap given;
  for (auto [i, bias] : llvm::enumerate(biases))
    given[name(i)] = Array::copyOf<float>(::quanta::DType::F32, {static_cast<int64_t>(bias.size())}, std::vector<float>(bias.begin(), bias.end()));
  std::vector<std::vector<double>> means;
  for (size_t i : chosen)
    means.emplace_back(biases[i].size());
  std::vector<int64_t> counts(chosen.size());
  for (bool any = false;; any = true) {
    auto batch = data->next();
    if (!batch)
      return batch.takeError();
    if (!*batch && !any)
      return ::quanta::userError("'" + options.data + "' holds no samples");
    if (!*batch)
      break;
    ArrayMap inputs = (*batch)->arrays;
    inputs.insert(given.begin(), given.end());
    auto outputs = graph->run(inputs);
    if (!outputs)
      return outputs.takeError();
    auto observed = takeObserved(*outputs, layers.size());
    if (!observed)
      return observed.takeError();
    for (auto [at, i] : llvm::enumerate(chosen)) {
      const Array &output = (*observed)[i];
      if (!addChannels(layers[i], output, means[at]))
        return ::quanta::userError("the output of '" + getNodeName(layers[i]->getLoc()) +
                                   "' is not finite on the data: its bias cannot be corrected; keep the layer in float (keep=REGEX)");
      counts[at] += output.getElementCount() / static_cast<int64_t>(means[at].size());
    }
  }
  for (auto [mean, count] : llvm::zip_equal(means, counts))
    for (double &value : mean)
      value /= static_cast<double>(std::max<int64_t>(count, 1));
  return means;
}

namespace {
struct MeasureOutputs : public mlir::quanta::impl::MeasureOutputsBase<MeasureOutputs> {
  using MeasureOutputsBase::MeasureOutputsBase;

  void runOnOperation() override {
    auto fail = [&](const Twine &message) {
      getOperation().emitError() << message;
      signalPassFailure();
    };
    if (data.empty())
      return fail("quanta-measure-outputs runs the model: give it data=FILE");
    SmallVector<Operation *> layers;
    getOperation().walk([&](Operation *op) {
      if (op->hasAttr("quanta.selected") && isLayer(op))
        layers.push_back(op);
    });
    if (layers.empty())
      return;
    auto model = BiasedModel::create(getOperation(), layers, {data, samples, window, seed, threads});
    if (!model)
      return fail(llvm::toString(model.takeError()));
    auto means = model->measure(llvm::to_vector(llvm::seq<size_t>(0, layers.size())));
    if (!means)
      return fail(llvm::toString(means.takeError()));
    for (auto [layer, mean] : llvm::zip_equal(layers, *means))
      layer->setAttr(kOutputMean, DenseF64ArrayAttr::get(&getContext(), mean));
  }
};

struct CorrectBiases : public mlir::quanta::impl::CorrectBiasesBase<CorrectBiases> {
  using CorrectBiasesBase::CorrectBiasesBase;

  void runOnOperation() override {
    if (data.empty()) {
      getOperation().emitError("quanta-correct-biases runs the model: give it data=FILE");
      return signalPassFailure();
    }
    if (llvm::Error error = run()) {
      getOperation().emitError() << llvm::toString(std::move(error));
      signalPassFailure();
    }
  }

  llvm::Error run() {
    SmallVector<Operation *> layers;
    llvm::scope_exit finish([&] { getOperation().walk([](Operation *op) { op->removeAttr(kOutputMean); }); });
    llvm::MapVector<Value, SmallVector<size_t>> groups; // those that read one value do not change each other
    getOperation().walk([&](Operation *op) {
      auto mean = op->getAttrOfType<DenseF64ArrayAttr>(kOutputMean);
      if (!mean || !isLayer(op) || mean.size() != static_cast<int64_t>(getOutputChannels(op)))
        return;
      groups[op->getOperand(0)].push_back(layers.size());
      layers.push_back(op);
    });
    if (layers.empty())
      return llvm::Error::success();
    auto model = BiasedModel::create(getOperation(), layers, {data, samples, window, seed, threads});
    if (!model)
      return model.takeError();
    LayerConstants constants(getOperation());
    for (auto &[input, group] : groups) {
      auto means = model->measure(group);
      if (!means)
        return means.takeError();
      for (auto [i, mean] : llvm::zip_equal(group, *means))
        correct(layers[i], mean, model->biases[i], constants);
    }
    constants.eraseReplaced();
    return llvm::Error::success();
  }

  static void correct(Operation *layer, ArrayRef<double> mean, std::vector<double> &bias, LayerConstants &constants) {
    ArrayRef<double> wanted = layer->getAttrOfType<DenseF64ArrayAttr>(kOutputMean).asArrayRef();
    double largest = 0;
    for (size_t c = 0; c < bias.size(); ++c) {
      bias[c] += wanted[c] - mean[c];
      largest = std::max(largest, std::abs(wanted[c] - mean[c]));
    }
    constants.setBias(layer, bias);
    layer->emitRemark() << "bias takes the mean error of the output, " << llvm::formatv("{0:e1}", largest).str() << " at most";
  }
};
} // namespace
