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

/// The exponent of u·√2 is the nearest one of u, and that of u²·√2 twice the nearest half of one.
static Value emitLog2(KernelBuilder &b, Log2Attr log, Value x) {
  auto i32 = [&](int32_t value) { return Value(arith::ConstantOp::create(b, b.getI32IntegerAttr(value))); };
  float scale = log.getScale().getValue().convertToFloat();
  int32_t zero = (1 << log.getBits()) - 1;
  Value u = arith::MaximumFOp::create(b, b.mulf(x, b.f32(1 / scale)), b.f32(0.0f));
  if (log.getRoot())
    u = b.mulf(u, u);
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), b.mulf(u, b.f32(0x1.6a09e6p0f)));
  Value code = b.max(b.sub(i32(127), arith::ShRUIOp::create(b, bits, i32(23))), i32(0));
  auto power = [&](Value exponent) {
    Value field = arith::ShLIOp::create(b, b.sub(i32(127), exponent), i32(23));
    return Value(arith::BitcastOp::create(b, b.getF32Type(), field));
  };
  Value value;
  if (log.getRoot()) {
    Value odd = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, b.andi(code, i32(1)), i32(0));
    Value half = power(arith::ShRUIOp::create(b, b.add(code, i32(1)), i32(1)));
    value = b.mulf(half, arith::SelectOp::create(b, odd, b.f32(0x1.6a09e6p0f * scale), b.f32(scale)));
  } else {
    value = b.mulf(power(code), b.f32(scale));
  }
  return arith::SelectOp::create(b, b.less(code, i32(zero)), value, b.f32(0.0f));
}

Value mlir::quanta::emitNearest(KernelBuilder &b, EncodingAttrInterface encoding, Value x) {
  if (auto twin = dyn_cast<TwinAttr>(Attribute(encoding)))
    return emitTwin(b, twin, x);
  return emitLog2(b, cast<Log2Attr>(Attribute(encoding)), x);
}
