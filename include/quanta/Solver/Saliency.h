//===- Saliency.h - Which weights matter most -----------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_SALIENCY_H
#define QUANTA_SOLVER_SALIENCY_H

#include "quanta/Solver/Sweep.h"
#include <vector>

namespace quanta {

/// |w|, row major.
std::vector<double> magnitudeSaliency(MatrixView weights);

/// w²/U_jj² with H⁻¹ = UᵀU, U upper: what dropping w costs once the columns before it are fixed (SparseGPT, PB-LLM).
/// PB-LLM's text prints [H⁻¹]_jj² instead of U_jj²; its dimension does not fit the loss it is derived from.
std::vector<double> hessianSaliency(MatrixView weights, const std::vector<double> &factorDiagonal);

/// H_jj·‖w_j‖² of each column.
std::vector<double> columnSaliency(MatrixView weights, const std::vector<double> &hessianDiagonal);

/// The masks hold one byte a weight (or column): 1 is salient.
///
/// PB-LLM's rule: in each group of columns, over all rows, an element is low if its score does not exceed element
/// ⌊lowFraction·size⌋ of the sorted scores. At least one element of a group is low; ties are low. group 0: all columns.
std::vector<uint8_t> elementMask(MatrixViewF64 saliency, double lowFraction, int64_t group = 0);

/// Whole columns, round(fraction·columns) of them, by the sum of their scores; of equal sums the first. [columns]
std::vector<uint8_t> columnMask(MatrixViewF64 saliency, double fraction);

/// PTQ1.61's rule: the columns whose largest activation is at least element ⌊fraction·columns⌋ of all of them in
/// descending order: one more than the fraction says, and more with ties. [columns]
std::vector<uint8_t> activationMask(const std::vector<double> &activationMax, double fraction);

/// The regular form: exactly `kept` elements of every row in every tile of `tile` columns (fewer only if the last tile
/// has fewer columns), so that a vector of a kernel always finds the same number of them. Of equal scores the first.
std::vector<uint8_t> tileMask(MatrixViewF64 saliency, int64_t tile, int64_t kept);

/// How a mask of elements is stored.
enum class MaskIndex : uint8_t {
  None,       ///< known from elsewhere
  Bitmap,     ///< a bit a weight
  Csr,        ///< 16 bits a salient weight, 32 bits for each of rows + 1 offsets
  BlockLocal, ///< 7 bits a salient weight and an 8-bit count for each row of a 128-column block
  Tile,       ///< which of the C(tile, kept) choices, in ⌈log2 C⌉ bits a tile; only for a tileMask
  Column,     ///< a bit a column; only for masks of whole columns
};

/// The exact bits of a mask with `salient` ones; tile and kept matter only to MaskIndex::Tile.
int64_t maskBits(MaskIndex index, int64_t rows, int64_t columns, int64_t salient, int64_t tile = 32, int64_t kept = 0);

} // namespace quanta

#endif // QUANTA_SOLVER_SALIENCY_H
