//===- QuantizeVision.cpp - Weights and activations of vision models in a few bits ----------------------------------------===//
//
// Z. Yuan et al., PTQ4ViT: Post-Training Quantization for Vision Transformers with Twin Uniform Quantization, 2021.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "VisionSites.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Error.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEVISION
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::ActivationFormat;
using ::quanta::ActivationGrid;
using ::quanta::MatrixView;
using ::quanta::Product;
using ::quanta::ProductCandidates;
using ::quanta::ProductGrids;

/// Log codes have exponents of halves in f32, which ends at 2^(−126).
static constexpr unsigned kMostLogBits = 7;

namespace {
enum class Method { Base, Twin, TwinHessian, RepQ };

/// The op whose results are these elements, perhaps in another shape.
Operation *findSource(Value value) {
  Operation *op = value.getDefiningOp();
  while (isa_and_present<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::CastOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return op;
}

bool isProbability(Value value) { return isa_and_present<SoftmaxOp>(findSource(value)); }

/// Values with a long positive side and a short negative one.
bool isRectified(Value value) {
  auto activation = dyn_cast_or_null<ActivationOp>(findSource(value));
  return activation && (activation.getKind() == ActivationKind::Gelu || activation.getKind() == ActivationKind::GeluTanh ||
                        activation.getKind() == ActivationKind::Silu || activation.getKind() == ActivationKind::HardSwish);
}

struct QuantizeVision : public mlir::quanta::impl::QuantizeVisionBase<QuantizeVision> {
  using QuantizeVisionBase::QuantizeVisionBase;

  void runOnOperation() override {
    if (llvm::Error error = quantize()) {
      getOperation().emitError() << llvm::toString(std::move(error));
      signalPassFailure();
    }
  }

  llvm::Error quantize() {
    if (llvm::Error error = readOptions())
      return error;
    if (llvm::Error error = collectSites())
      return error;
    LayerConstants constants(getOperation());
    if (isGuarded()) {
      llvm::Expected<bool> better = beatsBase();
      if (!better)
        return better.takeError();
      if (!*better)
        chosen = Method::Base;
    }
    ModelProbe probe(getOperation(), {data, samples, window, seed, threads});
    if (chosen == Method::RepQ)
      if (llvm::Error error = reparameterizeNorms(getOperation(), states, probe, actBits, rowsPerSample(samples), constants))
        return error;
    if (llvm::Error error = search(probe, samples, nullptr))
      return error;
    llvm::Error error = encodeSites(getOperation(), states, bits, constants);
    states.clear();
    return error;
  }

private:
  llvm::Error readOptions() {
    auto parsed = llvm::StringSwitch<std::optional<Method>>(method)
                      .Case("base", Method::Base)
                      .Case("twin", Method::Twin)
                      .Case("twin-hessian", Method::TwinHessian)
                      .Case("repq", Method::RepQ)
                      .Default(std::nullopt);
    if (!parsed)
      return ::quanta::userError("option 'method' must be base, twin, twin-hessian or repq but is '" + method + "'");
    chosen = *parsed;
    for (auto [name, value] : {std::pair("bits", unsigned(bits)), std::pair("act-bits", unsigned(actBits))})
      if (value < 2 || value > 8)
        return ::quanta::userError(Twine("option '") + name + "' must be 2 to 8 but is " + Twine(value));
    if (data.empty())
      return ::quanta::userError("quanta-ptq4vit looks at activations: give it data=FILE");
    return llvm::Error::success();
  }

  //===- Sites ----------------------------------------------------------------------------------------------------------===//

  llvm::Error collectSites() {
    states.clear();
    auto visit = [&](const SolverLayer &layer) {
      if (isa<LinearOp, Conv2DOp>(layer.op) && layer.op->getParentOp() == getMain()) {
        SiteState &state = states.emplace_back();
        state.site = {layer.op, {}, layer.blocks};
        state.weights.assign(layer.weights.row(0), layer.weights.row(0) + layer.weights.rows() * layer.weights.columns());
        state.site.weights = MatrixView(state.weights.data(), layer.weights.rows(), layer.weights.columns());
      }
      return success();
    };
    if (failed(visitSelectedLayers(getOperation(), false, visit)))
      return ::quanta::userError("the layers above cannot be quantized");
    getOperation().walk([&](MatmulOp op) {
      auto lhs = cast<RankedTensorType>(op.getLhs().getType()), rhs = cast<RankedTensorType>(op.getRhs().getType());
      if (op->getParentOp() != getMain() || !lhs.getElementType().isF32() || getEncoding(lhs) || getEncoding(rhs) ||
          lhs.getRank() < 3 || lhs.getShape().drop_back(2) != rhs.getShape().drop_back(2) ||
          matchPattern(op.getLhs(), m_Constant()) || matchPattern(op.getRhs(), m_Constant()))
        return;
      states.emplace_back().site.op = op;
    });
    return states.empty() ? ::quanta::userError("there is no layer to quantize") : llvm::Error::success();
  }

  Operation *getMain() { return getOperation().lookupSymbol<func::FuncOp>("main"); }

  /// What the model is given is not quantized.
  bool readsFloats(const SiteState &state, size_t operand) {
    return state.site.isLayer() && isa<BlockArgument>(state.site.getActivations()[operand]);
  }

  llvm::Error measureSensitivities(ModelProbe &probe) {
    SmallVector<Value> values;
    SmallVector<SiteState *> owners;
    for (SiteState &state : states) {
      auto type = cast<RankedTensorType>(state.site.op->getResult(0).getType());
      if (llvm::any_of(type.getShape().drop_front(), ShapedType::isDynamic)) {
        state.site.op->emitRemark() << "its sensitivity is not measured: its size is dynamic";
        continue;
      }
      values.push_back(state.site.op->getResult(0));
      owners.push_back(&state);
    }
    if (values.empty())
      return llvm::Error::success();
    auto measured = probe.measure(values, probes, kProbeGroups);
    if (!measured)
      return measured.takeError();
    for (auto [state, sensitivity] : llvm::zip_equal(owners, *measured))
      state->sensitivity = std::move(sensitivity);
    return llvm::Error::success();
  }

  int64_t rowsPerSample(int64_t count) const { return llvm::divideCeil(std::max<int64_t>(1, rows), std::max<int64_t>(1, count)); }

  llvm::Error collectData(ModelProbe &probe, int64_t count) {
    // Sites that read the same value get it once.
    llvm::MapVector<Value, SmallVector<std::pair<SiteState *, size_t>>> readers;
    for (SiteState &state : states) {
      state.data.emplace(state.site, state.sensitivity ? &*state.sensitivity : nullptr, rowsPerSample(count));
      if (state.sensitivity)
        state.equalData.emplace(state.site, nullptr, rowsPerSample(count));
      for (auto [operand, value] : llvm::enumerate(state.site.getActivations()))
        readers[value].push_back({&state, operand});
    }
    SmallVector<Value> values;
    for (auto &entry : readers)
      values.push_back(entry.first);
    return probe.observe(values, [&](size_t value, const ::quanta::Array &array) -> llvm::Error {
      for (auto [state, operand] : readers[values[value]])
        for (std::optional<ProductData> *each : {&state->data, &state->equalData})
          if (*each)
            if (llvm::Error error = (*each)->add(operand, array))
              return error;
      return llvm::Error::success();
    });
  }

  //===- Solving --------------------------------------------------------------------------------------------------------===//

  /// Solves all sites on what the probe's first `count` samples give them; in `base`, if any, goes what method base finds there.
  llvm::Error search(ModelProbe &probe, int64_t count, std::vector<SiteSolution> *base) {
    if (chosen == Method::TwinHessian)
      if (llvm::Error error = measureSensitivities(probe))
        return error;
    if (llvm::Error error = collectData(probe, count))
      return error;
    if (base)
      base->resize(states.size());
    parallelFor(&getContext(), 0, states.size(), [&](size_t i) {
      SiteState &state = states[i];
      ProductData &equal = state.equalData ? *state.equalData : *state.data;
      state.solution = solve(state, *state.data, equal, isGuarded());
      if (base)
        (*base)[i] = solve(state, equal, equal, /*twin=*/false);
      state.data.reset();
      state.equalData.reset();
      state.sensitivity.reset();
    });
    return llvm::Error::success();
  }

  static std::vector<ActivationGrid> asFloats(std::vector<ActivationGrid> grids) {
    for (ActivationGrid &grid : grids)
      grid.scale = static_cast<float>(grid.scale);
    return grids;
  }

  std::vector<ActivationGrid> makeActivationCandidates(Value value, ::quanta::ValueRange range, bool twin) const {
    if (chosen == Method::RepQ && isProbability(value))
      return asFloats(::quanta::makeCandidates(ActivationFormat::LogRoot2, false, std::min<unsigned>(actBits, kMostLogBits), range,
                                               kRangeShares));
    std::vector<ActivationGrid> candidates = ::quanta::makeCandidates(ActivationFormat::Uniform, true, actBits, range, kRangeShares);
    if (twin) {
      std::vector<ActivationGrid> twins;
      if (isProbability(value))
        twins = ::quanta::makeCandidates(ActivationFormat::Twin, false, actBits, range, kRangeShares);
      else if (isRectified(value))
        twins = ::quanta::makeCandidates(ActivationFormat::TwinSigned, false, actBits, range, kRangeShares);
      candidates.insert(candidates.end(), twins.begin(), twins.end());
    }
    return asFloats(candidates);
  }

  ::quanta::CalibrationOptions getSampling() const {
    ::quanta::CalibrationOptions sampling;
    sampling.samples = samples;
    sampling.window = window;
    sampling.seed = seed;
    sampling.batch = 1;
    return sampling;
  }

  /// The samples of each batch of the data.
  llvm::Expected<SmallVector<int64_t>> countSamples() {
    auto ports = getInputPorts(cast<func::FuncOp>(getMain()));
    if (!ports)
      return ports.takeError();
    auto batches = ::quanta::CalibrationData::open(data, getSampling(), *ports);
    if (!batches)
      return batches.takeError();
    SmallVector<int64_t> sizes;
    while (true) {
      auto batch = batches->next();
      if (!batch)
        return batch.takeError();
      if (!*batch)
        return sizes;
      sizes.push_back((*batch)->samples);
    }
  }

  /// For each row the grid of a share of its range.
  std::vector<std::vector<ActivationGrid>> makeWeightCandidates(const ProductSite &site) const {
    std::vector<std::vector<ActivationGrid>> candidates;
    for (int64_t row = 0; row < site.weights.rows(); ++row) {
      MatrixView view = site.weights.block(row, 0, 1, site.weights.columns());
      auto grids = ::quanta::makeCandidates(ActivationFormat::Uniform, true, bits, ::quanta::findRange(view), kRangeShares);
      candidates.resize(grids.size());
      for (auto [i, grid] : llvm::enumerate(grids)) {
        grid.scale = roundToHalf(grid.scale);
        candidates[i].push_back(grid);
      }
    }
    return candidates;
  }

  /// A weight that layers share is chosen for the first of them, so the errors of the others are not known.
  static bool ownsWeight(const SiteState &state) {
    return state.site.isLayer() && state.site.op->getOperand(1).hasOneUse();
  }

  /// Twin grids and weighted errors leave less error of each product, which need not mean less of the model's output.
  bool isGuarded() const { return chosen == Method::Twin || chosen == Method::TwinHessian; }

  /// Biases serve all rows: of rows chosen by sensitivity few may be told apart, and the mean of their errors is mostly chance.
  SiteSolution solve(const SiteState &state, ProductData &data, ProductData &ofBias, bool twin) {
    SmallVector<Value> activations = state.site.getActivations();
    std::vector<Product> products = data.getProducts();
    ProductCandidates candidates;
    ProductGrids initial;
    // The whole range, or as much of it as there is.
    size_t whole = kRangeShares.count - 1;
    if (state.given) {
      initial.left = *state.given;
    } else if (!readsFloats(state, 0)) {
      candidates.left = makeActivationCandidates(activations[0], data.getRange(0), twin);
      initial.left = candidates.left[std::min(whole, candidates.left.size() - 1)];
    }
    if (state.site.isLayer()) {
      candidates.right = makeWeightCandidates(state.site);
    } else {
      for (const ActivationGrid &grid : makeActivationCandidates(activations[1], data.getRange(1), twin))
        candidates.right.push_back({grid});
    }
    initial.right = candidates.right[std::min(whole, candidates.right.size() - 1)];
    SiteSolution solution;
    solution.grids = ::quanta::searchGrids(products, initial, candidates, rounds);
    if (correctBias && ownsWeight(state))
      solution.bias = ::quanta::measureBias(ofBias.getProducts(), solution.grids);
    solution.relativeError = solution.grids.energy > 0 ? solution.grids.error / solution.grids.energy : 0;
    return solution;
  }

  /// Whether what the method finds on the first three quarters of the data changes the model's output on the rest no more than
  /// what method base finds there. Without enough data to tell, or a model whose output can be compared: yes.
  llvm::Expected<bool> beatsBase() {
    auto sizes = countSamples();
    if (!sizes)
      return sizes.takeError();
    size_t kept = sizes->size() / 4, searched = sizes->size() - kept;
    if (kept == 0)
      return true;
    int64_t count = std::accumulate(sizes->begin(), sizes->begin() + searched, int64_t(0));
    ModelProbe probe(getOperation(), {data, count, window, seed, threads});
    std::vector<SiteSolution> found, base;
    if (llvm::Error error = search(probe, count, &base))
      return std::move(error);
    for (SiteState &state : states)
      found.push_back(std::move(state.solution));
    auto compare = [&]() -> llvm::Expected<std::pair<double, double>> {
      auto model = SwitchedModel::create(getOperation(), data, getSampling(), threads, searched);
      if (!model)
        return model.takeError();
      auto ofFound = measureSolutions(*model, getOperation(), states, found, bits);
      if (!ofFound)
        return ofFound.takeError();
      auto ofBase = measureSolutions(*model, getOperation(), states, base, bits);
      if (!ofBase)
        return ofBase.takeError();
      return std::pair(*ofFound, *ofBase);
    };
    auto divergences = compare();
    if (!divergences) {
      getOperation().emitRemark() << "method " << method << " is not compared with base: " << llvm::toString(divergences.takeError());
      return true;
    }
    auto [ofFound, ofBase] = *divergences;
    bool better = ofFound <= ofBase;
    getOperation().emitRemark() << "on " << kept << " batches that were kept, method " << method << " changes the output by "
                                << llvm::formatv("{0:e2}, base by {1:e2}", ofFound, ofBase).str() << (better ? "" : ": base is taken");
    return better;
  }

  static constexpr int64_t kProbeGroups = 12;

  Method chosen = Method::Base;
  std::deque<SiteState> states;
};
} // namespace
