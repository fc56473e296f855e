//===- ChannelStore.cpp - From channels in the lanes to pixels in the lanes ------------------------------------------------===//
#include "ChannelStore.h"

using namespace mlir;
using namespace mlir::quanta;

/// Exchanges what lies on either side of the diagonal, in squares of 8, 4, 2 and 1.
static SmallVector<Value> transpose(KernelBuilder &b, SmallVector<Value> rows) {
  for (int64_t side : {8, 4, 2, 1}) {
    SmallVector<int64_t> upper, lower;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      upper.push_back(lane & side ? kLanes + (lane ^ side) : lane);
      lower.push_back(lane & side ? kLanes + lane : lane | side);
    }
    for (int64_t i = 0; i < kLanes; ++i) {
      if (i & side)
        continue;
      Value above = rows[i], below = rows[i | side];
      rows[i] = vector::ShuffleOp::create(b, above, below, upper);
      rows[i | side] = vector::ShuffleOp::create(b, above, below, lower);
    }
  }
  return rows;
}

void ChannelStore::emit(SmallVector<Value> pixels, Value count, Value n, Value channel, Value pixel) const {
  Value output = memref::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}}), exist = b.mask(count);
  pixels.resize(kLanes, b.tileOf(0.0f));
  for (auto [c, lanes] : llvm::enumerate(transpose(b, pixels)))
    b.storeTile(lanes, channels, {b.index(c), b.index(0)});
  // A loop, so that the epilogue is there once.
  b.loop(b.index(0), b.min(b.index(kLanes), b.sub(b.dim(y, 1), channel)), 1, [&](Value c) {
    SmallVector<Value> place{n, b.add(channel, c), pixel};
    auto load = [&](Value operand, EpilogueOperand kind) { return epilogue.loadPixels(operand, kind, place, exist); };
    b.storeMasked(epilogue.apply(b.loadTile(channels, {c, b.index(0)}), load), output, place, exist);
  });
}
