//===- ChannelStore.h - From channels in the lanes to pixels in the lanes -------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CHANNELSTORE_H
#define QUANTA_LIB_CODEGEN_KERNELS_CHANNELSTORE_H

#include "Epilogue.h"

namespace mlir::quanta {

/// Stores sums of neighbouring pixels whose lanes are 16 output channels to y[N, O, OH, OW], with all that follows them.
class ChannelStore {
public:
  ChannelStore(KernelBuilder &b, const KernelArgs &args) : epilogue(b, args), b(b), y(args.outputs[0]) {}

  Epilogue epilogue;

  /// In a task.
  void emitTask() { channels = b.scratch({kLanes, kLanes}, b.getF32Type()); }
  /// `pixels`: up to 16 vectors, the first `count` of which exist and lie next to each other from `pixel` of image n on; lanes: channels
  /// `channel` … of the image's.
  void emit(SmallVector<Value> pixels, Value count, Value n, Value channel, Value pixel) const;

private:
  KernelBuilder &b;
  Value y, channels;
};

} // namespace mlir::quanta
#endif
