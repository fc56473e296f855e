//===- ScalarBuilder.cpp - Arithmetic on floats and integers by their ONNX types --------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

Type quanta::getStorageType(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return element;
  return IntegerType::get(element.getContext(), integer.getWidth() == 1 ? 8 : integer.getWidth());
}

TypedAttr quanta::getNumberAttr(Type type, double value, bool isUnsigned) {
  if (auto floating = dyn_cast<FloatType>(type))
    return FloatAttr::get(floating, value);
  unsigned width = type.getIntOrFloatBitWidth();
  if (std::isinf(value))
    return IntegerAttr::get(type, value > 0 ? (isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width))
                                            : (isUnsigned ? APInt::getMinValue(width)
                                                : APInt::getSignedMinValue(width)));
  return IntegerAttr::get(type, APInt(width, static_cast<int64_t>(value), true, /*implicitTrunc=*/true));
}

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

Value ScalarBuilder::constant(Type type, double value) {
  if (isa<IndexType>(type))
    return index(static_cast<int64_t>(value));
  return arith::ConstantOp::create(b, getNumberAttr(type, value, isUnsigned));
}
Value ScalarBuilder::constantInt(Type type, int64_t value) {
  return arith::ConstantOp::create(b, cast<TypedAttr>(b.getIntegerAttr(type, value)));
}
Value ScalarBuilder::add(Value x, Value y) {
  return isFloat(x) ? op<arith::AddFOp>({x, y}) : op<arith::AddIOp>({x, y});
}
Value ScalarBuilder::sub(Value x, Value y) {
  return isFloat(x) ? op<arith::SubFOp>({x, y}) : op<arith::SubIOp>({x, y});
}
Value ScalarBuilder::mul(Value x, Value y) {
  return isFloat(x) ? op<arith::MulFOp>({x, y}) : op<arith::MulIOp>({x, y});
}
Value ScalarBuilder::neg(Value x) {
  return isFloat(x) ? op<arith::NegFOp>({x}) : sub(constantInt(x.getType(), 0), x);
}
Value ScalarBuilder::min(Value x, Value y) {
  if (isFloat(x))
    return op<arith::MinimumFOp>({x, y});
  return isUnsigned ? op<arith::MinUIOp>({x, y}) : op<arith::MinSIOp>({x, y});
}
Value ScalarBuilder::max(Value x, Value y) {
  if (isFloat(x))
    return op<arith::MaximumFOp>({x, y});
  return isUnsigned ? op<arith::MaxUIOp>({x, y}) : op<arith::MaxSIOp>({x, y});
}

/// A divisor for which the machine's division neither traps nor overflows.
static Value makeDivisorSafe(ScalarBuilder &s, Value y) {
  Value one = s.constantInt(y.getType(), 1);
  Value bad = s.compare(arith::CmpIPredicate::eq, y, s.constantInt(y.getType(), 0));
  if (!s.isUnsigned)
    bad = arith::OrIOp::create(s.b, bad, s.compare(arith::CmpIPredicate::eq, y, s.constantInt(y.getType(), -1)));
  return s.select(bad, one, y);
}
Value ScalarBuilder::div(Value x, Value y) {
  if (isFloat(x))
    return op<arith::DivFOp>({x, y});
  Value safe = makeDivisorSafe(*this, y);
  if (isUnsigned)
    return op<arith::DivUIOp>({x, safe});
  Value isMinusOne = compare(arith::CmpIPredicate::eq, y, constantInt(y.getType(), -1));
  return select(isMinusOne, neg(x), op<arith::DivSIOp>({x, safe}));
}
Value ScalarBuilder::rem(Value x, Value y) {
  if (isFloat(x))
    return op<arith::RemFOp>({x, y});
  Value safe = makeDivisorSafe(*this, y);
  return isUnsigned ? op<arith::RemUIOp>({x, safe}) : op<arith::RemSIOp>({x, safe});
}

Value ScalarBuilder::compare(arith::CmpIPredicate predicate, Value x, Value y) {
  using I = arith::CmpIPredicate;
  using F = arith::CmpFPredicate;
  if (isFloat(x)) {
    F floating = predicate == I::eq    ? F::OEQ
                 : predicate == I::ne  ? F::UNE
                 : predicate == I::slt ? F::OLT
                 : predicate == I::sle ? F::OLE
                 : predicate == I::sgt ? F::OGT
                                       : F::OGE;
    return arith::CmpFOp::create(b, floating, x, y);
  }
  if (isUnsigned)
    predicate = predicate == I::slt   ? I::ult
                : predicate == I::sle ? I::ule
                : predicate == I::sgt ? I::ugt
                : predicate == I::sge ? I::uge
                                      : predicate;
  return arith::CmpIOp::create(b, predicate, x, y);
}

Value ScalarBuilder::castTo(Value x, Type from, Type to) {
  Type target = getStorageType(to);
  bool fromUnsigned = from.isUnsignedInteger() || from.isInteger(1), toUnsigned = to.isUnsignedInteger();
  if (to.isInteger(1))
    return from.isInteger(1) ? x : toBool(compare(arith::CmpIPredicate::ne, x, constant(x.getType(), 0)));
  if (x.getType() == target)
    return x;
  if (isFloat(x) && isa<FloatType>(target)) {
    unsigned have = x.getType().getIntOrFloatBitWidth(), want = target.getIntOrFloatBitWidth();
    if (have == want)
      return castTo(arith::ExtFOp::create(b, b.getF32Type(), x), b.getF32Type(), to);
    return have < want ? Value(arith::ExtFOp::create(b, target, x)) : Value(arith::TruncFOp::create(b, target, x));
  }
  if (isFloat(x)) {
    // Out of range or NaN would be poison: clamp to what the integer type holds.
    if (x.getType().getIntOrFloatBitWidth() < 32)
      x = arith::ExtFOp::create(b, b.getF32Type(), x);
    unsigned width = target.getIntOrFloatBitWidth();
    auto limit = [&](APInt integer) {
      APFloat value(cast<FloatType>(x.getType()).getFloatSemantics());
      value.convertFromAPInt(integer, !toUnsigned, APFloat::rmTowardZero);
      return arith::ConstantOp::create(b, FloatAttr::get(x.getType(), value));
    };
    Value isNumber = arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, x, x);
    x = select(isNumber, x, constant(x.getType(), 0));
    x = max(x, limit(toUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width)));
    x = min(x, limit(toUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width)));
    return toUnsigned ? Value(arith::FPToUIOp::create(b, target, x)) : Value(arith::FPToSIOp::create(b, target, x));
  }
  if (isa<FloatType>(target))
    return fromUnsigned ? Value(arith::UIToFPOp::create(b, target, x)) : Value(arith::SIToFPOp::create(b, target, x));
  if (x.getType().getIntOrFloatBitWidth() > target.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(b, target, x);
  return fromUnsigned ? Value(arith::ExtUIOp::create(b, target, x)) : Value(arith::ExtSIOp::create(b, target, x));
}
