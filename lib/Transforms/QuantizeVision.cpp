//===- QuantizeVision.cpp - Weights and activations of vision models in a few bits ----------------------------------------===//
//
// Z. Yuan et al., PTQ4ViT, 2021; Z. Li et al., RepQ-ViT, 2022.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "ProductSites.h"
#include "quanta/Solver/Reparameterize.h"
#include "quanta/Support/Error.h"
#include "quanta/Support/Half.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Parallel.h"
#include <cmath>
#include <deque>

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

/// Shares of ranges that are tried: 0.2, 0.24, … 1. Wider ranges than the whole one serve nobody.
static constexpr ::quanta::CandidateOptions kFactors{0.2, 1.04, 21};
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

/// The nearest scale that f16 has, if it has one.
double roundToHalf(double scale) {
  float half = ::quanta::halfToFloat(::quanta::floatToHalf(static_cast<float>(scale)));
  return half > 0 && std::isfinite(half) ? half : static_cast<float>(scale);
}

/// A site, its data and what was found for it.
struct SiteState {
  ProductSite site;
  std::vector<float> weights; ///< what site.weights views
  std::optional<Sensitivity> sensitivity;
  std::optional<ProductData> data;
  std::optional<ActivationGrid> given; ///< of the first operand, by reparameterisation
  ProductGrids grids;
  std::vector<double> bias;
  double relativeError = 0;
};

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
    ModelProbe probe(getOperation(), {data, samples, window, seed, threads});
    if (chosen == Method::RepQ)
      if (llvm::Error error = reparameterizeNorms(probe))
        return error;
    if (chosen == Method::TwinHessian)
      if (llvm::Error error = measureSensitivities(probe))
        return error;
    if (llvm::Error error = collectData(probe))
      return error;
    llvm::parallelFor(0, states.size(), [&](size_t i) { solve(states[i]); });
    return encode();
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

  int64_t rowsPerSample() const { return llvm::divideCeil(std::max<int64_t>(1, rows), std::max<int64_t>(1, samples)); }

  llvm::Error collectData(ModelProbe &probe) {
    // Sites that read the same value get it once.
    llvm::MapVector<Value, SmallVector<std::pair<SiteState *, size_t>>> readers;
    for (SiteState &state : states) {
      state.data.emplace(state.site, state.sensitivity ? &*state.sensitivity : nullptr, rowsPerSample());
      for (auto [operand, value] : llvm::enumerate(state.site.getActivations()))
        readers[value].push_back({&state, operand});
    }
    SmallVector<Value> values;
    for (auto &entry : readers)
      values.push_back(entry.first);
    return probe.observe(values, [&](size_t value, const ::quanta::Array &array) -> llvm::Error {
      for (auto [state, operand] : readers[values[value]])
        if (llvm::Error error = state->data->add(operand, array))
          return error;
      return llvm::Error::success();
    });
  }

  //===- Solving --------------------------------------------------------------------------------------------------------===//

  static std::vector<ActivationGrid> asFloats(std::vector<ActivationGrid> grids) {
    for (ActivationGrid &grid : grids)
      grid.scale = static_cast<float>(grid.scale);
    return grids;
  }

  std::vector<ActivationGrid> makeActivationCandidates(Value value, ::quanta::ValueRange range) const {
    if (chosen == Method::RepQ && isProbability(value))
      return asFloats(::quanta::makeCandidates(ActivationFormat::LogRoot2, false, std::min<unsigned>(actBits, kMostLogBits), range,
                                               kFactors));
    std::vector<ActivationGrid> candidates = ::quanta::makeCandidates(ActivationFormat::Uniform, true, actBits, range, kFactors);
    if (chosen == Method::Twin || chosen == Method::TwinHessian) {
      std::vector<ActivationGrid> twins;
      if (isProbability(value))
        twins = ::quanta::makeCandidates(ActivationFormat::Twin, false, actBits, range, kFactors);
      else if (isRectified(value))
        twins = ::quanta::makeCandidates(ActivationFormat::TwinSigned, false, actBits, range, kFactors);
      candidates.insert(candidates.end(), twins.begin(), twins.end());
    }
    return asFloats(candidates);
  }

  /// For each row the grid of a share of its range.
  std::vector<std::vector<ActivationGrid>> makeWeightCandidates(const ProductSite &site) const {
    std::vector<std::vector<ActivationGrid>> candidates;
    for (int64_t row = 0; row < site.weights.rows(); ++row) {
      MatrixView view = site.weights.block(row, 0, 1, site.weights.columns());
      auto grids = ::quanta::makeCandidates(ActivationFormat::Uniform, true, bits, ::quanta::findRange(view), kFactors);
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

  void solve(SiteState &state) {
    SmallVector<Value> activations = state.site.getActivations();
    std::vector<Product> products = state.data->getProducts();
    ProductCandidates candidates;
    ProductGrids initial;
    // The whole range, or as much of it as there is.
    size_t whole = kFactors.count - 1;
    if (state.given) {
      initial.left = *state.given;
    } else if (!readsFloats(state, 0)) {
      candidates.left = makeActivationCandidates(activations[0], state.data->getRange(0));
      initial.left = candidates.left[std::min(whole, candidates.left.size() - 1)];
    }
    if (state.site.isLayer()) {
      candidates.right = makeWeightCandidates(state.site);
    } else {
      for (const ActivationGrid &grid : makeActivationCandidates(activations[1], state.data->getRange(1)))
        candidates.right.push_back({grid});
    }
    initial.right = candidates.right[std::min(whole, candidates.right.size() - 1)];
    state.grids = ::quanta::searchGrids(products, initial, candidates, rounds);
    if (correctBias && ownsWeight(state))
      state.bias = ::quanta::measureBias(products, state.grids);
    state.relativeError = state.grids.energy > 0 ? state.grids.error / state.grids.energy : 0;
    state.data.reset();
  }

  //===- Reparameterisation ---------------------------------------------------------------------------------------------===//

  /// The layers that read a norm, if they are all that does.
  SmallVector<SiteState *> getReaders(LayerNormOp norm) {
    SmallVector<SiteState *> readers;
    for (OpOperand &use : norm.getResult().getUses()) {
      auto state = llvm::find_if(states, [&](SiteState &state) { return state.site.op == use.getOwner(); });
      if (state == states.end() || !isa<LinearOp>(use.getOwner()) || use.getOperandNumber() != 0)
        return {};
      readers.push_back(&*state);
    }
    return readers;
  }

  llvm::Error reparameterizeNorms(ModelProbe &probe) {
    SmallVector<std::pair<LayerNormOp, SmallVector<SiteState *>>> norms;
    SmallVector<Value> values;
    getOperation().walk([&](LayerNormOp norm) {
      if (!isFloatConstant(norm.getScale()) || !isFloatConstant(norm.getBias()))
        return;
      SmallVector<SiteState *> readers = getReaders(norm);
      if (readers.empty() || !llvm::all_of(readers, [](SiteState *state) { return canChangeBias(state->site.op); }))
        return;
      norms.push_back({norm, readers});
      values.push_back(norm.getResult());
    });
    if (norms.empty())
      return llvm::Error::success();
    std::vector<ProductData> rowsOf;
    for (auto &[norm, readers] : norms)
      rowsOf.emplace_back(readers[0]->site, nullptr, rowsPerSample());
    auto keep = [&](size_t i, const ::quanta::Array &array) { return rowsOf[i].add(0, array); };
    if (llvm::Error error = probe.observe(values, keep))
      return error;
    for (auto [i, entry] : llvm::enumerate(norms))
      reparameterize(entry.first, entry.second, rowsOf[i].getProducts()[0].left);
    return llvm::Error::success();
  }

  void reparameterize(LayerNormOp norm, ArrayRef<SiteState *> readers, MatrixView rows) {
    std::vector<double> scales, zeros;
    std::vector<float> channel(rows.rows());
    for (int64_t c = 0; c < rows.columns(); ++c) {
      for (int64_t row = 0; row < rows.rows(); ++row)
        channel[row] = rows(row, c);
      ActivationGrid grid = ::quanta::fitToValues(MatrixView(channel.data(), 1, rows.rows()), actBits, kFactors);
      scales.push_back(grid.scale);
      zeros.push_back(grid.zero);
    }
    ::quanta::Reparameterization change = ::quanta::reparameterize(scales, zeros, /*integerZero=*/true);
    std::vector<double> gamma = readDoubles(norm.getScale()), beta = readDoubles(norm.getBias());
    ::quanta::applyToNorm(change, gamma.data(), beta.data());
    replaceOperand(norm->getOpOperand(1), gamma);
    replaceOperand(norm->getOpOperand(2), beta);
    ActivationGrid grid;
    grid.bits = actBits;
    grid.scale = static_cast<float>(change.scale);
    grid.zero = static_cast<int>(change.zero);
    for (SiteState *state : readers) {
      int64_t outputs = state->site.weights.rows(), inputs = state->site.weights.columns();
      std::vector<double> weights(state->weights.begin(), state->weights.end()), bias = getBias(state->site.op);
      ::quanta::applyToReader(change, {weights.data(), outputs, inputs}, bias.data());
      llvm::copy(weights, state->weights.begin());
      replaceOperand(state->site.op->getOpOperand(1), weights);
      setBias(state->site.op, bias);
      state->given = grid;
    }
    norm.emitRemark() << "its channels' grids became one, of factors from "
                      << llvm::formatv("{0:f3} to {1:f3}", *llvm::min_element(change.factors), *llvm::max_element(change.factors));
  }

  //===- Constants ------------------------------------------------------------------------------------------------------===//

  static bool isFloatConstant(Value value) {
    auto constant = value ? value.getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
    SmallVector<float> storage;
    return constant && cast<ShapedType>(constant.getType()).getElementType().isF32() && getFloats(constant.getValue(), storage);
  }

  static std::vector<double> readDoubles(Value constant) {
    SmallVector<float> storage;
    ArrayRef<float> values = *getFloats(constant.getDefiningOp<arith::ConstantOp>().getValue(), storage);
    return {values.begin(), values.end()};
  }

  Value makeConstant(Operation *user, RankedTensorType type, StringRef name, ArrayRef<double> values) {
    OpBuilder b(user);
    std::vector<float> floats(values.begin(), values.end());
    return arith::ConstantOp::create(b, user->getLoc(), type, makeFloatResource(name, type, floats));
  }

  void replaceOperand(OpOperand &operand, ArrayRef<double> values) {
    std::string name = getNodeName(operand.get().getLoc());
    auto type = cast<RankedTensorType>(operand.get().getType());
    Value constant = makeConstant(operand.getOwner(), type, name.empty() ? "constant" : name, values);
    constant.setLoc(operand.get().getLoc());
    replaced.insert(operand.get().getDefiningOp());
    operand.set(constant);
  }

  static Value getBiasValue(Operation *op) {
    return isa<LinearOp>(op) ? cast<LinearOp>(op).getBias() : cast<Conv2DOp>(op).getBias();
  }
  static bool canChangeBias(Operation *op) { return !getBiasValue(op) || isFloatConstant(getBiasValue(op)); }
  static std::vector<double> getBias(Operation *op) {
    if (Value bias = getBiasValue(op))
      return readDoubles(bias);
    return std::vector<double>(cast<RankedTensorType>(op->getOperand(1).getType()).getDimSize(0));
  }
  void setBias(Operation *op, ArrayRef<double> values) {
    auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, Float32Type::get(&getContext()));
    if (Value before = getBiasValue(op))
      replaced.insert(before.getDefiningOp());
    Value bias = makeConstant(op, type, getNodeName(op->getLoc()) + ".bias", values);
    if (auto linear = dyn_cast<LinearOp>(op))
      linear.getBiasMutable().assign(bias);
    else
      cast<Conv2DOp>(op).getBiasMutable().assign(bias);
  }

  //===- Encoding -------------------------------------------------------------------------------------------------------===//

  llvm::Error encode() {
    DenseMap<Operation *, SiteState *> byOp;
    for (SiteState &state : states)
      byOp[state.site.op] = &state;
    auto encodeLayer = [&](const SolverLayer &layer) -> FailureOr<EncodedWeight> {
      if (SiteState *state = byOp.lookup(layer.op))
        return encodeWeight(*state);
      return layer.op->emitOpError("expected layers in @main only");
    };
    if (failed(encodeSelectedLayers(getOperation(), false, encodeLayer)))
      return ::quanta::userError("the layers above cannot be quantized");
    for (SiteState &state : states) {
      if (!state.bias.empty() && canChangeBias(state.site.op)) {
        std::vector<double> bias = getBias(state.site.op);
        for (auto [value, change] : llvm::zip_equal(bias, state.bias))
          value += change;
        setBias(state.site.op, bias);
      }
      for (auto [operand, value] : llvm::enumerate(state.site.getActivations()))
        if (const ActivationGrid *grid = operand == 0 ? (state.grids.left ? &*state.grids.left : nullptr) : &state.grids.right[0])
          state.site.op->setOperand(operand, getQuantized(value, *grid));
      describe(state);
    }
    eraseUnusedConstants(getOperation(), replaced.getArrayRef());
    states.clear();
    quantized.clear();
    replaced.clear();
    return llvm::Error::success();
  }

  EncodedWeight encodeWeight(const SiteState &state) {
    MatrixView weights = state.site.weights;
    ::quanta::UniformResult result;
    result.options.bits = bits;
    result.options.group = 0;
    result.options.zero = ::quanta::UniformZero::Point;
    result.rows = result.scaleRows = weights.rows();
    result.columns = result.groupColumns = weights.columns();
    result.groups = 1;
    double error = 0, energy = 0;
    for (int64_t row = 0; row < weights.rows(); ++row) {
      const ActivationGrid &grid = state.grids.right[row];
      result.scales.push_back(static_cast<float>(grid.scale));
      result.zeros.push_back(static_cast<uint8_t>(grid.zero));
      result.options.halfScale &= roundToHalf(grid.scale) == grid.scale;
      for (int64_t column = 0; column < weights.columns(); ++column) {
        double value = weights(row, column), difference = value - grid.round(value);
        result.codes.push_back(grid.encode(value));
        error += difference * difference;
        energy += value * value;
      }
    }
    EncodedWeight weight;
    encodeUniform(result, &getContext(), weight);
    weight.weightError = energy > 0 ? error / energy : 0;
    weight.errorCalibration = state.relativeError;
    return weight;
  }

  EncodingAttrInterface getEncodingOf(const ActivationGrid &grid) {
    Builder b(&getContext());
    auto scale = static_cast<float>(grid.scale);
    switch (grid.format) {
    case ActivationFormat::Uniform:
      return AffineAttr::get(&getContext(), grid.bits, b.getDenseI64ArrayAttr({}), b.getDenseF32ArrayAttr({scale}),
                             b.getDenseI64ArrayAttr({grid.zero - (int64_t(1) << (grid.bits - 1))}));
    case ActivationFormat::Twin:
    case ActivationFormat::TwinSigned:
      return TwinAttr::get(&getContext(), grid.bits, b.getF32FloatAttr(scale), grid.shift,
                           grid.format == ActivationFormat::TwinSigned);
    case ActivationFormat::Log2:
    case ActivationFormat::LogRoot2:
      return Log2Attr::get(&getContext(), grid.bits, b.getF32FloatAttr(scale), grid.format == ActivationFormat::LogRoot2);
    }
    llvm_unreachable("covered switch");
  }

  /// Sites that read the same value with the same grid share its encoded form.
  Value getQuantized(Value value, const ActivationGrid &grid) {
    EncodingAttrInterface encoding = getEncodingOf(grid);
    Value &result = quantized[{value, encoding}];
    if (!result) {
      OpBuilder b(&getContext());
      b.setInsertionPointAfterValue(value);
      auto type = cast<RankedTensorType>(value.getType());
      auto encoded = RankedTensorType::get(type.getShape(), type.getElementType(), encoding);
      result = QuantizeOp::create(b, value.getLoc(), encoded, value);
    }
    return result;
  }

  void describe(const SiteState &state) {
    auto remark = state.site.op->emitRemark();
    remark << "relative error " << llvm::formatv("{0:e2}", state.relativeError).str();
    if (state.grids.left)
      remark << ", left operand " << getEncodingOf(*state.grids.left);
    if (!state.site.isLayer())
      remark << ", right operand " << getEncodingOf(state.grids.right[0]);
  }

  static constexpr int64_t kProbeGroups = 12;

  Method chosen = Method::Base;
  std::deque<SiteState> states;
  DenseMap<std::pair<Value, Attribute>, Value> quantized;
  llvm::SetVector<Operation *> replaced; ///< constants, perhaps not used any more
};
} // namespace
