//===- QuantizeWeights.cpp - Weights become codes of a uniform format -----------------------------------------------------===//
#include "LayerSolver.h"
#include "quanta/Solver/Rtn.h"
#include "quanta/Transforms/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct QuantizeWeights : public mlir::quanta::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    if (method != "rtn") {
      getOperation().emitError() << "expected method 'rtn' but got '" << StringRef(method) << "'";
      return signalPassFailure();
    }
    if (bits < 1 || bits > 8 || group < -1) {
      getOperation().emitError() << "expected 1 to 8 bits and a group of -1, 0 or more but got " << unsigned(bits) << " and "
                                 << int64_t(group);
      return signalPassFailure();
    }
    if (failed(encodeSelectedLayers(getOperation(), false, [&](const SolverLayer &layer) { return round(layer); })))
      signalPassFailure();
  }

  FailureOr<EncodedWeight> round(const SolverLayer &layer) {
    ::quanta::UniformOptions options;
    options.bits = bits;
    options.group = group;
    options.zero = static_cast<::quanta::UniformZero>(zero.getValue());
    ::quanta::UniformResult result = ::quanta::quantizeRtn(layer.weights, options);
    if (result.needsF32Scale) {
      options.halfScale = false;
      result = ::quanta::quantizeRtn(layer.weights, options);
    }
    return encodeUniform(result, &getContext());
  }
};
} // namespace
