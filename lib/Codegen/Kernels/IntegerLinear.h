//===- IntegerLinear.h - Encoded activations times encoded weights -------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGERLINEAR_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGERLINEAR_H

#include "Kernels.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Encodings of activations with scales that are found while the model runs, one a row: symmetric of 2 to 8 bits, or 1 to 7 bits
/// above an offset.
bool isTokenActivation(UniformAttr encoding);

/// Columns that share the scales of weights and activations.
struct IntegerPart {
  int64_t firstBlock, firstColumn, columns, group; ///< firstBlock: in a tile of the weight; group: of the weight
  int64_t segment;                                 ///< of the activation
};
/// Of #quanta.affine or #quanta.twin, from the first column to the last; none if a segment begins within a block of the weight's
/// columns. The regions of #quanta.twin are two segments of all columns, coarse and fine: an element is zero in one of them,
/// and its product with the weight is exact in both (PTQ4ViT: a shift aligns them; here each sum is scaled).
std::vector<IntegerPart> getIntegerParts(Attribute activation, UniformAttr weight, ArrayRef<int64_t> shape);
/// The scale of each segment.
SmallVector<float> getSegmentScales(Attribute activation);
/// Codes that a row of so many columns takes, zeros at its end and at that of each region included.
int64_t getCodeColumns(Attribute activation, int64_t columns);

/// Whether emitIntegerLinear multiplies these: activations with a scale a row, or with known scales whose segments begin
/// where blocks of the weight do; uniform weights whose groups are short enough for sums of 32 bits.
bool hasIntegerLinear(Attribute activation, Attribute weight, ArrayRef<int64_t> shape);

/// y[M, N] = x · Wᵀ + bias. ins: codes of x [M, K′], signed bytes, zeros from column K on, of #quanta.twin coarse codes and then fine ones; then of #quanta.uniform scales [M],
/// and with offsets those [M] and the sums of W's rows [N]; or for several segments the parts [P, 4] (first block, first column, columns, group; i32) and their scales [P];
/// then bias?, from which zero points have been subtracted already. weights: tiles of W; config: activation, encoding, shape.
/// Integer sums are exact within a part.
void emitIntegerLinear(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
