//===- ONNXMatchNorms.cpp - Recognise layer and RMS normalization -------------------------------------------------------===//
//
// Both divide by a root mean square; a layer normalization is one of x - mean(x). So there is one matcher for the
// quotient and one for the difference.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"
#include "quanta/Transforms/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_ONNXMATCHNORMS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

/// The argument of a mean over the last dimension that is kept with size 1.
static Value matchLastMean(Value value) {
  NodeOp node = getNode(value, "ReduceMean");
  auto type = node ? getTensorType(node.getInput(0)) : RankedTensorType();
  if (!type || node.getInt("keepdims", 1) != 1)
    return {};
  auto axes = getAxes(node, 1, type.getRank());
  return axes && *axes == SmallVector<int64_t>{type.getRank() - 1} ? node.getInput(0) : Value();
}

/// x of Pow(x, 2) or Mul(x, x).
static Value matchSquare(Value value) {
  if (NodeOp pow = getNode(value, "Pow"))
    return getScalar(pow.getInput(1)) == 2.0 ? pow.getInput(0) : Value();
  NodeOp mul = getNode(value, "Mul");
  return mul && mul.getInput(0) == mul.getInput(1) ? mul.getInput(0) : Value();
}

/// x and epsilon of sqrt(mean(x²) + epsilon), or of its reciprocal.
static Value matchRootMeanSquare(Value value, bool reciprocal, double &epsilon) {
  Value sum;
  if (NodeOp pow = getNode(value, "Pow")) {
    if (getScalar(pow.getInput(1)) == (reciprocal ? -0.5 : 0.5))
      sum = pow.getInput(0);
  } else if (!reciprocal) {
    sum = getArgument(value, "Sqrt");
  } else if (Value root = getArgument(value, "Reciprocal")) {
    return matchRootMeanSquare(root, false, epsilon);
  } else if (NodeOp div = getNode(value, "Div")) {
    return getScalar(div.getInput(0)) == 1.0 ? matchRootMeanSquare(div.getInput(1), false, epsilon) : Value();
  }
  Value x;
  matchCommuted(getNode(sum, "Add"), [&](Value mean, Value constant) {
    auto number = getScalar(constant);
    Value square = number && *number >= 0 ? matchLastMean(mean) : Value();
    x = square ? matchSquare(square) : Value();
    epsilon = number.value_or(0);
    return static_cast<bool>(x);
  });
  return x;
}

/// x and epsilon of x / rms(x). With `factor`, x · (factor / rms(x)) is accepted too, and the factor returned.
static Value matchNormalized(Value value, double &epsilon, Value *factor = nullptr) {
  if (NodeOp div = getNode(value, "Div")) {
    Value x = matchRootMeanSquare(div.getInput(1), /*reciprocal=*/false, epsilon);
    return x && x == div.getInput(0) ? x : Value();
  }
  Value x;
  matchCommuted(getNode(value, "Mul"), [&](Value numerator, Value quotient) {
    if (matchRootMeanSquare(quotient, /*reciprocal=*/true, epsilon) == numerator)
      return static_cast<bool>(x = numerator);
    return factor && matchCommuted(getNode(quotient, "Mul"), [&](Value root, Value other) {
             if (matchRootMeanSquare(root, /*reciprocal=*/true, epsilon) != numerator)
               return false;
             *factor = other;
             return static_cast<bool>(x = numerator);
           });
  });
  if (x || factor)
    return x;
  // Half-precision models compute the quotient in f32: Cast(x / rms(x)) with x = Cast(x').
  Value inner = getArgument(value, "Cast");
  x = inner ? matchNormalized(inner, epsilon) : Value();
  Value narrow = x ? getArgument(x, "Cast") : Value();
  return narrow && getElementTypeOrSelf(narrow) == getElementTypeOrSelf(value) ? narrow : Value();
}

/// A value of `channels` elements along the last dimension as a vector, or null.
static Value getVector(Value value, int64_t channels, OpBuilder &builder) {
  auto type = getTensorType(value);
  if (!type || !type.hasStaticShape() || type.getRank() == 0 || type.getNumElements() != channels ||
      type.getShape().back() != channels)
    return {};
  auto view = ConstantView::get(value);
  if (type.getRank() == 1)
    return value;
  return view ? makeConstant(builder, value.getLoc(), view->reshaped(type.clone({channels}))) : Value();
}

/// Mul(normalized, scale), with the scale brought into vector form.
static Value matchScaled(Value value, OpBuilder &builder, double &epsilon, Value &scale) {
  Value x, vector;
  auto accept = [&](Value normalized, Value other) {
    auto type = normalized ? getTensorType(normalized) : RankedTensorType();
    if (!type || type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
      return false;
    vector = getVector(other, type.getShape().back(), builder);
    return vector && getTensorType(other).getRank() <= type.getRank();
  };
  NodeOp mul = getNode(value, "Mul");
  matchCommuted(mul, [&](Value normalized, Value other) {
    return accept(normalized, other) && (x = matchNormalized(normalized, epsilon));
  });
  Value factor;
  if (!x && mul)
    if (Value candidate = matchNormalized(value, epsilon, &factor); candidate && factor && accept(candidate, factor))
      x = candidate;
  scale = x ? vector : Value();
  return x;
}

static Value matchNorm(NodeOp root, OpBuilder &builder) {
  Value result = root.getResult(0), x, scale, bias;
  double epsilon = 0;
  // With a bias it can only be a layer normalization.
  if (root.is("Add"))
    matchCommuted(root, [&](Value scaled, Value other) {
      if (!(x = matchScaled(scaled, builder, epsilon, scale)))
        return false;
      bias = getVector(other, getTensorType(x).getShape().back(), builder);
      x = bias && getTensorType(other).getRank() <= getTensorType(x).getRank() ? x : Value();
      return static_cast<bool>(x);
    });
  else if (!(x = matchScaled(result, builder, epsilon, scale)))
    x = matchNormalized(result, epsilon);
  auto type = x ? getTensorType(x) : RankedTensorType();
  if (!type || type.isDynamicDim(type.getRank() - 1))
    return {};

  NodeOp difference = getNode(x, "Sub");
  bool isLayerNorm = difference && matchLastMean(difference.getInput(1)) == difference.getInput(0);
  if (bias && !isLayerNorm)
    return {};
  Location loc = builder.getFusedLoc({x.getLoc(), root.getLoc()});
  if (!scale) {
    auto vector = RankedTensorType::get(type.getShape().back(), type.getElementType());
    scale = makeConstant(builder, loc, DenseElementsAttr::get(vector, FloatAttr::get(type.getElementType(), 1.0)));
  }
  SmallVector<Value> inputs = {isLayerNorm ? difference.getInput(0) : x, scale};
  if (bias)
    inputs.push_back(bias);
  NamedAttribute attributes[] = {builder.getNamedAttr("axis", builder.getI64IntegerAttr(-1)),
                                 builder.getNamedAttr("epsilon", builder.getF32FloatAttr(epsilon))};
  return isLayerNorm ? makeNode(builder, loc, "LayerNormalization", 17, inputs, result.getType(), attributes)
                     : makeNode(builder, loc, "RMSNormalization", 23, inputs, result.getType(), attributes);
}

namespace {
struct ONNXMatchNorms : quanta::impl::ONNXMatchNormsBase<ONNXMatchNorms> {
  void runOnOperation() override { rewriteUpwards(getOperation(), matchNorm); }
};
} // namespace
