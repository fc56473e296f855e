//===- Cache.cpp - Key/value caches: layout and reading -------------------------------------------------------------------===//
#include "Cache.h"
#include "CacheCodes.h"
#include "Half.h"

using namespace mlir;
using namespace mlir::quanta;

SmallVector<Component> mlir::quanta::getCacheComponents(RankedTensorType type, CacheRole role) {
  auto encoding = cast_or_null<CacheAttr>(type.getEncoding());
  int64_t rows = type.getDimSize(0), heads = type.getDimSize(1), channels = type.getDimSize(3);
  int64_t positions = llvm::alignTo(type.getDimSize(2), encoding ? encoding.getBlock() : kCacheBlock);
  int64_t stored = encoding ? std::min(encoding.getRecentPositions(), positions) : type.getDimSize(2);
  int64_t tiles = llvm::divideCeil(channels, kLanes), words = llvm::divideCeil(channels, kCacheBlock);
  Type f32 = Float32Type::get(type.getContext()), f16 = Float16Type::get(type.getContext()), i32 = IntegerType::get(type.getContext(), 32);
  bool isKey = hasPositionsInLanes(role);
  Component floats = isKey ? Component{"recent", {rows, heads, int64_t(llvm::divideCeil(stored, kCacheBlock)) * 2, channels, kLanes}, f32}
                           : Component{"recent", {rows, heads, int64_t(llvm::alignTo(stored, kCacheBlock)), tiles * kLanes}, f32};
  if (!encoding) {
    floats.name.clear();
    return {floats};
  }
  int64_t bits = encoding.getBits();
  Component codes = isKey ? Component{"codes", {rows, heads, positions / kLanes, words * bits, kLanes}, i32}
                          : Component{"codes", {rows, heads, positions / kCacheBlock, tiles * bits, kLanes}, i32};
  Component scales{"scales", {rows, heads, positions / encoding.getBlock(), tiles * kLanes}, f16};
  if (encoding.getScale() != CacheScale::Channel) {
    // Positions side by side: those of a tile of keys are lanes.
    int64_t groups = llvm::divideCeil(channels, encoding.getGroupChannels(channels));
    scales.shape = {rows, heads, positions / kCacheBlock, groups, kCacheBlock};
  }
  SmallVector<Component> components{codes, scales};
  if (encoding.hasOffsets())
    components.push_back({"offsets", scales.shape, f16});
  components.push_back(floats);
  return components;
}

CacheMemory::CacheMemory(KernelBuilder &b, RankedTensorType type, CacheRole role, ValueRange arrays)
    : b(b), type(type), encoding(cast_or_null<CacheAttr>(type.getEncoding())), role(role), arrays(arrays) {}

Value CacheMemory::slot(Value position) { return isEncoded() ? b.rem(position, encoding.getRecentPositions()) : position; }

Value CacheMemory::encodedPositions(Value length) {
  Value old = b.max(b.sub(length, b.index(encoding.getWindow())), b.index(0));
  return b.mul(b.div(old, encoding.getBlock()), encoding.getBlock());
}

//===- Reading ------------------------------------------------------------------------------------------------------------===//

void CacheReader::begin(Value batch, Value head, int64_t positions) {
  memory.batch = batch;
  memory.head = head;
  if (!copies)
    return;
  int64_t width = llvm::alignTo(channels(), kCacheBlock);
  scratch = hasPositionsInLanes(memory.role) ? b.scratch({positions / kLanes, width, kLanes}, b.getF32Type())
                                             : b.scratch({positions, int64_t(llvm::alignTo(channels(), kLanes))}, b.getF32Type());
  if (!memory.isEncoded())
    return;
  scales = b.scratch({width}, b.getF32Type());
  offsets = b.scratch({width}, b.getF32Type());
}

void CacheReader::prepare(Value first, Value count, Value length) {
  from = first;
  if (!copies)
    return;
  Value encoded = memory.isEncoded() ? memory.encodedPositions(length) : Value();
  b.loop(b.index(0), count, kCacheBlock, [&](Value at) {
    Value position = b.add(from, at);
    if (!encoded)
      copyBlock(position, at);
    else
      b.ifThen(b.less(position, encoded), [&] { decodeBlock(position, at); }, [&] { copyBlock(position, at); });
  });
}

void CacheReader::copyBlock(Value position, Value at) {
  Value slot = memory.slot(position), batch = memory.batch, head = memory.head, zero = b.index(0);
  if (hasPositionsInLanes(memory.role)) {
    for (int64_t t = 0; t < kCacheBlock / kLanes; ++t)
      b.loop(zero, b.index(channels()), 1, [&](Value d) {
        Value tile = b.loadTile(memory.floats(), {batch, head, b.add(b.div(slot, kLanes), t), d, zero});
        b.storeTile(tile, scratch, {b.add(b.div(at, kLanes), t), d, zero});
      });
    return;
  }
  b.loop(zero, b.index(kCacheBlock), 1, [&](Value j) {
    for (int64_t d = 0; d < channels(); d += kLanes)
      b.storeTile(b.loadTile(memory.floats(), {batch, head, b.add(slot, j), b.index(d)}), scratch, {b.add(at, j), b.index(d)});
  });
}

/// 32 positions. Each code is multiplied by a scale that is its lane's, or that its lane shares with all others.
void CacheReader::decodeBlock(Value position, Value at) {
  CacheAttr encoding = memory.encoding;
  bool isKey = hasPositionsInLanes(memory.role), byToken = encoding.getScale() != CacheScale::Channel;
  Value batch = memory.batch, head = memory.head, zero = b.index(0), block = b.div(position, kCacheBlock);
  int64_t bits = encoding.getBits(), groupChannels = encoding.getGroupChannels(channels());
  widenScales(b, memory, {batch, head, b.div(position, encoding.getBlock())}, scales, offsets);

  auto decode = [&](ArrayRef<Value> index, function_ref<std::pair<Value, Value>(int64_t)> affine, function_ref<void(int64_t, Value)> store) {
    SmallVector<Value> words;
    for (int64_t w = 0; w < bits; ++w) {
      SmallVector<Value> word(index);
      word[3] = b.add(index[3], w);
      words.push_back(b.loadTile(memory.arrays[0], word));
    }
    SmallVector<Value> codes = unpackCodes(b, words, bits);
    for (int64_t j = 0; j < kCacheBlock; ++j) {
      auto [scale, offset] = affine(j);
      store(j, b.fma(arith::SIToFPOp::create(b, b.f32Tile(), codes[j]), scale, offset));
    }
  };
  auto lanes = [&](Value i) { return std::pair(b.loadTile(scales, {i}), b.loadTile(offsets, {i})); };
  auto shared = [&](Value i) { return std::pair(b.splat(b.load(scales, {i})), b.splat(b.load(offsets, {i}))); };

  if (isKey) {
    for (int64_t t = 0; t < kCacheBlock / kLanes; ++t)
      b.loop(zero, b.index(llvm::alignTo(channels(), kCacheBlock)), kCacheBlock, [&](Value first) {
        Value tile = b.add(b.mul(block, kCacheBlock / kLanes), t), word = b.mul(b.div(first, kCacheBlock), bits);
        auto ofToken = byToken ? lanes(b.add(b.mul(b.div(first, groupChannels), kCacheBlock), t * kLanes)) : std::pair<Value, Value>();
        decode({batch, head, tile, word, zero}, [&](int64_t j) { return byToken ? ofToken : shared(b.add(first, j)); },
               [&](int64_t j, Value value) { b.storeTile(value, scratch, {b.add(b.div(at, kLanes), t), b.add(first, j), zero}); });
      });
    return;
  }
  b.loop(zero, b.index(channels()), kLanes, [&](Value first) {
    Value word = b.mul(b.div(first, kLanes), bits), group = b.mul(b.div(first, groupChannels), kCacheBlock);
    auto ofChannels = byToken ? std::pair<Value, Value>() : lanes(first);
    decode({batch, head, block, word, zero}, [&](int64_t j) { return byToken ? shared(b.add(group, j)) : ofChannels; },
           [&](int64_t j, Value value) { b.storeTile(value, scratch, {b.add(at, j), first}); });
  });
}

void CacheReader::rotate(CacheReader &cosines, CacheReader &sines, Value count) {
  int64_t half = channels() / 2;
  b.loop(b.index(0), b.ceilDiv(count, kLanes), 1, [&](Value tile) {
    b.loop(b.index(0), b.index(half), 1, [&](Value lower) {
      // The same operations in the same order as the kernel "rotary": rotated now or then, keys are the same.
      Value upper = b.add(lower, half), first = loadKeys(tile, lower), second = loadKeys(tile, upper);
      Value turned = b.subf(b.mulf(first, cosines.loadKeys(tile, lower)), b.mulf(second, sines.loadKeys(tile, lower)));
      Value other = b.fma(second, cosines.loadKeys(tile, upper), b.mulf(first, sines.loadKeys(tile, upper)));
      b.storeTile(turned, scratch, {tile, lower, b.index(0)});
      b.storeTile(other, scratch, {tile, upper, b.index(0)});
    });
  });
}

Value CacheReader::loadKeys(Value tile, Value channel) {
  if (copies)
    return b.loadTile(scratch, {tile, channel, b.index(0)});
  return b.loadTile(memory.floats(), {memory.batch, memory.head, b.add(b.div(from, kLanes), tile), channel, b.index(0)});
}

Value CacheReader::loadValues(Value position, Value tile) {
  if (copies)
    return b.loadTile(scratch, {position, b.mul(tile, kLanes)});
  return b.loadTile(memory.floats(), {memory.batch, memory.head, b.add(from, position), b.mul(tile, kLanes)});
}
