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

} // namespace mlir::quanta

#endif // QUANTA_LIB_CODEGEN_KERNELS_VISIONGRIDS_H
