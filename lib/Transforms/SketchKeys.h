//===- SketchKeys.h - Keys as signs of projections ------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_SKETCHKEYS_H
#define QUANTA_LIB_TRANSFORMS_SKETCHKEYS_H

#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Gives a cache of keys [B, H, N, D] `copies` · D channels: what is appended to it, and the queries of those who read it, are
/// multiplied by S / √(copies · D) (quanta::makeSketch), which leaves their products as they are. The cache can then be encoded
/// as #quanta.cache<sketch>. Errors: keys that are rotated when they are read.
LogicalResult sketchKeys(CacheOp cache, ArrayRef<CacheAppendOp> appends, ArrayRef<CacheReadOp> reads, int64_t copies, uint64_t seed);

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_SKETCHKEYS_H
