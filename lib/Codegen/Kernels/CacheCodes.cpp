//===- CacheCodes.cpp - Codes and scales of an encoded cache --------------------------------------------------------------===//
#include "CacheCodes.h"
#include "Half.h"

using namespace mlir;
using namespace mlir::quanta;

/// Calls `body(width, low bit of the field in a code, word, shift in the word, code)` for every field of every code.
static void forFields(int64_t bits, function_ref<void(int64_t, int64_t, int64_t, int64_t, int64_t)> body) {
  int64_t low = 0, firstWord = 0;
  for (int64_t width : {8, 4, 2, 1}) {
    if (!(bits & width))
      continue;
    for (int64_t j = 0; j < kCacheBlock; ++j)
      body(width, low, firstWord + j * width / 32, j * width % 32, j);
    low += width;
    firstWord += width;
  }
}

static Value mask(KernelBuilder &b, Value tile, int64_t width) {
  return arith::AndIOp::create(b, tile, b.tileOf(static_cast<int32_t>((1 << width) - 1)));
}
static Value shiftLeft(KernelBuilder &b, Value tile, int64_t by) {
  return by ? Value(arith::ShLIOp::create(b, tile, b.tileOf(static_cast<int32_t>(by)))) : tile;
}
static Value shiftRight(KernelBuilder &b, Value tile, int64_t by) {
  return by ? Value(arith::ShRUIOp::create(b, tile, b.tileOf(static_cast<int32_t>(by)))) : tile;
}
static void join(KernelBuilder &b, Value &whole, Value part) {
  whole = whole ? Value(arith::OrIOp::create(b, whole, part)) : part;
}

SmallVector<Value> mlir::quanta::packCodes(KernelBuilder &b, ArrayRef<Value> codes, int64_t bits) {
  SmallVector<Value> words(bits);
  forFields(bits, [&](int64_t width, int64_t low, int64_t word, int64_t shift, int64_t j) {
    join(b, words[word], shiftLeft(b, mask(b, shiftRight(b, codes[j], low), width), shift));
  });
  return words;
}

SmallVector<Value> mlir::quanta::unpackCodes(KernelBuilder &b, ArrayRef<Value> words, int64_t bits) {
  SmallVector<Value> codes(kCacheBlock);
  forFields(bits, [&](int64_t width, int64_t low, int64_t word, int64_t shift, int64_t j) {
    join(b, codes[j], shiftLeft(b, mask(b, shiftRight(b, words[word], shift), width), low));
  });
  return codes;
}

/// Visits the tiles of a row of scales: their place in the arrays, and in a flat f32 array.
static void forScales(KernelBuilder &b, CacheMemory &memory, ArrayRef<Value> row, function_ref<void(ArrayRef<Value>, Value)> body) {
  ArrayRef<int64_t> shape = cast<MemRefType>(memory.arrays[1].getType()).getShape();
  bool byToken = shape.size() == 5;
  b.loop(b.index(0), b.index(byToken ? shape[3] * shape[4] : shape[3]), kLanes, [&](Value i) {
    SmallVector<Value> at(row);
    if (byToken)
      at.push_back(b.div(i, shape[4]));
    at.push_back(byToken ? b.rem(i, shape[4]) : i);
    body(at, i);
  });
}

void mlir::quanta::widenScales(KernelBuilder &b, CacheMemory &memory, ArrayRef<Value> row, Value scales, Value offsets) {
  forScales(b, memory, row, [&](ArrayRef<Value> at, Value i) {
    Value scale = b.widen(b.loadTile(memory.arrays[1], at));
    if (memory.encoding.hasOffsets()) {
      b.storeTile(scale, scales, {i});
      b.storeTile(b.widen(b.loadTile(memory.arrays[2], at)), offsets, {i});
    } else {
      b.storeTile(b.addf(scale, scale), scales, {i});
      b.storeTile(arith::NegFOp::create(b, scale), offsets, {i});
    }
  });
}

void mlir::quanta::narrowScales(KernelBuilder &b, CacheMemory &memory, ArrayRef<Value> row, Value scales, Value offsets) {
  forScales(b, memory, row, [&](ArrayRef<Value> at, Value i) {
    Value scale = narrowToHalf(b, b.loadTile(scales, {i}));
    b.storeTile(scale, memory.arrays[1], at);
    if (!memory.encoding.hasOffsets())
      return;
    Value offset = narrowToHalf(b, b.loadTile(offsets, {i}));
    b.storeTile(offset, memory.arrays[2], at);
    Value wide = b.widen(scale), zero = b.tileOf(0.0f);
    Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, wide, zero);
    Value inverse = arith::DivFOp::create(b, b.tileOf(1.0f), wide);
    b.storeTile(arith::SelectOp::create(b, positive, inverse, zero), scales, {i});
    b.storeTile(b.widen(offset), offsets, {i});
  });
}
