//===- InferCompute.cpp - Shapes of linear algebra, pooling, normalization and reduction --------------------------===//
#include "Inference.h"

using namespace mlir;
using namespace mlir::quanta;

static bool sameElementTypes(Inference &s) {
  Type type = cast<ShapedType>(s.node.op->getOperand(0).getType()).getElementType();
  return llvm::all_of(s.node.op->getOperandTypes(),
                      [&](Type t) { return cast<ShapedType>(t).getElementType() == type; });
}

/// Are all operands of one floating-point type?
static LogicalResult floats(Inference &s) {
  if (!isa<FloatType>(cast<ShapedType>(s.node.op->getOperand(0).getType()).getElementType()) || !sameElementTypes(s))
    return s.error("operands must be of one floating-point type");
  return success();
}

LogicalResult infer::matmul(Inference &s) {
  Exprs a = s.dims("a"), b = s.dims("b");
  if (!sameElementTypes(s) || s.elementType("a").isInteger(1) || a.empty() || b.empty())
    return s.error("operands must be numbers of one type and have at least one dimension");
  bool row = a.size() == 1, column = b.size() == 1;
  if (row)
    a.insert(a.begin(), s.c.constant(1));
  if (column)
    b.push_back(s.c.constant(1));
  if (!s.unify(a.back(), b[b.size() - 2]))
    return s.error("the contracted sizes differ");
  auto batch = s.broadcast(ArrayRef(a).drop_back(2), ArrayRef(b).drop_back(2));
  if (!batch)
    return s.error("batch dimensions cannot be broadcast");
  Exprs dims = *batch;
  if (!row)
    dims.push_back(a[a.size() - 2]);
  if (!column)
    dims.push_back(b.back());
  return s.result(s.elementType("a"), dims);
}

LogicalResult infer::gemm(Inference &s) {
  if (!sameElementTypes(s) || s.elementType("a").isInteger(1) || s.rank("a") != 2 || s.rank("b") != 2)
    return s.error("operands must be matrices of one type");
  bool transA = s.node.integer("transA"), transB = s.node.integer("transB");
  const Exprs &a = s.dims("a"), &b = s.dims("b");
  if (!s.unify(a[!transA], b[transB]))
    return s.error("the contracted sizes differ");
  Exprs dims = {a[transA], b[!transB]};
  if (s.node.input("c")) {
    auto joint = s.broadcast(dims, s.dims("c"));
    if (!joint || joint->size() != 2 || (*joint)[0] != dims[0] || (*joint)[1] != dims[1])
      return s.error("C does not fit the product");
  }
  return s.result(s.elementType("a"), dims);
}

//===- Sliding windows --------------------------------------------------------------------------------------------===//

FailureOr<SlidingWindow> quanta::getSlidingWindow(const BoundNode &node, const SymbolicShapes &shapes) {
  const Exprs &in = shapes.get(node.input("x")).dims;
  if (in.size() < 3)
    return failure();
  size_t spatial = in.size() - 2;
  SlidingWindow w;
  Value weight = node.row->findInput("w") ? node.input("w") : Value();
  if (weight) {
    const Exprs &sizes = shapes.get(weight).dims;
    if (sizes.size() != in.size())
      return failure();
    for (AffineExpr size : ArrayRef(sizes).drop_front(2))
      if (auto value = Inference::constant(size))
        w.kernel.push_back(*value);
  }
  if (auto kernel = node.integers("kernel_shape")) {
    if (weight && *kernel != w.kernel)
      return failure();
    w.kernel = *kernel;
  }
  auto list = [&](StringRef name, size_t size, int64_t otherwise) {
    return node.integers(name).value_or(SmallVector<int64_t>(size, otherwise));
  };
  w.strides = list("strides", spatial, 1);
  w.dilations = list("dilations", spatial, 1);
  auto pads = list("pads", 2 * spatial, 0);
  if (w.kernel.size() != spatial || w.strides.size() != spatial || w.dilations.size() != spatial ||
      pads.size() != 2 * spatial)
    return failure();
  for (ArrayRef<int64_t> positive : {ArrayRef(w.kernel), ArrayRef(w.strides), ArrayRef(w.dilations)})
    if (llvm::any_of(positive, [](int64_t v) { return v < 1 || v > INT32_MAX; }))
      return failure();
  if (llvm::any_of(pads, [](int64_t v) { return v < 0 || v > INT32_MAX; }))
    return failure();
  StringRef mode = node.string("auto_pad", "NOTSET");
  if (mode == "VALID")
    pads.assign(2 * spatial, 0);
  w.padsBegin.assign(pads.begin(), pads.begin() + spatial);
  w.padsEnd.assign(pads.begin() + spatial, pads.end());
  if (!mode.starts_with("SAME"))
    return w;
  for (size_t i = 0; i < spatial; ++i) {
    int64_t extent = (w.kernel[i] - 1) * w.dilations[i] + 1, total = extent - 1;
    if (w.strides[i] != 1) {
      auto size = Inference::constant(in[i + 2]);
      if (!size)
        return failure();
      total = std::max<int64_t>((llvm::divideCeil(*size, w.strides[i]) - 1) * w.strides[i] + extent - *size, 0);
    }
    w.padsBegin[i] = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
    w.padsEnd[i] = total - w.padsBegin[i];
  }
  return w;
}

/// Sizes after sliding the window, appended to `dims`.
static LogicalResult slide(Inference &s, const SlidingWindow &w, bool ceil, Exprs &dims) {
  const Exprs &in = s.dims("x");
  for (size_t i = 0; i < w.kernel.size(); ++i) {
    int64_t extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    AffineExpr room = s.c.add(in[i + 2], s.c.constant(w.padsBegin[i] + w.padsEnd[i] - extent));
    if (auto value = Inference::constant(room); value && *value < 0)
      return s.error("the window is larger than the padded input");
    AffineExpr stride = s.c.constant(w.strides[i]);
    AffineExpr steps = ceil ? s.c.ceilDiv(room, w.strides[i]) : s.c.floorDiv(room, stride);
    AffineExpr count = s.c.add(steps, s.c.constant(1));
    // A window that would start beyond the input and its leading padding is not counted; there can be one only if the window
    // is no longer than the trailing padding and what rounding up adds.
    if (ceil && extent <= w.padsEnd[i] + w.strides[i] - 1)
      count = s.c.min(count, s.c.ceilDiv(s.c.add(in[i + 2], s.c.constant(w.padsBegin[i])), w.strides[i]));
    dims.push_back(count);
  }
  return success();
}

LogicalResult infer::conv(Inference &s) {
  auto w = getSlidingWindow(s.node, s.shapes);
  if (failed(floats(s)))
    return failure();
  if (failed(w))
    return s.error("kernel, strides, dilations and pads must be static and fit the input");
  const Exprs &in = s.dims("x"), &weight = s.dims("w");
  int64_t group = s.node.integer("group");
  auto outputs = Inference::constant(weight[0]);
  if (group < 1 || group > INT32_MAX || (outputs && *outputs % group) ||
      !s.unify(in[1], s.c.mul(weight[1], s.c.constant(group))))
    return s.error("channels, weight and group do not fit together");
  if (s.node.input("b") && (s.rank("b") != 1 || !s.unify(s.dims("b")[0], weight[0])))
    return s.error("the bias does not fit the weight");
  Exprs dims = {in[0], weight[0]};
  return failed(slide(s, *w, false, dims)) ? failure() : s.result(s.elementType("x"), dims);
}

LogicalResult infer::convTranspose(Inference &s) {
  auto w = getSlidingWindow(s.node, s.shapes);
  if (failed(floats(s)))
    return failure();
  if (failed(w))
    return s.error("kernel, strides, dilations and pads must be static and fit the input");
  const Exprs &in = s.dims("x"), &weight = s.dims("w");
  int64_t group = s.node.integer("group");
  auto extra = s.node.integers("output_padding").value_or(SmallVector<int64_t>(w->kernel.size(), 0));
  auto inputs = Inference::constant(in[1]);
  if (group < 1 || group > INT32_MAX || (inputs && *inputs % group) || !s.unify(in[1], weight[0]) ||
      extra.size() != w->kernel.size() || llvm::any_of(extra, [](int64_t v) { return v < 0 || v > INT32_MAX; }))
    return s.error("channels, weight, group and output_padding do not fit together");
  Exprs dims = {in[0], s.c.mul(weight[1], s.c.constant(group))};
  if (s.node.input("b") && (s.rank("b") != 1 || !s.unify(s.dims("b")[0], dims[1])))
    return s.error("the bias does not fit the weight");
  for (size_t i = 0; i < w->kernel.size(); ++i) {
    int64_t fixed =
        (w->kernel[i] - 1) * w->dilations[i] + 1 + extra[i] - w->padsBegin[i] - w->padsEnd[i] - w->strides[i];
    dims.push_back(s.c.add(s.c.mul(in[i + 2], s.c.constant(w->strides[i])), s.c.constant(fixed)));
  }
  return s.result(s.elementType("x"), dims);
}

LogicalResult infer::pool(Inference &s) {
  auto w = getSlidingWindow(s.node, s.shapes);
  if (failed(w))
    return s.error("kernel, strides, dilations and pads must be static and fit the input");
  if (!isa<FloatType>(s.elementType("x")))
    return s.error("the input must be of a floating-point type");
  Exprs dims(ArrayRef(s.dims("x")).take_front(2));
  return failed(slide(s, *w, s.node.integer("ceil_mode"), dims)) ? failure() : s.result(s.elementType("x"), dims);
}

LogicalResult infer::globalPool(Inference &s) {
  if (s.rank("x") < 3 || !isa<FloatType>(s.elementType("x")))
    return s.error("the input must be of a floating-point type and have at least three dimensions");
  Exprs dims = s.dims("x");
  std::fill(dims.begin() + 2, dims.end(), s.c.constant(1));
  return s.result(s.elementType("x"), dims);
}

//===- Normalization ----------------------------------------------------------------------------------------------===//

/// Every operand after the first is a list with one value for each channel.
static LogicalResult perChannel(Inference &s) {
  if (s.rank("x") < 2 || failed(floats(s)))
    return s.error("the input must have a channel dimension");
  for (Value value : s.node.op->getOperands().drop_front())
    if (s.dims(value).size() != 1 || !s.unify(s.dims(value)[0], s.dims("x")[1]))
      return s.error("scale, bias, mean and variance must have one value for each channel");
  return s.result(s.elementType("x"), s.dims("x"));
}

LogicalResult infer::batchNorm(Inference &s) { return perChannel(s); }

LogicalResult infer::channelNorm(Inference &s) {
  if (int64_t groups = s.node.integer("num_groups", 1); s.rank("x") > 1)
    if (auto channels = Inference::constant(s.dims("x")[1]); groups < 1 || (channels && *channels % groups))
      return s.error("num_groups does not divide the channels");
  return perChannel(s);
}

LogicalResult infer::layerNorm(Inference &s) {
  const Exprs &in = s.dims("x");
  auto axis = normalizeAxis(s.node.integer("axis"), in.size());
  if (failed(floats(s)) || failed(axis))
    return s.error("axis is out of range");
  for (Value value : s.node.op->getOperands().drop_front()) {
    auto joint = s.broadcast(in, s.dims(value));
    if (!joint || joint->size() != in.size() || !llvm::equal(*joint, in))
      return s.error("scale or bias cannot be broadcast to the input");
  }
  return s.result(s.elementType("x"), in);
}

LogicalResult infer::softmax(Inference &s) {
  // Before opset 13, axis splits the dimensions in two groups instead; the shape is the same.
  if (failed(normalizeAxis(s.node.integer("axis"), s.rank("x"))) || !isa<FloatType>(s.elementType("x")))
    return s.error("axis is out of range or the input is not of a floating-point type");
  return s.result(s.elementType("x"), s.dims("x"));
}

LogicalResult infer::rotary(Inference &s) {
  const Exprs &in = s.dims("x");
  auto joint = in.empty() ? std::nullopt : s.broadcast(s.dims("cos"), s.dims("sin"));
  if (failed(floats(s)) || !joint || joint->size() > in.size() || !s.broadcast(in, *joint))
    return s.error("angles do not fit the input");
  return s.result(s.elementType("x"), in);
}

LogicalResult infer::attention(Inference &s) {
  const Exprs &q = s.dims("q"), &k = s.dims("k"), &v = s.dims("v");
  if (failed(floats(s)) || q.size() != 4 || k.size() != 4 || v.size() != 4 || !s.unify(q[0], k[0]) ||
      !s.unify(k[0], v[0]) || !s.unify(k[1], v[1]) || !s.unify(k[2], v[2]) || !s.unify(q[3], k[3]))
    return s.error("query, key and value do not fit together");
  return s.result(s.elementType("q"), {q[0], q[1], q[2], v[3]});
}

//===- Reduction --------------------------------------------------------------------------------------------------===//

FailureOr<SmallVector<int64_t>> quanta::getReductionAxes(const BoundNode &node, const SymbolicShapes &shapes) {
  int64_t rank = shapes.get(node.input("x")).dims.size();
  auto axes = node.constants("axes", shapes);
  if (failed(axes))
    return failure();
  SmallVector<int64_t> result;
  if (!*axes || (*axes)->empty()) {
    if (!node.integer("noop_with_empty_axes"))
      llvm::append_range(result, llvm::seq<int64_t>(0, rank));
    return result;
  }
  for (int64_t axis : **axes) {
    auto normal = normalizeAxis(axis, rank);
    if (failed(normal) || llvm::is_contained(result, *normal))
      return failure();
    result.push_back(*normal);
  }
  llvm::sort(result);
  return result;
}

static Exprs reduced(Inference &s, ArrayRef<int64_t> axes, bool keep) {
  Exprs dims;
  for (auto [axis, size] : llvm::enumerate(s.dims("x")))
    if (!llvm::is_contained(axes, int64_t(axis)))
      dims.push_back(size);
    else if (keep)
      dims.push_back(s.c.constant(1));
  return dims;
}

LogicalResult infer::reduce(Inference &s) {
  auto axes = getReductionAxes(s.node, s.shapes);
  Type type = s.elementType("x");
  if (failed(axes))
    return s.error("axes must be constant, distinct and in range");
  if (type.isInteger(1))
    return s.error("booleans are not numbers");
  std::optional<Exprs> elements;
  if (const auto &known = s.known(s.node.input("x"));
      known && s.rank("x") == 1 && axes->size() == 1 && !known->empty()) {
    AffineExpr value = (*known)[0];
    for (AffineExpr next : ArrayRef(*known).drop_front())
      value = s.node.is("ReduceProd")  ? s.c.mul(value, next)
              : s.node.is("ReduceSum") ? s.c.add(value, next)
              : s.node.is("ReduceMax") ? s.c.max(value, next)
              : s.node.is("ReduceMin") ? s.c.min(value, next)
                                       : AffineExpr();
    bool exact = s.node.is("ReduceProd") || s.node.is("ReduceSum") || s.node.is("ReduceMax") || s.node.is("ReduceMin");
    if (exact)
      elements = Exprs{value};
  }
  return s.result(type, reduced(s, *axes, s.node.integer("keepdims")), elements);
}

LogicalResult infer::argReduce(Inference &s) {
  auto axis = normalizeAxis(s.node.integer("axis"), s.rank("x"));
  if (failed(axis) || s.elementType("x").isInteger(1))
    return s.error("axis is out of range or the input is boolean");
  return s.result(IntegerType::get(s.c.getContext(), 64), reduced(s, {*axis}, s.node.integer("keepdims")));
}

LogicalResult infer::cumSum(Inference &s) {
  auto axis = s.node.constants("axis", s.shapes);
  if (failed(axis) || (*axis)->size() != 1 || failed(normalizeAxis((**axis)[0], s.rank("x"))) ||
      s.elementType("x").isInteger(1))
    return s.error("axis must be constant and in range, the input numbers");
  return s.result(s.elementType("x"), s.dims("x"));
}

FailureOr<SmallVector<double>> quanta::getResizeScales(const BoundNode &node, const SymbolicShapes &shapes) {
  if (auto attr = node.numbers("scales"))
    return *attr;
  Value value = node.input("scales");
  SmallVector<double> scales;
  if (!value)
    return failure();
  if (const auto &elements = shapes.get(value).elements) {
    for (AffineExpr element : *elements)
      if (auto constant = Inference::constant(element))
        scales.push_back(*constant);
    return scales;
  }
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!dense || !dense.getElementType().isF32())
    return failure();
  llvm::append_range(scales, dense.getValues<float>());
  return scales;
}
