//===- BFloatDot.cpp - Sums of products of two bf16 a lane ------------------------------------------------------------------===//
#include "quanta/Codegen/BFloatDot.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::BFloatDot;

Value mlir::quanta::emitBFloatBits(KernelBuilder &b, Value x) {
  bool isTile = isa<VectorType>(x.getType());
  auto constant = [&](uint32_t bits) -> Value {
    auto value = static_cast<int32_t>(bits);
    return isTile ? b.tileOf(value) : Value(arith::ConstantIntOp::create(b, b.getI32Type(), value));
  };
  Value bits = arith::BitcastOp::create(b, isTile ? Type(b.i32Tile()) : b.getI32Type(), x);
  Value odd = b.andi(arith::ShRUIOp::create(b, bits, constant(16)), constant(1));
  Value rounded = b.andi(b.add(bits, b.add(odd, constant(0x7fff))), constant(0xffff0000));
  // The fraction of NaN would be carried on into exponent and sign.
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
  return arith::SelectOp::create(b, isNaN, constant(0x7fc00000), rounded);
}

Value mlir::quanta::widenBFloats(KernelBuilder &b, Value codes) {
  Value words = arith::ExtUIOp::create(b, b.i32Tile(), codes);
  return vector::BitCastOp::create(b, b.f32Tile(), Value(arith::ShLIOp::create(b, words, b.tileOf(16))));
}

static VectorType halves(KernelBuilder &b) { return VectorType::get({2 * kLanes}, b.getI16Type()); }
static Value asHalves(KernelBuilder &b, Value words) { return vector::BitCastOp::create(b, halves(b), words); }

bool mlir::quanta::multipliesBFloats(const ::quanta::TargetLevel &level) { return level.bfloats != BFloatDot::None; }

Value mlir::quanta::emitBFloatDot(KernelBuilder &b, Value sum, Value x, Value y) {
  assert(multipliesBFloats(*b.level));
  auto pairs = VectorType::get({2 * kLanes}, b.getBF16Type());
  auto cast = [&](Value words) { return Value(vector::BitCastOp::create(b, pairs, words)); };
  return LLVM::CallIntrinsicOp::create(b, b.f32Tile(), b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"), ValueRange{sum, cast(x), cast(y)})
      .getResult(0);
}

/// table[indices[i] mod the table's size] in each of 32 halves of words. `valueOf`: the bf16 of an index, of 32 or 64.
static Value lookUp(KernelBuilder &b, Value indices, int64_t size, function_ref<float(int64_t)> valueOf) {
  auto table = [&](int64_t first) {
    SmallVector<int16_t> codes;
    for (int64_t i = first; i < first + 32; ++i)
      codes.push_back(static_cast<int16_t>(llvm::bit_cast<uint32_t>(valueOf(i)) >> 16));
    return Value(arith::ConstantOp::create(b, DenseElementsAttr::get(halves(b), ArrayRef<int16_t>(codes))));
  };
  bool one = size == 32;
  auto name = b.getStringAttr(one ? "llvm.x86.avx512.permvar.hi.512" : "llvm.x86.avx512.vpermi2var.hi.512");
  SmallVector<Value> operands = one ? SmallVector<Value>{table(0), indices} : SmallVector<Value>{table(0), indices, table(32)};
  Value found = LLVM::CallIntrinsicOp::create(b, halves(b), name, operands).getResult(0);
  return vector::BitCastOp::create(b, b.i32Tile(), found);
}

/// Halves of words, signed, of 9 bits at most.
static Value convert(KernelBuilder &b, Value integers) {
  Value words = vector::BitCastOp::create(b, b.i32Tile(), integers), sixteen = b.tileOf(16);
  auto toBits = [&](Value number) {
    return Value(vector::BitCastOp::create(b, b.i32Tile(), Value(arith::SIToFPOp::create(b, b.f32Tile(), number))));
  };
  Value low = toBits(arith::ShRSIOp::create(b, Value(arith::ShLIOp::create(b, words, sixteen)), sixteen));
  Value high = toBits(arith::ShRSIOp::create(b, words, sixteen));
  return arith::OrIOp::create(b, b.shiftRight(low, 16), b.andi(high, b.tileOf(static_cast<int32_t>(0xffff0000u))));
}

Value mlir::quanta::emitBFloatPairs(KernelBuilder &b, Value words, int64_t half, unsigned bits, Value zeros, int32_t zero) {
  auto bytes = VectorType::get({4 * kLanes}, b.getI8Type());
  Value none = arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, int8_t(0)));
  SmallVector<int64_t> places;
  for (int64_t byte = 0; byte < 4 * kLanes; byte += 4)
    places.append({byte + 2 * half, 4 * kLanes, byte + 2 * half + 1, 4 * kLanes});
  Value integers = asHalves(b, vector::ShuffleOp::create(b, vector::BitCastOp::create(b, bytes, words), none, places));
  if (zeros)
    integers = b.sub(integers, asHalves(b, arith::OrIOp::create(b, zeros, Value(arith::ShLIOp::create(b, zeros, b.tileOf(16))))));
  unsigned indexBits = bits + (zeros ? 1 : 0); // with the sign
  if (indexBits <= 6) {
    int64_t size = indexBits <= 5 ? 32 : 64;
    return lookUp(b, integers, size, [&](int64_t i) { return static_cast<float>(zeros && i >= size / 2 ? i - size : zeros ? i : i - zero); });
  }
  if (!zeros && zero)
    integers = b.sub(integers, Value(arith::ConstantOp::create(b, DenseElementsAttr::get(halves(b), static_cast<int16_t>(zero)))));
  return convert(b, integers);
}
