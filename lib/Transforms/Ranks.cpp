//===- Ranks.cpp - Ranks of all layers within one number of parameters ----------------------------------------------------===//
#include "quanta/Allocate/Ranks.h"
#include "CalibratedLayer.h"
#include "quanta/Solver/LowRank.h"
#include "quanta/Support/Figures.h"
#include "quanta/Transforms/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_MEASURESPECTRUM
#define GEN_PASS_DEF_CHOOSERANKS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::printFigure;
using ::quanta::RankLayer;

static constexpr StringLiteral kSpectrum = "quanta.spectrum", kRank = "quanta.rank";

namespace {
struct MeasureSpectrum : public mlir::quanta::impl::MeasureSpectrumBase<MeasureSpectrum> {
  using MeasureSpectrumBase::MeasureSpectrumBase;

  void runOnOperation() override {
    CalibratedLayers layers(&getContext());
    DenseSet<Operation *> measured;
    auto visit = [&](const SolverLayer &layer) -> LogicalResult {
      if (!isa<LinearOp>(layer.op) || !measured.insert(layer.op->getOperand(1).getDefiningOp()).second)
        return success();
      auto known = layers.load(layer);
      if (failed(known))
        return failure();
      int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
      std::vector<double> weights(layer.weights.row(0), layer.weights.row(0) + rows * columns);
      ::quanta::LowRank factors = factorLowRank({weights.data(), rows, columns},
                                                ::quanta::whitenTriangular((*known)->factors[0].hessianView()), 0);
      layer.op->setAttr(kSpectrum, DenseF64ArrayAttr::get(&getContext(), factors.singularValues));
      return success();
    };
    if (failed(visitSelectedLayers(getOperation(), true, visit)))
      signalPassFailure();
  }
};

struct ChooseRanks : public mlir::quanta::impl::ChooseRanksBase<ChooseRanks> {
  using ChooseRanksBase::ChooseRanksBase;

  void runOnOperation() override {
    if (!(ratio > 0 && ratio <= 1) || align < 1) {
      getOperation().emitError() << "expected a ratio above 0, at most 1, and align of 1 or more but got " << double(ratio) << " and "
                                 << int64_t(align);
      return signalPassFailure();
    }
    SmallVector<Operation *> ops;
    std::vector<RankLayer> layers;
    double parameters = 0;
    getOperation().walk([&](Operation *op) {
      auto spectrum = op->getAttrOfType<DenseF64ArrayAttr>(kSpectrum);
      if (!spectrum)
        return;
      auto type = cast<RankedTensorType>(op->getOperand(1).getType());
      double energy = 0;
      for (double value : spectrum.asArrayRef())
        energy += value * value;
      ops.push_back(op);
      layers.push_back({type.getDimSize(0), type.getDimSize(1), spectrum.asArrayRef().vec(), energy > 0 ? 1 / energy : 0});
      parameters += static_cast<double>(type.getNumElements());
    });
    if (ops.empty())
      return;
    auto chosen = allocateRanks(layers, static_cast<int64_t>(ratio * parameters), align);
    if (!chosen) {
      getOperation().emitError() << "factors of rank " << int64_t(align) << " have more than " << double(ratio)
                                 << " of the weights; raise the ratio or lower align";
      return signalPassFailure();
    }
    for (auto [op, rank] : llvm::zip_equal(ops, chosen->ranks))
      setRank(op, rank);
    getOperation().emitRemark() << ops.size() << " layers keep " << printFigure(chosen->allocation.costs[0] / parameters)
                                << " of their weights; sum of relative errors " << printFigure(chosen->allocation.error)
                                << ", no ranks have less than " << printFigure(chosen->allocation.lowerBound);
  }

private:
  /// All layers with the weight: what is left whole is not selected any more.
  void setRank(Operation *layer, int64_t rank) {
    layer->removeAttr(kSpectrum);
    layer->emitRemark() << "gets rank " << rank << (rank ? "" : ", that is, stays whole");
    for (Operation *op : layer->getOperand(1).getUsers()) {
      if (!op->hasAttr("quanta.selected") || op->getOperand(1) != layer->getOperand(1))
        continue;
      if (rank) {
        op->setAttr(kRank, Builder(&getContext()).getI64IntegerAttr(rank));
      } else {
        op->removeAttr("quanta.selected");
        op->setAttr("quanta.note", StringAttr::get(&getContext(), "in float: other layers lose less by factors"));
      }
    }
  }
};
} // namespace
