//===- VisionGrids.cpp - Activations rounded to twin-uniform and logarithmic values ---------------------------------------===//
#include "VisionGrids.h"
#include "Quantize.h"

using namespace mlir;
using namespace mlir::quanta;

/// Adding and subtracting 1.5 · 2²³ rounds half to even.
static constexpr float kRound = 0x1.8p23f;

static Value less(KernelBuilder &b, Value x, float bound) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, constantLike(b, x, bound));
}

/// The q from 0 to `most` with step · q nearest to x.
static Value emitMultiple(KernelBuilder &b, Value x, float step, float most) {
  auto constant = [&](float value) { return constantLike(b, x, value); };
  Value q = arith::MaximumFOp::create(b, b.mulf(x, constant(1 / step)), constant(0.0f));
  q = arith::MinimumFOp::create(b, q, constant(most));
  return b.subf(b.addf(q, constant(kRound)), constant(kRound));
}

std::pair<Value, Value> mlir::quanta::emitTwinCodes(KernelBuilder &b, TwinAttr twin, Value x) {
  float step = twin.getScale().getValue().convertToFloat(), steps = std::ldexp(1.0f, static_cast<int>(twin.getBits()) - 1);
  Value none = constantLike(b, x, 0.0f), isFine = less(b, x, twin.getNegative() ? 0.0f : steps * step);
  Value coarse = emitMultiple(b, x, std::ldexp(step, static_cast<int>(twin.getShift())), steps - 1), fine;
  if (twin.getNegative())
    fine = arith::NegFOp::create(b, emitMultiple(b, arith::NegFOp::create(b, x), step, steps - 1));
  else
    fine = emitMultiple(b, x, step, steps - 1);
  return {arith::SelectOp::create(b, isFine, none, coarse), arith::SelectOp::create(b, isFine, fine, none)};
}

static Value emitTwin(KernelBuilder &b, TwinAttr twin, Value x) {
  auto [coarse, fine] = emitTwinCodes(b, twin, x);
  float step = twin.getScale().getValue().convertToFloat();
  // One of them is zero.
  Value large = b.mulf(coarse, b.f32(std::ldexp(step, static_cast<int>(twin.getShift()))));
  return b.fma(fine, b.f32(step), large);
}

/// √2 as an f32 has it.
static constexpr float kRoot = 0x1.6a09e6p0f;

static Value integerLike(KernelBuilder &b, Value like, int32_t value) {
  auto vector = dyn_cast<VectorType>(like.getType());
  return vector ? b.tileOf(value) : arith::ConstantOp::create(b, b.getI32IntegerAttr(value)).getResult();
}

static Type withElements(Value like, Type element) {
  auto vector = dyn_cast<VectorType>(like.getType());
  return vector ? VectorType::get(vector.getShape(), element) : element;
}

/// The i32 code, 2^bits − 1 or more for zero. The exponent of u·√2 is the nearest one of u, and that of u²·√2 twice the nearest half of one.
static Value emitLogCode(KernelBuilder &b, Log2Attr log, Value x) {
  float scale = log.getScale().getValue().convertToFloat();
  Value u = arith::MaximumFOp::create(b, b.mulf(x, constantLike(b, x, 1 / scale)), constantLike(b, x, 0.0f));
  if (log.getRoot())
    u = b.mulf(u, u);
  Value bits = arith::BitcastOp::create(b, withElements(x, b.getI32Type()), b.mulf(u, constantLike(b, x, kRoot)));
  Value exponent = arith::ShRUIOp::create(b, bits, integerLike(b, bits, 23));
  return b.max(b.sub(integerLike(b, bits, 127), exponent), integerLike(b, bits, 0));
}

/// 2^(−exponent), of a normal number.
static Value emitPower(KernelBuilder &b, Value exponent) {
  Value field = arith::ShLIOp::create(b, b.sub(integerLike(b, exponent, 127), exponent), integerLike(b, exponent, 23));
  return arith::BitcastOp::create(b, withElements(exponent, b.getF32Type()), field);
}

static Value emitLog2(KernelBuilder &b, Log2Attr log, Value x) {
  float scale = log.getScale().getValue().convertToFloat();
  Value code = emitLogCode(b, log, x), zero = integerLike(b, code, (1 << log.getBits()) - 1), one = integerLike(b, code, 1), value;
  if (log.getRoot()) {
    Value odd = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, b.andi(code, one), integerLike(b, code, 0));
    Value half = emitPower(b, arith::ShRUIOp::create(b, b.add(code, one), one));
    value = b.mulf(half, arith::SelectOp::create(b, odd, constantLike(b, x, kRoot * scale), constantLike(b, x, scale)));
  } else {
    value = b.mulf(emitPower(b, code), constantLike(b, x, scale));
  }
  return arith::SelectOp::create(b, b.less(code, zero), value, constantLike(b, x, 0.0f));
}

SmallVector<LogRegion> mlir::quanta::getLogRegions(Log2Attr log) {
  float scale = log.getScale().getValue().convertToFloat();
  int32_t most = (1 << log.getBits()) - 2, step = log.getRoot() ? 2 : 1; // zero is the last code
  SmallVector<LogRegion> regions;
  for (int32_t odd = 0; odd < step; ++odd)
    for (int32_t first = odd; first <= most; first += kLogExponents * step) {
      // Code 2e − 1 stands for √2 · 2^(−e).
      int32_t exponent = (first + odd) / step + kLogExponents - 1;
      regions.push_back({std::ldexp(odd ? kRoot * scale : scale, -exponent), first, std::min(most, first + (kLogExponents - 1) * step)});
    }
  return regions;
}

SmallVector<Value> mlir::quanta::emitLogCodes(KernelBuilder &b, Log2Attr log, Value x) {
  Value code = emitLogCode(b, log, x), none = constantLike(b, x, 0.0f);
  int32_t step = log.getRoot() ? 2 : 1;
  SmallVector<Value> codes;
  for (const LogRegion &region : getLogRegions(log)) {
    Value distance = b.sub(code, integerLike(b, code, region.first));
    Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, distance, integerLike(b, code, region.last - region.first));
    if (step == 2) {
      Value even = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.andi(distance, integerLike(b, code, 1)), integerLike(b, code, 0));
      inside = arith::AndIOp::create(b, inside, even);
      distance = arith::ShRUIOp::create(b, distance, integerLike(b, code, 1));
    }
    Value power = emitPower(b, b.sub(distance, integerLike(b, code, kLogExponents - 1)));
    codes.push_back(arith::SelectOp::create(b, inside, power, none));
  }
  return codes;
}

Value mlir::quanta::emitNearest(KernelBuilder &b, EncodingAttrInterface encoding, Value x) {
  if (auto twin = dyn_cast<TwinAttr>(Attribute(encoding)))
    return emitTwin(b, twin, x);
  return emitLog2(b, cast<Log2Attr>(Attribute(encoding)), x);
}
