//===- Cache.h - How keys and values lie in an instance's memory ----------------------------------------*- C++ -*-===//
//
// Attention multiplies queries by keys with positions in the lanes, and probabilities by values with channels in the lanes, so
// keys [B, H, N, D] lie in tiles of 16 positions, a channel's 16 values side by side, [B, H, N/16, D, 16], and values a position
// at a time, [B, H, N, D]. Either way a new position is written without moving another one, and attention reads what is
// there without a transposition. Positions are rounded up to whole blocks of 32, channels of values to whole tiles.
//
// Encoded positions (#quanta.cache) lie in 32-bit words, one a lane: a lane of keys has 32 consecutive channels of its
// position, a lane of values 32 consecutive positions of its channel, `bits` words each. A code's bits are split into fields of
// 8, 4, 2 and 1 bits, widest first and lowest bits first; a field of w bits takes w words, 32/w codes each. The newest
// positions are floats in a ring, as above, where position p has slot p mod ring.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CACHE_H
#define QUANTA_LIB_CODEGEN_KERNELS_CACHE_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Positions are decoded and multiplied in multiples of this; chunks begin at them.
constexpr int64_t kCacheBlock = CacheAttr::kBlock;

/// Angles lie as the keys do that they rotate.
inline bool hasPositionsInLanes(CacheRole role) { return role != CacheRole::Value; }

/// The arrays of a cache of this type [B, H, N, D].
SmallVector<Component> getCacheComponents(RankedTensorType type, CacheRole role);

/// The arrays of one cache, for an emitter.
struct CacheMemory {
  CacheMemory(KernelBuilder &b, RankedTensorType type, CacheRole role, ValueRange arrays);

  int64_t channels() const { return type.getDimSize(3); }
  bool isEncoded() const { return encoding != nullptr; }
  /// Where floats are: everything, or the newest positions.
  Value floats() const { return arrays.back(); }
  /// The slot of a position there.
  Value slot(Value position);
  /// Positions of `length` that are encoded.
  Value encodedPositions(Value length);

  KernelBuilder &b;
  RankedTensorType type;
  CacheAttr encoding; ///< null for floats
  CacheRole role;
  SmallVector<Value> arrays; ///< codes, scales and maybe offsets if encoded; floats
  Value batch, head;         ///< what the emitter works on
};

/// Reads a cache a chunk of positions at a time.
class CacheReader {
public:
  /// `copies`: what is read may be changed, by `rotate`.
  CacheReader(KernelBuilder &b, RankedTensorType type, CacheRole role, ValueRange arrays, bool copies = false)
      : memory(b, type, role, arrays), b(b), copies(copies || memory.isEncoded()) {}

  int64_t rows() const { return memory.type.getDimSize(0); }
  int64_t heads() const { return memory.type.getDimSize(1); }
  int64_t channels() const { return memory.channels(); }
  /// Makes room for chunks of `positions` of a head, in the task that reads them.
  void begin(Value batch, Value head, int64_t positions);
  /// Makes `count` positions from `from` on readable, of `length` that are stored.
  void prepare(Value from, Value count, Value length);
  /// Rotates these keys (quanta.rotary) by angles that have been prepared for the same positions.
  void rotate(CacheReader &cosines, CacheReader &sines, Value count);
  /// Keys: channel `channel` of the 16 positions of tile `tile` of the chunk. Those past the last are anything.
  Value loadKeys(Value tile, Value channel);
  /// Values: 16 channels of a position of the chunk. Those past the last are anything.
  Value loadValues(Value position, Value tile);

private:
  void decodeBlock(Value position, Value at);
  void copyBlock(Value position, Value at);

  CacheMemory memory;
  KernelBuilder &b;
  bool copies; ///< chunks are read from `scratch`
  Value from;
  Value scratch;
  Value scales, offsets;
};

} // namespace mlir::quanta
#endif
