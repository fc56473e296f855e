//===- Gemm.cpp - The register-tiled core of every dense kernel -----------------------------------------------------------===//
#include "Gemm.h"

using namespace mlir;
using namespace mlir::quanta;

/// `rows` × b.registers.tiles accumulators over one chunk.
static void emitBlock(KernelBuilder &b, const GemmTile &tile, Value row, int64_t rows) {
  SmallVector<Value> rowIndex;
  for (int64_t r = 0; r < rows; ++r)
    rowIndex.push_back(b.add(row, r));
  Value full = tile.alwaysFull ? Value() : Value(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, tile.valid, b.index(b.registers.columns())));
  auto forEach = [&](function_ref<Value(int64_t r, int64_t c)> body) {
    SmallVector<Value> values;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < b.registers.tiles; ++c)
        values.push_back(body(r, c));
    return values;
  };
  auto mask = [&](int64_t c) { return b.mask(b.sub(tile.valid, b.index(c * kLanes))); };

  auto fromBias = [&] { return forEach([&](int64_t r, int64_t c) { return tile.initial(rowIndex[r], c); }); };
  auto fromMemory = [&] {
    return forEach([&](int64_t r, int64_t c) { return b.loadTile(tile.result, tile.c(rowIndex[r], c)); });
  };
  auto fromMemoryMasked = [&] {
    Value zero = b.tileOf(0.0f);
    return forEach([&](int64_t r, int64_t c) { return b.loadMasked(tile.result, tile.c(rowIndex[r], c), mask(c), zero); });
  };
  SmallVector<Type> types(rows * b.registers.tiles, b.f32Tile());
  auto resume = [&] { return full ? b.select(full, types, fromMemory, fromMemoryMasked) : fromMemory(); };
  SmallVector<Value> acc = tile.first ? b.select(tile.first, types, fromBias, resume) : fromBias();

  auto step = [&](Value k, ValueRange carried) {
    SmallVector<Value> columns;
    for (int64_t c = 0; c < b.registers.tiles; ++c)
      columns.push_back(tile.b(k, c));
    SmallVector<Value> next;
    for (int64_t r = 0; r < rows; ++r) {
      Value a = b.splat(tile.a(rowIndex[r], k));
      for (int64_t c = 0; c < b.registers.tiles; ++c)
        next.push_back(b.fma(a, columns[c], carried[r * b.registers.tiles + c]));
    }
    return next;
  };
  // Few rows give few independent sums, and each waits for the last: keep several sets and add them up at the end.
  int64_t sets = std::max<int64_t>(1, 4 / rows);
  Value from = b.index(0);
  if (sets > 1) {
    from = b.mul(b.div(tile.chunk, sets), sets);
    size_t width = acc.size();
    acc.append(width * (sets - 1), b.tileOf(0.0f));
    acc = b.loop(b.index(0), from, sets, acc, [&](Value k, ValueRange carried) {
      SmallVector<Value> next;
      for (int64_t s = 0; s < sets; ++s)
        llvm::append_range(next, step(b.add(k, s), carried.slice(s * width, width)));
      return next;
    });
    for (int64_t s = 1; s < sets; ++s)
      for (size_t i = 0; i < width; ++i)
        acc[i] = b.addf(acc[i], acc[s * width + i]);
    acc.truncate(width);
  }
  acc = b.loop(from, tile.chunk, 1, acc, step);

  auto store = [&] {
    forEach([&](int64_t r, int64_t c) {
      b.storeTile(acc[r * b.registers.tiles + c], tile.result, tile.c(rowIndex[r], c));
      return Value();
    });
  };
  if (!full)
    return store();
  b.ifThen(full, store, [&] {
    forEach([&](int64_t r, int64_t c) {
      b.storeMasked(acc[r * b.registers.tiles + c], tile.result, tile.c(rowIndex[r], c), mask(c));
      return Value();
    });
  });
}

void mlir::quanta::forRowBlocks(KernelBuilder &b, Value begin, Value end, int64_t most, function_ref<void(Value, int64_t)> body) {
  Value blocked = b.add(begin, b.mul(b.div(b.sub(end, begin), most), most));
  b.loop(begin, blocked, most, [&](Value row) { body(row, most); });
  Value row = blocked;
  for (int64_t rows : {4, 2, 1}) {
    if (rows >= most)
      continue;
    Value enough = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, b.sub(end, row), b.index(rows));
    b.ifThen(enough, [&] { body(row, rows); });
    row = b.add(row, arith::SelectOp::create(b, enough, b.index(rows), b.index(0)));
  }
}

void mlir::quanta::emitGemmRows(KernelBuilder &b, const GemmTile &tile, Value begin, Value end) {
  forRowBlocks(b, begin, end, b.registers.rows, [&](Value row, int64_t rows) { emitBlock(b, tile, row, rows); });
}

void mlir::quanta::emitChunks(KernelBuilder &b, Value total, int64_t chunk, function_ref<void(Value, Value, Value)> body) {
  APInt constant;
  if (matchPattern(total, m_ConstantInt(&constant)) && constant.getSExtValue() <= chunk)
    return body(b.index(0), total, Value());
  b.loop(b.index(0), total, chunk, [&](Value k0) {
    Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, k0, b.index(0));
    body(k0, b.min(b.index(chunk), b.sub(total, k0)), first);
  });
}

WeightTiles::WeightTiles(PackedAttr encoding, ArrayRef<int64_t> shape, ValueRange components)
    : encoding(encoding), shape(shape), matrix(getMatrixShape(shape)), components(components) {
  if (isEncoded())
    order = cast<DecodeInterface>(Attribute(encoding.getBase())).getOrder(components);
}

SmallVector<WeightTiles::Segment> WeightTiles::getSegments() const {
  SmallVector<std::pair<int64_t, int64_t>> parts{{columns(), 8}};
  if (isEncoded())
    parts = cast<DecodeInterface>(Attribute(encoding.getBase())).getSegments(shape);
  SmallVector<Segment> segments;
  for (auto [columns, step] : parts) {
    if (columns == 0)
      continue;
    // Equal chunks: a short last one would reload and store every sum for little work.
    int64_t steps = llvm::divideCeil(columns, step), perChunk = std::max<int64_t>(1, kChunk / step);
    int64_t stepsOfChunk = llvm::divideCeil(steps, llvm::divideCeil(steps, perChunk));
    segments.push_back({columns, stepsOfChunk * step});
  }
  return segments;
}

int64_t WeightTiles::chunk() const {
  int64_t most = 0;
  for (const Segment &segment : getSegments())
    most = std::max(most, segment.chunk);
  return most;
}

void WeightTiles::forChunks(KernelBuilder &b, function_ref<void(Value, Value, Value)> body) const {
  SmallVector<Segment> segments = getSegments();
  if (segments.size() <= 1)
    return emitChunks(b, b.index(columns()), chunk(), body);
  int64_t total = 0;
  for (const Segment &segment : segments)
    total += llvm::divideCeil(segment.columns, segment.chunk);
  // One loop over the chunks of all segments, so that the body is emitted once.
  b.loop(b.index(0), b.index(total), 1, [&](Value index) {
    Value begin, end;
    int64_t firstChunk = 0, firstColumn = 0;
    for (const Segment &segment : segments) {
      Value at = b.add(b.mul(b.sub(index, b.index(firstChunk)), segment.chunk), firstColumn);
      Value stop = b.min(b.add(at, segment.chunk), b.index(firstColumn + segment.columns));
      if (firstChunk) {
        Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, b.index(firstChunk));
        at = arith::SelectOp::create(b, here, at, begin);
        stop = arith::SelectOp::create(b, here, stop, end);
      }
      begin = at, end = stop;
      firstChunk += llvm::divideCeil(segment.columns, segment.chunk);
      firstColumn += segment.columns;
    }
    body(begin, b.sub(end, begin), Value(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, b.index(0))));
  });
}

Value WeightTiles::column(KernelBuilder &b, Value stored) const {
  return order ? Value(arith::IndexCastOp::create(b, b.getIndexType(), b.load(order, {stored}))) : stored;
}

Value WeightTiles::scratch(KernelBuilder &b, int64_t count) const {
  if (!isEncoded())
    return Value();
  // Decoding writes whole blocks, up to 32 columns past the chunk, and what no weight needs to one more.
  int64_t length = std::min(chunk(), columns()) + 33;
  return b.scratch({count, length, kLanes}, b.getF32Type());
}

void WeightTiles::decode(KernelBuilder &b, Value tile, Value begin, Value end, Value scratch, int64_t slot) const {
  if (!isEncoded())
    return;
  auto type = cast<MemRefType>(scratch.getType());
  SmallVector<OpFoldResult> offsets{b.getIndexAttr(slot), b.getIndexAttr(0), b.getIndexAttr(0)};
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(1), b.getIndexAttr(type.getDimSize(1)), b.getIndexAttr(kLanes)};
  SmallVector<OpFoldResult> strides(3, b.getIndexAttr(1));
  auto slotType = cast<MemRefType>(memref::SubViewOp::inferRankReducedResultType({type.getDimSize(1), kLanes}, type, offsets, sizes, strides));
  Value view = memref::SubViewOp::create(b, slotType, scratch, offsets, sizes, strides);
  cast<DecodeInterface>(Attribute(encoding.getBase())).decodeTile(b, b.getLoc(), components, shape, tile, begin, end, view);
}

Value WeightTiles::loadColumn(KernelBuilder &b, Value tile, Value begin, Value k, Value scratch, int64_t slot) const {
  if (isEncoded())
    return b.loadTile(scratch, {b.index(slot), k, b.index(0)});
  return b.loadTile(components[0], {tile, b.add(begin, k), b.index(0)});
}

Value WeightTiles::loadElement(KernelBuilder &b, Value tile, Value begin, Value k, Value lane, Value scratch, int64_t slot) const {
  if (isEncoded())
    return b.load(scratch, {b.index(slot), k, lane});
  return b.load(components[0], {tile, b.add(begin, k), lane});
}
