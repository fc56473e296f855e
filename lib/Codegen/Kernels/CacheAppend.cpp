//===- CacheAppend.cpp - Writing new positions to a key/value cache --------------------------------------------------------===//
//
// Every new position is written as floats. When a block of an encoded cache is older than the window it is encoded from there,
// so that the result does not depend on how many positions come at once.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "CacheCodes.h"
#include "Kernels.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::quanta;

namespace {
class Encoder {
public:
  explicit Encoder(CacheMemory &memory)
      : memory(memory), b(memory.b), encoding(memory.encoding), bits(encoding.getBits()), channels(memory.channels()),
        tiles(llvm::divideCeil(channels, kLanes)), groupChannels(encoding.getGroupChannels(channels)) {}

  /// Room for one block, in the task that encodes it.
  void allocate() {
    int64_t width = llvm::alignTo(channels, kCacheBlock);
    scales = b.scratch({width}, b.getF32Type());
    offsets = b.scratch({width}, b.getF32Type());
  }

  /// Encodes the block of positions that begins at `start`.
  void encode(Value start) {
    Value slot = memory.slot(start), row = b.div(start, encoding.getBlock());
    bool byToken = encoding.getScale() != CacheScale::Channel, isKey = hasPositionsInLanes(memory.role);
    if (encoding.getScale() == CacheScale::Sketch)
      isKey ? lengthOfKeys(slot) : lengthOfValues(slot);
    else if (isKey)
      byToken ? rangeOfKeyTokens(slot) : rangeOfKeyChannels(slot);
    else
      byToken ? rangeOfValueTokens(slot) : rangeOfValueChannels(slot);
    narrowScales(b, memory, {memory.batch, memory.head, row}, scales, offsets);
    isKey ? encodeKeys(start, slot, byToken) : encodeValues(start, slot, byToken);
  }

private:
  using Range = std::pair<Value, Value>;

  Value key(Value tile, Value channel) {
    return b.loadTile(memory.floats(), {memory.batch, memory.head, tile, channel, b.index(0)});
  }
  Value value(Value slot, Value channel) { return b.loadTile(memory.floats(), {memory.batch, memory.head, slot, channel}); }

  Range empty() {
    return {b.tileOf(std::numeric_limits<float>::infinity()), b.tileOf(-std::numeric_limits<float>::infinity())};
  }
  SmallVector<Value> extend(ValueRange range, Value tile) {
    return {arith::MinNumFOp::create(b, range[0], tile), arith::MaxNumFOp::create(b, range[1], tile)};
  }
  SmallVector<Value> rangeOf(Value from, Value to, int64_t step, function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto [low, high] = empty();
    return b.loop(from, to, step, {low, high}, body);
  }

  Value perLevel(Value low, Value high) {
    Value range = b.subf(high, low), factor = b.f32(1.0f / ((1 << bits) - 1));
    return b.mulf(range, isa<VectorType>(low.getType()) ? b.splat(factor) : factor);
  }
  void storeRange(ValueRange range, Value at) {
    b.storeTile(perLevel(range[0], range[1]), scales, {at});
    b.storeTile(range[0], offsets, {at});
  }
  void storeScalarRange(ValueRange range, Value at) {
    Value low = vector::ReductionOp::create(b, vector::CombiningKind::MINNUMF, range[0]);
    Value high = vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, range[1]);
    memref::StoreOp::create(b, perLevel(low, high), scales, ValueRange{at});
    memref::StoreOp::create(b, low, offsets, ValueRange{at});
  }

  void rangeOfKeyChannels(Value slot) {
    Value first = b.div(slot, kLanes);
    b.loop(b.index(0), b.index(channels), 1, [&](Value d) {
      storeScalarRange(rangeOf(b.index(0), b.index(encoding.getBlock() / kLanes), 1, [&](Value t, ValueRange range) {
        return extend(range, key(b.add(first, t), d));
      }), d);
    });
  }

  Value firstChannel(Value group) { return b.mul(group, groupChannels); }
  Value lastChannel(Value group) { return b.min(b.add(firstChannel(group), groupChannels), b.index(channels)); }
  int64_t groupCount() const { return llvm::divideCeil(channels, groupChannels); }

  void rangeOfKeyTokens(Value slot) {
    for (int64_t t = 0; t < kCacheBlock / kLanes; ++t)
      b.loop(b.index(0), b.index(groupCount()), 1, [&](Value group) {
        Value from = firstChannel(group), to = lastChannel(group);
        Value tile = b.add(b.div(slot, kLanes), t);
        storeRange(rangeOf(from, to, 1, [&](Value d, ValueRange range) { return extend(range, key(tile, d)); }),
                   b.add(b.mul(group, kCacheBlock), t * kLanes));
      });
  }

  void rangeOfValueChannels(Value slot) {
    b.loop(b.index(0), b.index(tiles * kLanes), kLanes, [&](Value d) {
      storeRange(rangeOf(b.index(0), b.index(encoding.getBlock()), 1, [&](Value j, ValueRange range) {
        return extend(range, value(b.add(slot, j), d));
      }), d);
    });
  }

  void rangeOfValueTokens(Value slot) {
    b.loop(b.index(0), b.index(kCacheBlock), 1, [&](Value j) {
      b.loop(b.index(0), b.index(groupCount()), 1, [&](Value group) {
        Value from = firstChannel(group), to = lastChannel(group);
        SmallVector<Value> range = rangeOf(from, to, kLanes, [&](Value d, ValueRange range) {
          // Lanes past the last channel must not count.
          Value inside = b.mask(b.sub(to, d)), tile = value(b.add(slot, j), d);
          return SmallVector<Value>{
              arith::MinNumFOp::create(b, range[0], arith::SelectOp::create(b, inside, tile, range[0])),
              arith::MaxNumFOp::create(b, range[1], arith::SelectOp::create(b, inside, tile, range[1]))};
        });
        storeScalarRange(range, b.add(b.mul(group, kCacheBlock), j));
      });
    });
  }

  /// The magnitude of a sketch's values.
  Value magnitude(Value squares) {
    double factor = std::sqrt(std::acos(-1.0) / (2.0 * static_cast<double>(channels)));
    return b.mulf(math::SqrtOp::create(b, squares), b.tileOf(static_cast<float>(factor)));
  }

  void lengthOfKeys(Value slot) {
    for (int64_t t = 0; t < kCacheBlock / kLanes; ++t) {
      Value tile = b.add(b.div(slot, kLanes), t);
      Value squares = b.loop(b.index(0), b.index(channels), 1, {b.tileOf(0.0f)}, [&](Value d, ValueRange sum) {
        Value x = key(tile, d);
        return SmallVector<Value>{b.fma(x, x, sum[0])};
      })[0];
      b.storeTile(magnitude(squares), scales, {b.index(t * kLanes)});
    }
  }

  void lengthOfValues(Value slot) {
    b.loop(b.index(0), b.index(kCacheBlock), 1, [&](Value j) {
      Value squares = b.loop(b.index(0), b.index(channels), kLanes, {b.tileOf(0.0f)}, [&](Value d, ValueRange sum) {
        Value x = value(b.add(slot, j), d);
        x = arith::SelectOp::create(b, b.mask(b.sub(b.index(channels), d)), x, b.tileOf(0.0f));
        return SmallVector<Value>{b.fma(x, x, sum[0])};
      })[0];
      Value whole = magnitude(b.splat(b.reduceAdd(squares)));
      memref::StoreOp::create(b, vector::ExtractOp::create(b, whole, 0), scales, ValueRange{j});
    });
  }

  /// Nearest code; not a number becomes code 0.
  Value code(Value tile, Value inverse, Value offset) {
    if (encoding.getScale() == CacheScale::Sketch) {
      Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGE, tile, b.tileOf(0.0f));
      return arith::SelectOp::create(b, positive, b.tileOf(1), b.tileOf(0));
    }
    Value level = b.addf(b.mulf(b.subf(tile, offset), inverse), b.tileOf(0.5f));
    level = arith::MaxNumFOp::create(b, level, b.tileOf(0.0f));
    level = arith::MinNumFOp::create(b, level, b.tileOf(static_cast<float>((1 << bits) - 1) + 0.5f));
    Value rounded = arith::FPToSIOp::create(b, b.i32Tile(), level);
    return arith::MinSIOp::create(b, rounded, b.tileOf(static_cast<int32_t>((1 << bits) - 1)));
  }
  void storeWords(ArrayRef<Value> codes, ArrayRef<Value> at) {
    for (auto [w, word] : llvm::enumerate(packCodes(b, codes, bits))) {
      SmallVector<Value> index(at);
      index[3] = b.add(at[3], static_cast<int64_t>(w));
      b.storeTile(word, memory.arrays[0], index);
    }
  }
  Value load(Value array, Value at, bool shared) { return shared ? b.splat(b.load(array, {at})) : b.loadTile(array, {at}); }

  void encodeKeys(Value start, Value slot, bool byToken) {
    b.loop(b.index(0), b.index(encoding.getBlock() / kLanes), 1, [&](Value t) {
      Value from = b.add(b.div(slot, kLanes), t), to = b.add(b.div(start, kLanes), t);
      b.loop(b.index(0), b.index(llvm::alignTo(channels, kCacheBlock)), kCacheBlock, [&](Value first) {
        SmallVector<Value> codes;
        for (int64_t j = 0; j < kCacheBlock; ++j) {
          // Channels past the last repeat it.
          Value d = b.min(b.add(first, j), b.index(channels - 1));
          Value at = byToken ? b.add(b.mul(b.div(first, groupChannels), kCacheBlock), b.mul(t, kLanes)) : d;
          codes.push_back(code(key(from, d), load(scales, at, !byToken), load(offsets, at, !byToken)));
        }
        storeWords(codes, {memory.batch, memory.head, to, b.mul(b.div(first, kCacheBlock), bits), b.index(0)});
      });
    });
  }

  void encodeValues(Value start, Value slot, bool byToken) {
    b.loop(b.index(0), b.index(encoding.getBlock()), kCacheBlock, [&](Value part) {
      b.loop(b.index(0), b.index(tiles * kLanes), kLanes, [&](Value d) {
        SmallVector<Value> codes;
        Value group = b.mul(b.div(d, groupChannels), kCacheBlock);
        for (int64_t j = 0; j < kCacheBlock; ++j) {
          Value at = byToken ? b.add(group, j) : d;
          codes.push_back(code(value(b.add(b.add(slot, part), j), d), load(scales, at, byToken), load(offsets, at, byToken)));
        }
        storeWords(codes, {memory.batch, memory.head, b.div(b.add(start, part), kCacheBlock), b.mul(b.div(d, kLanes), bits), b.index(0)});
      });
    });
  }

  CacheMemory &memory;
  KernelBuilder &b;
  CacheAttr encoding;
  int64_t bits, channels, tiles, groupChannels;
  Value scales, offsets;
};
} // namespace

/// Writes position `s` of `fresh` to its place among the floats.
static void writePosition(KernelBuilder &b, CacheMemory &memory, Value fresh, Value s, Value position) {
  Value slot = memory.slot(position), batch = memory.batch, head = memory.head;
  int64_t channels = memory.channels();
  if (hasPositionsInLanes(memory.role)) {
    b.loop(b.index(0), b.index(channels), 1, [&](Value d) {
      Value value = b.load(fresh, {batch, head, s, d});
      memref::StoreOp::create(b, value, memory.floats(), ValueRange{batch, head, b.div(slot, kLanes), d, b.rem(slot, kLanes)});
    });
    return;
  }
  for (int64_t d = 0; d < channels; d += kLanes) {
    Value at = b.index(d);
    Value tile = d + kLanes <= channels ? b.loadTile(fresh, {batch, head, s, at})
                                        : b.loadMasked(fresh, {batch, head, s, at}, b.mask(b.index(channels - d)), b.tileOf(0.0f));
    b.storeTile(tile, memory.floats(), {batch, head, slot, at});
  }
}

void mlir::quanta::emitCacheAppend(KernelBuilder &b, const KernelArgs &args) {
  Value fresh = args.inputs[0], past = args.inputs[1];
  auto type = cast<RankedTensorType>(cast<TypeAttr>(args.config.get("cache")).getValue());
  CacheMemory memory(b, type, args.has("key") ? CacheRole::Key : CacheRole::Value, args.outputs);
  Value heads = b.index(type.getDimSize(1)), matrices = b.mul(b.index(type.getDimSize(0)), heads), count = b.dim(fresh, 2);
  auto setMatrix = [&](Value matrix) {
    memory.batch = b.div(matrix, heads);
    memory.head = b.rem(matrix, heads);
  };
  if (!memory.isEncoded()) {
    // Tasks of about 16 thousand elements.
    int64_t perTask = std::max<int64_t>(1, 16384 / memory.channels());
    Value rows = b.mul(matrices, count);
    b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
      Value begin = b.mul(task, perTask);
      b.loop(begin, b.min(rows, b.add(begin, perTask)), 1, [&](Value row) {
        setMatrix(b.div(row, count));
        Value s = b.rem(row, count);
        writePosition(b, memory, fresh, s, b.add(past, s));
      });
    });
    return;
  }
  // One head after the other: a block is encoded before its slots in the ring are written again.
  Encoder encoder(memory);
  int64_t block = memory.encoding.getBlock(), window = memory.encoding.getWindow();
  b.parallel(matrices, [&](Value matrix) {
    setMatrix(matrix);
    encoder.allocate();
    b.loop(b.index(0), count, 1, [&](Value s) {
      Value position = b.add(past, s), end = b.sub(position, b.index(window - 1));
      writePosition(b, memory, fresh, s, position);
      Value enough = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, end, b.index(block));
      b.ifThen(enough, [&] {
        Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.rem(end, block), b.index(0));
        b.ifThen(whole, [&] { encoder.encode(b.sub(end, b.index(block))); });
      });
    });
  });
}
