//===- DirectConv2D.h - Convolution of floats with output channels in the lanes -------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_DIRECTCONV2D_H
#define QUANTA_LIB_CODEGEN_KERNELS_DIRECTCONV2D_H

#include "Kernels.h"

namespace mlir::quanta {

/// Neighbours in a grid that are computed together: a part of a row, or whole rows.
struct PixelBlock {
  int64_t rows = 1, columns = 1;
  int64_t pixels() const { return rows * columns; }
};

/// The block, of up to 16 pixels, and the number of tiles of lanes whose sums fit the registers and that take the fewest cycles for a grid
/// of this size and `allTiles`.
PixelBlock chooseBlock(const KernelBuilder &, int64_t rows, int64_t columns, int64_t allTiles, int64_t &tiles);

/// Copies rows of an image, one behind the other in the array `source` from `from` on, to `target`, `pitch` elements apart. What the last
/// vector of a row writes too far is zero.
void copyRows(KernelBuilder &b, Value rows, int64_t width, Value source, Value from, Value target, Value to, int64_t pitch);

/// Whether emitDirectConv2D takes this conv2d kernel: images of known size, a window of more than one pixel or with strides or pads,
/// and output channels that fill the lanes for three quarters or more.
bool hasDirectConv2D(const KernelBuilder &, const KernelArgs &);

/// As emitConv2D.
void emitDirectConv2D(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
