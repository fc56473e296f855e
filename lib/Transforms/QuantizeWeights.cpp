//===- QuantizeWeights.cpp - Weights become codes of a uniform format -----------------------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Solver/Gptq.h"
#include "quanta/Solver/UniformGrid.h"
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

/// Puts the rows of `part` into the matrix from row `begin` on.
static void copyRows(const UniformResult &part, int64_t begin, UniformResult &whole) {
  llvm::copy(part.codes, whole.codes.begin() + begin * whole.columns);
  llvm::copy(part.scales, whole.scales.begin() + begin * whole.groups);
  llvm::copy(part.zeros, whole.zeros.begin() + (part.zeros.empty() ? 0 : begin * whole.groups));
  llvm::copy(part.offsets, whole.offsets.begin() + (part.offsets.empty() ? 0 : begin * whole.groups));
}

namespace {
struct QuantizeWeights : public mlir::quanta::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    if (failed(check()))
      return signalPassFailure();
    bool calibrated = method == "gptq";
    CalibratedLayers layers(&getContext());
    auto solve = [&](const SolverLayer &layer) { return calibrated ? compensate(layer, layers) : round(layer); };
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
    if (name == "gptq" && group == -1)
      return getOperation().emitError() << "method 'gptq' solves rows by themselves: expected a group of 0 or more but got -1";
    return success();
  }

  UniformOptions makeOptions(::quanta::RangeSearch range) {
    UniformOptions options;
    options.bits = bits;
    options.group = group;
    options.zero = static_cast<::quanta::UniformZero>(zero.getValue());
    options.range = range;
    return options;
  }

  FailureOr<EncodedWeight> round(const SolverLayer &layer) {
    bool search = method == "rtn-range";
    UniformOptions options = makeOptions(search ? ::quanta::RangeSearch::leastSquares() : ::quanta::RangeSearch());
    UniformResult result = ::quanta::quantizeRtn(layer.weights, options);
    if (result.needsF32Scale) {
      options.halfScale = false;
      result = ::quanta::quantizeRtn(layer.weights, options);
    }
    return encodeUniform(result, &getContext());
  }

  FailureOr<EncodedWeight> compensate(const SolverLayer &layer, CalibratedLayers &layers) {
    auto statistics = layers.load(layer);
    if (failed(statistics))
      return failure();
    ::quanta::GptqOptions options = ::quanta::GptqOptions::recommended(makeOptions({}));
    UniformResult whole;
    EncodedWeight errors;
    do {
      options.uniform.halfScale = !whole.needsF32Scale;
      whole = makeUniformResult(layer.weights.rows(), layer.weights.columns(), options.uniform);
      std::vector<UniformResult> parts(CalibratedLayers::countSlices(layer));
      layers.solveRows(layer, **statistics, errors,
                       [&](const RowSlice &slice, size_t index, ::quanta::MutableMatrixViewF64 decoded) {
                         parts[index] = solveGptq(slice.targets, (*statistics)->factors[slice.block], options).uniform;
                         llvm::copy(decodeF64(parts[index]), decoded.row(0));
                         copyRows(parts[index], slice.begin, whole);
                       });
      for (const UniformResult &part : parts)
        whole.needsF32Scale |= part.needsF32Scale;
    } while (whole.needsF32Scale && options.uniform.halfScale);

    EncodedWeight result = encodeUniform(whole, &getContext());
    result.weightError = errors.weightError;
    result.errorCalibration = errors.errorCalibration;
    result.errorHeldOut = errors.errorHeldOut;
    result.remark = llvm::formatv("{0} levels, {1}", highestCode(options.uniform) - lowestCode(options.uniform) + 1,
                                  group == 0 ? "a scale for each row" : "a scale for each group");
    CalibratedLayers::describe(**statistics, result);
    return result;
  }
};
} // namespace
