//===- VisionGrids.h - Activations rounded to twin-uniform and logarithmic values ------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_VISIONGRIDS_H
#define QUANTA_LIB_CODEGEN_KERNELS_VISIONGRIDS_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// The nearest value that `encoding`, #quanta.twin or #quanta.log2, has for the f32 scalar x.
Value emitNearest(KernelBuilder &b, EncodingAttrInterface encoding, Value x);

/// The codes of #quanta.twin for x, an f32 or a tile of it, as f32: of the coarse region and, with its sign, of the fine one.
/// The other one is zero.
std::pair<Value, Value> emitTwinCodes(KernelBuilder &b, TwinAttr twin, Value x);

/// Powers of two that fit a signed byte: 2⁶ … 1.
inline constexpr int32_t kLogExponents = 7;

/// Some codes of #quanta.log2 as powers of two in bytes: `first`, or every second one from it on with a root, to `last`, 2⁶ · scale to
/// scale at least.
struct LogRegion {
  float scale;
  int32_t first, last;
};
SmallVector<LogRegion> getLogRegions(Log2Attr log);

/// For x, an f32 or a tile of it, 2⁶ … 1 as f32 in the region that has its code, and 0 in the others.
SmallVector<Value> emitLogCodes(KernelBuilder &b, Log2Attr log, Value x);

} // namespace mlir::quanta

#endif // QUANTA_LIB_CODEGEN_KERNELS_VISIONGRIDS_H
