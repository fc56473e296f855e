//===- IntegerDot.cpp - Sums of products of four bytes a lane ---------------------------------------------------------------===//
#include "quanta/Codegen/IntegerDot.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::IntegerDot;

namespace {

/// The intrinsics behind a row of the table of target levels, for registers of `bits` bits.
struct Instructions {
  IntegerDot dot;
  unsigned bits;
  const char *bytes; ///< u8 × s8 (Arm: s8 × s8 but for usdot): into i32 lanes, added to a sum, or into i16 lanes
  const char *words; ///< s16 × s16, pairs into i32 lanes; Arm: sums of pairs of i16 lanes into i32 lanes
  const char *pairs = nullptr; ///< two rows of 8 u8 × two rows of 8 s8 into four i32 lanes
};
const Instructions instructions[] = {
    {IntegerDot::X86Vnni, 512, "llvm.x86.avx512.vpdpbusd.512", nullptr},
    {IntegerDot::X86Vnni, 256, "llvm.x86.avx512.vpdpbusd.256", nullptr},
    {IntegerDot::X86Bytes, 512, "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"},
    {IntegerDot::X86Bytes, 256, "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"},
    {IntegerDot::X86Words, 128, nullptr, "llvm.x86.sse2.pmadd.wd"},
    {IntegerDot::ArmMixed, 128, "llvm.aarch64.neon.usdot", nullptr, "llvm.aarch64.neon.usmmla"},
    {IntegerDot::ArmSigned, 128, "llvm.aarch64.neon.sdot", nullptr},
    {IntegerDot::ArmWords, 128, "llvm.aarch64.neon.smull", "llvm.aarch64.neon.saddlp"},
    {IntegerDot::SveMixed, 512, "llvm.aarch64.sve.usdot", nullptr, "llvm.aarch64.sve.usmmla"},
    {IntegerDot::SveMixed, 256, "llvm.aarch64.sve.usdot", nullptr, "llvm.aarch64.sve.usmmla"},
    {IntegerDot::SveSigned, 512, "llvm.aarch64.sve.sdot", nullptr},
    {IntegerDot::SveSigned, 256, "llvm.aarch64.sve.sdot", nullptr},
};

class DotEmitter {
public:
  explicit DotEmitter(KernelBuilder &b) : b(b) {
    for (const Instructions &row : instructions)
      if (row.dot == b.level->dot && row.bits == b.level->vectorBits)
        found = &row;
  }

  Value emit(Value sum, Value codes, Value activations, unsigned codeBits, unsigned activationBits) {
    if (!found)
      return emitGeneric(sum, codes, activations);
    if (found->dot == IntegerDot::X86Words)
      return emitWords(sum, codes, activations);
    if (found->dot == IntegerDot::X86Bytes && codeBits == 8 && activationBits == 8) {
      // A pair of products of 255 · 127 would saturate: half a byte at a time.
      sum = emitBytes(sum, b.andi(codes, b.tileOf(0x0f0f0f0f)), activations, 1);
      return emitBytes(sum, b.andi(b.shiftRight(codes, 4), b.tileOf(0x0f0f0f0f)), activations, 16);
    }
    if (isSigned() && codeBits == 8) {
      // The highest bit of a code is −128 of a signed byte where it is 128 of the code.
      sum = emitBytes(sum, b.andi(codes, b.tileOf(0x7f7f7f7f)), activations, 1);
      Value high = b.andi(codes, b.tileOf(static_cast<int32_t>(0x80808080u)));
      if (found->dot == IntegerDot::ArmWords) { // two products of −128 · −128 would not fit 16 bits
        high = emitBytes(b.tileOf(0), b.shiftRight(high, 7), activations, 1);
        return b.add(sum, Value(arith::ShLIOp::create(b, high, b.tileOf(7))));
      }
      return b.sub(sum, emitBytes(b.tileOf(0), high, activations, 1));
    }
    return emitBytes(sum, codes, activations, 1);
  }

  Value emitPairs(Value sums, Value codes, Value first, Value second) {
    // Every 128 bits of a register are multiplied by the same.
    auto both = VectorType::get({found->bits / 64}, b.getI64Type());
    auto spread = [&](Value eight) {
      return Value(vector::BroadcastOp::create(b, both, Value(cast(VectorType::get({1}, b.getI64Type()), eight))));
    };
    SmallVector<int64_t> alternating;
    for (int64_t i = 0; i < both.getNumElements(); ++i)
      alternating.push_back(i % 2 ? both.getNumElements() + i - 1 : i);
    Value activations = cast(lanes(8), vector::ShuffleOp::create(b, spread(first), spread(second), alternating));
    return forRegisters(sums, {codes}, [&](Value part, ArrayRef<Value> operands) {
      return multiply(found->pairs, part, cast(lanes(8), operands[0]), activations);
    });
  }

  Value emitNeighbours(Value sums, Value codes, Value activations) {
    return forRegisters(sums, {codes, activations}, [&](Value part, ArrayRef<Value> operands) {
      Value pairs = call(found->bytes, lanes(16), {cast(lanes(8), operands[0]), cast(lanes(8), operands[1])});
      return cast(lanes(32), b.add(cast(lanes(16), part), pairs));
    });
  }

  Value sumNeighbours(Value sums) {
    Value ones = arith::ConstantOp::create(b, DenseElementsAttr::get(lanes(16), int16_t(1)));
    return forRegisters(sums, {}, [&](Value part, ArrayRef<Value>) { return call(found->words, lanes(32), {cast(lanes(16), part), ones}); });
  }

private:
  bool isSigned() const {
    return llvm::is_contained({IntegerDot::ArmSigned, IntegerDot::ArmWords, IntegerDot::SveSigned}, found->dot);
  }
  VectorType lanes(unsigned width) { return VectorType::get({found->bits / width}, b.getIntegerType(width)); }
  Value call(const char *name, Type result, ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name), operands).getResult(0);
  }

  /// sum + products of bytes, added up.
  Value multiply(const char *name, Value sum, Value q, Value x) {
    if (!b.level->scalable)
      return call(name, lanes(32), {sum, q, x});
    Value wide = b.toScalable(sum);
    return b.fromScalable(call(name, wide.getType(), {wide, b.toScalable(q), b.toScalable(x)}), lanes(32));
  }
  Value cast(Type type, Value value) { return vector::BitCastOp::create(b, type, value); }

  /// Register by register.
  Value forRegisters(Value sum, ValueRange operands, function_ref<Value(Value, ArrayRef<Value>)> body) {
    int64_t width = found->bits / 32;
    if (mlir::cast<VectorType>(sum.getType()).getNumElements() == width)
      return body(sum, SmallVector<Value>(operands));
    auto part = [&](Value value, int64_t begin) {
      return Value(vector::ExtractStridedSliceOp::create(b, value, {begin}, {width}, {1}));
    };
    Value result = sum;
    for (int64_t begin = 0, end = mlir::cast<VectorType>(sum.getType()).getNumElements(); begin < end; begin += width) {
      SmallVector<Value> parts;
      for (Value operand : operands)
        parts.push_back(part(operand, begin));
      result = vector::InsertStridedSliceOp::create(b, body(part(sum, begin), parts), result, {begin}, {1});
    }
    return result;
  }

  Value emitBytes(Value sum, Value codes, Value activations, int16_t factor) {
    return forRegisters(sum, {codes, activations}, [&](Value part, ArrayRef<Value> operands) {
      Value q = cast(lanes(8), operands[0]), x = cast(lanes(8), operands[1]);
      if (!found->words)
        return multiply(found->bytes, part, q, x);
      if (found->dot == IntegerDot::ArmWords)
        return b.add(part, emitLong(q, x));
      Value pairs = call(found->bytes, lanes(16), {q, x});
      Value factors = arith::ConstantOp::create(b, DenseElementsAttr::get(lanes(16), factor));
      return b.add(part, call(found->words, lanes(32), {pairs, factors}));
    });
  }

  /// Neighbouring products, below 2¹⁴, are added in 16 bits, then those sums in 32.
  Value emitLong(Value q, Value x) {
    auto multiply = [&](int64_t begin) {
      auto half = [&](Value bytes) { return Value(vector::ExtractStridedSliceOp::create(b, bytes, {begin}, {8}, {1})); };
      return call(found->bytes, lanes(16), {half(q), half(x)});
    };
    Value pairs = call("llvm.aarch64.neon.addp", lanes(16), {multiply(0), multiply(8)});
    return call(found->words, lanes(32), {pairs});
  }

  Value emitWords(Value sum, Value codes, Value activations) {
    auto i16s = VectorType::get({2 * kLanes}, b.getI16Type());
    Value eight = arith::ConstantOp::create(b, DenseElementsAttr::get(i16s, int16_t(8)));
    Value x = cast(i16s, activations), q = cast(i16s, codes), low = b.tileOf(0x00ff00ff);
    Value evenX = arith::ShRSIOp::create(b, arith::ShLIOp::create(b, x, eight), eight), oddX = arith::ShRSIOp::create(b, x, eight);
    Value evenQ = b.andi(codes, low), oddQ = arith::ShRUIOp::create(b, q, eight);
    return forRegisters(sum, {evenQ, cast(b.i32Tile(), oddQ), cast(b.i32Tile(), evenX), cast(b.i32Tile(), oddX)},
                        [&](Value part, ArrayRef<Value> operands) {
                          SmallVector<Value> words;
                          for (Value operand : operands)
                            words.push_back(cast(lanes(16), operand));
                          Value even = call(found->words, lanes(32), {words[0], words[2]});
                          return b.add(b.add(part, even), call(found->words, lanes(32), {words[1], words[3]}));
                        });
  }

  Value emitGeneric(Value sum, Value codes, Value activations) {
    for (int32_t shift = 0; shift < 32; shift += 8) {
      Value q = b.andi(b.shiftRight(codes, shift), b.tileOf(0xff));
      Value x = arith::ShRSIOp::create(b, arith::ShLIOp::create(b, activations, b.tileOf(24 - shift)), b.tileOf(24));
      sum = b.add(sum, b.mul(q, x));
    }
    return sum;
  }

  KernelBuilder &b;
  const Instructions *found = nullptr;
};

} // namespace

bool mlir::quanta::sumsNeighbours(const ::quanta::TargetLevel &level) { return level.dot == IntegerDot::X86Bytes; }

Value mlir::quanta::emitNeighbourDot(KernelBuilder &b, Value sums, Value codes, Value activations) {
  return DotEmitter(b).emitNeighbours(sums, codes, activations);
}

Value mlir::quanta::emitNeighbourSum(KernelBuilder &b, Value sums) { return DotEmitter(b).sumNeighbours(sums); }

bool mlir::quanta::looksUpBytes(const ::quanta::TargetLevel &level) { return level.dot == IntegerDot::X86Bytes && level.vectorBits == 256; }

Value mlir::quanta::emitByteLookup(KernelBuilder &b, Value table, Value indices) {
  return LLVM::CallIntrinsicOp::create(b, table.getType(), b.getStringAttr("llvm.x86.avx2.pshuf.b"), ValueRange{table, indices}).getResult(0);
}

bool mlir::quanta::multipliesPairs(const ::quanta::TargetLevel &level) {
  return llvm::any_of(instructions, [&](const Instructions &row) { return row.dot == level.dot && row.bits == level.vectorBits && row.pairs; });
}

Value mlir::quanta::emitPairDot(KernelBuilder &b, Value sums, Value codes, Value first, Value second) {
  return DotEmitter(b).emitPairs(sums, codes, first, second);
}

bool mlir::quanta::multipliesSignedBytes(const ::quanta::TargetLevel &level) {
  return level.dot == IntegerDot::ArmSigned || level.dot == IntegerDot::ArmWords;
}

bool mlir::quanta::multipliesWholeBytes(const ::quanta::TargetLevel &level) {
  switch (level.dot) {
  case IntegerDot::X86Bytes:
  case IntegerDot::ArmSigned:
  case IntegerDot::ArmWords:
  case IntegerDot::SveSigned:
    return false;
  default:
    return true;
  }
}

Value mlir::quanta::emitIntegerDot(KernelBuilder &b, Value sum, Value codes, Value activations, unsigned codeBits, unsigned activationBits) {
  return DotEmitter(b).emit(sum, codes, activations, codeBits, activationBits);
}
