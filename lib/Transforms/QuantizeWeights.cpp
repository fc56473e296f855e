//===- QuantizeWeights.cpp - Weights become codes of a uniform format -----------------------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Transforms/Passes.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::UniformOptions;
using ::quanta::UniformResult;

namespace {
struct QuantizeWeights : public mlir::quanta::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    if (failed(check()))
      return signalPassFailure();
    bool calibrated = method == "gptq";
    CalibratedLayers layers(&getContext(), damping);
    auto solve = [&](const SolverLayer &layer) { return calibrated ? compensate(layer, layers) : round(layer, layers); };
    if (failed(encodeSelectedLayers(getOperation(), calibrated, solve)))
      signalPassFailure();
  }

  LogicalResult check() {
    StringRef name = method;
    if (name != "rtn" && name != "rtn-range" && name != "gptq")
      return getOperation().emitError() << "expected method 'rtn', 'rtn-range' or 'gptq' but got '" << name << "'";
    if (bits < 1 || bits > 8 || group < -1)
      return getOperation().emitError() << "expected 1 to 8 bits and a group of -1, 0 or more but got " << unsigned(bits)
                                        << " and " << int64_t(group);
    if (levels != 0 && (levels != 3 || bits != 2 || zero == ZeroKind::Point))
      return getOperation().emitError() << "expected 0 levels, or 3 with 2 bits and no integer zero point, but got "
                                        << unsigned(levels) << " with " << unsigned(bits) << " bits";
    if (multiples && failed(UniformAttr::verify([&] { return getOperation().emitError(); }, bits, group, zero, Float16Type::get(&getContext()),
                                                levels, multiples)))
      return failure();
    if (name == "gptq" && group == -1)
      return getOperation().emitError() << "method 'gptq' solves rows by themselves: expected a group of 0 or more but got -1";
    return success();
  }

  UniformOptions makeOptions(::quanta::RangeSearch range) {
    UniformOptions options;
    options.bits = bits;
    options.levels = levels;
    options.multiples = multiples;
    options.group = group;
    options.zero = static_cast<::quanta::UniformZero>(zero.getValue());
    options.range = range;
    return options;
  }

  FailureOr<EncodedWeight> round(const SolverLayer &layer, CalibratedLayers &layers) {
    bool search = method == "rtn-range";
    UniformOptions options = makeOptions(search ? ::quanta::RangeSearch::leastSquares() : ::quanta::RangeSearch());
    UniformResult result = ::quanta::quantizeRtn(layer.weights, options);
    if (result.needsF32Scale) {
      options.halfScale = false;
      result = ::quanta::quantizeRtn(layer.weights, options);
    }
    EncodedWeight weight;
    encodeUniform(result, &getContext(), weight);
    weight.weightError = result.error;
    if (layer.op->hasAttr("quanta.statistics")) {
      auto statistics = layers.load(layer);
      if (failed(statistics))
        return failure();
      layers.measure(layer, **statistics, [&](int64_t row, int64_t column) { return result.decode(row, column); }, weight);
    }
    if (!options.halfScale)
      weight.addNote("scales in f32: they do not fit f16");
    return weight;
  }

  FailureOr<EncodedWeight> compensate(const SolverLayer &layer, CalibratedLayers &layers) {
    auto statistics = layers.load(layer);
    if (failed(statistics))
      return failure();
    UniformResult result = makeUniformResult(layer.weights.rows(), layer.weights.columns(), makeOptions({}));
    const UniformOptions &options = result.options;
    EncodedWeight weight;
    weight.remark = llvm::formatv("{0} levels, {1}", highestCode(options) - lowestCode(options) + 1,
                                  group == 0  ? "a scale for each row"
                                  : multiples ? "a multiple of the row's scale for each group of columns"
                                              : "a scale for each group of columns");
    ::quanta::RowGrids grids = toRowGrids(result);
    layers.solve(layer, **statistics, (*statistics)->factors, grids, weight);
    result = toUniform(grids, group);
    encodeUniform(result, &getContext(), weight);
    return weight;
  }
};
} // namespace
