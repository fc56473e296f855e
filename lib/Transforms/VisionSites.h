//===- VisionSites.h - Products of a vision model, and what is found for them ----------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_VISIONSITES_H
#define QUANTA_LIB_TRANSFORMS_VISIONSITES_H

#include "LayerConstants.h"
#include "ProductSites.h"
#include "SwitchedModel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <deque>

namespace mlir::quanta {

/// Shares of ranges that are tried: 0.2, 0.24, … 1. Wider ranges than the whole one serve nobody.
inline constexpr ::quanta::CandidateOptions kRangeShares{0.2, 1.04, 21};

/// What was found for a site.
struct SiteSolution {
  ::quanta::ProductGrids grids;
  std::vector<double> bias; ///< to add to the layer's; empty: none
  double relativeError = 0;
};

/// A site, its data and what it gets.
struct SiteState {
  ProductSite site;
  std::vector<float> weights; ///< what site.weights views
  std::optional<Sensitivity> sensitivity;
  std::optional<ProductData> data;
  std::optional<ProductData> equalData;        ///< without the sensitivity, if there is one
  std::optional<::quanta::ActivationGrid> given; ///< of the first operand, by reparameterisation
  SiteSolution solution;
};

/// The nearest scale that f16 has, if it has one.
double roundToHalf(double scale);

/// RepQ-ViT: for each layer norm whose only readers are linear layers among `states`, one grid of `bits` bits for all of its
/// channels (`given` of its readers), which its parameters and its readers' weights and biases are changed for.
llvm::Error reparameterizeNorms(ModuleOp module, std::deque<SiteState> &states, ModelProbe &probe, unsigned bits, int64_t rowsPerSample,
                                LayerConstants &constants);

/// Encodes weights, of `bits` bits, and activations as their grids say, and corrects biases.
llvm::Error encodeSites(ModuleOp module, std::deque<SiteState> &states, unsigned bits, LayerConstants &constants);

/// What these solutions of the states, one each, do to the model's output (SwitchedModel::measure).
llvm::Expected<double> measureSolutions(SwitchedModel &model, ModuleOp module, const std::deque<SiteState> &states,
                                        ArrayRef<SiteSolution> solutions, unsigned bits);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_VISIONSITES_H
