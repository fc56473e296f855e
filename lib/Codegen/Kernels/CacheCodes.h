//===- CacheCodes.h - Codes and scales of an encoded cache -----------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CACHECODES_H
#define QUANTA_LIB_CODEGEN_KERNELS_CACHECODES_H

#include "Cache.h"

namespace mlir::quanta {

/// 32 tiles of codes to `bits` tiles of words, and back (the order is in Cache.h).
SmallVector<Value> packCodes(KernelBuilder &b, ArrayRef<Value> codes, int64_t bits);
SmallVector<Value> unpackCodes(KernelBuilder &b, ArrayRef<Value> words, int64_t bits);

/// Reads all scales and offsets of a row of the arrays (batch, head, block or group of positions) as f32 to `scales` and
/// `offsets`: [channel], or [group][32 positions]. A sketch's codes 0 and 1 stand for its magnitude with either sign.
void widenScales(KernelBuilder &b, CacheMemory &memory, ArrayRef<Value> row, Value scales, Value offsets);
/// Writes them from f32, and replaces scales by the numbers that codes are made with: offsets as they are stored, and the
/// inverse of the stored scale, 0 for 0. Signs need neither.
void narrowScales(KernelBuilder &b, CacheMemory &memory, ArrayRef<Value> row, Value scales, Value offsets);

} // namespace mlir::quanta
#endif
