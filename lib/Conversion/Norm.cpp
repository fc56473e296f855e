//===- Norm.cpp - ONNX normalizations, softmax and attention ------------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

static Type getResultElement(onnx::NodeOp op) { return getStorageType(getONNXElement(op->getResult(0))); }

/// A vector of channels, shaped so that it broadcasts over [N, C, ...] of this rank.
static Tensor toChannels(ConvertContext &ctx, onnx::NodeOp op, Tensor vector, int64_t rank) {
  SmallVector<AffineExpr> dims{vector.dims[0]};
  dims.append(std::max<int64_t>(rank - 2, 0), ctx.constant(1));
  return ctx.reshape(op, vector, dims);
}

LogicalResult convert::batchNorm(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  Type compute = x.element().isF64() ? x.element() : ctx.b.getF32Type();
  double epsilon = node.number("epsilon");
  ElementsAttr parts[4];
  bool constant = compute.isF32();
  for (unsigned i = 0; i < 4; ++i) {
    parts[i] = ctx.constantOf(op.getInput(i + 1));
    constant &= !!parts[i];
  }
  SmallVector<Tensor> inputs{ctx.castFloat(x, compute)};
  if (constant) {
    // y = x · a + b
    std::vector<float> scale = readFloats(parts[0]), bias = readFloats(parts[1]), mean = readFloats(parts[2]),
                       variance = readFloats(parts[3]);
    for (size_t i = 0; i < scale.size(); ++i) {
      scale[i] /= std::sqrt(variance[i] + epsilon);
      bias[i] -= mean[i] * scale[i];
    }
    for (const auto &vector : {scale, bias})
      inputs.push_back(ctx.makeConstant("batch_norm", {static_cast<int64_t>(vector.size())},
                                        [&](MutableArrayRef<float> out) { llvm::copy(vector, out.begin()); }));
  } else {
    for (unsigned i = 1; i < 5; ++i)
      inputs.push_back(ctx.castFloat(ctx.input(op, i), compute));
  }
  for (unsigned i = 1; i < inputs.size(); ++i) {
    if (x.rank() > 1 && failed(ctx.requireEqual(op, inputs[i].dims[0], x.dims[1], "channels")))
      return failure();
    inputs[i] = toChannels(ctx, op, inputs[i], x.rank());
  }
  Tensor y = ctx.map(inputs, x.dims, compute, [&](ScalarBuilder &s, ValueRange v) {
    if (constant)
      return s.add(s.mul(v[0], v[1]), v[2]);
    Value inverse = s.op<math::RsqrtOp>({s.add(v[4], s.constant(compute, epsilon))});
    return s.add(s.mul(s.sub(v[0], v[3]), s.mul(inverse, v[1])), v[2]);
  });
  ctx.set(op, 0, ctx.castFloat(y, getResultElement(op)));
  return success();
}

/// Mean 0 and variance 1 over the last dimension of [N, G, S].
static Tensor normalize(ConvertContext &ctx, onnx::NodeOp op, Tensor x, double epsilon) {
  Type f32 = ctx.b.getF32Type();
  Value count;
  if (!isa<AffineConstantExpr>(x.dims[2])) {
    Value size = arith::IndexCastOp::create(ctx.b, ctx.b.getI64Type(), ctx.materialize(x.dims[2]));
    count = arith::SIToFPOp::create(ctx.b, f32, size);
  }
  SmallVector<AffineExpr> row{x.dims[0], x.dims[1], ctx.constant(1)};
  auto mean = [&](Tensor values) {
    Tensor sum = ctx.reduce(values, {false, false, true}, 0,
                            [](ScalarBuilder &s, ValueRange v) { return s.add(v[0], v[1]); });
    return ctx.map(ctx.reshape(op, sum, row), row, f32, [&](ScalarBuilder &s, ValueRange v) {
      return s.div(v[0], count ? count : s.constant(f32, *getConstant(x.dims[2])));
    });
  };
  Tensor centred = ctx.map({x, mean(x)}, x.dims, f32, [](ScalarBuilder &s, ValueRange v) { return s.sub(v[0], v[1]); });
  Tensor squares = ctx.map(centred, x.dims, f32, [](ScalarBuilder &s, ValueRange v) { return s.mul(v[0], v[0]); });
  return ctx.map({centred, mean(squares)}, x.dims, f32, [&](ScalarBuilder &s, ValueRange v) {
    return s.mul(v[0], s.op<math::RsqrtOp>({s.add(v[1], s.constant(f32, epsilon))}));
  });
}

/// Instance and group normalization: `groups` of channels are normalized, then channels scaled.
static LogicalResult convertGroups(onnx::NodeOp op, ConvertContext &ctx, AffineExpr groups) {
  BoundNode node(op);
  Tensor x = ctx.toF32(ctx.input(op, 0));
  AffineExpr size = ctx.symbols().quotient(ArrayRef(x.dims).drop_front(), {groups});
  Tensor y = normalize(ctx, op, ctx.reshape(op, x, {x.dims[0], groups, size}), node.number("epsilon"));
  Tensor scale = toChannels(ctx, op, ctx.toF32(ctx.input(op, 1)), x.rank());
  Tensor bias = toChannels(ctx, op, ctx.toF32(ctx.input(op, 2)), x.rank());
  y = ctx.map({ctx.reshape(op, y, x.dims), scale, bias}, x.dims, ctx.b.getF32Type(),
              [](ScalarBuilder &s, ValueRange v) { return s.add(s.mul(v[0], v[1]), v[2]); });
  ctx.set(op, 0, ctx.castFloat(y, getResultElement(op)));
  return success();
}
LogicalResult convert::instanceNorm(onnx::NodeOp op, ConvertContext &ctx) {
  return convertGroups(op, ctx, ctx.dims(op.getInput(0))[1]);
}
LogicalResult convert::groupNorm(onnx::NodeOp op, ConvertContext &ctx) {
  return convertGroups(op, ctx, ctx.constant(BoundNode(op).integer("num_groups")));
}

/// Makes one dimension of those from `axis` on.
static SmallVector<AffineExpr> flattenFrom(ConvertContext &ctx, ArrayRef<AffineExpr> dims, int64_t axis) {
  SmallVector<AffineExpr> result(dims.take_front(axis));
  result.push_back(ctx.symbols().product(dims.drop_front(axis)));
  return result;
}

static LogicalResult convertNorm(onnx::NodeOp op, ConvertContext &ctx, bool centre) {
  BoundNode node(op);
  Tensor x = ctx.toF32(ctx.input(op, 0));
  int64_t axis = wrapAxis(node.integer("axis"), x.rank());
  ArrayRef<AffineExpr> tail = ArrayRef(x.dims).drop_front(axis);
  SmallVector<AffineExpr> flat = axis + 1 == x.rank() ? x.dims : flattenFrom(ctx, x.dims, axis);
  auto vector = [&](Tensor parameter) -> FailureOr<Tensor> {
    if (failed(ctx.requireBroadcast(op, parameter, tail)))
      return failure();
    return ctx.reshape(op, ctx.broadcast(ctx.toF32(parameter), tail), flat.back());
  };
  auto scale = vector(ctx.input(op, 1));
  if (failed(scale))
    return failure();
  Tensor rows = ctx.reshape(op, x, flat);
  FloatAttr epsilon = ctx.b.getF32FloatAttr(node.number("epsilon"));
  Type type = rows.value.getType();
  Tensor y{{}, flat};
  if (centre) {
    Value bias;
    if (op.getInput(2)) {
      auto given = vector(ctx.input(op, 2));
      if (failed(given))
        return failure();
      bias = given->value;
    }
    y.value = LayerNormOp::create(ctx.b, type, rows.value, scale->value, bias, epsilon);
  } else {
    y.value = RMSNormOp::create(ctx.b, type, rows.value, scale->value, epsilon);
  }
  ctx.set(op, 0, ctx.castFloat(ctx.reshape(op, y, x.dims), getResultElement(op)));
  return success();
}
LogicalResult convert::layerNorm(onnx::NodeOp op, ConvertContext &ctx) { return convertNorm(op, ctx, true); }
LogicalResult convert::rmsNorm(onnx::NodeOp op, ConvertContext &ctx) { return convertNorm(op, ctx, false); }

static Tensor logSoftmax(ConvertContext &ctx, onnx::NodeOp op, Tensor x) {
  SmallVector<bool> last(x.rank(), false);
  last.back() = true;
  SmallVector<AffineExpr> row(x.dims);
  row.back() = ctx.constant(1);
  Type f32 = ctx.b.getF32Type();
  Tensor top = ctx.reduce(x, last, -std::numeric_limits<double>::infinity(),
                          [](ScalarBuilder &s, ValueRange v) { return s.max(v[0], v[1]); });
  Tensor shifted = ctx.map({x, ctx.reshape(op, top, row)}, x.dims, f32,
                           [](ScalarBuilder &s, ValueRange v) { return s.sub(v[0], v[1]); });
  Tensor sum = ctx.reduce(shifted, last, 0,
                          [](ScalarBuilder &s, ValueRange v) { return s.add(s.op<math::ExpOp>({v[0]}), v[1]); });
  return ctx.map({shifted, ctx.reshape(op, sum, row)}, x.dims, f32,
                 [](ScalarBuilder &s, ValueRange v) { return s.sub(v[0], s.op<math::LogOp>({v[1]})); });
}

LogicalResult convert::softmax(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.toF32(ctx.input(op, 0));
  int64_t axis = wrapAxis(node.integer("axis"), x.rank());
  // Before version 13 everything from the axis on is one row.
  bool flatten = node.version() < 13 && axis + 1 < x.rank();
  SmallVector<int64_t> swap = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  if (!flatten && x.rank())
    std::swap(swap[axis], swap.back());
  Tensor rows = flatten ? ctx.reshape(op, x, flattenFrom(ctx, x.dims, axis)) : ctx.transpose(x, swap);
  Tensor y = rows;
  if (node.is("LogSoftmax"))
    y = logSoftmax(ctx, op, rows);
  else
    y.value = SoftmaxOp::create(ctx.b, rows.value.getType(), rows.value);
  y = flatten ? ctx.reshape(op, y, x.dims) : ctx.transpose(y, swap);
  ctx.set(op, 0, ctx.castFloat(y, getResultElement(op)));
  return success();
}

/// Leading dimensions of size 1 up to rank 4.
static Tensor toRank4(ConvertContext &ctx, onnx::NodeOp op, Tensor x) {
  SmallVector<AffineExpr> dims(4 - std::min<int64_t>(4, x.rank()), ctx.constant(1));
  dims.append(x.dims);
  return ctx.reshape(op, x, dims);
}

LogicalResult convert::rotary(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.toF32(ctx.input(op, 0)), cosine = ctx.toF32(ctx.input(op, 1)), sine = ctx.toF32(ctx.input(op, 2));
  if (failed(ctx.requireBroadcast(op, {cosine, sine}, x.dims)))
    return failure();
  SmallVector<AffineExpr> dims(x.dims);
  if (x.rank() < 4)
    x = toRank4(ctx, op, x);
  // Positions and channels of the tables are the input's; batch and heads may be broadcast.
  auto table = [&](Tensor values) {
    values = toRank4(ctx, op, values);
    return ctx.broadcast(values, {values.dims[0], values.dims[1], x.dims[2], x.dims[3]});
  };
  Value y = RotaryOp::create(ctx.b, x.value.getType(), x.value, table(cosine).value, table(sine).value);
  ctx.set(op, 0, ctx.castFloat(ctx.reshape(op, {y, x.dims}, dims), getResultElement(op)));
  return success();
}

LogicalResult convert::attention(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor query = ctx.toF32(ctx.input(op, 0)), key = ctx.toF32(ctx.input(op, 1)), value = ctx.toF32(ctx.input(op, 2));
  if (failed(ctx.requireEqual(op, query.dims[0], key.dims[0], "batch of query and key")) ||
      failed(ctx.requireEqual(op, key.dims[0], value.dims[0], "batch of key and value")) ||
      failed(ctx.requireEqual(op, key.dims[1], value.dims[1], "heads of key and value")) ||
      failed(ctx.requireEqual(op, key.dims[2], value.dims[2], "positions of key and value")) ||
      failed(ctx.requireEqual(op, query.dims[3], key.dims[3], "channels of query and key")))
    return failure();
  SmallVector<AffineExpr> out{query.dims[0], query.dims[1], query.dims[2], value.dims[3]};
  Value mask;
  if (Value given = op.getInput(3)) {
    Tensor additive = toRank4(ctx, op, ctx.get(given));
    SmallVector<AffineExpr> scores{query.dims[0], query.dims[1], query.dims[2], key.dims[2]};
    if (failed(ctx.requireBroadcast(op, additive, scores)))
      return failure();
    if (!isa<FloatType>(additive.element()))
      additive = ctx.map(additive, additive.dims, ctx.b.getF32Type(), [](ScalarBuilder &s, ValueRange v) {
        Type f32 = s.b.getF32Type();
        return s.select(s.isTrue(v[0]), s.constant(f32, 0), s.constant(f32, -std::numeric_limits<double>::infinity()));
      });
    additive = ctx.toF32(additive);
    if (isConstant(additive.dims[3], 1)) {
      scores = {additive.dims[0], additive.dims[1], additive.dims[2], key.dims[2]};
      additive = ctx.broadcast(additive, scores);
    }
    mask = additive.value;
  }
  Value y = AttentionOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), query.value, key.value, value.value, mask,
                                ctx.b.getF32FloatAttr(node.number("scale")));
  ctx.set(op, 0, ctx.castFloat({y, out}, getResultElement(op)));
  return success();
}
