//===- Half.cpp - f16 in integer arithmetic -------------------------------------------------------------------------------===//
#include "Half.h"

using namespace mlir;
using namespace mlir::quanta;

Value mlir::quanta::narrowToHalf(KernelBuilder &b, Value tile) {
  auto bits = [&](int32_t value) { return b.tileOf(value); };
  Value word = vector::BitCastOp::create(b, b.i32Tile(), tile);
  Value sign = arith::ShRUIOp::create(b, arith::AndIOp::create(b, word, bits(INT32_MIN)), bits(16));
  Value magnitude = arith::MinUIOp::create(b, arith::AndIOp::create(b, word, bits(INT32_MAX)), bits(0x477fe000)); // 65504
  Value scaled = b.mulf(vector::BitCastOp::create(b, b.f32Tile(), magnitude), b.tileOf(0x1p-112f));
  magnitude = vector::BitCastOp::create(b, b.i32Tile(), scaled);
  // To nearest, ties to even.
  Value odd = arith::AndIOp::create(b, arith::ShRUIOp::create(b, magnitude, bits(13)), bits(1));
  magnitude = arith::AddIOp::create(b, arith::AddIOp::create(b, magnitude, bits(0xfff)), odd);
  Value result = arith::OrIOp::create(b, arith::ShRUIOp::create(b, magnitude, bits(13)), sign);
  Value half = arith::TruncIOp::create(b, VectorType::get({kLanes}, b.getI16Type()), result);
  return vector::BitCastOp::create(b, VectorType::get({kLanes}, b.getF16Type()), half);
}
