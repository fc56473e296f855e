//===- IntegerConv2D.h - Encoded images times encoded weights -------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGERCONV2D_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGERCONV2D_H

#include "Kernels.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Whether emitIntegerConv2D multiplies these: one known scale whose zero point is a code, uniform weights [O, C, KH, KW] whose sums
/// fit 32 bits and whose groups of columns are whole words of four, and `groups` of the convolution with 16 rows or more each: what
/// is collected for fewer costs more than integers save.
bool hasIntegerConv2D(Attribute activation, Attribute weight, ArrayRef<int64_t> shape, int64_t groups);

/// Rows and columns of zero points around the codes of an image: at least the pads of the convolutions that read it, and room for
/// their loads of 16 pixels, whichever of these is valid.
struct ImagePads {
  int64_t top = 0, left = 0, bottom = 0, right = 0;

  void include(ArrayRef<int64_t> pads, ArrayRef<int64_t> strides); ///< of a convolution
  void finish(int64_t width);                                      ///< of the image, or ShapedType::kDynamic

private:
  int64_t bytesBefore = 0, bytesBehind = 0;
};

/// codes[N, C, H′, W′] of x[N, C, H, W], signed bytes, that of zero around them. ins: x; config: activation, of one scale; top and left:
/// where the image begins; quads: in words of four channels (QuadConv2D.h).
void emitQuantizeImage(KernelBuilder &, const KernelArgs &);

/// y[N, O, OH, OW]. ins: codes[N, C, H′, W′], bias?, from which zero points have been subtracted already; weights: tiles of W; config: as conv2d,
/// activation, top and left; quads: codes are words. Integer sums are exact within a group of the weight's columns.
void emitIntegerConv2D(KernelBuilder &, const KernelArgs &);

} // namespace mlir::quanta
#endif
