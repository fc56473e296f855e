//===- WinogradConv2D.h - Convolution of 3 × 3 taps with fewer multiplications --------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_WINOGRADCONV2D_H
#define QUANTA_LIB_CODEGEN_KERNELS_WINOGRADCONV2D_H

#include "Kernels.h"

namespace mlir::quanta {

/// Whether emitWinogradConv2D takes this conv2d kernel: 3 × 3 taps without strides and dilations, weights of floats, images of known
/// size, and enough channels on both sides to pay for the transforms.
bool hasWinogradConv2D(const KernelBuilder &, const KernelArgs &);

/// As emitConv2D. The error is about twice that of the sums themselves: inputs are added up in pairs of pairs, nothing else is rounded
/// more often.
void emitWinogradConv2D(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
