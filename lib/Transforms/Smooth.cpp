//===- Smooth.cpp - Scales move from activations to weights ---------------------------------------------------------------===//
#include "VerifiedEdits.h"
#include "mlir/IR/Matchers.h"
#include "quanta/Solver/SmoothingError.h"
#include "quanta/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

namespace mlir::quanta {
#define GEN_PASS_DEF_SMOOTH
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// The channels of a layer's input.
std::optional<std::pair<Value, int64_t>> getInputChannels(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    return std::pair(linear.getInput(), cast<RankedTensorType>(linear.getInput().getType()).getRank() - 1);
  if (auto conv = dyn_cast<Conv2DOp>(op))
    return std::pair(conv.getInput(), int64_t(1));
  return std::nullopt;
}

struct Smooth : public mlir::quanta::impl::SmoothBase<Smooth> {
  using SmoothBase::SmoothBase;

  void runOnOperation() override {
    if (alpha < 0 || alpha > 1) {
      getOperation().emitError() << "expected alpha from 0 to 1 but got " << double(alpha);
      return signalPassFailure();
    }
    if (bits < 0 || bits > 8 || actBits < 0 || actBits > 8 || (bits == 0 && actBits) || (bits && equalize)) {
      getOperation().emitError() << "expected bits and act-bits from 0 to 8, act-bits only with bits, and not with equalize, but got bits=" << int64_t(bits)
                                 << " act-bits=" << int64_t(actBits);
      return signalPassFailure();
    }
    if (data.empty() && !equalize) {
      getOperation().emitError("quanta-smooth looks at activations: give it data=FILE");
      return signalPassFailure();
    }
    PlanOptions options;
    options.kind = ChannelTransform::Scale;
    SmallVector<Operation *> layers;
    std::vector<std::pair<Value, ChannelRange>> ranges;
    DenseSet<Value> done; // values whose channels a site scales already
    getOperation().walk([&](Operation *op) {
      auto channels = getInputChannels(op);
      if (!channels || done.contains(channels->first))
        return;
      auto [input, axis] = *channels;
      ChannelPlan plan = planTransform(input, axis, options);
      if (!plan.isLegal()) {
        op->emitRemark() << "input is not scaled: " << plan.refusal;
        return;
      }
      if (plan.cost.untiedBytes > plan.cost.rewrittenBytes / 4) {
        op->emitRemark() << "input is not scaled: " << plan.cost.untiedBytes
                         << " bytes of shared weights would be stored twice";
        return;
      }
      for (const ChannelPlan::Carrier &carrier : plan.carriers)
        done.insert(carrier.value);
      layers.push_back(op);
      ranges.push_back({input, ChannelRange{*plan.find(input), {}, {}, {}, 0}});
    });
    ModelCheck check(getOperation(), {data, samples, window, seed, threads});
    if (check.canRun()) {
      std::vector<std::pair<Value, ChannelRange>> none;
      if (llvm::Error error = check.observe(equalize ? none : ranges))
        return fail(std::move(error));
    }
    SmallVector<EditSite> sites;
    for (auto [op, range] : llvm::zip_equal(layers, ranges))
      sites.push_back(
          {op, "input", [&, op = op, &range = range.second](ChannelEdits &edits) { return scale(op, range, edits); }});
    if (llvm::Error error = applyVerified(getOperation(), sites, check))
      return fail(std::move(error));
  }

  void fail(llvm::Error error) {
    getOperation().emitError() << llvm::toString(std::move(error));
    signalPassFailure();
  }

  /// The largest magnitude, for each channel, of the weights that read it or of those that make it; 0 if there are
  /// none.
  static std::vector<double> findLargest(const ChannelPlan &plan, bool readers) {
    std::vector<double> largest(plan.channels);
    for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
      ArrayRef<int64_t> shape = cast<RankedTensorType>(absorber.use->get().getType()).getShape();
      if (shape.size() < 2)
        continue; // a bias, or a norm's parameters
      ElementOffsets at(shape, absorber.map.axes);
      std::vector<float> values = readFloats(absorber.use->get());
      for (size_t e = 0; e < at.elements.size(); ++e)
        if (int32_t channel = absorber.map.channels[e];
            channel >= 0 && readers == (!absorber.map.inverse.empty() && absorber.map.inverse[e]))
          for (int64_t rest : at.rest)
            largest[channel] = std::max(largest[channel], double(std::abs(values[at.elements[e] + rest])));
    }
    return largest;
  }

  /// sⱼ = max|xⱼ|^α / max|wⱼ|^(1−α) over all weights that read channel j (SmoothQuant, Eq. 4); x becomes x/s.
  std::optional<std::string> scale(Operation *op, const ChannelRange &range, ChannelEdits &edits) {
    PlanOptions options;
    options.kind = ChannelTransform::Scale;
    auto [input, axis] = *getInputChannels(op);
    ChannelPlan plan = planTransform(input, axis, options);
    const ChannelMap &map = *plan.find(input);
    std::vector<double> activation =
        equalize ? findLargest(plan, /*readers=*/false) : std::vector<double>(plan.channels);
    std::vector<double> weight = findLargest(plan, /*readers=*/true);
    if (!equalize)
      for (auto [e, channel] : llvm::enumerate(map.channels))
        if (channel >= 0)
          activation[channel] = std::max(activation[channel], double(range.absMax(e)));
    if (bits)
      return search(plan, map, range, activation, weight, edits);
    double share = equalize ? 0.5 : alpha;
    std::vector<double> factors(plan.channels, 1), inverses(plan.channels, 1);
    double low = INFINITY, high = 0;
    for (int64_t c = 0; c < plan.channels; ++c) {
      if (!(activation[c] > 0) || !(weight[c] > 0))
        continue; // says nothing about a scale
      double s = std::clamp(std::pow(activation[c], share) / std::pow(weight[c], 1 - share), 1e-5, 1e5);
      inverses[c] = s;
      factors[c] = 1 / s;
      low = std::min(low, s);
      high = std::max(high, s);
    }
    if (high == 0)
      return std::nullopt; // nothing to equalize
    edits.scale(plan, factors, inverses);
    return "is divided by scales from " + llvm::formatv("{0:f4} to {1:f4}", low, high).str();
  }

  /// The weights that read the channels, a row of a linear weight or of a tap of a convolution's to a row.
  static std::vector<::quanta::SmoothedReader> getReaders(const ChannelPlan &plan) {
    std::vector<::quanta::SmoothedReader> readers;
    for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
      ArrayRef<int64_t> shape = cast<RankedTensorType>(absorber.use->get().getType()).getShape();
      if (shape.size() < 2 || absorber.map.inverse.empty() || !llvm::is_contained(absorber.map.inverse, true))
        continue;
      ElementOffsets at(shape, absorber.map.axes);
      std::vector<float> values = readFloats(absorber.use->get());
      ::quanta::SmoothedReader reader;
      reader.channels = absorber.map.channels;
      reader.weights.reserve(values.size());
      for (int64_t rest : at.rest)
        for (int64_t element : at.elements)
          reader.weights.push_back(values[element + rest]);
      readers.push_back(std::move(reader));
    }
    return readers;
  }

  /// The scales that leave the least error when weights, and activations, have few bits.
  std::optional<std::string> search(const ChannelPlan &plan, const ChannelMap &map, const ChannelRange &range,
                                    const std::vector<double> &absMax, const std::vector<double> &weightMax, ChannelEdits &edits) {
    ::quanta::SmoothedInput input{absMax, std::vector<double>(plan.channels)};
    std::vector<int64_t> counts(plan.channels);
    for (auto [e, channel] : llvm::enumerate(map.channels))
      if (channel >= 0) {
        input.meanSquare[channel] += range.squares[e];
        counts[channel] += range.count;
      }
    for (int64_t c = 0; c < plan.channels; ++c)
      input.meanSquare[c] /= std::max<int64_t>(1, counts[c]);
    ::quanta::SmoothingFormat format{static_cast<unsigned>(bits), static_cast<unsigned>(actBits), group};
    ::quanta::SmoothingChoice choice = ::quanta::searchSmoothing(getReaders(plan), input, weightMax, format);
    std::vector<double> factors;
    for (double scale : choice.scales)
      factors.push_back(1 / scale);
    edits.scale(plan, factors, choice.scales);
    return "is divided by scales with exponents " +
           llvm::formatv("{0:f2} of activations and {1:f2} of weights, which should leave {2:f3} of the error", choice.alpha, choice.beta,
                         choice.unscaledError > 0 ? choice.error / choice.unscaledError : 1.0).str();
  }
};
} // namespace
