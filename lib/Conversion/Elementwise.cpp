//===- Elementwise.cpp - ONNX operators on single elements --------------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// What a row's builder may look at: scalars of the inputs and the node. Half-precision inputs arrive as f32.
struct Scalars : ScalarBuilder {
  const BoundNode &node;
  ValueRange x;
  ArrayRef<Type> from; ///< ONNX types of the inputs
  Type to;             ///< ONNX type of the result

  Scalars(ScalarBuilder s, const BoundNode &node, ValueRange x, ArrayRef<Type> from, Type to)
      : ScalarBuilder(s), node(node), x(x), from(from), to(to) {}
  Value number(double value) { return constant(x[0].getType(), value); }
  Value attribute(StringRef name) { return number(node.number(name)); }
  Value leaky(Value slope) {
    return select(compare(arith::CmpIPredicate::sge, x[0], number(0)), x[0], mul(slope, x[0]));
  }
  Value sigmoid(Value v) { return div(number(1), add(number(1), op<math::ExpOp>({neg(v)}))); }
  /// log(1 + exp(v)) without overflow.
  Value softplus(Value v) {
    Value tail = op<math::Log1pOp>({op<math::ExpOp>({neg(op<math::AbsFOp>({v}))})});
    return add(max(v, number(0)), tail);
  }
};
using Builder = Value (*)(Scalars &);
using Predicate = arith::CmpIPredicate;

struct Row {
  StringLiteral op;
  Builder build;
};
} // namespace

template <typename Op> static Value floating(Scalars &s) { return s.op<Op>({s.x[0]}); }
template <Predicate predicate> static Value comparison(Scalars &s) {
  return s.toBool(s.compare(predicate, s.x[0], s.x[1]));
}
template <typename Op> static Value bitwise(Scalars &s) { return s.op<Op>(s.x); }
template <Value (ScalarBuilder::*combine)(Value, Value)> static Value folded(Scalars &s) {
  Value result = s.x[0];
  for (Value next : s.x.drop_front())
    result = (s.*combine)(result, next);
  return result;
}

static Value buildPow(Scalars &s) {
  Value x = s.x[0], y = s.x[1];
  APFloat exponent(0.0);
  APInt integer;
  std::optional<double> constant;
  if (matchPattern(y, m_ConstantFloat(&exponent)))
    constant = exponent.convertToDouble();
  else if (matchPattern(y, m_ConstantInt(&integer)))
    constant = integer.getSExtValue();
  bool isFloat = isa<FloatType>(x.getType());
  if (constant == 1)
    return x;
  if (constant == 2)
    return s.mul(x, x);
  if (constant == 3)
    return s.mul(s.mul(x, x), x);
  if (constant == 0.5 && isFloat)
    return s.op<math::SqrtOp>({x});
  if (constant == -0.5 && isFloat)
    return s.op<math::RsqrtOp>({x});
  if (constant == -1 && isFloat)
    return s.div(s.number(1), x);
  if (isFloat)
    return math::PowFOp::create(s.b, x, s.castTo(y, s.from[1], x.getType()));
  Type wide = s.b.getF64Type();
  return s.castTo(math::PowFOp::create(s.b, s.castTo(x, s.from[0], wide), s.castTo(y, s.from[1], wide)), wide, s.to);
}

static Value buildMod(Scalars &s) {
  Value x = s.x[0], y = s.x[1], rest = s.rem(x, y);
  if (isa<FloatType>(x.getType()) || s.isUnsigned || s.node.integer("fmod"))
    return rest;
  // The result has the divisor's sign.
  Value zero = s.number(0);
  Value differs = s.compare(Predicate::slt, arith::XOrIOp::create(s.b, rest, y), zero);
  Value wrong = arith::AndIOp::create(s.b, s.compare(Predicate::ne, rest, zero), differs);
  return s.select(wrong, s.add(rest, y), rest);
}

static Value buildSign(Scalars &s) {
  Value zero = s.number(0);
  // Neither: ±0 becomes 0 and NaN stays.
  Value rest = isa<FloatType>(zero.getType()) ? s.add(s.x[0], zero) : zero;
  if (!s.isUnsigned)
    rest = s.select(s.compare(Predicate::slt, s.x[0], zero), s.number(-1), rest);
  return s.select(s.compare(Predicate::sgt, s.x[0], zero), s.number(1), rest);
}

static Value buildClip(Scalars &s) {
  Value result = s.x[0];
  if (s.node.row->findInput("min")) {
    unsigned next = 1;
    if (s.node.input("min"))
      result = s.max(result, s.x[next++]);
    return s.node.input("max") ? s.min(result, s.x[next]) : result;
  }
  if (s.node.hasAttr("min"))
    result = s.max(result, s.attribute("min"));
  return s.node.hasAttr("max") ? s.min(result, s.attribute("max")) : result;
}

static Value buildAbs(Scalars &s) {
  if (isa<FloatType>(s.x[0].getType()))
    return s.op<math::AbsFOp>(s.x);
  return s.isUnsigned ? s.x[0] : s.op<math::AbsIOp>(s.x);
}

static Value buildHardSigmoid(Scalars &s) {
  Value line = s.add(s.mul(s.x[0], s.attribute("alpha")), s.attribute("beta"));
  return s.min(s.max(line, s.number(0)), s.number(1));
}

static Value buildElu(Scalars &s) {
  Value negative = s.mul(s.attribute("alpha"), s.op<math::ExpM1Op>({s.x[0]}));
  return s.select(s.compare(Predicate::sgt, s.x[0], s.number(0)), s.x[0], negative);
}

static const Row rows[] = {
    {"Abs", buildAbs},
    {"Neg", [](Scalars &s) { return s.neg(s.x[0]); }},
    {"Sign", buildSign},
    {"Relu", [](Scalars &s) { return s.max(s.x[0], s.number(0)); }},
    {"Ceil", floating<math::CeilOp>},
    {"Floor", floating<math::FloorOp>},
    {"Round", floating<math::RoundEvenOp>},
    {"Sqrt", floating<math::SqrtOp>},
    {"Exp", floating<math::ExpOp>},
    {"Log", floating<math::LogOp>},
    {"Erf", floating<math::ErfOp>},
    {"Sin", floating<math::SinOp>},
    {"Cos", floating<math::CosOp>},
    {"Tanh", floating<math::TanhOp>},
    {"Sigmoid", [](Scalars &s) { return s.sigmoid(s.x[0]); }},
    {"Reciprocal", [](Scalars &s) { return s.div(s.number(1), s.x[0]); }},
    {"Softplus", [](Scalars &s) { return s.softplus(s.x[0]); }},
    {"Softsign", [](Scalars &s) { return s.div(s.x[0], s.add(s.number(1), s.op<math::AbsFOp>(s.x))); }},
    {"Mish", [](Scalars &s) { return s.mul(s.x[0], s.op<math::TanhOp>({s.softplus(s.x[0])})); }},
    {"Elu", buildElu},
    {"Selu", [](Scalars &s) { return s.mul(s.attribute("gamma"), buildElu(s)); }},
    {"LeakyRelu", [](Scalars &s) { return s.leaky(s.attribute("alpha")); }},
    {"PRelu", [](Scalars &s) { return s.leaky(s.x[1]); }},
    {"HardSigmoid", buildHardSigmoid},
    {"Swish", [](Scalars &s) { return s.mul(s.x[0], s.sigmoid(s.mul(s.attribute("alpha"), s.x[0]))); }},
    {"Not", [](Scalars &s) -> Value { return arith::XOrIOp::create(s.b, s.x[0], s.number(1)); }},
    {"IsNaN", [](Scalars &s) { return s.toBool(s.compare(Predicate::ne, s.x[0], s.x[0])); }},
    {"Cast", [](Scalars &s) { return s.castTo(s.x[0], s.from[0], s.to); }},
    {"Clip", buildClip},
    {"Add", folded<&ScalarBuilder::add>},
    {"Sub", folded<&ScalarBuilder::sub>},
    {"Mul", folded<&ScalarBuilder::mul>},
    {"Div", folded<&ScalarBuilder::div>},
    {"Pow", buildPow},
    {"Mod", buildMod},
    {"Max", folded<&ScalarBuilder::max>},
    {"Min", folded<&ScalarBuilder::min>},
    {"Sum", folded<&ScalarBuilder::add>},
    {"Mean", [](Scalars &s) { return s.div(folded<&ScalarBuilder::add>(s), s.number(s.x.size())); }},
    {"Equal", comparison<Predicate::eq>},
    {"Less", comparison<Predicate::slt>},
    {"LessOrEqual", comparison<Predicate::sle>},
    {"Greater", comparison<Predicate::sgt>},
    {"GreaterOrEqual", comparison<Predicate::sge>},
    {"And", bitwise<arith::AndIOp>},
    {"Or", bitwise<arith::OrIOp>},
    {"Xor", bitwise<arith::XOrIOp>},
    {"Where", [](Scalars &s) { return s.select(s.isTrue(s.x[0]), s.x[1], s.x[2]); }},
};

/// Nonlinearities that have a kernel.
static std::optional<ActivationKind> getActivation(const BoundNode &node) {
  auto near = [](double value, double other) { return std::abs(value - other) < 1e-6; };
  if (node.is("Gelu"))
    return node.string("approximate") == "tanh" ? ActivationKind::GeluTanh : ActivationKind::Gelu;
  if (node.is("HardSigmoid") && !(near(node.number("alpha"), 1.0 / 6) && near(node.number("beta"), 0.5)))
    return std::nullopt;
  if (node.is("Swish") && node.number("alpha") != 1)
    return std::nullopt;
  return llvm::StringSwitch<std::optional<ActivationKind>>(node.op.getOpType())
      .Case("Relu", ActivationKind::Relu)
      .Cases({"Silu", "Swish"}, ActivationKind::Silu)
      .Case("Sigmoid", ActivationKind::Sigmoid)
      .Case("Tanh", ActivationKind::Tanh)
      .Case("HardSwish", ActivationKind::HardSwish)
      .Case("HardSigmoid", ActivationKind::HardSigmoid)
      .Default(std::nullopt);
}

LogicalResult convert::elementwise(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  SmallVector<Tensor> inputs;
  SmallVector<Type> from;
  for (Value operand : op.getOperands()) {
    inputs.push_back(ctx.get(operand));
    from.push_back(getONNXElement(operand));
  }
  Type to = getONNXElement(op->getResult(0)), storage = getStorageType(to);

  auto kind = getActivation(node);
  if (kind && (storage.isF32() || storage.isF16() || storage.isBF16())) {
    Tensor x = ctx.toF32(inputs[0]);
    x.value = ActivationOp::create(ctx.b, *kind, x.value);
    ctx.set(op, 0, ctx.castFloat(x, storage));
    return success();
  }

  const Row *row = llvm::find_if(rows, [&](const Row &row) { return row.op == op.getOpType(); });
  if (row == std::end(rows))
    return op.emitError() << "node " << getNodeName(op) << ": " << op.getOpType() << " of " << to
        << " is not supported";
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  if (failed(ctx.requireBroadcast(op, inputs, out)))
    return failure();
  // Comparisons and casts are about the first input's type, the others about the result's.
  bool isUnsigned = from[0].isUnsignedInteger() || from[0].isInteger(1);
  ctx.set(op, 0, ctx.map(
                     inputs, out, storage,
                     [&](ScalarBuilder &s, ValueRange x) {
                       SmallVector<Value> wide(x);
                       SmallVector<Type> types(from);
                       auto isHalf = [](Type type) { return isa<Float16Type, BFloat16Type>(type); };
                       if (row->op != "Cast")
                         for (auto [value, type] : llvm::zip(wide, types))
                           if (isHalf(type)) {
                             value = s.castTo(value, type, s.b.getF32Type());
                             type = s.b.getF32Type();
                           }
                       Scalars scalars(s, node, wide, types, to);
                       Value result = row->build(scalars);
                       return result.getType() == storage ? result : s.castTo(result, result.getType(), storage);
                     },
                     isUnsigned));
  return success();
}

LogicalResult convert::identity(onnx::NodeOp op, ConvertContext &ctx) {
  ctx.set(op, 0, ctx.input(op, 0));
  return success();
}
