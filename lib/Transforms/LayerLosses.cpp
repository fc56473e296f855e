//===- LayerLosses.cpp - What the candidates of each layer do to the model ------------------------------------------------===//
#include "LayerLosses.h"
#include "LayerSolver.h"
#include "MeasuredLosses.h"
#include "ModelProbe.h"
#include "quanta/Allocate/Sensitivity.h"
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Support/Figures.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::AllocationProblem;
using ::quanta::Array;
using ::quanta::Candidate;
using ::quanta::printFigure;

namespace {
class LayerLosses {
public:
  LayerLosses(ModuleOp module, ArrayRef<Operation *> layers, const LossOptions &options, AllocationProblem &problem)
      : module(module), layers(layers), options(options), problem(problem) {}

  LogicalResult proxy() { return success(); }
  LogicalResult probe();
  LogicalResult kl();
  LogicalResult pairwise();
  LogicalResult fisher();
  LogicalResult lim();
  LogicalResult zd();

private:
  /// The one in the middle by bits: of the relation of loss and error, the smallest candidates leave more than the rest.
  size_t middleCandidate(size_t layer) const;
  LogicalResult openSwitchedModel();
  /// The divergence of the model's output with these candidates. Diagnosed.
  FailureOr<double> measure(const LossStore::Key &switched);
  uint64_t fingerprintCandidates(uint64_t dataFingerprint);
  DataOptions getDataOptions() const { return {options.data, options.samples, options.window, options.seed, options.threads}; }
  LogicalResult weigh(ArrayRef<double> importance);
  LogicalResult weighByRank(ArrayRef<double> scores);

  ModuleOp module;
  ArrayRef<Operation *> layers;
  const LossOptions &options;
  AllocationProblem &problem;
  std::optional<MeasuredLosses> measured;
  std::vector<double> probedLosses; ///< of each layer's middle candidate
};
} // namespace

//===- Layers that are switched -------------------------------------------------------------------------------------------===//

size_t LayerLosses::middleCandidate(size_t layer) const {
  const std::vector<Candidate> &unit = problem.units[layer];
  SmallVector<std::pair<int64_t, size_t>> bySize;
  for (auto [i, candidate] : llvm::enumerate(unit))
    bySize.push_back({candidate.costs[0], i});
  llvm::sort(bySize);
  return bySize[(unit.size() - 1) / 2].second;
}

/// Of the model, its candidates and the data. Names of the candidates' arrays do not count, they depend on who made them.
uint64_t LayerLosses::fingerprintCandidates(uint64_t dataFingerprint) {
  std::string text;
  llvm::raw_string_ostream os(text);
  SmallVector<Attribute> candidates;
  for (Operation *op : layers) {
    candidates.push_back(op->removeAttr("quanta.candidates"));
    for (auto candidate : cast<ArrayAttr>(candidates.back()).getAsRange<DictionaryAttr>())
      os << candidate.get("solver") << candidate.get("type") << candidate.get("bits") << candidate.get("error");
  }
  std::string graph = fingerprintModule(module);
  for (auto [op, value] : llvm::zip_equal(layers, candidates))
    op->setAttr("quanta.candidates", value);
  return ::quanta::fingerprintOf({"losses", graph, text, std::to_string(dataFingerprint)});
}

LogicalResult LayerLosses::openSwitchedModel() {
  ::quanta::CalibrationOptions sampling;
  sampling.samples = options.samples;
  sampling.window = options.window;
  sampling.seed = options.seed;
  sampling.batch = options.batch;
  auto created = MeasuredLosses::create(module, {options.data, sampling, options.threads, options.store, options.resume},
                                        [&](uint64_t data) { return fingerprintCandidates(data); });
  if (!created)
    return module.emitError() << toString(created.takeError());
  measured = std::move(*created);
  return success();
}

FailureOr<double> LayerLosses::measure(const LossStore::Key &switched) {
  SmallVector<std::pair<Operation *, DictionaryAttr>> candidates;
  for (auto [layer, candidate] : switched)
    candidates.push_back({layers[layer], cast<DictionaryAttr>(layers[layer]->getAttrOfType<ArrayAttr>("quanta.candidates")[candidate])});
  auto loss = measured->get(switched, [&](SwitchedModel &model) { return model.measure(candidates); });
  if (!loss)
    return layers[switched.front().first]->emitOpError() << toString(loss.takeError());
  return *loss;
}

LogicalResult LayerLosses::kl() {
  if (failed(openSwitchedModel()))
    return failure();
  for (auto [layer, unit] : llvm::enumerate(problem.units))
    for (auto [number, candidate] : llvm::enumerate(unit)) {
      FailureOr<double> loss = measure({{layer, number}});
      if (failed(loss))
        return failure();
      candidate.error = *loss;
    }
  return success();
}

/// Losses grow with the error of a layer's output, in each layer by a factor of its own (the linearity that HIGGS, 2411.17525, and
/// Q-Palette build on).
LogicalResult LayerLosses::probe() {
  if (failed(openSwitchedModel()))
    return failure();
  for (auto [layer, unit] : llvm::enumerate(problem.units)) {
    size_t middle = middleCandidate(layer);
    FailureOr<double> loss = measure({{layer, middle}});
    if (failed(loss))
      return failure();
    double error = unit[middle].error, factor = error > 0 ? *loss / error : 0;
    for (auto [number, candidate] : llvm::enumerate(unit))
      candidate.error = number == middle ? *loss : factor * candidate.error;
    probedLosses.push_back(*loss);
    layers[layer]->emitRemark() << "switched alone to " << unit[middle].costs[0] << " bits: divergence " << printFigure(*loss)
                                << ", relative error of the output " << printFigure(error);
  }
  return success();
}

/// I(i, j) = L(i, j) − L(i) − L(j) of layers that follow each other (2306.04879), both at the candidates that were probed. To second
/// order it is the product of both layers' changes in the metric of the model's output, so it grows with the roots of their losses.
LogicalResult LayerLosses::pairwise() {
  if (failed(probe()))
    return failure();
  for (size_t second = 1; second < layers.size(); ++second) {
    size_t first = second - 1;
    FailureOr<double> both = measure({{first, middleCandidate(first)}, {second, middleCandidate(second)}});
    if (failed(both))
      return failure();
    double single[] = {probedLosses[first], probedLosses[second]}, pair[] = {0, *both, *both, 0};
    double term = ::quanta::pairInteractions(0, {single[0], single[1]}, {pair, 2, 2})[1];
    layers[second]->emitRemark() << "switched with the layer before: divergence " << printFigure(*both) << ", " << printFigure(term)
                                 << " more than each alone";
    if (!(single[0] > 0 && single[1] > 0))
      continue;
    for (auto [a, one] : llvm::enumerate(problem.units[first]))
      for (auto [b, other] : llvm::enumerate(problem.units[second])) {
        double scale = std::sqrt(std::max(one.error, 0.0) / single[0] * std::max(other.error, 0.0) / single[1]);
        problem.interactions.push_back({first, a, second, b, term * scale});
      }
  }
  return success();
}

//===- Layers that are weighed --------------------------------------------------------------------------------------------===//

LogicalResult LayerLosses::weigh(ArrayRef<double> importance) {
  for (auto [unit, factor] : llvm::zip_equal(problem.units, importance))
    for (Candidate &candidate : unit)
      candidate.error *= factor;
  return success();
}

/// Scores that say only which layer matters more: the most important one gets two bits more than the least, as between the 4 and 2
/// bits that layers have in the paper of LIM and ZD (2406.17415), which is a factor of 4² in what an error weighs.
LogicalResult LayerLosses::weighByRank(ArrayRef<double> scores) {
  std::vector<double> importance(scores.size());
  for (size_t layer = 0; layer < scores.size(); ++layer) {
    auto below = llvm::count_if(scores, [&](double score) { return score < scores[layer]; });
    double count = static_cast<double>(cast<RankedTensorType>(layers[layer]->getOperand(1).getType()).getNumElements());
    importance[layer] = count * std::pow(16.0, double(below) / std::max<double>(1, double(scores.size()) - 1));
    layers[layer]->emitRemark() << "score " << printFigure(scores[layer]) << ", " << below << " of " << scores.size() << " layers are below";
  }
  return weigh(importance);
}

LogicalResult LayerLosses::zd() {
  std::vector<double> scores;
  for (Operation *op : layers) {
    SmallVector<float> storage;
    Attribute value;
    std::optional<ArrayRef<float>> weights;
    if (matchPattern(op->getOperand(1), m_Constant(&value)))
      weights = getFloats(value, storage);
    if (!weights)
      return op->emitOpError("has no f32 weight, which loss=zd looks at");
    scores.push_back(-::quanta::zScoreShare({weights->data(), 1, static_cast<int64_t>(weights->size())}));
  }
  return weighByRank(scores);
}

/// The sum with which the block of a layer ends, and what it adds to: the first elementwise op behind the layer that has two inputs of
/// its result's type, one of which the layer depends on and which does not depend on the layer.
static std::pair<Value, Value> findBlock(Operation *layer) {
  SetVector<Operation *> before, after;
  BackwardSliceOptions all;
  all.omitBlockArguments = true;
  (void)getBackwardSlice(layer, &before, all);
  getForwardSlice(layer, &after);
  Operation *end = nullptr;
  Value begin;
  for (Operation *op : after) {
    auto sum = dyn_cast<linalg::GenericOp>(op);
    if (!sum || sum.getNumReductionLoops() || sum.getNumDpsInputs() != 2 || (end && end->isBeforeInBlock(op)) ||
        op->getBlock() != layer->getBlock())
      continue;
    for (Value input : sum.getDpsInputs())
      if (input.getType() == sum.getResult(0).getType() && (!input.getDefiningOp() || before.contains(input.getDefiningOp()))) {
        end = op;
        begin = input;
      }
  }
  return {begin, end ? end->getResult(0) : Value()};
}

LogicalResult LayerLosses::lim() {
  std::vector<Value> values; // beginning and end of each layer's block
  for (Operation *op : layers) {
    auto [begin, end] = findBlock(op);
    if (!end)
      return op->emitOpError("lies in no residual block, so loss=lim cannot score it; choose another loss");
    values.insert(values.end(), {begin, end});
  }
  SmallVector<Value> distinct;
  for (Value value : values)
    if (!llvm::is_contained(distinct, value))
      distinct.push_back(value);
  std::vector<double> scores(layers.size()); // means over samples
  double samples = 0;
  auto number = [&](Value value) { return llvm::find(distinct, value) - distinct.begin(); };
  auto use = [&](const ::quanta::CalibrationBatch &batch, const ::quanta::ArrayMap &, ArrayRef<Array> arrays) -> llvm::Error {
    double share = double(batch.samples) / (samples += double(batch.samples));
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      std::vector<double> ends[2];
      for (size_t i : {0, 1}) {
        ArrayRef<float> data = arrays[number(values[2 * layer + i])].as<float>();
        ends[i].assign(data.begin(), data.end());
      }
      auto view = [](const std::vector<double> &data) {
        return ::quanta::BasicMatrixView<const double>(data.data(), 1, static_cast<int64_t>(data.size()));
      };
      scores[layer] += share * (::quanta::layerModification(view(ends[0]), view(ends[1])) - scores[layer]);
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = ObservedModel(module, getDataOptions()).run(distinct, options.samples, use))
    return module.emitError() << toString(std::move(error));
  return weighByRank(scores);
}

LogicalResult LayerLosses::fisher() {
  auto information = ModelProbe(module, getDataOptions()).measureFisher(layers, options.samples);
  if (!information)
    return module.emitError() << toString(information.takeError());
  for (auto [op, value] : llvm::zip_equal(layers, *information))
    op->emitRemark() << "Fisher information of the output: " << printFigure(value);
  return weigh(*information);
}

//===- All ----------------------------------------------------------------------------------------------------------------===//

namespace {
struct Loss {
  StringRef name;
  LogicalResult (LayerLosses::*estimate)();
};
} // namespace

static constexpr Loss kLosses[] = {{"proxy", &LayerLosses::proxy},   {"probe", &LayerLosses::probe},
                                   {"kl", &LayerLosses::kl},         {"pairwise", &LayerLosses::pairwise},
                                   {"fisher", &LayerLosses::fisher}, {"lim", &LayerLosses::lim},
                                   {"zd", &LayerLosses::zd}};

ArrayRef<StringRef> mlir::quanta::getLossNames() {
  static const SmallVector<StringRef> names = llvm::map_to_vector(kLosses, [](const Loss &loss) { return loss.name; });
  return names;
}

LogicalResult mlir::quanta::estimateLosses(ModuleOp module, ArrayRef<Operation *> layers, const LossOptions &options,
                                           AllocationProblem &problem) {
  LayerLosses losses(module, layers, options, problem);
  for (const Loss &loss : kLosses)
    if (loss.name == options.loss)
      return (losses.*loss.estimate)();
  return module.emitError() << "expected loss " << llvm::join(getLossNames(), ", ") << " but got '" << options.loss << "'";
}
