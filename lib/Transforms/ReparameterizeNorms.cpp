//===- ReparameterizeNorms.cpp - One grid for the channels of a norm ------------------------------------------------------===//
//
// Z. Li et al., RepQ-ViT: Scale Reparameterization for Post-Training Quantization of Vision Transformers, 2022.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "VisionSites.h"
#include "quanta/Solver/Reparameterize.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::ActivationGrid;
using ::quanta::MatrixView;

/// The layers that read a norm, if they are all that does.
static SmallVector<SiteState *> getReaders(LayerNormOp norm, std::deque<SiteState> &states) {
  SmallVector<SiteState *> readers;
  for (OpOperand &use : norm.getResult().getUses()) {
    auto state = llvm::find_if(states, [&](SiteState &state) { return state.site.op == use.getOwner(); });
    if (state == states.end() || !isa<LinearOp>(use.getOwner()) || use.getOperandNumber() != 0)
      return {};
    readers.push_back(&*state);
  }
  return readers;
}

static void reparameterize(LayerNormOp norm, ArrayRef<SiteState *> readers, MatrixView rows, unsigned bits, LayerConstants &constants) {
  std::vector<double> scales, zeros;
  std::vector<float> channel(rows.rows());
  for (int64_t c = 0; c < rows.columns(); ++c) {
    for (int64_t row = 0; row < rows.rows(); ++row)
      channel[row] = rows(row, c);
    ActivationGrid grid = ::quanta::fitToValues(MatrixView(channel.data(), 1, rows.rows()), bits, kRangeShares);
    scales.push_back(grid.scale);
    zeros.push_back(grid.zero);
  }
  ::quanta::Reparameterization change = ::quanta::reparameterize(scales, zeros, /*integerZero=*/true);
  std::vector<double> gamma = LayerConstants::read(norm.getScale()), beta = LayerConstants::read(norm.getBias());
  ::quanta::applyToNorm(change, gamma.data(), beta.data());
  constants.replace(norm->getOpOperand(1), gamma);
  constants.replace(norm->getOpOperand(2), beta);
  ActivationGrid grid;
  grid.bits = bits;
  grid.scale = static_cast<float>(change.scale);
  grid.zero = static_cast<int>(change.zero);
  for (SiteState *state : readers) {
    int64_t outputs = state->site.weights.rows(), inputs = state->site.weights.columns();
    std::vector<double> weights(state->weights.begin(), state->weights.end()), bias = LayerConstants::getBias(state->site.op);
    ::quanta::applyToReader(change, {weights.data(), outputs, inputs}, bias.data());
    llvm::copy(weights, state->weights.begin());
    constants.replace(state->site.op->getOpOperand(1), weights);
    constants.setBias(state->site.op, bias);
    state->given = grid;
  }
  norm.emitRemark() << "its channels' grids became one, of factors from "
                    << llvm::formatv("{0:f3} to {1:f3}", *llvm::min_element(change.factors), *llvm::max_element(change.factors));
}

llvm::Error mlir::quanta::reparameterizeNorms(ModuleOp module, std::deque<SiteState> &states, ModelProbe &probe, unsigned bits,
                                              int64_t rowsPerSample, LayerConstants &constants) {
  SmallVector<std::pair<LayerNormOp, SmallVector<SiteState *>>> norms;
  SmallVector<Value> values;
  module.walk([&](LayerNormOp norm) {
    if (!LayerConstants::isFloat(norm.getScale()) || !LayerConstants::isFloat(norm.getBias()))
      return;
    SmallVector<SiteState *> readers = getReaders(norm, states);
    if (readers.empty() || !llvm::all_of(readers, [](SiteState *state) { return LayerConstants::canChangeBias(state->site.op); }))
      return;
    norms.push_back({norm, readers});
    values.push_back(norm.getResult());
  });
  if (norms.empty())
    return llvm::Error::success();
  std::vector<ProductData> rowsOf;
  for (auto &[norm, readers] : norms)
    rowsOf.emplace_back(readers[0]->site, nullptr, rowsPerSample);
  auto keep = [&](size_t i, const ::quanta::Array &array) { return rowsOf[i].add(0, array); };
  if (llvm::Error error = probe.observe(values, keep))
    return error;
  for (auto [i, entry] : llvm::enumerate(norms))
    reparameterize(entry.first, entry.second, rowsOf[i].getProducts()[0].left, bits, constants);
  return llvm::Error::success();
}
