//===- KernelBuilder.cpp - Short names for what kernel emitters write most ------------------------------------------------===//
#include "quanta/Codegen/KernelBuilder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;

Value KernelBuilder::widen(Value tile) {
  if (cast<VectorType>(tile.getType()).getElementType().isF32())
    return tile;
  if (level->widensHalf)
    return arith::ExtFOp::create(*this, f32Tile(), tile);
  // Targets without the conversion would call a compiler's support library.
  // The exponent is moved, and rebiased by a multiplication, which also normalises small numbers.
  auto i16s = VectorType::get({kLanes}, getI16Type());
  Value word = arith::ExtUIOp::create(*this, i32Tile(), Value(vector::BitCastOp::create(*this, i16s, tile)));
  Value sign = arith::ShLIOp::create(*this, andi(word, tileOf(0x8000)), tileOf(16));
  Value magnitude = arith::ShLIOp::create(*this, andi(word, tileOf(0x7fff)), tileOf(13));
  Value scaled = mulf(vector::BitCastOp::create(*this, f32Tile(), magnitude), tileOf(0x1p112f));
  Value result = arith::OrIOp::create(*this, Value(vector::BitCastOp::create(*this, i32Tile(), scaled)), sign);
  return vector::BitCastOp::create(*this, f32Tile(), result);
}

Value KernelBuilder::moveBits(Value words, unsigned width, unsigned from, unsigned to) {
  if (width == 8)
    return words;
  if (!level->permutesBits) {
    Value moved = from >= to ? shiftRight(words, from - to) : Value(arith::ShLIOp::create(*this, words, tileOf(static_cast<int32_t>(to - from))));
    return andi(moved, tileOf(static_cast<int32_t>((((1u << width) - 1) << to) * 0x01010101u)));
  }
  SmallVector<int> bits(8, -1);
  for (unsigned bit = 0; bit < width; ++bit)
    bits[to + bit] = from + bit;
  return permuteBits(words, bits, 0);
}

Value KernelBuilder::centreBits(Value words, unsigned width, unsigned from, bool doubled) {
  // Lower bits below copies of the inverted highest one; a doubled bit is a 1 below them.
  SmallVector<int> bits(8, from + width - 1);
  for (unsigned bit = 0; bit + 1 < width; ++bit)
    bits[bit] = from + bit;
  unsigned inverted = 0xff & ~((1u << (width - 1)) - 1);
  if (doubled)
    bits[0] = -1;
  return permuteBits(words, bits, inverted);
}

Value KernelBuilder::permuteBits(Value words, ArrayRef<int> bits, unsigned inverted) {
  assert(level->permutesBits);
  // A matrix for each eight bytes, whose byte 7 − i selects what bit i is the parity of.
  uint64_t matrix = 0;
  for (auto [bit, source] : llvm::enumerate(bits))
    if (source >= 0)
      matrix |= uint64_t(1) << source << 8 * (7 - bit);
  auto bytes = VectorType::get({4 * kLanes}, getI8Type()), quads = VectorType::get({kLanes / 2}, getI64Type());
  auto cast = [&](Type type, Value value) { return Value(vector::BitCastOp::create(*this, type, value)); };
  Value matrices = arith::ConstantOp::create(*this, DenseElementsAttr::get(quads, matrix));
  Value flips = LLVM::ConstantOp::create(*this, getI8Type(), getI8IntegerAttr(static_cast<int8_t>(inverted)));
  Value result = LLVM::CallIntrinsicOp::create(*this, bytes, getStringAttr("llvm.x86.vgf2p8affineqb.512"),
                                               ValueRange{cast(bytes, words), cast(bytes, matrices), flips})
                     .getResult(0);
  return cast(i32Tile(), result);
}

Value KernelBuilder::toScalable(Value vector) {
  auto type = cast<VectorType>(vector.getType());
  if (type.isScalable())
    return vector;
  auto wide = VectorType::get({128 / type.getElementTypeBitWidth()}, type.getElementType(), {true});
  return vector::ScalableInsertOp::create(*this, vector, LLVM::PoisonOp::create(*this, wide), 0);
}

Value KernelBuilder::fromScalable(Value scalable, VectorType type) { return vector::ScalableExtractOp::create(*this, type, scalable, 0); }

Value KernelBuilder::pick(Value first, Value second, ArrayRef<int64_t> lanes) {
  // Instructions that join two registers go on where a register ends, which is unknown; those that work on pairs of lanes do not.
  bool pairs = llvm::all_of(llvm::enumerate(lanes), [&](auto lane) {
    int64_t i = lane.index();
    return lane.value() == lanes[0] + i / 2 * 2 + kLanes * (i % 2);
  });
  if (!level->scalable || pairs)
    return vector::ShuffleOp::create(*this, first, second, lanes);
  int64_t width = level->vectorBits / 32;
  auto type = VectorType::get({width}, getI32Type());
  // A table's lanes for every register, and zeros for indices behind its end.
  auto pickFrom = [&](int64_t source, ArrayRef<int64_t> wanted) -> Value {
    SmallVector<int32_t> indices;
    for (int64_t lane : wanted)
      indices.push_back(lane / width == source ? lane % width : -1);
    if (llvm::all_of(indices, [](int32_t index) { return index < 0; }))
      return Value();
    Value tile = source * width < kLanes ? first : second;
    Value part = vector::BitCastOp::create(*this, i32Tile(), tile);
    if (width < kLanes)
      part = vector::ExtractStridedSliceOp::create(*this, part, {source * width % kLanes}, {width}, {1});
    if (llvm::equal(indices, llvm::seq<int32_t>(width)))
      return part;
    Value table = arith::ConstantOp::create(*this, DenseElementsAttr::get(type, ArrayRef<int32_t>(indices)));
    Value data = toScalable(part);
    Value found = LLVM::CallIntrinsicOp::create(*this, data.getType(), getStringAttr("llvm.aarch64.sve.tbl"), ValueRange{data, toScalable(table)})
                      .getResult(0);
    return fromScalable(found, type);
  };
  Value result = tileOf(0);
  for (int64_t begin = 0; begin < kLanes; begin += width) {
    Value part;
    for (int64_t source = 0; source < 2 * kLanes / width; ++source)
      if (Value found = pickFrom(source, lanes.slice(begin, width)))
        part = part ? Value(arith::OrIOp::create(*this, part, found)) : found;
    result = width < kLanes ? Value(vector::InsertStridedSliceOp::create(*this, part, result, {begin}, {1})) : part;
  }
  return vector::BitCastOp::create(*this, first.getType(), result);
}

Value KernelBuilder::joinBytes(ArrayRef<Value> four) {
  if (level->scalable) { // within lanes, whatever the length of registers
    Value word;
    for (auto [i, bytes] : llvm::enumerate(four)) {
      Value byte = arith::ShLIOp::create(*this, Value(arith::ExtUIOp::create(*this, i32Tile(), bytes)), tileOf(int32_t(8 * i)));
      word = word ? Value(arith::OrIOp::create(*this, word, byte)) : byte;
    }
    return word;
  }
  auto interleave = [&](Value first, Value second, unsigned width) {
    Value both = vector::InterleaveOp::create(*this, first, second);
    return Value(vector::BitCastOp::create(*this, VectorType::get({kLanes}, getIntegerType(2 * width)), both));
  };
  return interleave(interleave(four[0], four[1], 8), interleave(four[2], four[3], 8), 16);
}

Value KernelBuilder::lookUp(Value table, Value indices) {
  assert(level->looksUp16);
  return LLVM::CallIntrinsicOp::create(*this, f32Tile(), getStringAttr("llvm.x86.avx512.permvar.sf.512"), ValueRange{table, indices})
      .getResult(0);
}
