//===- SaliencyMask.cpp - Which weights of a layer deserve more bits ------------------------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Solver/Saliency.h"
#include "quanta/Transforms/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_SALIENCYMASK
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::MatrixViewF64;

namespace {
struct SaliencyMask : public mlir::quanta::impl::SaliencyMaskBase<SaliencyMask> {
  using SaliencyMaskBase::SaliencyMaskBase;

  void runOnOperation() override {
    if (failed(check()))
      return signalPassFailure();
    CalibratedLayers layers(&getContext(), damping);
    auto annotate = [&](const SolverLayer &layer) -> LogicalResult {
      std::shared_ptr<const LayerStatistics> statistics;
      if (by != "magnitude") {
        auto loaded = layers.load(layer);
        if (failed(loaded))
          return failure();
        statistics = *loaded;
      }
      std::vector<double> scores = statistics ? scoreTargets(layer, layers, *statistics) : scoreMagnitudes(layer);
      annotateLayer(layer, scores, statistics.get());
      return success();
    };
    if (failed(visitSelectedLayers(getOperation(), by != "magnitude", annotate)))
      signalPassFailure();
  }

  LogicalResult check() {
    StringRef shape = form, rule = by;
    if (shape != "columns" && shape != "elements" && shape != "tiles")
      return getOperation().emitError() << "expected form 'columns', 'elements' or 'tiles' but got '" << shape << "'";
    if (rule != "hessian" && rule != "magnitude" && rule != "activation")
      return getOperation().emitError() << "expected a choice by 'hessian', 'magnitude' or 'activation' but got '" << rule << "'";
    if (!(salient >= 0 && salient <= 1))
      return getOperation().emitError() << "expected a salient share from 0 to 1 but got " << double(salient);
    if (shape == "tiles" && (tile < 1 || kept < 0 || kept > tile))
      return getOperation().emitError() << "expected a tile of 1 or more columns, of which at most all are kept, but got "
                                        << int64_t(tile) << " and " << int64_t(kept);
    return success();
  }

  void annotateLayer(const SolverLayer &layer, const std::vector<double> &scores, const LayerStatistics *statistics) {
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
    MatrixViewF64 view(scores.data(), rows, columns);
    std::vector<uint8_t> mask;
    SmallVector<int64_t> shape = {rows, columns};
    if (form == "columns") {
      bool activation = by == "activation";
      mask = activation ? ::quanta::activationMask(largestActivations(*statistics), salient)
                        : ::quanta::columnMask(view, salient);
      shape = {columns};
    } else if (form == "elements") {
      mask = ::quanta::elementMask(view, 1 - salient);
    } else {
      mask = ::quanta::tileMask(view, tile, kept);
    }
    Builder builder(&getContext());
    auto type = RankedTensorType::get(shape, builder.getI8Type());
    SmallVector<NamedAttribute> fields = {
        builder.getNamedAttr("values", makeByteResource((layer.name + ".mask"), type, mask))};
    if (form == "tiles") {
      fields.push_back(builder.getNamedAttr("kept", builder.getI64IntegerAttr(kept)));
      fields.push_back(builder.getNamedAttr("tile", builder.getI64IntegerAttr(tile)));
    }
    layer.op->setAttr("quanta.mask", builder.getDictionaryAttr(fields));
  }

  std::vector<double> scoreMagnitudes(const SolverLayer &layer) {
    // Sums over a column are of squares, as with the other rules.
    std::vector<double> scores = ::quanta::magnitudeSaliency(layer.weights);
    if (form == "columns")
      llvm::transform(scores, scores.begin(), [](double score) { return score * score; });
    return scores;
  }

  /// What losing each weight of the layer's target costs.
  std::vector<double> scoreTargets(const SolverLayer &layer, CalibratedLayers &layers, const LayerStatistics &statistics) {
    std::vector<double> scores;
    std::vector<float> targets = layers.computeTargets(layer, statistics);
    int64_t blockRows = layer.weights.rows() / layer.blocks, columns = layer.weights.columns();
    for (int64_t block = 0; block < layer.blocks; ++block) {
      const ::quanta::HessianFactor &factor = statistics.factors[block];
      std::vector<double> divisors(columns);
      for (int64_t position = 0; position < columns; ++position) {
        int64_t j = factor.order[position];
        // Of whole columns, which the sweep quantizes last, H_jj says what an error costs; of single weights, U_jj also knows
        // what those that come later can make up for.
        bool diagonal = form == "columns" || by == "activation";
        divisors[j] = diagonal ? 1 / std::sqrt(factor.hessianView()(j, j)) : factor.upperView()(position, position);
      }
      ::quanta::MatrixView part(targets.data() + block * blockRows * columns, blockRows, columns);
      llvm::append_range(scores, ::quanta::hessianSaliency(part, divisors));
    }
    return scores;
  }

  static std::vector<double> largestActivations(const LayerStatistics &statistics) {
    int64_t channels = statistics.moments.channels;
    std::vector<double> largest(channels);
    for (size_t i = 0; i < statistics.moments.absMax.size(); ++i)
      largest[i % channels] = std::max<double>(largest[i % channels], statistics.moments.absMax[i]);
    return largest;
  }
};
} // namespace
