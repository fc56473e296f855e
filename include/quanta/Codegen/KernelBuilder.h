//===- KernelBuilder.h - Short names for what kernel emitters write most ----------------------------------------------===//
//
// Kernels work on tiles of 16 lanes whatever the target: LLVM splits a vector<16xf32> into two or four registers where
// they are narrower, so that one layout of weights and one emitter serve every instruction set.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CODEGEN_KERNELBUILDER_H
#define QUANTA_CODEGEN_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "quanta/Target/TargetLevel.h"

namespace mlir::quanta {

/// Lanes of a tile: rows of a weight, or neighbouring elements of an activation.
constexpr int64_t kLanes = 16;

/// How much of a product fits the registers: rows × tiles accumulators of 16 lanes, a panel's tiles and one broadcast.
struct RegisterTile {
  int64_t rows, tiles;
  int64_t columns() const { return tiles * kLanes; }
  /// Two tiles a row where a tile is one register, else one; as many rows, up to 8, as leave room for the panel and the
  /// broadcast: 16 sums of 32 registers with AVX-512, 12 of 16 with AVX2, 8 of 16 with SSE, 24 of 32 with NEON.
  static RegisterTile get(unsigned vectorBits, unsigned registers) {
    int64_t tiles = vectorBits >= 512 ? 2 : 1, width = tiles * kLanes * 32 / vectorBits;
    return {std::min<int64_t>(8, (registers - 1 - width) / width), tiles};
  }
};

class KernelBuilder : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  KernelBuilder(const ImplicitLocOpBuilder &builder) : ImplicitLocOpBuilder(builder) {}

  /// What the target can do, and what its registers hold.
  const ::quanta::TargetLevel *level = &::quanta::getTargetLevels().back();
  RegisterTile registers = RegisterTile::get(512, 32);
  void setLevel(const ::quanta::TargetLevel &target) {
    level = &target;
    registers = RegisterTile::get(target.vectorBits, target.vectorRegisters);
  }

  VectorType f32Tile() { return VectorType::get({kLanes}, getF32Type()); }
  VectorType i32Tile() { return VectorType::get({kLanes}, getI32Type()); }

  Value index(int64_t value) { return arith::ConstantIndexOp::create(*this, value); }
  Value f32(float value) { return arith::ConstantOp::create(*this, getF32FloatAttr(value)); }
  /// All lanes the same constant; integers and floats.
  Value tileOf(float value) { return splat(f32(value)); }
  Value tileOf(int32_t value) {
    return arith::ConstantOp::create(*this, DenseElementsAttr::get(i32Tile(), value));
  }
  Value splat(Value scalar) {
    return vector::BroadcastOp::create(*this, VectorType::get({kLanes}, scalar.getType()), scalar);
  }

  Value andi(Value a, Value b) { return fold<arith::AndIOp>(a, b); }
  /// 16 lanes of i32, logically.
  Value shiftRight(Value tile, int32_t bits) { return bits ? Value(arith::ShRUIOp::create(*this, tile, tileOf(bits))) : tile; }

  Value add(Value a, Value b) { return fold<arith::AddIOp>(a, b); }
  Value sub(Value a, Value b) { return fold<arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) { return fold<arith::MulIOp>(a, b); }
  Value div(Value a, Value b) { return fold<arith::DivUIOp>(a, b); }
  Value rem(Value a, Value b) { return fold<arith::RemUIOp>(a, b); }
  Value ceilDiv(Value a, int64_t b) { return div(add(a, index(b - 1)), index(b)); }
  Value add(Value a, int64_t b) { return add(a, index(b)); }
  Value mul(Value a, int64_t b) { return mul(a, index(b)); }
  Value div(Value a, int64_t b) { return div(a, index(b)); }
  Value rem(Value a, int64_t b) { return rem(a, index(b)); }
  Value min(Value a, Value b) { return fold<arith::MinSIOp>(a, b); }
  Value max(Value a, Value b) { return fold<arith::MaxSIOp>(a, b); }
  Value less(Value a, Value b) { return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b); }
  Value fma(Value a, Value b, Value c) { return math::FmaOp::create(*this, a, b, c); }
  Value addf(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }
  /// 16 numbers of f16 or f32 as f32, for finite ones, without a call on targets that lack the conversion.
  Value widen(Value tile);
  /// table[indices[i] mod 16] in each lane; where the level says looksUp16.
  Value lookUp(Value table, Value indices);
  /// Lanes of two tiles of 32-bit elements: 0 to 15 are the first's, 16 to 31 the second's.
  Value pick(Value first, Value second, ArrayRef<int64_t> lanes);
  /// Words of the bytes of four tiles of i8: a lane of each in turn, the first in the lowest byte.
  Value joinBytes(ArrayRef<Value> four);
  /// A vector of at most level->vectorBits as the register that an instruction of scalable vectors takes, with anything above its lanes;
  /// and such a register's first lanes.
  Value toScalable(Value vector);
  Value fromScalable(Value scalable, VectorType type);
  /// `width` bits of each of 64 bytes, from bit `from` on, at bit `to`; the others are zero.
  Value moveBits(Value words, unsigned width, unsigned from, unsigned to);
  /// `width` bits of each of 64 bytes, from bit `from` on, less half their range, as signed bytes; doubled: one bit as −1 or 1. Where the level
  /// says permutesBits.
  Value centreBits(Value words, unsigned width, unsigned from, bool doubled);
  Value subf(Value a, Value b) { return arith::SubFOp::create(*this, a, b); }
  Value mulf(Value a, Value b) { return arith::MulFOp::create(*this, a, b); }

  /// Size of a dimension, constant when static.
  Value dim(Value memref, int64_t d) {
    auto type = cast<MemRefType>(memref.getType());
    return type.isDynamicDim(d) ? Value(memref::DimOp::create(*this, memref, d)) : index(type.getDimSize(d));
  }
  Value load(Value memref, ValueRange indices) { return memref::LoadOp::create(*this, memref, indices); }
  /// 16 elements from the last dimension.
  Value loadTile(Value memref, ValueRange indices) {
    auto element = cast<MemRefType>(memref.getType()).getElementType();
    return vector::LoadOp::create(*this, VectorType::get({kLanes}, element), memref, indices);
  }
  /// Asks for a cache line ahead of its use, in the second-level cache: several streams of lines far ahead would push each other
  /// out of the first. Addresses may lie behind the end of the array.
  void prefetch(Value memref, ValueRange indices, bool isWrite = false) {
    memref::PrefetchOp::create(*this, memref, indices, isWrite, /*localityHint=*/2, /*isDataCache=*/true);
  }
  void storeTile(Value tile, Value memref, ValueRange indices) { vector::StoreOp::create(*this, tile, memref, indices); }
  /// The first `count` lanes (any value; clamped to 0..16 by the hardware mask).
  Value mask(Value count) {
    return vector::CreateMaskOp::create(*this, VectorType::get({kLanes}, getI1Type()), ValueRange{count});
  }
  Value loadMasked(Value memref, ValueRange indices, Value mask, Value other) {
    return vector::MaskedLoadOp::create(*this, cast<VectorType>(other.getType()), memref, indices, mask, other);
  }
  void storeMasked(Value tile, Value memref, ValueRange indices, Value mask) {
    vector::MaskedStoreOp::create(*this, memref, indices, mask, tile);
  }
  Value reduceAdd(Value tile) { return vector::ReductionOp::create(*this, vector::CombiningKind::ADD, tile); }
  Value reduceMax(Value tile) { return vector::ReductionOp::create(*this, vector::CombiningKind::MAXIMUMF, tile); }

  /// for (i = from; i < to; i += step) with loop-carried values.
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange init,
                          function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto op = scf::ForOp::create(*this, from, to, index(step), init);
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.getBody());
    SmallVector<Value> results = body(op.getInductionVar(), op.getRegionIterArgs());
    if (!init.empty())
      scf::YieldOp::create(*this, results);
    return SmallVector<Value>(op.getResults());
  }
  void loop(Value from, Value to, int64_t step, function_ref<void(Value)> body) {
    loop(from, to, step, ValueRange(), [&](Value i, ValueRange) {
      body(i);
      return SmallVector<Value>();
    });
  }
  /// Independent tasks 0 … count − 1, shared among the pool's threads.
  void parallel(Value count, function_ref<void(Value)> body) {
    auto op = scf::ParallelOp::create(*this, ValueRange{index(0)}, ValueRange{count}, ValueRange{index(1)});
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.getBody());
    body(op.getInductionVars()[0]);
  }
  void ifThen(Value condition, function_ref<void()> body, function_ref<void()> otherwise = nullptr) {
    auto op = scf::IfOp::create(*this, condition, static_cast<bool>(otherwise));
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.thenBlock());
    body();
    if (otherwise) {
      setInsertionPointToStart(op.elseBlock());
      otherwise();
    }
  }
  SmallVector<Value> select(Value condition, TypeRange types, function_ref<SmallVector<Value>()> then,
                            function_ref<SmallVector<Value>()> otherwise) {
    auto op = scf::IfOp::create(*this, types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(*this, then());
    setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(*this, otherwise());
    return SmallVector<Value>(op.getResults());
  }
  /// A buffer on the stack of the running thread, aligned for vectors.
  Value scratch(ArrayRef<int64_t> shape, Type element) {
    return memref::AllocaOp::create(*this, MemRefType::get(shape, element), getI64IntegerAttr(64));
  }

private:
  /// Bit i of each byte becomes bits[i] of it, or 0 if that is negative, and is inverted if `inverted` has a bit i.
  Value permuteBits(Value words, ArrayRef<int> bits, unsigned inverted);
  template <typename Op> Value fold(Value a, Value b) { return createOrFold<Op>(a, b); }
};

} // namespace mlir::quanta
#endif
