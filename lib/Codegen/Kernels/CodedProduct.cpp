//===- CodedProduct.cpp - Products of two activations that are codes --------------------------------------------------------===//
//
// With codes q and k, zero points t and u of the operands, and k′ = k + offset,
//
//   Σ (q − t) · (k − u) = Σ q·k′ − (offset + u) · Σ q − t · Σ (k − u)
//
// whose last two terms are made once for each row and each column.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "CodedProduct.h"
#include "Gemm.h"
#include "IntegerLinear.h"
#include "Quantize.h"
#include "VisionGrids.h"
#include "quanta/Codegen/IntegerDot.h"

using namespace mlir;
using namespace mlir::quanta;

/// Adding it rounds half to even and leaves the integer in the lowest bits.
static constexpr float kRound = 0x1.8p23f;
/// Products of three regions are as fast as those of floats.
static constexpr size_t kMostRegions = 3;
static constexpr int64_t kMostColumns = 16384;

//===- Grids ----------------------------------------------------------------------------------------------------------------===//

std::optional<CodeGrid> CodeGrid::get(Attribute encoding) {
  CodeGrid grid;
  grid.encoding = encoding;
  if (auto affine = dyn_cast_or_null<AffineAttr>(encoding)) {
    if (affine.getSegmentCount() != 1 || std::abs(affine.getZeros()[0]) > 4096)
      return std::nullopt;
    grid.scales = {affine.getScales()[0]};
    grid.zero = static_cast<int32_t>(affine.getZeros()[0]);
    grid.bits = affine.getBits();
  } else if (auto twin = dyn_cast_or_null<TwinAttr>(encoding)) {
    grid.scales = getSegmentScales(twin);
    grid.bits = twin.getBits();
  } else if (auto log = dyn_cast_or_null<Log2Attr>(encoding)) {
    for (const LogRegion &region : getLogRegions(log))
      grid.scales.push_back(region.scale);
  } else if (auto uniform = dyn_cast_or_null<UniformAttr>(encoding)) {
    if (!isTokenActivation(uniform) || uniform.getZero() != ZeroKind::Symmetric)
      return std::nullopt;
    grid.scales = {1};
    grid.bits = uniform.getBits();
    grid.dynamic = true;
  } else {
    return std::nullopt;
  }
  return grid.scales.size() <= kMostRegions ? std::optional(grid) : std::nullopt;
}

SmallVector<Value> CodeGrid::encode(KernelBuilder &b, Value x, Value factor) const {
  if (dynamic)
    return {b.mulf(x, factor)};
  if (auto twin = dyn_cast<TwinAttr>(encoding)) {
    auto [coarse, fine] = emitTwinCodes(b, twin, x);
    return {coarse, fine};
  }
  if (auto log = dyn_cast<Log2Attr>(encoding))
    return emitLogCodes(b, log, x);
  return {emitAffineCode(b, x, constantLike(b, x, 1 / scales[0]), constantLike(b, x, static_cast<float>(zero)), bits)};
}

std::pair<Value, Value> CodeGrid::scaleRow(KernelBuilder &b, Value width) const {
  auto constant = [&](float value) { return constantLike(b, width, value); };
  auto greatest = static_cast<float>((1 << (bits - 1)) - 1);
  // A row so small that the quotient would overflow is zero.
  Value tiny = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, width, constant(0x1p-100f)), none = constant(0);
  Value factor = arith::SelectOp::create(b, tiny, none, Value(arith::DivFOp::create(b, constant(greatest), width)));
  return {factor, arith::SelectOp::create(b, tiny, none, b.mulf(width, constant(1 / greatest)))};
}

int32_t CodeGrid::codeOfZero() const {
  return std::clamp<int32_t>(zero, AffineAttr::getLeastCode(bits), AffineAttr::getGreatestCode(bits));
}

std::optional<ProductOfCodes> ProductOfCodes::get(Attribute lhs, Attribute rhs) {
  auto left = CodeGrid::get(lhs), right = CodeGrid::get(rhs);
  if (!left || !right || right->scales.size() > 1 || isa<Log2Attr>(rhs))
    return std::nullopt;
  ProductOfCodes product{*left, *right};
  return product.chunk() > 0 ? std::optional(product) : std::nullopt;
}

int64_t ProductOfCodes::chunk() const {
  int64_t greatest = (128 + std::abs<int64_t>(left.zero)) * (128 + std::abs<int64_t>(right.zero));
  return std::min(kMostColumns, INT32_MAX / greatest / 64 * 64);
}

int32_t ProductOfCodes::offset(const ::quanta::TargetLevel &level) const {
  return multipliesSignedBytes(level) ? 0 : 1 << (right.bits - 1);
}

//===- Memory ---------------------------------------------------------------------------------------------------------------===//

static Value allocate(KernelBuilder &b, ValueRange sizes, Type element) {
  SmallVector<int64_t> shape;
  SmallVector<Value> dynamic;
  for (Value size : sizes) {
    APInt constant;
    bool known = matchPattern(size, m_ConstantInt(&constant));
    shape.push_back(known ? constant.getSExtValue() : ShapedType::kDynamic);
    if (!known)
      dynamic.push_back(size);
  }
  return memref::AllocOp::create(b, MemRefType::get(shape, element), dynamic, b.getI64IntegerAttr(64));
}

static void release(KernelBuilder &b, ArrayRef<Value> buffers) {
  for (Value buffer : buffers)
    if (buffer)
      memref::DeallocOp::create(b, buffer);
}

static Value toInteger(KernelBuilder &b, Value index) { return arith::IndexCastOp::create(b, b.getI32Type(), index); }
static Value integer(KernelBuilder &b, int32_t value) { return arith::ConstantOp::create(b, b.getI32IntegerAttr(value)); }

/// Whether a row's last tile is a part of one, as far as is known.
static bool isMultiple(Value size, int64_t of) {
  APInt constant;
  return matchPattern(size, m_ConstantInt(&constant)) && constant.getSExtValue() % of == 0;
}

//===- The left operand -----------------------------------------------------------------------------------------------------===//

CodedRows::CodedRows(KernelBuilder &b, const ProductOfCodes &product, Value count, Value depth)
    : b(b), product(product), depth(depth), stride(b.mul(b.ceilDiv(depth, kLanes), kLanes)),
      factor(product.offset(*b.level) + product.right.zero) {
  int64_t regions = product.left.scales.size();
  codes = allocate(b, {count, b.index(regions), stride}, b.getI8Type());
  if (product.left.dynamic)
    scales = allocate(b, {count}, b.getF32Type());
  if (factor)
    sums = allocate(b, {count, b.index(regions), b.ceilDiv(depth, product.chunk())}, b.getI32Type());
}

void CodedRows::free() { release(b, {codes, scales, sums}); }

void CodedRows::encode(Value row, function_ref<Value(Value, Value)> load) {
  const CodeGrid &grid = product.left;
  size_t regions = grid.scales.size();
  /// Tiles of columns begin to end with carried values.
  auto forTiles = [&](Value begin, Value end, SmallVector<Value> carried, function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
    Value whole = isMultiple(depth, kLanes) ? end : b.mul(b.div(end, kLanes), kLanes);
    carried = b.loop(begin, whole, kLanes, carried, [&](Value column, ValueRange values) { return body(column, Value(), values); });
    if (isMultiple(depth, kLanes))
      return carried;
    return b.select(b.less(whole, end), TypeRange(ValueRange(carried)), [&] { return body(whole, b.mask(b.sub(end, whole)), carried); },
                    [&] { return carried; });
  };
  Value inverse;
  if (grid.dynamic) {
    Value widest = forTiles(b.index(0), depth, {b.tileOf(0.0f)}, [&](Value column, Value mask, ValueRange carried) {
      Value magnitude = math::AbsFOp::create(b, load(column, mask));
      return SmallVector<Value>{Value(arith::MaximumFOp::create(b, carried[0], magnitude))};
    })[0];
    auto [factorOfRow, scale] = grid.scaleRow(b, b.reduceMax(widest));
    memref::StoreOp::create(b, scale, scales, ValueRange{row});
    inverse = b.splat(factorOfRow);
  }
  b.loop(b.index(0), depth, product.chunk(), [&](Value begin) {
    Value end = b.min(depth, b.add(begin, product.chunk()));
    SmallVector<Value> totals = forTiles(begin, end, SmallVector<Value>(regions, b.tileOf(0)), [&](Value column, Value mask, ValueRange carried) {
      SmallVector<Value> next(carried), found = grid.encode(b, load(column, mask), inverse);
      for (size_t region = 0; region < regions; ++region) {
        Value code = vector::BitCastOp::create(b, b.i32Tile(), b.addf(found[region], b.tileOf(kRound)));
        if (mask) // beyond the row there is no zero point
          code = arith::SelectOp::create(b, mask, code, b.tileOf(0));
        Value bytes = arith::TruncIOp::create(b, VectorType::get({kLanes}, b.getI8Type()), code);
        b.storeTile(bytes, codes, {row, b.index(region), column});
        if (sums)
          next[region] = b.add(next[region], Value(arith::ExtSIOp::create(b, b.i32Tile(), bytes)));
      }
      return next;
    });
    for (size_t region = 0; sums && region < regions; ++region)
      memref::StoreOp::create(b, b.mul(b.reduceAdd(totals[region]), integer(b, factor)), sums,
                              ValueRange{row, b.index(region), b.div(begin, product.chunk())});
  });
}

Value CodedRows::word(Value row, size_t region, Value column) {
  auto four = VectorType::get({4}, b.getI8Type()), word = VectorType::get({1}, b.getI32Type());
  Value loaded = vector::LoadOp::create(b, four, codes, ValueRange{row, b.index(region), column});
  return vector::BroadcastOp::create(b, b.i32Tile(), Value(vector::BitCastOp::create(b, word, loaded)));
}

Value CodedRows::excess(Value row, size_t region, Value chunk) {
  return sums ? b.splat(b.load(sums, {row, b.index(region), chunk})) : Value();
}

//===- The right operand ----------------------------------------------------------------------------------------------------===//

CodedColumns::CodedColumns(KernelBuilder &b, const ProductOfCodes &product, Value operand, bool transposed)
    : b(b), product(product), operand(operand), transposed(transposed), rows(b.dim(operand, transposed ? 3 : 2)),
      columns(b.dim(operand, transposed ? 2 : 3)), offset(product.offset(*b.level)) {
  Value matrices = b.mul(b.dim(operand, 0), b.dim(operand, 1)), tiles = b.ceilDiv(columns, kLanes);
  words = allocate(b, {matrices, tiles, b.mul(b.ceilDiv(rows, kLanes), kLanes / 4), b.index(kLanes)}, b.getI32Type());
  if (product.right.dynamic)
    scales = allocate(b, {matrices, tiles, b.index(kLanes)}, b.getF32Type());
  if (product.left.zero)
    sums = allocate(b, {matrices, tiles, b.ceilDiv(rows, product.chunk()), b.index(kLanes)}, b.getI32Type());
}

void CodedColumns::free() { release(b, {words, scales, sums}); }

void CodedColumns::encode() {
  Value tiles = b.ceilDiv(columns, kLanes), groups = b.dim(operand, 1);
  b.parallel(b.mul(b.mul(b.dim(operand, 0), groups), tiles), [&](Value task) {
    Value tile = b.rem(task, tiles);
    matrix = b.div(task, tiles);
    batch = b.div(matrix, groups);
    group = b.rem(matrix, groups);
    transposed ? encodeRows(tile) : encodeColumns(tile);
    if (sums)
      emitSums(tile);
  });
}

void CodedColumns::storeWord(ArrayRef<Value> tiles, Value tile, Value word, Value factor) {
  Value packed;
  for (auto [i, x] : llvm::enumerate(tiles)) {
    Value code = vector::BitCastOp::create(b, b.i32Tile(), b.addf(product.right.encode(b, x, factor)[0], b.tileOf(kRound + offset)));
    code = arith::ShLIOp::create(b, b.andi(code, b.tileOf(0xff)), b.tileOf(static_cast<int32_t>(8 * i)));
    packed = packed ? Value(arith::OrIOp::create(b, packed, code)) : code;
  }
  b.storeTile(packed, words, {matrix, tile, word, b.index(0)});
}

Value CodedColumns::scaleColumns(Value tile, function_ref<Value()> width) {
  if (!scales)
    return Value();
  auto [factor, scale] = product.right.scaleRow(b, width());
  b.storeTile(scale, scales, {matrix, tile, b.index(0)});
  return factor;
}

void CodedColumns::encodeRows(Value tile) {
  Value column = b.mul(tile, kLanes), last = b.sub(columns, b.index(1)), zero = b.tileOf(0.0f);
  SmallVector<Value> rowIndex;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    rowIndex.push_back(b.min(b.add(column, lane), last));
  auto load = [&](int64_t lane, Value k) {
    SmallVector<Value> at{batch, group, rowIndex[lane], k};
    return isMultiple(rows, kLanes) ? b.loadTile(operand, at) : b.loadMasked(operand, at, b.mask(b.sub(rows, k)), zero);
  };
  Value factor = scaleColumns(tile, [&] {
    SmallVector<Value> widest = b.loop(b.index(0), rows, kLanes, SmallVector<Value>(kLanes, zero), [&](Value k, ValueRange carried) {
      SmallVector<Value> next;
      for (int64_t lane = 0; lane < kLanes; ++lane)
        next.push_back(arith::MaximumFOp::create(b, carried[lane], Value(math::AbsFOp::create(b, load(lane, k)))));
      return next;
    });
    transposeTiles(b, widest);
    Value width = widest[0];
    for (Value other : ArrayRef(widest).drop_front())
      width = arith::MaximumFOp::create(b, width, other);
    return width;
  });
  b.loop(b.index(0), rows, kLanes, [&](Value k) {
    SmallVector<Value> tiles;
    for (int64_t lane = 0; lane < kLanes; ++lane)
      tiles.push_back(load(lane, k));
    transposeTiles(b, tiles);
    for (int64_t i = 0; i < kLanes; i += 4)
      storeWord(ArrayRef(tiles).slice(i, 4), tile, b.add(b.div(k, 4), i / 4), factor);
  });
}

void CodedColumns::encodeColumns(Value tile) {
  Value column = b.mul(tile, kLanes), valid = b.sub(columns, column), last = b.sub(rows, b.index(1));
  Value factor = scaleColumns(tile, [&] {
    Value mask = b.mask(valid);
    return b.loop(b.index(0), rows, 1, ValueRange{b.tileOf(0.0f)}, [&](Value row, ValueRange carried) {
      Value x = b.loadMasked(operand, {batch, group, row, column}, mask, b.tileOf(0.0f));
      return SmallVector<Value>{Value(arith::MaximumFOp::create(b, carried[0], Value(math::AbsFOp::create(b, x))))};
    })[0];
  });
  b.loop(b.index(0), b.ceilDiv(rows, 4), 1, [&](Value word) {
    SmallVector<Value> tiles;
    for (int64_t i = 0; i < 4; ++i) {
      Value row = b.add(b.mul(word, 4), i), count = arith::SelectOp::create(b, b.less(row, rows), valid, b.index(0));
      tiles.push_back(b.loadMasked(operand, {batch, group, b.min(row, last), column}, b.mask(count), b.tileOf(0.0f)));
    }
    storeWord(tiles, tile, word, factor);
  });
}

void CodedColumns::emitSums(Value tile) {
  b.loop(b.index(0), rows, product.chunk(), [&](Value begin) {
    Value end = b.min(rows, b.add(begin, product.chunk()));
    Value lastWord = b.ceilDiv(end, 4);
    Value sum = b.loop(b.div(begin, 4), lastWord, 1, ValueRange{b.tileOf(0)}, [&](Value at, ValueRange carried) {
      unsigned bits = offset ? product.right.bits : 7;
      return SmallVector<Value>{emitIntegerDot(b, carried[0], word(matrix, tile, at), b.tileOf(0x01010101), bits)};
    })[0];
    // Rows that fill up the last word are zeros.
    Value none = b.mul(toInteger(b, b.sub(b.mul(lastWord, 4), end)), integer(b, product.right.codeOfZero() + offset));
    Value zeros = b.mul(toInteger(b, b.sub(end, begin)), integer(b, product.right.zero + offset));
    sum = b.sub(sum, b.splat(b.add(none, zeros)));
    b.storeTile(b.mul(sum, b.tileOf(product.left.zero)), sums, {matrix, tile, b.div(begin, product.chunk()), b.index(0)});
  });
}

//===- The product ----------------------------------------------------------------------------------------------------------===//

namespace {
/// Some rows by a panel of tiles.
struct ProductBlock {
  KernelBuilder &b;
  const ProductOfCodes &product;
  CodedRows &rows;
  CodedColumns &columns;
  Value matrix;
  SmallVector<Value> rowIndex, tiles;

  /// Σ q·k′ of a region's columns begin to end.
  SmallVector<Value> multiply(size_t region, Value begin, Value end) {
    unsigned bits = product.offset(*b.level) ? product.right.bits : 7;
    SmallVector<Value> none(rowIndex.size() * tiles.size(), b.tileOf(0));
    return b.loop(b.div(begin, 4), b.ceilDiv(end, 4), 1, none, [&](Value word, ValueRange running) {
      SmallVector<Value> panel, next;
      for (Value tile : tiles)
        panel.push_back(columns.word(matrix, tile, word));
      for (Value row : rowIndex) {
        Value x = rows.word(row, region, b.mul(word, 4));
        for (Value codes : panel)
          next.push_back(emitIntegerDot(b, running[next.size()], codes, x, bits));
      }
      return next;
    });
  }

  /// One chunk's part of the results, added to `totals`, if there are any.
  SmallVector<Value> addChunk(Value begin, SmallVector<Value> totals) {
    Value depth = columns.depth(), end = b.min(depth, b.add(begin, product.chunk())), chunk = b.div(begin, product.chunk());
    for (size_t region = 0; region < product.left.scales.size(); ++region) {
      SmallVector<Value> sums = multiply(region, begin, end);
      Value factor = b.tileOf(product.left.scales[region] * product.right.scales[0] * product.scale);
      for (size_t i = 0; i < sums.size(); ++i) {
        Value row = rowIndex[i / tiles.size()], tile = tiles[i % tiles.size()];
        for (Value excess : {rows.excess(row, region, chunk), columns.excess(matrix, tile, chunk)})
          sums[i] = excess ? b.sub(sums[i], excess) : sums[i];
        sums[i] = arith::SIToFPOp::create(b, b.f32Tile(), sums[i]);
        sums[i] = totals.empty() ? b.mulf(sums[i], factor) : b.fma(sums[i], factor, totals[i]);
      }
      totals = sums;
    }
    return totals;
  }

  SmallVector<Value> emit() {
    APInt depth;
    if (matchPattern(columns.depth(), m_ConstantInt(&depth)) && depth.getSExtValue() <= product.chunk())
      return addChunk(b.index(0), {});
    SmallVector<Value> none(rowIndex.size() * tiles.size(), b.tileOf(0.0f));
    return b.loop(b.index(0), columns.depth(), product.chunk(), none,
                  [&](Value begin, ValueRange totals) { return addChunk(begin, SmallVector<Value>(totals)); });
  }
};
} // namespace

void mlir::quanta::emitCodedProduct(KernelBuilder &b, const ProductOfCodes &product, CodedRows &rows, CodedColumns &columns, Value matrix,
                                    Value begin, Value end, function_ref<void(Value, Value, Value)> store) {
  Value tiles = b.ceilDiv(columns.count(), kLanes), last = b.sub(tiles, b.index(1));
  b.loop(b.index(0), tiles, b.registers.tiles, [&](Value firstTile) {
    forRowBlocks(b, begin, end, b.registers.rows, [&](Value row, int64_t count) {
      ProductBlock block{b, product, rows, columns, matrix, {}, {}};
      for (int64_t r = 0; r < count; ++r)
        block.rowIndex.push_back(b.add(row, r));
      // The second tile of the last panel may not exist: then the last one is made twice.
      for (int64_t t = 0; t < b.registers.tiles; ++t)
        block.tiles.push_back(b.min(b.add(firstTile, t), last));
      for (auto [i, total] : llvm::enumerate(block.emit())) {
        Value at = block.rowIndex[i / block.tiles.size()], tile = block.tiles[i % block.tiles.size()];
        if (Value scale = rows.scale(at))
          total = b.mulf(total, b.splat(scale));
        if (Value scale = columns.scale(matrix, tile))
          total = b.mulf(total, scale);
        store(at, b.mul(tile, kLanes), total);
      }
    });
  });
}
