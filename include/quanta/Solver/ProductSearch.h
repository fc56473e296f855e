//===- ProductSearch.h - Grids of two operands for the least error of their product ---------------------------*- C++ -*-===//
//
// Z. Yuan et al., PTQ4ViT: Post-Training Quantization Framework for Vision Transformers, 2021, Algorithm 1.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SOLVER_PRODUCTSEARCH_H
#define QUANTA_SOLVER_PRODUCTSEARCH_H

#include "quanta/Solver/ActivationGrid.h"
#include <optional>

namespace quanta {

/// left · rightᵀ, what a layer or a product of activations computes on some data.
struct Product {
  MatrixView left;    ///< [rows, inner]
  MatrixView right;   ///< [columns, inner]
  MatrixView factors; ///< [rows, columns], of the errors before they are squared; empty: 1
  size_t firstGrid = 0; ///< of the rows of `right`, if they have one each
};

/// The grids of both operands. No grid: floats.
struct ProductGrids {
  std::optional<ActivationGrid> left;
  std::vector<ActivationGrid> right; ///< one, or one for each row of `right`
  double error = 0;                  ///< mean of (factor · (o − ô))²
  double energy = 0;                 ///< mean of (factor · o)²
};

/// What a search may choose from: one of `left`; for each grid of the right operand one of its `right[·][grid]`. An operand
/// without candidates keeps what it has.
struct ProductCandidates {
  std::vector<ActivationGrid> left;
  std::vector<std::vector<ActivationGrid>> right; ///< [candidates][grids]
};

/// Alternates `rounds` times: the right operand's grids that leave the least error given the left one's, then the other way
/// round. All products share the grids, but for those of rows of `right`. Of equal candidates the first wins. Ends early when
/// a round changes nothing. Cost: rounds · candidates products.
ProductGrids searchGrids(const std::vector<Product> &products, ProductGrids initial, const ProductCandidates &candidates,
                         unsigned rounds);

/// The error of these grids.
double measureGrids(const std::vector<Product> &products, const ProductGrids &grids);

/// The mean of o − ô of each column, rows weighted by their factors squared: what a bias can correct. [columns], of several
/// products one behind the other.
std::vector<double> measureBias(const std::vector<Product> &products, const ProductGrids &grids);

} // namespace quanta

#endif // QUANTA_SOLVER_PRODUCTSEARCH_H
