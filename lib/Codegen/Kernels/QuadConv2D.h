//===- QuadConv2D.h - Encoded images in words of four channels ------------------------------------------*- C++ -*-===//
//
// Codes of an image [N, ⌈C/4⌉, H′, W′]: a word holds those of four neighbouring channels of a pixel, as bytes with 128 added, so that
// they have no sign; channels that don't exist are 128. Borders are the code of zero.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_QUADCONV2D_H
#define QUANTA_LIB_CODEGEN_KERNELS_QUADCONV2D_H

#include "Kernels.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

constexpr int64_t kQuad = 4;

/// Whether emitQuadConv2D multiplies what hasIntegerConv2D allows: weights [O, C, KH, KW] with a scale a row, one group of the convolution, images of known size.
bool hasQuadConv2D(Attribute weight, ArrayRef<int64_t> shape, int64_t groups, RankedTensorType x, RankedTensorType y);

/// Components of the weight [rows, channels · taps] with its columns in the order of the words: four channels of a tap, then those of the
/// next tap, then the next channels; `columns` gets their number. Null if the codes cannot be read.
DictionaryAttr reorderForQuads(DictionaryAttr weight, UniformAttr encoding, int64_t rows, int64_t channels, int64_t taps, int64_t &columns);

/// Words of 16 pixels, of signed bytes of four channels.
Value emitQuad(KernelBuilder &b, ArrayRef<Value> channels);
/// Gives all words [N, quads, H′, W′] the code of zero.
void fillQuads(KernelBuilder &b, Value words, int64_t channels, int8_t zero);

/// As emitQuantizeImage.
void emitQuantizeQuads(KernelBuilder &, const KernelArgs &);

/// As emitIntegerConv2D, with the same results; config: also matrix, rows and columns of the reordered weight.
void emitQuadConv2D(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
