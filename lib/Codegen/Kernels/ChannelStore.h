//===- ChannelStore.h - From channels in the lanes to pixels in the lanes -------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CHANNELSTORE_H
#define QUANTA_LIB_CODEGEN_KERNELS_CHANNELSTORE_H

#include "Epilogue.h"

namespace mlir::quanta {

/// Stores sums of neighbouring pixels whose lanes are 16 output channels to y[N, O, OH, OW], or codes of them to words of four channels
/// (QuadConv2D.h), or both, with all that follows them.
class ChannelStore {
public:
  ChannelStore(KernelBuilder &b, const KernelArgs &args);

  Epilogue epilogue;

  /// Rows and columns of the result.
  std::pair<int64_t, int64_t> size() const { return {height, width}; }
  /// Before codes are stored.
  void emitBorders() const;
  /// In a task.
  void emitTask() { lanes = b.scratch({kLanes, kLanes}, b.getF32Type()); }
  /// `pixels`: up to 16 vectors, the first `count` of which exist and lie next to each other from there in image n on, codes in one row;
  /// lanes: channels `channel` … of the image's.
  void emit(SmallVector<Value> pixels, Value count, Value n, Value channel, Value row, Value column) const;

private:
  KernelBuilder &b;
  const KernelArgs &args;
  int64_t channels, height, width;
  Value output, lanes;
};

} // namespace mlir::quanta
#endif
