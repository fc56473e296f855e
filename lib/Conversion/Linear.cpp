//===- Linear.cpp - ONNX matrix products and convolutions ---------------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// A constant float matrix, perhaps used as its transpose.
struct Weight {
  Value source;
  ElementsAttr attr;
  bool transposed = false;

  int64_t size(unsigned dim) const { return attr.getShapedType().getDimSize(transposed ? 1 - dim : dim); }
};
} // namespace

static bool isSwap(ArrayRef<int64_t> permutation) {
  int64_t rank = permutation.size();
  if (rank < 2)
    return false;
  for (int64_t i = 0; i < rank - 2; ++i)
    if (permutation[i] != i)
      return false;
  return permutation[rank - 2] == rank - 1 && permutation[rank - 1] == rank - 2;
}

/// The permutation of a Transpose node; without one dimensions are reversed.
static SmallVector<int64_t> getPermutation(onnx::NodeOp op, int64_t rank) {
  SmallVector<int64_t> permutation = op.getInts("perm");
  if (permutation.empty())
    llvm::append_range(permutation, llvm::reverse(llvm::seq<int64_t>(0, rank)));
  return permutation;
}

static std::optional<Weight> getWeight(ConvertContext &ctx, Value value) {
  bool transposed = false;
  while (auto node = value.getDefiningOp<onnx::NodeOp>()) {
    if (node.is("Transpose"))
      transposed = !transposed;
    else if (!node.is("Identity"))
      return std::nullopt;
    value = node.getInput(0);
  }
  ElementsAttr attr = ctx.constantOf(value);
  if (!attr || attr.getShapedType().getRank() != 2 || !isa<FloatType>(attr.getElementType()))
    return std::nullopt;
  return Weight{value, attr, transposed};
}

static StringRef getName(ElementsAttr attr) {
  auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr));
  return resource ? resource.getRawHandle().getKey() : StringRef("weight");
}

/// [N, K] in f32, from a matrix that is used as [K, N] unless `isNK`.
static Tensor getLinearWeight(ConvertContext &ctx, const Weight &weight, bool isNK, float alpha) {
  bool transpose = weight.transposed == isNK;
  if (!transpose && alpha == 1)
    return ctx.toF32(ctx.get(weight.source));
  Tensor &cached = ctx.linearWeights[{weight.attr, transpose}];
  if (cached && alpha == 1)
    return cached;
  int64_t rows = weight.attr.getShapedType().getDimSize(0), columns = weight.attr.getShapedType().getDimSize(1);
  auto shape = transpose ? SmallVector<int64_t>{columns, rows} : SmallVector<int64_t>{rows, columns};
  Tensor result = ctx.makeConstant(getName(weight.attr), shape, [&](MutableArrayRef<float> out) {
    std::vector<float> in = readFloats(weight.attr);
    constexpr int64_t kBlock = 32; // one cache line of each row, twice
    for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
      for (int64_t c0 = 0; c0 < columns; c0 += kBlock)
        for (int64_t r = r0; r < std::min(r0 + kBlock, rows); ++r)
          for (int64_t c = c0; c < std::min(c0 + kBlock, columns); ++c)
            out[transpose ? c * rows + r : r * columns + c] = alpha * in[r * columns + c];
  });
  ctx.release(weight.source);
  if (alpha == 1)
    cached = result;
  return result;
}

/// A constant that adds to the last dimension alone, as an f32 vector of its size.
static Tensor getBias(ConvertContext &ctx, Value value, int64_t size, int64_t maxRank, float beta = 1) {
  ElementsAttr attr = value ? ctx.constantOf(value) : ElementsAttr();
  if (!attr || !isa<FloatType>(attr.getElementType()))
    return {};
  ArrayRef<int64_t> shape = attr.getShapedType().getShape();
  bool isScalar = attr.getNumElements() == 1;
  bool fits = isScalar || (attr.getNumElements() == size && shape.back() == size);
  if (static_cast<int64_t>(shape.size()) > maxRank || !fits)
    return {};
  if (!isScalar && shape.size() == 1 && beta == 1)
    return ctx.toF32(ctx.get(value));
  return ctx.makeConstant("bias", {size}, [&](MutableArrayRef<float> out) {
    std::vector<float> in = readFloats(attr);
    for (auto [i, element] : llvm::enumerate(out))
      element = beta * in[isScalar ? 0 : i];
  });
}

static Tensor makeLinear(ConvertContext &ctx, Tensor input, Tensor weight, Tensor bias) {
  SmallVector<AffineExpr> out(input.dims);
  out.back() = weight.dims[0];
  Value result =
      LinearOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), ctx.toF32(input).value, weight.value, bias.value);
  return {result, out};
}

/// The node that adds a vector to this node's only use, and the vector.
static std::pair<onnx::NodeOp, Tensor> getFollowingBias(ConvertContext &ctx, onnx::NodeOp op, int64_t size) {
  Value result = op->getResult(0);
  auto add = result.hasOneUse() ? dyn_cast<onnx::NodeOp>(*result.user_begin()) : onnx::NodeOp();
  if (!add || !add.is("Add") || ctx.dims(add->getResult(0)) != ctx.dims(result))
    return {};
  Value other = add->getOperand(add->getOperand(0) == result ? 1 : 0);
  Tensor bias = getBias(ctx, other, size, ctx.dims(result).size());
  return bias ? std::pair(add, bias) : std::pair<onnx::NodeOp, Tensor>();
}

/// The other factor of a product, perhaps better used transposed than as it is.
static std::pair<Tensor, bool> getRhs(ConvertContext &ctx, Value value) {
  auto node = value.getDefiningOp<onnx::NodeOp>();
  int64_t rank = ctx.dims(value).size();
  if (!node || !node.is("Transpose") || rank < 2)
    return {ctx.get(value), false};
  SmallVector<int64_t> permutation = getPermutation(node, rank);
  if (isSwap(permutation))
    return {ctx.get(node.getInput(0)), true};
  // Leaving the innermost dimension where it is saves the strided half of the transposition.
  if (permutation[rank - 2] == rank - 1 && value.hasOneUse()) {
    std::swap(permutation[rank - 2], permutation[rank - 1]);
    return {ctx.transpose(ctx.get(node.getInput(0)), permutation), true};
  }
  return {ctx.get(value), false};
}

LogicalResult convert::matmul(onnx::NodeOp op, ConvertContext &ctx) {
  Type element = getStorageType(getONNXElement(op->getResult(0)));
  if (!isa<FloatType>(element))
    return op.emitError() << "node " << getNodeName(op) << ": a product of integer matrices is not supported";
  Tensor lhs = ctx.input(op, 0);
  if (auto weight = getWeight(ctx, op.getInput(1))) {
    if (failed(ctx.requireEqual(op, lhs.dims.back(), ctx.constant(weight->size(0)), "columns and rows of a product")))
      return failure();
    auto [add, bias] = getFollowingBias(ctx, op, weight->size(1));
    Tensor result = makeLinear(ctx, lhs, getLinearWeight(ctx, *weight, /*isNK=*/false, 1), bias);
    ctx.set(add ? add : op, 0, ctx.castFloat(result, element));
    return success();
  }

  auto [rhs, transposed] = getRhs(ctx, op.getInput(1));
  SmallVector<AffineExpr> left(lhs.dims), right(rhs.dims);
  bool leftVector = left.size() == 1, rightVector = right.size() == 1;
  if (leftVector)
    left.insert(left.begin(), ctx.constant(1));
  if (rightVector)
    right.push_back(ctx.constant(1));
  size_t rank = std::max(left.size(), right.size());
  left.insert(left.begin(), rank - left.size(), ctx.constant(1));
  right.insert(right.begin(), rank - right.size(), ctx.constant(1));
  AffineExpr depth = right[transposed ? rank - 1 : rank - 2];
  if (failed(ctx.requireEqual(op, left.back(), depth, "columns and rows of a product")))
    return failure();
  SmallVector<AffineExpr> out(left);
  for (size_t i = 0; i + 2 < rank; ++i) {
    if (isConstant(left[i], 1))
      out[i] = right[i];
    else if (!isConstant(right[i], 1) && failed(ctx.requireEqual(op, left[i], right[i], "batch of a product")))
      return failure();
  }
  out.back() = right[transposed ? rank - 2 : rank - 1];
  lhs = ctx.toF32(ctx.reshape(op, lhs, left));
  Tensor factor = ctx.toF32(ctx.reshape(op, rhs, right));
  Value product = MatmulOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), lhs.value, factor.value, transposed);
  SmallVector<AffineExpr> final(out);
  if (rightVector)
    final.pop_back();
  if (leftVector)
    final.erase(final.end() - (rightVector ? 1 : 2));
  ctx.set(op, 0, ctx.castFloat(ctx.reshape(op, {product, out}, final), element));
  return success();
}

LogicalResult convert::gemm(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Type element = getStorageType(getONNXElement(op->getResult(0)));
  if (!isa<FloatType>(element))
    return op.emitError() << "node " << getNodeName(op) << ": a product of integer matrices is not supported";
  float alpha = node.number("alpha"), beta = node.number("beta");
  bool transB = node.integer("transB");
  Tensor lhs = ctx.input(op, 0);
  if (node.integer("transA"))
    lhs = ctx.transpose(lhs, {1, 0});
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  Value addend = op.getInput(2);
  Tensor product;
  auto weight = getWeight(ctx, op.getInput(1));
  AffineExpr depth = ctx.dims(op.getInput(1))[transB ? 1 : 0];
  if (failed(ctx.requireEqual(op, lhs.dims.back(), depth, "columns and rows of a product")))
    return failure();
  if (weight) {
    Tensor bias = getBias(ctx, addend, weight->size(transB ? 0 : 1), 2, beta);
    if (bias)
      addend = {};
    product = makeLinear(ctx, lhs, getLinearWeight(ctx, *weight, transB, alpha), bias);
  } else {
    Tensor rhs = ctx.input(op, 1);
    Value value = MatmulOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), ctx.toF32(lhs).value,
                                   ctx.toF32(rhs).value, transB);
    product = {value, SmallVector<AffineExpr>(out)};
  }
  bool scale = !weight && alpha != 1;
  if (addend || scale) {
    SmallVector<Tensor> inputs{product};
    if (addend)
      inputs.push_back(ctx.toF32(ctx.get(addend)));
    if (failed(ctx.requireBroadcast(op, inputs, out)))
      return failure();
    product = ctx.map(inputs, out, ctx.b.getF32Type(), [&](ScalarBuilder &s, ValueRange x) {
      auto scaled = [&](Value value, float factor) {
        return factor == 1 ? value : s.mul(value, s.constant(value.getType(), factor));
      };
      Value result = scaled(x[0], scale ? alpha : 1);
      return addend ? s.add(result, scaled(x[1], beta)) : result;
    });
  }
  ctx.set(op, 0, ctx.castFloat(product, element));
  return success();
}

//===- Convolution ------------------------------------------------------------------------------------------------===//

/// Two spatial dimensions from one or two.
template <typename T> static SmallVector<int64_t> toPlane(const T &values, int64_t fill) {
  SmallVector<int64_t> result(values.begin(), values.end());
  if (result.size() == 1)
    result.insert(result.begin(), fill);
  return result;
}
static Tensor toPlane(ConvertContext &ctx, onnx::NodeOp op, Tensor input) {
  if (input.rank() != 3)
    return input;
  SmallVector<AffineExpr> dims(input.dims);
  dims.insert(dims.begin() + 2, ctx.constant(1));
  return ctx.reshape(op, input, dims);
}

static Tensor makeConv(ConvertContext &ctx, Tensor input, Tensor weight, Tensor bias, ArrayRef<AffineExpr> out,
                       ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations, ArrayRef<int64_t> pads, int64_t groups) {
  Value result = Conv2DOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), ctx.toF32(input).value,
      ctx.toF32(weight).value,
                                  bias ? ctx.toF32(bias).value : Value(), strides, dilations, pads, groups);
  return {result, SmallVector<AffineExpr>(out)};
}

static FailureOr<SlidingWindow> getPlaneWindow(const BoundNode &node, ConvertContext &ctx) {
  onnx::NodeOp op = node.op;
  int64_t spatial = static_cast<int64_t>(ctx.dims(op.getInput(0)).size()) - 2;
  if (spatial != 1 && spatial != 2)
    return op.emitError() << "node " << getNodeName(op) << ": " << op.getOpType() << " with " << spatial
                          << " spatial dimensions is not supported";
  auto window = getSlidingWindow(node, ctx.shapes);
  if (failed(window))
    return op.emitError() << "node " << getNodeName(op) << ": sizes of the kernel or the padding are not static";
  return SlidingWindow{toPlane(window->kernel, 1), toPlane(window->strides, 1), toPlane(window->dilations, 1),
                       toPlane(window->padsBegin, 0), toPlane(window->padsEnd, 0)};
}

LogicalResult convert::conv(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  auto window = getPlaneWindow(node, ctx);
  if (failed(window))
    return failure();
  Tensor weight = toPlane(ctx, op, ctx.input(op, 1)), input = toPlane(ctx, op, ctx.input(op, 0));
  int64_t groups = node.integer("group", 1);
  if (failed(ctx.requireEqual(op, input.dims[1], weight.dims[1] * groups, "channels of input and weight")))
    return failure();
  SmallVector<AffineExpr> out(ctx.dims(op->getResult(0)));
  bool line = out.size() == 3;
  if (line)
    out.insert(out.begin() + 2, ctx.constant(1));
  SmallVector<int64_t> pads(window->padsBegin);
  pads.append(window->padsEnd);
  Tensor result = makeConv(ctx, input, weight, ctx.input(op, 2), out, window->strides, window->dilations, pads, groups);
  if (line)
    result = ctx.reshape(op, result, ctx.dims(op->getResult(0)));
  ctx.set(op, 0, ctx.castFloat(result, getStorageType(getONNXElement(op->getResult(0)))));
  return success();
}

/// A stride equal to the kernel: every input position makes its own block of outputs, a 1x1 convolution to
/// O·KH·KW channels and a change of layout.
static Tensor convertBlocks(ConvertContext &ctx, onnx::NodeOp op, Tensor input, ElementsAttr weight,
                            ArrayRef<int64_t> shape, Tensor bias, ArrayRef<AffineExpr> out) {
  int64_t in = shape[0], channels = shape[1], block = shape[2] * shape[3];
  Tensor matrix = ctx.makeConstant(getName(weight), {channels * block, in, 1, 1}, [&](MutableArrayRef<float> to) {
    std::vector<float> from = readFloats(weight);
    for (int64_t c = 0; c < in; ++c)
      for (int64_t k = 0; k < channels * block; ++k)
        to[k * in + c] = from[c * channels * block + k];
  });
  auto dim = [&](int64_t size) { return ctx.constant(size); };
  SmallVector<AffineExpr> flat{input.dims[0], dim(channels * block), input.dims[2], input.dims[3]};
  Tensor result = makeConv(ctx, input, matrix, {}, flat, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1);
  result = ctx.reshape(op, result, {flat[0], dim(channels), dim(shape[2]), dim(shape[3]), flat[2], flat[3]});
  result = ctx.transpose(result, {0, 1, 4, 2, 5, 3});
  result = ctx.reshape(op, result, out);
  if (!bias)
    return result;
  Tensor column = ctx.reshape(op, ctx.toF32(bias), {dim(channels), dim(1), dim(1)});
  return ctx.map({result, column}, out, ctx.b.getF32Type(),
                 [](ScalarBuilder &s, ValueRange x) { return s.add(x[0], x[1]); });
}

LogicalResult convert::convTranspose(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  auto window = getPlaneWindow(node, ctx);
  if (failed(window))
    return failure();
  ElementsAttr weight = ctx.constantOf(op.getInput(1));
  if (!weight || !isa<FloatType>(weight.getElementType()))
    return op.emitError() << "node " << getNodeName(op)
        << ": ConvTranspose with a weight that is not constant is not supported";
  SmallVector<int64_t> shape(weight.getShapedType().getShape());
  if (shape.size() == 3)
    shape.insert(shape.begin() + 2, 1);
  Tensor input = ctx.toF32(toPlane(ctx, op, ctx.input(op, 0))), bias = ctx.input(op, 2);
  int64_t groups = node.integer("group", 1);
  if (failed(ctx.requireEqual(op, input.dims[1], ctx.constant(shape[0]), "channels of input and weight")))
    return failure();
  auto extra = toPlane(node.integers("output_padding").value_or(SmallVector<int64_t>(input.rank() - 2, 0)), 0);
  SmallVector<AffineExpr> out(ctx.dims(op->getResult(0)));
  if (out.size() == 3)
    out.insert(out.begin() + 2, ctx.constant(1));

  auto isZero = [](int64_t value) { return value == 0; };
  auto isOne = [](int64_t value) { return value == 1; };
  Tensor result;
  if (groups == 1 && window->strides == window->kernel && llvm::all_of(window->dilations, isOne) &&
      llvm::all_of(window->padsBegin, isZero) && llvm::all_of(window->padsEnd, isZero) && llvm::all_of(extra, isZero)) {
    result = convertBlocks(ctx, op, input, weight, shape, bias, out);
  } else {
    // Zeros between the elements of the input, then a convolution with the kernel upside down.
    SmallVector<AffineExpr> spread(input.dims);
    SmallVector<int64_t> before, after;
    for (unsigned i = 0; i < 2; ++i) {
      spread[2 + i] = (input.dims[2 + i] - 1) * window->strides[i] + 1;
      int64_t reach = window->dilations[i] * (window->kernel[i] - 1);
      before.push_back(reach - window->padsBegin[i]);
      after.push_back(reach - window->padsEnd[i] + extra[i]);
    }
    Tensor source = input;
    if (!llvm::all_of(window->strides, isOne)) {
      Tensor zeros = ctx.fill(spread, ctx.b.getF32FloatAttr(0));
      SmallVector<OpFoldResult> offsets(4, ctx.b.getIndexAttr(0)), strides(2, ctx.b.getIndexAttr(1));
      for (int64_t stride : window->strides)
        strides.push_back(ctx.b.getIndexAttr(stride));
      source = {tensor::InsertSliceOp::create(ctx.b, input.value, zeros.value, offsets, ctx.sizes(input.dims),
          strides), spread};
    }
    SmallVector<AffineExpr> offsets(4, ctx.constant(0)), kept(source.dims);
    for (unsigned i = 0; i < 2; ++i) {
      int64_t cutBefore = std::max<int64_t>(0, -before[i]), cutAfter = std::max<int64_t>(0, -after[i]);
      offsets[2 + i] = ctx.constant(cutBefore);
      kept[2 + i] = kept[2 + i] - cutBefore - cutAfter;
      before[i] += cutBefore;
      after[i] += cutAfter;
    }
    source = ctx.slice(source, offsets, kept);
    int64_t in = shape[0] / groups, channels = shape[1], kernel = shape[2] * shape[3];
    Tensor flipped = ctx.makeConstant(
        getName(weight), {channels * groups, in, shape[2], shape[3]}, [&](MutableArrayRef<float> to) {
          std::vector<float> from = readFloats(weight);
          for (int64_t g = 0; g < groups; ++g)
            for (int64_t c = 0; c < in; ++c)
              for (int64_t o = 0; o < channels; ++o)
                for (int64_t k = 0; k < kernel; ++k)
                  to[((g * channels + o) * in + c) * kernel + kernel - 1 - k] =
                      from[((g * in + c) * channels + o) * kernel + k];
        });
    before.append(after);
    result = makeConv(ctx, source, flipped, bias, out, {1, 1}, window->dilations, before, groups);
  }
  ctx.release(op.getInput(1));
  if (ctx.dims(op->getResult(0)).size() == 3)
    result = ctx.reshape(op, result, ctx.dims(op->getResult(0)));
  ctx.set(op, 0, ctx.castFloat(result, getStorageType(getONNXElement(op->getResult(0)))));
  return success();
}
