//===- ActivationFunction.cpp - Activation functions of one element ---------------------------------------------------------===//
#include "ActivationFunction.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::quanta;

Value mlir::quanta::emitActivation(KernelBuilder &k, ActivationKind kind, Value x) {
  auto constant = [&](double value) { return Value(arith::ConstantOp::create(k, k.getFloatAttr(x.getType(), value))); };
  auto sigmoid = [&] {
    Value exp = math::ExpOp::create(k, arith::NegFOp::create(k, x));
    return Value(arith::DivFOp::create(k, constant(1), k.addf(constant(1), exp)));
  };
  auto clipped = [&] { // clip(x / 6 + 1/2, 0, 1)
    Value y = k.addf(k.mulf(x, constant(1.0 / 6)), constant(0.5));
    return Value(arith::MinimumFOp::create(k, arith::MaximumFOp::create(k, y, constant(0)), constant(1)));
  };
  switch (kind) {
  case ActivationKind::Relu:
    return arith::MaximumFOp::create(k, x, constant(0));
  case ActivationKind::Gelu:
    return k.mulf(k.mulf(x, constant(0.5)), k.addf(constant(1), math::ErfOp::create(k, k.mulf(x, constant(0.70710678118654752440)))));
  case ActivationKind::GeluTanh: {
    Value cubic = k.mulf(k.mulf(x, x), k.mulf(x, constant(0.044715)));
    Value inner = k.mulf(k.addf(x, cubic), constant(0.79788456080286535588));
    return k.mulf(k.mulf(x, constant(0.5)), k.addf(constant(1), math::TanhOp::create(k, inner)));
  }
  case ActivationKind::Silu:
    return k.mulf(x, sigmoid());
  case ActivationKind::Sigmoid:
    return sigmoid();
  case ActivationKind::Tanh:
    return math::TanhOp::create(k, x);
  case ActivationKind::HardSwish:
    return k.mulf(x, clipped());
  case ActivationKind::HardSigmoid:
    return clipped();
  }
  llvm_unreachable("covered switch");
}
