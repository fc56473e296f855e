//===- BitLookups.cpp - Sums of bytes picked by bits, four at a time --------------------------------------------------------===//
#include "BitLookups.h"
#include "quanta/Codegen/IntegerDot.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;

/// Tables of a block of 32 columns: of four columns each, for l and for h.
static constexpr int64_t kTables = 16;

static Value bytesOf(KernelBuilder &b, int8_t even, int8_t odd) {
  SmallVector<int8_t> values;
  for (int64_t i = 0; i < 32; ++i)
    values.push_back(i % 2 ? odd : even);
  return arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({32}, b.getI8Type()), ArrayRef<int8_t>(values)));
}

static Value asLanes(KernelBuilder &b, Value value, unsigned width) {
  return vector::BitCastOp::create(b, VectorType::get({256 / width}, b.getIntegerType(width)), value);
}

/// The lower (or upper) halves of both 128 bits of two registers, an element of each in turn.
static Value unpack(KernelBuilder &b, Value first, Value second, unsigned width, bool upper) {
  int64_t count = 128 / width;
  SmallVector<int64_t> order;
  for (int64_t lane = 0; lane < 2; ++lane)
    for (int64_t i = 0; i < count / 2; ++i)
      for (int64_t which = 0; which < 2; ++which)
        order.push_back(which * 2 * count + lane * count + upper * count / 2 + i);
  return vector::ShuffleOp::create(b, asLanes(b, first, width), asLanes(b, second, width), order);
}

bool BitLookups::serves(const ::quanta::TargetLevel &level, const IntegerTiles &weight) {
  return looksUpBytes(level) && weight.uniform().getBits() == 1 && weight.tiles() >= 2;
}

BitLookups::BitLookups(IntegerOperands &operands)
    : operands(operands), b(operands.b), blocks(llvm::divideCeil(operands.mostPartColumns(), operands.weight.blockColumns())) {
  int64_t count = operands.partCount() * blocks * kTables;
  tables = memref::AllocOp::create(b, MemRefType::get({count + 1, kLanes}, b.getI8Type()), b.getI64IntegerAttr(64));
  // Of four words the bytes of the same place side by side. In memory, since LLVM would rather pick bytes twice than pick and interleave them.
  SmallVector<int8_t> order;
  for (int64_t i = 0; i < kLanes; ++i)
    order.push_back(static_cast<int8_t>(i % 4 * 4 + i / 4));
  byteOrder = b.index(count);
  auto bytes = VectorType::get({kLanes}, b.getI8Type());
  b.storeTile(arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, ArrayRef<int8_t>(order))), tables, {byteOrder, b.index(0)});
  Value halves = b.scratch({32}, b.getI16Type());
  b.loop(b.index(0), b.index(operands.partCount()), 1, [&](Value part) { emitTables(part, halves); });
}

void BitLookups::free() { memref::DeallocOp::create(b, tables); }

Value BitLookups::table(Value part, Value block, int64_t n) { return b.add(b.mul(b.add(b.mul(part, blocks), block), kTables), 2 * n); }

void BitLookups::emitTables(Value index, Value halves) {
  IntegerOperands::Part one = operands.part(index);
  auto i16s = VectorType::get({32}, b.getI16Type()), sums = VectorType::get({16}, b.getI16Type()), bytes = VectorType::get({32}, b.getI8Type());
  auto constant = [&](int16_t value) { return Value(arith::ConstantOp::create(b, DenseElementsAttr::get(i16s, value))); };
  b.loop(b.index(0), one.blocks, 1, [&](Value block) {
    Value loaded = vector::LoadOp::create(b, bytes, operands.codes, ValueRange{b.index(0), b.add(one.firstColumn, b.mul(block, 32))});
    // h in the upper byte, l in the lower one: sums of four of them do not carry.
    Value x = arith::ExtSIOp::create(b, i16s, loaded);
    Value high = b.andi(arith::ShLIOp::create(b, x, constant(4)), constant(static_cast<int16_t>(0xff00)));
    vector::StoreOp::create(b, arith::OrIOp::create(b, high, b.andi(x, constant(15))), halves, ValueRange{b.index(0)});
    for (int64_t n = 0; n < kTables / 2; ++n) {
      Value sum;
      for (int64_t bit = 0; bit < 4; ++bit) {
        SmallVector<int16_t> mask;
        for (int64_t four = 0; four < 16; ++four)
          mask.push_back(four >> bit & 1 ? -1 : 0);
        // Byte n / 2 of a word, its lower or upper half.
        Value column = vector::BroadcastOp::create(b, sums, b.load(halves, {b.index(n / 2 + 4 * (n % 2 * 4 + bit))}));
        Value picked = b.andi(column, arith::ConstantOp::create(b, DenseElementsAttr::get(sums, ArrayRef<int16_t>(mask))));
        sum = sum ? b.add(sum, picked) : picked;
      }
      Value shifted = b.add(asLanes(b, sum, 8), bytesOf(b, -32, 2));
      SmallVector<int64_t> apart;
      for (int64_t i = 0; i < 32; ++i)
        apart.push_back(i % 16 * 2 + i / 16);
      Value both = vector::ShuffleOp::create(b, shifted, shifted, apart);
      for (int64_t half : {0, 1})
        b.storeTile(vector::ExtractStridedSliceOp::create(b, both, {half * kLanes}, {kLanes}, {1}), tables,
                    {b.add(table(index, block, n), half), b.index(0)});
    }
  });
}

std::array<Value, 2> BitLookups::gatherBytes(Value order, Value first, Value second, bool upper) {
  auto gather = [&](Value line) {
    SmallVector<Value> halves;
    for (int64_t begin : {0, 8}) {
      Value words = asLanes(b, vector::ExtractStridedSliceOp::create(b, line, {begin}, {8}, {1}), 8);
      halves.push_back(emitByteLookup(b, words, order));
    }
    return unpack(b, halves[0], halves[1], 32, upper);
  };
  Value ofFirst = gather(first), ofSecond = gather(second);
  return {asLanes(b, unpack(b, ofFirst, ofSecond, 64, false), 8), asLanes(b, unpack(b, ofFirst, ofSecond, 64, true), 8)};
}

/// A table, twice in a register.
Value BitLookups::loadTable(Value row) {
  SmallVector<int64_t> twice;
  for (int64_t i = 0; i < 2 * kLanes; ++i)
    twice.push_back(i % kLanes);
  Value loaded = b.loadTile(tables, {row, b.index(0)});
  return vector::ShuffleOp::create(b, loaded, loaded, twice);
}

void BitLookups::accumulate(ArrayRef<Value> tiles, Value part, Value block, Value stored, MutableArrayRef<Value> sums) {
  Value low = bytesOf(b, 15, 15), weights = bytesOf(b, 1, 16), order = loadTable(byteOrder);
  // Pairs of tiles in turn, so that a table is loaded once for all of them and need not wait in a register.
  for (int64_t half : {0, 1}) {
    SmallVector<std::array<Value, 2>> codes, totals(tiles.size() / 2);
    for (size_t tile = 0; tile < tiles.size(); tile += 2)
      codes.push_back(gatherBytes(order, operands.weight.line(b, tiles[tile], stored, 0), operands.weight.line(b, tiles[tile + 1], stored, 0), half));
    for (int64_t n = 0; n < 4; ++n) {
      std::array<Value, 2> parts;
      for (int64_t which : {0, 1})
        parts[which] = loadTable(b.add(table(part, block, 4 * half + n), which));
      for (auto [bytes, total] : llvm::zip_equal(codes, totals)) {
        Value code = bytes[n / 2];
        if (n % 2)
          code = asLanes(b, arith::ShRUIOp::create(b, asLanes(b, code, 16), asLanes(b, bytesOf(b, 4, 0), 16)), 8);
        code = b.andi(code, low);
        for (int64_t which : {0, 1}) {
          Value found = emitByteLookup(b, parts[which], code);
          total[which] = total[which] ? b.add(total[which], found) : found;
        }
      }
    }
    for (size_t tile = 0; tile < tiles.size(); ++tile) {
      Value both = unpack(b, totals[tile / 2][0], totals[tile / 2][1], 8, tile % 2);
      sums[tile] = emitNeighbourDot(b, sums[tile], asLanes(b, weights, 32), asLanes(b, both, 32));
    }
  }
}

Value BitLookups::finish(Value sum) {
  sum = asLanes(b, sum, 16);
  Value ordered = vector::ShuffleOp::create(b, sum, sum, ArrayRef<int64_t>{0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15});
  Value words = arith::ExtSIOp::create(b, b.i32Tile(), ordered);
  return operands.weight.isDoubled() ? b.add(words, words) : words;
}
