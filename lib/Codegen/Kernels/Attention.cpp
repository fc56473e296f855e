//===- Attention.cpp - Attention over a key/value cache as one kernel -----------------------------------------------------===//
//
// A task has a block of queries that read the same head of keys and values. It walks along the positions a chunk at a time:
// scores = q·kᵀ, their exponentials under a running maximum, out = out·correction + p·v. Scores exist for one chunk only, and
// the work is proportional to the positions that are there (Milakov, Gimelshein 2018, online normalizer; Dao et al. 2022).
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "Cache.h"
#include "Gemm.h"
#include "Kernels.h"
#include <limits>
#include <optional>
#include <utility>

using namespace mlir;
using namespace mlir::quanta;

/// Queries of a task. They share what is decoded of the cache.
static constexpr int64_t kQueryBlock = 64;

namespace {
class AttentionEmitter {
public:
  AttentionEmitter(KernelBuilder &b, const KernelArgs &args)
      : b(b), queries(args.inputs[0]), length(args.inputs[1]), mask(args.inputs.size() > 2 ? args.inputs[2] : Value()),
        result(args.outputs[0]), repeats(args.getInt("repeats")), scale(args.getFloat("scale")),
        keys(read(args, "key", CacheRole::Key)), values(read(args, "value", CacheRole::Value)) {
    if (args.has("cos")) {
      cosines.emplace(read(args, "cos", CacheRole::Angle));
      sines.emplace(read(args, "sin", CacheRole::Angle));
    }
    int64_t widest = std::max(keys.channels(), values.channels());
    chunk = std::clamp<int64_t>(16384 / widest / kCacheBlock * kCacheBlock, kCacheBlock, 512);
    width = llvm::alignTo(values.channels(), b.registers.columns());
  }

  void emit() {
    Value groups = b.dim(queries, 1), rows = b.dim(queries, 2), blocks = b.ceilDiv(rows, kQueryBlock);
    b.parallel(b.mul(b.mul(b.dim(queries, 0), groups), blocks), [&](Value task) {
      Value block = b.rem(task, blocks), outer = b.div(task, blocks);
      group = b.rem(outer, groups);
      batch = b.div(outer, groups);
      first = b.mul(block, kQueryBlock);
      count = b.min(b.index(kQueryBlock), b.sub(rows, first));
      positions = b.div(rows, repeats);
      allocate();
      b.loop(b.index(0), length, chunk, [&](Value begin) {
        Value here = b.min(b.index(chunk), b.sub(length, begin));
        score(begin, here);
        normalise(begin, here);
        accumulate(begin, here);
      });
      finish();
    });
  }

private:
  static RankedTensorType cacheType(const KernelArgs &args, StringRef name) {
    return cast<RankedTensorType>(cast<TypeAttr>(args.config.get(name)).getValue());
  }

  /// Caches' arrays are weights, one cache behind the other.
  CacheReader read(const KernelArgs &args, StringRef name, CacheRole role) {
    RankedTensorType type = cacheType(args, name);
    size_t count = getCacheComponents(type, role).size(), from = std::exchange(nextArray, nextArray + count);
    return CacheReader(b, type, role, args.weights.slice(from, count), /*copies=*/role == CacheRole::Key && args.has("cos"));
  }

  /// Angles may be those of all heads, and of all rows.
  void beginAngles(CacheReader &angles) {
    angles.begin(angles.rows() == 1 ? b.index(0) : batch, angles.heads() == 1 ? b.index(0) : group, chunk);
  }

  void forRows(function_ref<void(Value)> body) { b.loop(b.index(0), count, 1, body); }
  void store(Value value, Value memref, Value row) { memref::StoreOp::create(b, value, memref, ValueRange{row}); }

  void allocate() {
    keys.begin(batch, group, chunk);
    values.begin(batch, group, chunk);
    if (cosines) {
      beginAngles(*cosines);
      beginAngles(*sines);
    }
    scores = b.scratch({kQueryBlock, chunk}, b.getF32Type());
    sums = b.scratch({kQueryBlock, width}, b.getF32Type());
    top = b.scratch({kQueryBlock}, b.getF32Type());
    total = b.scratch({kQueryBlock}, b.getF32Type());
    forRows([&](Value row) {
      for (int64_t d = 0; d < width; d += kLanes)
        b.storeTile(b.tileOf(0.0f), sums, {row, b.index(d)});
      // Finite, so that masked chunks before the first score do not give NaN.
      store(b.f32(std::numeric_limits<float>::lowest()), top, row);
      store(b.f32(0.0f), total, row);
    });
  }

  /// The products of all queries with the keys of a chunk, whole panels of them.
  void score(Value begin, Value here) {
    keys.prepare(begin, here, length);
    if (cosines) {
      cosines->prepare(begin, here, length);
      sines->prepare(begin, here, length);
      keys.rotate(*cosines, *sines, here);
    }
    int64_t columns = b.registers.columns();
    b.loop(b.index(0), here, columns, [&](Value column) {
      Value firstTile = b.div(column, kLanes);
      GemmTile tile;
      tile.a = [&](Value row, Value k) { return b.load(queries, {batch, group, b.add(first, row), k}); };
      tile.b = [&](Value k, int64_t c) { return keys.loadKeys(b.add(firstTile, c), k); };
      tile.initial = [&](Value, int64_t) { return b.tileOf(0.0f); };
      tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{row, b.add(column, c * kLanes)}; };
      tile.result = scores;
      tile.chunk = b.index(keys.channels());
      tile.alwaysFull = true;
      emitGemmRows(b, tile, b.index(0), count);
    });
  }

  /// Exponentials in place of scores, and what they need of the sums so far.
  void normalise(Value begin, Value here) {
    auto maskDim = [&](int64_t d) { return cast<MemRefType>(mask.getType()).getDimSize(d); };
    forRows([&](Value row) {
      SmallVector<Value> maskAt;
      if (mask) {
        Value whole = b.add(first, row), head = b.add(b.mul(group, repeats), b.div(whole, positions));
        Value indices[] = {batch, head, b.rem(whole, positions)};
        for (int64_t d = 0; d < 3; ++d)
          maskAt.push_back(maskDim(d) == 1 ? b.index(0) : indices[d]);
        maskAt.push_back(Value());
      }
      float lowest = std::numeric_limits<float>::lowest();
      auto inside = [&](Value column) { return b.mask(b.sub(here, column)); };
      Value greatest = b.loop(b.index(0), here, kLanes, {b.tileOf(lowest)}, [&](Value column, ValueRange carried) {
        Value part = inside(column), tile = b.mulf(b.loadTile(scores, {row, column}), b.tileOf(scale));
        if (mask && maskDim(3) == 1) {
          maskAt[3] = b.index(0);
          tile = b.addf(tile, b.splat(b.load(mask, maskAt)));
        } else if (mask) {
          maskAt[3] = b.add(begin, column);
          tile = b.addf(tile, b.loadMasked(mask, maskAt, part, b.tileOf(0.0f)));
        }
        tile = arith::SelectOp::create(b, part, tile, b.tileOf(lowest));
        b.storeTile(tile, scores, {row, column});
        return SmallVector<Value>{Value(arith::MaximumFOp::create(b, carried[0], tile))};
      })[0];
      Value before = b.load(top, {row});
      Value now = arith::MaximumFOp::create(b, before, b.reduceMax(greatest)), offset = b.splat(now);
      Value sum = b.loop(b.index(0), here, kLanes, {b.tileOf(0.0f)}, [&](Value column, ValueRange carried) {
        Value tile = math::ExpOp::create(b, b.subf(b.loadTile(scores, {row, column}), offset));
        tile = arith::SelectOp::create(b, inside(column), tile, b.tileOf(0.0f));
        b.storeTile(tile, scores, {row, column});
        return SmallVector<Value>{b.addf(carried[0], tile)};
      })[0];
      Value correction = math::ExpOp::create(b, b.splat(b.subf(before, now)));
      for (int64_t d = 0; d < width; d += kLanes)
        b.storeTile(b.mulf(b.loadTile(sums, {row, b.index(d)}), correction), sums, {row, b.index(d)});
      Value old = b.mulf(b.load(total, {row}), vector::ExtractOp::create(b, correction, 0));
      store(b.addf(old, b.reduceAdd(sum)), total, row);
      store(now, top, row);
    });
  }

  void accumulate(Value begin, Value here) {
    values.prepare(begin, here, length);
    int64_t last = llvm::divideCeil(values.channels(), kLanes) - 1;
    b.loop(b.index(0), b.index(width), b.registers.columns(), [&](Value column) {
      // The second tile of the last panel may not exist; its sums are computed from the first and never read.
      auto tileOf = [&](int64_t c) { return b.min(b.add(b.div(column, kLanes), c), b.index(last)); };
      GemmTile tile;
      tile.a = [&](Value row, Value k) { return b.load(scores, {row, k}); };
      tile.b = [&](Value k, int64_t c) { return values.loadValues(k, tileOf(c)); };
      tile.initial = [&](Value, int64_t) { return b.tileOf(0.0f); };
      tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{row, b.add(column, c * kLanes)}; };
      tile.result = sums;
      tile.chunk = here;
      tile.first = arith::ConstantOp::create(b, b.getBoolAttr(false)); // goes on with what is there
      tile.alwaysFull = true;
      emitGemmRows(b, tile, b.index(0), count);
    });
  }

  void finish() {
    forRows([&](Value row) {
      Value factor = b.splat(arith::DivFOp::create(b, b.f32(1.0f), b.load(total, {row})));
      for (int64_t d = 0; d < values.channels(); d += kLanes) {
        Value tile = b.mulf(b.loadTile(sums, {row, b.index(d)}), factor);
        SmallVector<Value> at{batch, group, b.add(first, row), b.index(d)};
        if (d + kLanes <= values.channels())
          b.storeTile(tile, result, at);
        else
          b.storeMasked(tile, result, at, b.mask(b.index(values.channels() - d)));
      }
    });
  }

  KernelBuilder &b;
  Value queries, length, mask, result;
  int64_t repeats;
  float scale;
  size_t nextArray = 0;
  CacheReader keys, values;
  std::optional<CacheReader> cosines, sines; ///< what keys are rotated by
  int64_t chunk, width; ///< positions of a pass; channels of values in whole panels
  // Of the task.
  Value batch, group, first, count, positions;
  Value scores, sums, top, total;
};
} // namespace

void mlir::quanta::emitAttention(KernelBuilder &b, const KernelArgs &args) { AttentionEmitter(b, args).emit(); }
