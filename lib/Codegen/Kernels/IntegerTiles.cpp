//===- IntegerTiles.cpp - Weights as small integers -------------------------------------------------------------------------===//
//
// A field of a word need not be shifted down before it is multiplied: where it lies in its byte its value is too large by a
// power of two, which is the same for all words, so that sums by power are kept apart and shifted once a group. That saves the
// shift of every multiplication, where the target multiplies whole bytes.
//
// Where the target adds up neighbouring products in 16 bits and takes two more instructions to get sums of 32, sums stay
// in 16 bits for as many blocks as cannot overflow.
//
// Base-3 bytes need no digits, either. Multiplying a byte v by 3 shifts its first digit d out: 256·d = 3·v − v', where v' is what
// is left. So 256 · Σ d·x = 3 · Σ v·x − Σ v'·x: two multiplications of bytes in place of an extraction.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "IntegerTiles.h"
#include "quanta/Codegen/IntegerDot.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::TileField;

static int32_t bytes(unsigned value) { return static_cast<int32_t>(value * 0x01010101u); }

IntegerTiles::IntegerTiles(UniformAttr uniform, ArrayRef<int64_t> tensor, ValueRange components)
    : encoding(uniform), components(components) {
  auto [rows, columns] = getMatrixShape(tensor);
  shape = *::quanta::TileShape::get({rows, columns, uniform.getBits(), uniform.getGroup(), uniform.getLevels()});
}

Value IntegerTiles::line(KernelBuilder &b, Value tile, Value block, int64_t word) const {
  int64_t words = shape.blockBytes / (4 * kLanes);
  return b.loadTile(components[0], {tile, b.add(b.mul(block, words), word), b.index(0)});
}

Value IntegerTiles::lineAhead(KernelBuilder &b, Value block, int64_t streams) const {
  constexpr int64_t kBytesAhead = 8192;
  int64_t blockLines = shape.blockBytes / (4 * kLanes), lines = shape.tileBlocks * blockLines;
  Value ahead = b.add(b.mul(block, blockLines), std::min(lines, kBytesAhead / (4 * kLanes)));
  if (streams == 1)
    return ahead;
  // Behind the end of a tile lies one that is being read; the next ones are behind those.
  Value ends = b.less(ahead, b.index(lines));
  return b.add(ahead, Value(arith::SelectOp::create(b, ends, b.index(0), b.index((streams - 1) * lines))));
}

void IntegerTiles::prefetch(KernelBuilder &b, Value tile, Value lineAhead) const {
  for (int64_t line = 0; line < shape.blockBytes / (4 * kLanes); ++line)
    b.prefetch(components[0], {tile, b.add(lineAhead, line), b.index(0)});
}

void IntegerTiles::prefetchTiles(KernelBuilder &b, Value tile, int64_t count) const {
  constexpr int64_t kFirstLines = 8;
  for (int64_t line = 0; line < std::min(kFirstLines, shape.tileBlocks * blockLines()); ++line)
    for (int64_t next = 0; next < count; ++next)
      b.prefetch(components[0], {b.add(tile, count + next), b.index(line), b.index(0)});
}

Value IntegerTiles::groupColumns(KernelBuilder &b, Value group) const {
  if (shape.columns % shape.groupColumns == 0)
    return b.index(shape.groupColumns);
  return b.min(b.index(shape.groupColumns), b.sub(b.index(shape.columns), b.mul(group, shape.groupColumns)));
}

Value IntegerTiles::groupBlocks(KernelBuilder &b, Value group) const {
  return b.ceilDiv(groupColumns(b, group), shape.blockColumns);
}

//===- Multiplying in place -----------------------------------------------------------------------------------------------===//

/// An addition that LLVM does not see through: it would make multiplications of bytes by 9, 27, 81 and 243, which no target has.
static Value addOpaquely(KernelBuilder &b, Value x, Value y) {
  Value all = arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({4 * kLanes}, b.getI1Type()), true));
  Value lanes = arith::ConstantIntOp::create(b, b.getI32Type(), 4 * kLanes);
  return LLVM::VPAddOp::create(b, x.getType(), x, y, all, lanes);
}

int IntegerTiles::exponent(KernelBuilder &b, const TileField &field, int64_t slot) const {
  return static_cast<int>(field.shift + isDoubled()) - static_cast<int>(position(b, field, slot));
}

bool IntegerTiles::sumsHalves(KernelBuilder &b) const { return sumsNeighbours(*b.level) && shape.bits < 8; }

unsigned IntegerTiles::position(KernelBuilder &b, const TileField &field, int64_t slot) const {
  if (multipliesWholeBytes(*b.level))
    return field.width * slot;
  // Sums of halves have room for products that are twice too large, which saves half of the shifts of single bits.
  return sumsHalves(b) ? field.width * slot % 2 : 0;
}

int64_t IntegerTiles::mostBlocks(KernelBuilder &b) const {
  if (!sumsHalves(b))
    return shape.tileBlocks;
  llvm::SmallDenseMap<int, int64_t> most; // of the halves of each sum, in a block
  for (const TileField &field : fields())
    for (int64_t slot = 0; slot < 8 / field.width; ++slot)
      most[exponent(b, field, slot)] +=
          shape.blockColumns * field.width / 32 * 2 * 127 * (((1 << field.width) - 1) << position(b, field, slot));
  int64_t largest = isTernary() ? blockWords() * 2 * 127 * 2 : 1;
  for (auto [power, value] : most)
    largest = std::max(largest, value);
  return std::max<int64_t>(1, 32767 / largest);
}

SmallVector<int> IntegerTiles::exponents(KernelBuilder &b) const {
  llvm::SmallSetVector<int, 16> found;
  for (const TileField &field : fields())
    for (int64_t slot = 0; slot < 8 / field.width; ++slot)
      found.insert(exponent(b, field, slot));
  return found.takeVector();
}

int64_t IntegerTiles::sums(KernelBuilder &b) const {
  return isTernary() ? (multipliesWholeBytes(*b.level) ? 2 : 1) : exponents(b).size();
}

void IntegerTiles::accumulate(KernelBuilder &b, Value tile, Value block, MutableArrayRef<Value> sums,
                              function_ref<Value(int64_t)> x) const {
  bool inPlace = multipliesWholeBytes(*b.level);
  if (isTernary() && !inPlace) { // digits are small, bytes are not
    for (auto [word, codes] : llvm::enumerate(decode(b, tile, block)))
      sums[0] = sumsHalves(b) ? emitNeighbourDot(b, sums[0], codes, x(4 * word)) : emitIntegerDot(b, sums[0], codes, x(4 * word), 2);
    return;
  }
  if (isTernary()) {
    auto i8s = VectorType::get({4 * kLanes}, b.getI8Type());
    Value codes = line(b, tile, block, 0), left = vector::BitCastOp::create(b, i8s, codes);
    for (int64_t column = 0; column < shape.blockColumns; column += 4) {
      sums[0] = emitIntegerDot(b, sums[0], codes, x(column), 8);
      left = addOpaquely(b, b.add(left, left), left);
      codes = vector::BitCastOp::create(b, b.i32Tile(), left);
      sums[1] = emitIntegerDot(b, sums[1], codes, x(column), 8);
    }
    return;
  }
  SmallVector<int> powers = exponents(b);
  for (const TileField &field : fields()) {
    unsigned mask = (1u << field.width) - 1;
    for (int64_t word = 0; word < shape.blockColumns * field.width / 32; ++word) {
      Value codes = line(b, tile, block, field.firstWord + word);
      for (int64_t slot = 0; slot < 8 / field.width; ++slot) {
        unsigned at = position(b, field, slot);
        Value part = b.shiftRight(codes, field.width * slot - at);
        if (field.width < 8)
          part = b.andi(part, b.tileOf(bytes(mask << at)));
        Value &sum = sums[llvm::find(powers, exponent(b, field, slot)) - powers.begin()];
        Value activations = x(word * 32 / field.width + 4 * slot);
        sum = sumsHalves(b) ? emitNeighbourDot(b, sum, part, activations) : emitIntegerDot(b, sum, part, activations, inPlace ? 8 : field.width);
      }
    }
  }
}

Value IntegerTiles::finish(KernelBuilder &b, ValueRange sums) const {
  auto shifted = [&](Value sum, int power) -> Value {
    if (power == 0)
      return sum;
    Value count = b.tileOf(std::abs(power));
    return power > 0 ? Value(arith::ShLIOp::create(b, sum, count)) : Value(arith::ShRSIOp::create(b, sum, count));
  };
  if (isTernary() && sums.size() == 1)
    return sumsHalves(b) ? emitNeighbourSum(b, sums[0]) : sums[0];
  if (isTernary())
    return shifted(b.sub(b.mul(sums[0], b.tileOf(3)), sums[1]), -8);
  Value total;
  for (auto [sum, power] : llvm::zip_equal(sums, exponents(b))) {
    Value words = shifted(sumsHalves(b) ? emitNeighbourSum(b, sum) : sum, power);
    total = total ? b.add(total, words) : words;
  }
  return total;
}

//===- Decoding -----------------------------------------------------------------------------------------------------------===//

void IntegerTiles::multiplyCodes(const ::quanta::TargetLevel &level) {
  // Blocks of a row must have one group each and follow each other. Sums of neighbours have no room for such bytes.
  multiplied = hasMultiples() && !sumsNeighbours(level) && shape.groupColumns % shape.blockColumns == 0 && shape.columns % shape.blockColumns == 0;
  byteZero = multipliesWholeBytes(level) ? 128 : 0;
}

IntegerTiles::Factors IntegerTiles::factors(KernelBuilder &b, Value tile, Value group, bool centred) const {
  auto lanes = VectorType::get({kLanes}, b.getI8Type());
  auto constant = [&](int32_t value) { return Value(arith::ConstantOp::create(b, DenseElementsAttr::get(lanes, static_cast<int8_t>(value)))); };
  Value multiples = b.loadTile(components.back(), {tile, group, b.index(0)});
  Value zero = codeZero() ? constant(*codeZero()) : b.loadTile(components[2], {tile, group, b.index(0)});
  Value added = b.sub(constant(centred ? 0 : byteZero), b.mul(multiples, zero));
  SmallVector<int64_t> fourfold;
  for (int64_t i = 0; i < 4 * kLanes; ++i)
    fourfold.push_back(i / 4);
  auto spread = [&](Value bytes) { return Value(vector::ShuffleOp::create(b, bytes, bytes, fourfold)); };
  return {b.andi(vector::BitCastOp::create(b, b.i32Tile(), spread(multiples)), b.tileOf(0x00ff00ff)), spread(added)};
}

SmallVector<Value> IntegerTiles::decode(KernelBuilder &b, Value tile, Value block, bool centred, std::optional<Factors> given) const {
  if (!multiplied)
    return decodeCodes(b, tile, block, centred);
  // Products of codes fit unsigned bytes, so that one of 16 bits makes two of them.
  SmallVector<Value> codes = decodeCodes(b, tile, block, /*centred=*/false);
  Factors by = given ? *given : factors(b, tile, b.div(block, groupBlocks()), centred);
  auto i16s = VectorType::get({2 * kLanes}, b.getI16Type());
  auto i8s = VectorType::get({4 * kLanes}, b.getI8Type());
  auto as = [&](Type type, Value value) { return Value(vector::BitCastOp::create(b, type, value)); };
  for (Value &code : codes)
    code = as(b.i32Tile(), b.add(as(i8s, b.mul(as(i16s, code), as(i16s, by.multiples))), by.constants));
  return codes;
}

SmallVector<Value> IntegerTiles::decodeCodes(KernelBuilder &b, Value tile, Value block, bool centred) const {
  SmallVector<Value> codes(blockWords());
  auto i8s = VectorType::get({4 * kLanes}, b.getI8Type());
  if (isTernary())
    return decodeTernary(b, tile, block, centred);
  if (centred && b.level->permutesBits && fields().size() == 1 && shape.bits < 8) {
    // Less half the range, a code is its lower bits below copies of its inverted highest one; with one bit those are above a 1.
    int64_t perWord = 8 / shape.bits;
    for (auto [i, code] : llvm::enumerate(codes))
      code = b.centreBits(line(b, tile, block, i / perWord), shape.bits, shape.bits * (i % perWord), isDoubled());
    return codes;
  }
  if (centred) {
    codes = decodeCodes(b, tile, block, false);
    Value zero = arith::ConstantOp::create(b, DenseElementsAttr::get(i8s, static_cast<int8_t>(middle())));
    for (Value &code : codes)
      code = vector::BitCastOp::create(b, b.i32Tile(), b.sub(vector::BitCastOp::create(b, i8s, code), zero));
    return codes;
  }
  for (const TileField &field : fields()) {
    unsigned target = field.shift + isDoubled();
    int64_t perWord = 8 / field.width;
    for (int64_t word = 0; word < shape.blockColumns * field.width / 32; ++word) {
      Value packed = line(b, tile, block, field.firstWord + word);
      for (int64_t slot = 0; slot < perWord; ++slot) {
        Value part = b.moveBits(packed, field.width, field.width * slot, target);
        Value &code = codes[word * perWord + slot];
        code = code ? Value(arith::OrIOp::create(b, code, part)) : part;
      }
    }
  }
  return codes;
}

SmallVector<Value> IntegerTiles::decodeTernary(KernelBuilder &b, Value tile, Value block, bool centred) const {
  auto i8s = VectorType::get({4 * kLanes}, b.getI8Type());
  auto bytesOf = [&](int value) {
    return Value(arith::ConstantOp::create(b, DenseElementsAttr::get(i8s, static_cast<int8_t>(value))));
  };
  // Less 128, since many targets compare signed bytes only; three times that is three times the byte, less 128.
  Value left = arith::XOrIOp::create(b, vector::BitCastOp::create(b, i8s, line(b, tile, block, 0)), bytesOf(128));
  SmallVector<Value> codes;
  for (int64_t i = 0; i < blockWords(); ++i) {
    // The digit that three times the byte carries out: 1 from 256 / 3 on, 2 from 512 / 3 on.
    auto reaches = [&](int least) { return Value(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, left, bytesOf(least - 128))); };
    int zero = centred ? 1 : 0;
    Value one = reaches(86), two = reaches(171), digit;
    if (b.level->vectorBits >= 512) { // comparisons make masks
      digit = arith::SelectOp::create(b, one, bytesOf(1 - zero), bytesOf(-zero));
      digit = arith::SelectOp::create(b, two, bytesOf(2 - zero), digit);
    } else { // comparisons make −1
      auto extend = [&](Value mask) { return Value(arith::ExtSIOp::create(b, i8s, mask)); };
      digit = b.sub(b.sub(bytesOf(-zero), extend(one)), extend(two));
    }
    codes.push_back(vector::BitCastOp::create(b, b.i32Tile(), digit));
    left = addOpaquely(b, b.add(left, left), left);
  }
  return codes;
}

//===- Scales and zero points ---------------------------------------------------------------------------------------------===//

std::optional<int32_t> IntegerTiles::constantZero() const { return multiplied ? byteZero : codeZero(); }

std::optional<int32_t> IntegerTiles::codeZero() const {
  return encoding.getZero() == ZeroKind::Symmetric ? std::optional(middle()) : std::nullopt;
}

void IntegerTiles::prefetchAffine(KernelBuilder &b, Value tile, Value group, int64_t streams) const {
  for (Value component : ArrayRef(components).drop_front(hasMultiples() ? 2 : 1)) // a single scale is read once
    b.prefetch(component, {b.add(tile, streams), group, b.index(0)});
}

IntegerTiles::Affine IntegerTiles::affine(KernelBuilder &b, Value tile, Value group, bool apart) const {
  auto load = [&](size_t component) { return b.loadTile(components[component], {tile, group, b.index(0)}); };
  auto integers = [&](size_t component) { return Value(arith::ExtUIOp::create(b, b.i32Tile(), load(component))); };
  Affine result;
  result.scale = b.widen(hasMultiples() ? b.loadTile(components[1], {tile, b.index(0), b.index(0)}) : load(1));
  if (hasMultiples() && !multiplied) {
    result.multiple = integers(components.size() - 1);
    if (!apart)
      result.scale = b.mulf(result.scale, arith::SIToFPOp::create(b, b.f32Tile(), std::exchange(result.multiple, Value())));
  }
  if (isDoubled())
    result.scale = b.mulf(result.scale, b.tileOf(0.5f));
  if (std::optional<int32_t> zero = constantZero())
    result.zero = b.tileOf(*zero);
  else if (encoding.getZero() == ZeroKind::Point)
    result.zero = integers(2);
  else
    result.offset = b.widen(load(2));
  return result;
}
