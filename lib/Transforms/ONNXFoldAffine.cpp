//===- ONNXFoldAffine.cpp - Fold per-channel scales and shifts into weights ---------------------------------------------===//
//
// y = (W x + b) * s + t is W' x + b' with W' = s W, b' = s b + t: batch normalization and its exported remains cost
// nothing. The products are rounded once, from f64.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

namespace {
/// y[c] = x[c] * scale[c] + shift[c]; one element stands for all channels.
struct Affine {
  SmallVector<double> scale, shift;
  double scaleOf(int64_t channel) const { return scale.size() == 1 ? scale[0] : scale[channel]; }
  double shiftOf(int64_t channel) const { return shift.size() == 1 ? shift[0] : shift[channel]; }
};

/// A node with weights as input 1, one axis of which is the output channel.
struct Weighted {
  NodeOp node;
  int64_t channelAxis;
};
} // namespace

static std::optional<SmallVector<double>> getDoubles(Value value) {
  auto view = ConstantView::get(value);
  if (!view || !isa<FloatType>(view->elementType()))
    return std::nullopt;
  SmallVector<double> values(view->size());
  for (int64_t i = 0; i < view->size(); ++i)
    values[i] = view->getDouble(i);
  return values;
}

/// Elements of a constant that varies along the channels of its consumer only. A single number for all channels does
/// not count: it is more likely to be a part of an activation.
static std::optional<SmallVector<double>> getPerChannel(Value value, int64_t rank, int64_t channelDim) {
  auto type = getTensorType(value);
  if (!type || !type.hasStaticShape() || type.getRank() > rank)
    return std::nullopt;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (size != 1 && static_cast<int64_t>(i) + rank - type.getRank() != channelDim)
      return std::nullopt;
  return type.getNumElements() == 1 ? std::nullopt : getDoubles(value);
}

static std::optional<Affine> getBatchNorm(NodeOp node) {
  SmallVector<double> parts[4];
  for (unsigned i = 0; i < 4; ++i) {
    auto values = getDoubles(node.getInput(i + 1));
    if (!values)
      return std::nullopt;
    parts[i] = *values;
  }
  auto &[gamma, beta, mean, variance] = parts;
  Affine affine;
  double epsilon = node.getFloat("epsilon", 1e-5);
  for (size_t c = 0; c < gamma.size(); ++c) {
    affine.scale.push_back(gamma[c] / std::sqrt(variance[c] + epsilon));
    affine.shift.push_back(beta[c] - mean[c] * affine.scale[c]);
  }
  return affine;
}

/// The affine function that a node applies to its input, which is returned too.
static std::optional<Affine> getAffine(NodeOp node, int64_t channelDim, Value &input) {
  if (node.is("BatchNormalization")) {
    input = node.getInput(0);
    return node.getInt("training_mode", 0) ? std::nullopt : getBatchNorm(node);
  }
  bool add = node.is("Add"), sub = node.is("Sub"), mul = node.is("Mul"), div = node.is("Div");
  if (!(add || sub || mul || div) || node.getNumOperands() != 2)
    return std::nullopt;
  int64_t rank = getTensorType(node.getResult(0)).getRank();
  unsigned constant = ConstantView::get(node.getOperand(1)) ? 1 : 0;
  if (constant == 0 && (sub || div))
    return std::nullopt;
  input = node.getOperand(1 - constant);
  auto values = getPerChannel(node.getOperand(constant), rank, channelDim);
  if (!values)
    return std::nullopt;
  if (sub || div)
    for (double &value : *values)
      value = sub ? -value : 1 / value;
  return add || sub ? Affine{{1.0}, *values} : Affine{*values, {0.0}};
}

static std::optional<Weighted> getWeighted(Value value) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || !value.hasOneUse() || node.getNumResults() != 1)
    return std::nullopt;
  if (node.is("Conv"))
    return Weighted{node, 0};
  if (node.is("ConvTranspose") && node.getInt("group", 1) == 1)
    return Weighted{node, 1};
  if (node.is("Gemm") && (!node.getInput(2) || node.getFloat("beta", 1) == 1))
    return Weighted{node, node.getInt("transB", 0) ? 0 : 1};
  if (node.is("MatMul") && getTensorType(node.getInput(1)).getRank() == 2)
    return Weighted{node, 1};
  return std::nullopt;
}

static Value makeF64(OpBuilder &builder, Location loc, RankedTensorType type, ArrayRef<double> values) {
  unsigned width = getByteWidth(type.getElementType());
  SmallVector<char, 0> bytes(values.size() * width);
  for (auto [i, value] : llvm::enumerate(values))
    storeDouble(bytes.data() + i * width, type.getElementType(), value);
  return makeConstant(builder, loc, makeElements(type, bytes));
}

Value quanta::foldAffine(NodeOp node, OpBuilder &builder) {
  auto resultType = getTensorType(node.getResult(0));
  if (!resultType || resultType.getRank() < 2 || !isa<FloatType>(resultType.getElementType()))
    return {};
  // Channels are dimension 1; those of a matrix product are the last, hence the rank of 2 below.
  Value input;
  std::optional<Affine> affine = getAffine(node, /*channelDim=*/1, input);
  std::optional<Weighted> weighted = affine ? getWeighted(input) : std::nullopt;
  if (!weighted || getTensorType(input).getRank() != resultType.getRank())
    return {};
  NodeOp producer = weighted->node;
  bool isMatMul = producer.is("MatMul");
  // A lone Mul or Add is cheaper to keep behind a MatMul, where it is a bias or part of a pattern.
  if (isMatMul && (!node.is("BatchNormalization") || resultType.getRank() != 2))
    return {};
  auto weights = ConstantView::get(producer.getInput(1));
  auto bias = producer.getInput(2) ? getDoubles(producer.getInput(2)) : SmallVector<double>{0.0};
  if (!weights || !isa<FloatType>(weights->elementType()) || !bias ||
      (producer.getInput(2) && getTensorType(producer.getInput(2)).getRank() != 1))
    return {};
  ArrayRef<int64_t> dims = weights->dims();
  int64_t channels = dims[weighted->channelAxis];
  auto fits = [&](ArrayRef<double> values) {
    return values.size() == 1 || static_cast<int64_t>(values.size()) == channels;
  };
  if (!fits(affine->scale) || !fits(affine->shift) || !fits(*bias))
    return {};

  int64_t inner = 1;
  for (int64_t size : dims.drop_front(weighted->channelAxis + 1))
    inner *= size;
  SmallVector<double, 0> scaled(weights->size());
  for (int64_t i = 0; i < weights->size(); ++i)
    scaled[i] = weights->getDouble(i) * affine->scaleOf(i / inner % channels);
  SmallVector<double> shifted(channels);
  for (int64_t c = 0; c < channels; ++c)
    shifted[c] = (bias->size() == 1 ? (*bias)[0] : (*bias)[c]) * affine->scaleOf(c) + affine->shiftOf(c);

  Location loc = builder.getFusedLoc({producer.getLoc(), node.getLoc()});
  Type element = weights->elementType();
  bool rescales = llvm::any_of(affine->scale, [](double s) { return s != 1.0; });
  Value newWeights =
      rescales ? makeF64(builder, loc, RankedTensorType::get(dims, element), scaled) : producer.getInput(1);
  Value newBias = makeF64(builder, loc, RankedTensorType::get({channels}, element), shifted);
  SmallVector<Value> inputs = {producer.getInput(0), newWeights};
  if (!isMatMul)
    inputs.push_back(newBias);
  Value product = makeNode(builder, loc, producer.getOpType(), producer.getSinceVersion(), inputs, resultType,
                           producer.getNodeAttributes().getValue());
  return isMatMul ? makeNode(builder, loc, "Add", 14, {product, newBias}, resultType) : product;
}
