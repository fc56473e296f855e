//===- IntegerMatrix.h - Integer linear layers on a matrix unit -----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGERMATRIX_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGERMATRIX_H

#include "IntegerOperands.h"

namespace mlir::quanta {

/// Fewest rows of activations that are worth the target's matrix unit; none if it has no such unit.
std::optional<int64_t> getFewestMatrixRows(const ::quanta::TargetLevel &level, const IntegerTiles &weight);

/// Multiplies all rows; columnSums have been made, unless activations are signs.
void emitIntegerMatrix(IntegerOperands &);

} // namespace mlir::quanta
#endif
