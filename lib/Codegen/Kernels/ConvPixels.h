//===- ConvPixels.h - Taps of neighbouring output pixels, collected for a product ----------------------*- C++ -*-===//
//
// Sixteen neighbouring pixels lie in few output rows, and with stride 1 the inputs of each row are neighbours too: one masked
// load for each row. Gathers (20 cycles and more for 16 lanes) remain for other strides and for narrow images of unknown width.
// Which lanes a tap reads depends on its place in the window and not on the channel, so the masks are computed once for a
// tile of pixels and kept on the stack. Taps outside the image read zeros.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CONVPIXELS_H
#define QUANTA_LIB_CODEGEN_KERNELS_CONVPIXELS_H

#include "Kernels.h"

namespace mlir::quanta {

/// How far columns of a convolution's weight [channels · taps] lie behind the first one in an image whose rows have `stored` elements and
/// whose channels have `plane`: an array of them, which is the caller's to free.
Value emitTapOffsets(KernelBuilder &b, int64_t channels, ArrayRef<int64_t> window, ArrayRef<int64_t> dilations, Value stored, Value plane);

/// 16 output pixels: where their windows begin in an input channel, and which lanes each tap may read.
struct PixelTile {
  Value offset;                     ///< of each lane, i32: row · width + column of its window's first tap
  SmallVector<Value> segmentOffset; ///< index, for each output row that the lanes touch: lane i reads segmentOffset + i
  Value fewRows;                    ///< i1: all lanes lie in those rows; null if that is certain
};

/// Reads x[N, C, H, W], of f32 or i32, for a convolution's outputs y[N, O, OH, OW]. `args` has its strides, pads and dilations, and
/// the kernel's sizes at the end of its shape.
class PixelCollector {
public:
  PixelCollector(KernelBuilder &b, const KernelArgs &args);

  int64_t window() const { return taps; } ///< taps of a channel
  Type elementType() const { return cast<MemRefType>(input.getType()).getElementType(); }
  Value zero() const;
  /// Before the parallel tasks.
  void emitSizes();
  /// In a task that has `tiles` tiles.
  void emitTask(int64_t tiles);
  PixelTile describe(Value first, Value valid, Value slot);
  /// Fills panel[slot][0 … count) with columns `begin` … of the contraction, channel by channel and tap by tap; `plane` is where the
  /// first channel lies. columnOf, if given, says which column is to be the k-th.
  void collect(const PixelTile &tile, Value panel, Value slot, Value plane, Value begin, Value count,
               function_ref<Value(Value)> columnOf = nullptr);

  Value input, height, width, outWidth, image; ///< x as one array; sizes; elements of a channel

private:
  Value splatI32(Value index) { return b.splat(arith::IndexCastOp::create(b, b.getI32Type(), index)); }
  Value firstLane(Value tile) { return arith::IndexCastOp::create(b, b.getIndexType(), Value(vector::ExtractOp::create(b, tile, 0))); }
  /// 0 ≤ value < size in one unsigned comparison.
  Value inside(Value value, Value size) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value, size); }
  Value both(Value p, Value q) { return arith::AndIOp::create(b, p, q); }
  /// Masks lie in memory as the 16 bits that they are.
  void storeMask(Value mask, ValueRange indices) {
    Value word = vector::BitCastOp::create(b, VectorType::get({1}, b.getI16Type()), mask);
    memref::StoreOp::create(b, Value(vector::ExtractOp::create(b, word, 0)), masks, indices);
  }
  Value loadMask(ValueRange indices) {
    Value word = vector::BroadcastOp::create(b, VectorType::get({1}, b.getI16Type()), b.load(masks, indices));
    return vector::BitCastOp::create(b, VectorType::get({kLanes}, b.getI1Type()), word);
  }
  /// Gathers use one mask for all lanes, kept behind those of the segments.
  bool gathers() const { return segments == 0 || anyWidth; }

  KernelBuilder &b;
  Value x, y;
  ArrayRef<int64_t> shape, strides, pads, dilations;
  int64_t taps, segments = 0;
  bool anyWidth;
  Value lanes, masks, shifts; ///< [taps] distance of each tap from the first, in elements
};

} // namespace mlir::quanta
#endif
