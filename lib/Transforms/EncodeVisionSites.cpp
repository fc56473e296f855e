//===- EncodeVisionSites.cpp - Weights and activations get the grids that were found --------------------------------------===//
#include "VisionSites.h"
#include "quanta/Support/Error.h"
#include "quanta/Support/Half.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::ActivationFormat;
using ::quanta::ActivationGrid;
using ::quanta::MatrixView;

double mlir::quanta::roundToHalf(double scale) {
  float half = ::quanta::halfToFloat(::quanta::floatToHalf(static_cast<float>(scale)));
  return half > 0 && std::isfinite(half) ? half : static_cast<float>(scale);
}

/// Encoded values by what they encode and how.
using QuantizedValues = DenseMap<std::pair<Value, Attribute>, Value>;

static EncodingAttrInterface getEncodingOf(const ActivationGrid &grid, MLIRContext *context) {
  Builder b(context);
  auto scale = static_cast<float>(grid.scale);
  switch (grid.format) {
  case ActivationFormat::Uniform:
    return AffineAttr::get(context, grid.bits, b.getDenseI64ArrayAttr({}), b.getDenseF32ArrayAttr({scale}),
                           b.getDenseI64ArrayAttr({grid.zero - (int64_t(1) << (grid.bits - 1))}));
  case ActivationFormat::Twin:
  case ActivationFormat::TwinSigned:
    return TwinAttr::get(context, grid.bits, b.getF32FloatAttr(scale), grid.shift,
                         grid.format == ActivationFormat::TwinSigned);
  case ActivationFormat::Log2:
  case ActivationFormat::LogRoot2:
    return Log2Attr::get(context, grid.bits, b.getF32FloatAttr(scale), grid.format == ActivationFormat::LogRoot2);
  }
  llvm_unreachable("covered switch");
}

/// Sites that read the same value with the same grid share its encoded form.
static Value getQuantized(Value value, const ActivationGrid &grid, QuantizedValues &quantized) {
  EncodingAttrInterface encoding = getEncodingOf(grid, value.getContext());
  Value &result = quantized[{value, encoding}];
  if (!result) {
    OpBuilder b(value.getContext());
    b.setInsertionPointAfterValue(value);
    auto type = cast<RankedTensorType>(value.getType());
    auto encoded = RankedTensorType::get(type.getShape(), type.getElementType(), encoding);
    result = QuantizeOp::create(b, value.getLoc(), encoded, value);
  }
  return result;
}

static EncodedWeight encodeWeight(const SiteState &state, unsigned bits) {
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
    const ActivationGrid &grid = state.solution.grids.right[row];
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
  encodeUniform(result, state.site.op->getContext(), weight);
  weight.weightError = energy > 0 ? error / energy : 0;
  weight.errorCalibration = state.solution.relativeError;
  return weight;
}

static void describe(const SiteState &state) {
  auto remark = state.site.op->emitRemark();
  remark << "relative error " << llvm::formatv("{0:e2}", state.solution.relativeError).str();
  if (state.solution.grids.left)
    remark << ", left operand " << getEncodingOf(*state.solution.grids.left, state.site.op->getContext());
  if (!state.site.isLayer())
    remark << ", right operand " << getEncodingOf(state.solution.grids.right[0], state.site.op->getContext());
}

llvm::Error mlir::quanta::encodeSites(ModuleOp module, std::deque<SiteState> &states, unsigned bits, LayerConstants &constants) {
  QuantizedValues quantized;
  DenseMap<Operation *, SiteState *> byOp;
  for (SiteState &state : states)
    byOp[state.site.op] = &state;
  auto encodeLayer = [&](const SolverLayer &layer) -> FailureOr<EncodedWeight> {
    if (SiteState *state = byOp.lookup(layer.op))
      return encodeWeight(*state, bits);
    return layer.op->emitOpError("expected layers in @main only");
  };
  if (failed(encodeSelectedLayers(module, false, encodeLayer)))
    return ::quanta::userError("the layers above cannot be quantized");
  for (SiteState &state : states) {
    if (!state.solution.bias.empty() && LayerConstants::canChangeBias(state.site.op)) {
      std::vector<double> bias = LayerConstants::getBias(state.site.op);
      for (auto [value, change] : llvm::zip_equal(bias, state.solution.bias))
        value += change;
      constants.setBias(state.site.op, bias);
    }
    for (auto [operand, value] : llvm::enumerate(state.site.getActivations()))
      if (const ActivationGrid *grid = operand == 0 ? (state.solution.grids.left ? &*state.solution.grids.left : nullptr) : &state.solution.grids.right[0])
        state.site.op->setOperand(operand, getQuantized(value, *grid, quantized));
    describe(state);
  }
  constants.eraseReplaced();
  return llvm::Error::success();
}

llvm::Expected<double> mlir::quanta::measureSolutions(SwitchedModel &model, ModuleOp module, const std::deque<SiteState> &states,
                                                      ArrayRef<SiteSolution> solutions, unsigned bits) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> variant(cast<ModuleOp>(module->clone(mapping)));
  // Constants that nobody uses any more lose their data, which the model itself still needs: a copy of each keeps it.
  variant->walk([](arith::ConstantOp constant) { OpBuilder(constant).clone(*constant); });
  std::deque<SiteState> copies;
  for (auto [state, solution] : llvm::zip_equal(states, solutions)) {
    SiteState &copy = copies.emplace_back();
    copy.site = state.site; // its weights stay where they are
    copy.site.op = mapping.lookup(state.site.op);
    copy.solution = solution;
  }
  // What is said of layers is for those that stay.
  ScopedDiagnosticHandler handler(module.getContext(), [](Diagnostic &diagnostic) {
    return success(diagnostic.getSeverity() == DiagnosticSeverity::Remark);
  });
  LayerConstants constants(*variant);
  if (llvm::Error error = encodeSites(*variant, copies, bits, constants))
    return std::move(error);
  return model.measure(*variant);
}
