//===- Gather.cpp - ONNX operators that read computed positions ---------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

using Predicate = arith::CmpIPredicate;

/// Fails the run if an index is outside of [-size, size): one pass over the indices, which are few. Without it, a read
/// would leave the tensor.
static void requireInRange(onnx::NodeOp op, ConvertContext &ctx, Tensor indices, Value size) {
  SmallVector<bool> all(indices.rank(), true);
  Type i8 = ctx.b.getI8Type();
  Tensor inside = ctx.map(indices, indices.dims, i8, [&](ScalarBuilder &s, ValueRange v) {
    Value index = arith::IndexCastOp::create(s.b, s.b.getIndexType(), v[0]);
    return s.toBool(arith::AndIOp::create(s.b, s.compare(Predicate::slt, index, size),
                                          s.compare(Predicate::sge, index, s.sub(s.index(0), size))));
  });
  Tensor every = ctx.reduce(inside, all, 1, [](ScalarBuilder &s, ValueRange v) -> Value {
    return arith::AndIOp::create(s.b, v[0], v[1]);
  });
  ScalarBuilder s{ctx.b};
  ctx.require(op, s.isTrue(ctx.extract(every, {})), "index out of range");
}

/// True if every index is a constant within a dimension of constant size.
static bool areInRange(ConvertContext &ctx, Value indices, AffineExpr size) {
  auto extent = getConstant(size);
  if (!extent)
    return false;
  if (auto known = ctx.integers(indices))
    return llvm::all_of(*known, [&](int64_t index) { return index >= -*extent && index < *extent; });
  return false;
}

/// In a body: an index as ONNX gives it, as a position.
static Value toPosition(ScalarBuilder &s, Value index, Value size) {
  index = arith::IndexCastOp::create(s.b, s.b.getIndexType(), index);
  return s.select(s.compare(Predicate::slt, index, s.index(0)), s.add(index, size), index);
}

LogicalResult convert::gather(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Value dataValue = op.getInput(0), indexValue = op.getInput(1);
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  int64_t axis = wrapAxis(node.integer("axis"), ctx.dims(dataValue).size());
  Type element = getStorageType(getONNXElement(op->getResult(0)));

  ElementsAttr table = ctx.constantOf(dataValue);
  auto known = ctx.elements(indexValue);
  bool isFloatTable = table && table.getShapedType().getRank() == 2 && isa<FloatType>(element) && !element.isF64();
  if (isFloatTable && axis == 0 && !known) {
    Value rows = EmbeddingOp::create(ctx.b, ctx.type(out, ctx.b.getF32Type()), ctx.toF32(ctx.get(dataValue)).value,
                                     ctx.get(indexValue).value);
    ctx.set(op, 0, ctx.castFloat({rows, SmallVector<AffineExpr>(out)}, element));
    return success();
  }

  Tensor data = ctx.get(dataValue);
  AffineExpr size = data.dims[axis];
  // Known positions at a constant distance are a slice.
  if (known && !known->empty()) {
    AffineExpr first = known->front();
    auto distance = known->size() > 1 ? getConstant((*known)[1] - first) : 1;
    bool regular = distance && *distance > 0;
    for (size_t i = 2; i < known->size() && regular; ++i)
      regular = getConstant((*known)[i] - (*known)[i - 1]) == distance;
    auto constant = getConstant(first);
    // The sign of a position has to be known, and be the same for all of them.
    bool negative = constant && *constant < 0;
    if (negative && !isConstant(known->back(), known->back() == first ? *constant : 0) &&
        getConstant(known->back()).value_or(0) >= 0)
      regular = false;
    if (regular && (constant || ctx.isAtMost(ctx.constant(0), first))) {
      AffineExpr begin = negative ? first + size : first;
      AffineExpr end = negative ? known->back() + size : known->back();
      if (!ctx.isAtMost(ctx.constant(0), begin) || !ctx.isAtMost(end + 1, size)) {
        ScalarBuilder s{ctx.b};
        Value from = ctx.materialize(begin), to = ctx.materialize(end), limit = ctx.materialize(size);
        Value inside = arith::AndIOp::create(ctx.b, s.compare(Predicate::sge, from, ctx.materialize(ctx.constant(0))),
                                             s.compare(Predicate::slt, to, limit));
        ctx.require(op, inside, "index out of range");
      }
      SmallVector<AffineExpr> offsets(data.rank(), ctx.constant(0)), extents(data.dims);
      SmallVector<int64_t> strides(data.rank(), 1);
      offsets[axis] = begin;
      extents[axis] = ctx.constant(known->size());
      strides[axis] = *distance;
      ctx.set(op, 0, ctx.reshape(op, ctx.slice(data, offsets, extents, strides), out));
      return success();
    }
  }

  Tensor indices = ctx.get(indexValue);
  Value limit = ctx.materialize(size);
  if (!areInRange(ctx, indexValue, size))
    requireInRange(op, ctx, indices, limit);
  SmallVector<AffineExpr> map;
  for (int64_t i = 0; i < indices.rank(); ++i)
    map.push_back(ctx.b.getAffineDimExpr(axis + i));
  auto indexMap = AffineMap::get(out.size(), 0, map, ctx.b.getContext());
  ctx.set(op, 0, ctx.map({indices}, {indexMap}, out, element, [&](ScalarBuilder &s, ValueRange v) {
    SmallVector<Value> position;
    for (int64_t i = 0; i < data.rank(); ++i)
      position.push_back(i == axis ? toPosition(s, v[0], limit) : s.loopIndex(i < axis ? i : i + indices.rank() - 1));
    return ctx.extract(data, position);
  }));
  return success();
}

LogicalResult convert::gatherElements(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor data = ctx.input(op, 0), indices = ctx.input(op, 1);
  int64_t axis = wrapAxis(node.integer("axis"), data.rank());
  // Other dimensions of the indices may be smaller than the data's.
  for (int64_t i = 0; i < data.rank(); ++i)
    if (i != axis && !ctx.isAtMost(indices.dims[i], data.dims[i])) {
      Value have = ctx.materialize(indices.dims[i]), want = ctx.materialize(data.dims[i]);
      ctx.require(op, arith::CmpIOp::create(ctx.b, Predicate::sle, have, want), "more indices than elements");
    }
  Value limit = ctx.materialize(data.dims[axis]);
  if (!areInRange(ctx, op.getInput(1), data.dims[axis]))
    requireInRange(op, ctx, indices, limit);
  ctx.set(op, 0, ctx.map(indices, indices.dims, data.element(), [&](ScalarBuilder &s, ValueRange v) {
    SmallVector<Value> position;
    for (int64_t i = 0; i < data.rank(); ++i)
      position.push_back(i == axis ? toPosition(s, v[0], limit) : s.loopIndex(i));
    return ctx.extract(data, position);
  }));
  return success();
}

//===- Resize -----------------------------------------------------------------------------------------------------===//

namespace {
/// How output positions of one axis map to input positions.
struct ResizeAxis {
  int64_t dim;
  Value scale;      ///< f32; output / input
  Value last;       ///< index of the last input element
  Value in, out;    ///< sizes as f32
};
} // namespace

LogicalResult convert::resize(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  ImplicitLocOpBuilder &b = ctx.b;
  Type f32 = b.getF32Type();
  bool old = node.is("Upsample") || node.version() < 11;
  StringRef coordinates = old ? "asymmetric" : node.string("coordinate_transformation_mode", "half_pixel");
  StringRef rounding = old ? "floor" : node.string("nearest_mode", "round_prefer_floor");
  bool linear = node.string("mode", "nearest") == "linear";

  // Scales as given, one for each axis; without them they follow from the sizes.
  std::optional<SmallVector<double>> scales = node.numbers("scales");
  if (node.row->findInput("scales"))
    if (Value given = node.input("scales")) {
      ElementsAttr attr = ctx.constantOf(given);
      if (!attr)
        return op.emitError() << "node " << getNodeName(op) << ": scales that are not constant are not supported";
      if (attr.getNumElements())
        scales = llvm::map_to_vector(readFloats(attr), [](float value) -> double { return value; });
    }
  if (scales)
    if (auto axes = node.integers("axes"); axes && !axes->empty()) {
      SmallVector<double> all(x.rank(), 1.0);
      for (auto [axis, scale] : llvm::zip(*axes, *scales))
        all[wrapAxis(axis, x.rank())] = scale;
      scales = all;
    }

  // Whole repetitions of elements need no positions.
  SmallVector<AffineExpr> spread, source;
  bool repeats = !linear && ((coordinates == "asymmetric" && rounding == "floor") ||
                             (coordinates == "half_pixel" && StringRef(rounding).starts_with("round_prefer")));
  for (int64_t i = 0; i < x.rank() && repeats; ++i) {
    spread.push_back(x.dims[i]);
    source.push_back(x.dims[i]);
    if (x.dims[i] == out[i])
      continue;
    auto have = getConstant(x.dims[i]), want = getConstant(out[i]);
    double factor = scales ? (*scales)[i] : have && want && *have ? double(*want) / *have : 0;
    int64_t whole = static_cast<int64_t>(factor);
    repeats = factor >= 1 && factor == whole;
    spread.push_back(ctx.constant(whole));
    source.push_back(ctx.constant(1));
  }
  if (repeats) {
    ctx.set(op, 0, ctx.reshape(op, ctx.broadcast(ctx.reshape(op, x, source), spread), out));
    return success();
  }

  auto toFloat = [&](AffineExpr size) -> Value {
    if (auto constant = getConstant(size))
      return arith::ConstantOp::create(b, b.getF32FloatAttr(*constant));
    return arith::SIToFPOp::create(b, f32, arith::IndexCastOp::create(b, b.getI64Type(), ctx.materialize(size)));
  };
  SmallVector<ResizeAxis> axes;
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (x.dims[i] == out[i] && (!scales || (*scales)[i] == 1))
      continue;
    ResizeAxis axis{i, {}, ctx.materialize(x.dims[i] - 1), toFloat(x.dims[i]), toFloat(out[i])};
    axis.scale = scales ? Value(arith::ConstantOp::create(b, b.getF32FloatAttr((*scales)[i])))
                        : Value(arith::DivFOp::create(b, axis.out, axis.in));
    axes.push_back(axis);
  }
  auto toOriginal = [&](ScalarBuilder &s, const ResizeAxis &axis) {
    Value integer = arith::IndexCastOp::create(b, b.getI64Type(), s.loopIndex(axis.dim));
    Value position = s.castTo(integer, b.getI64Type(), f32);
    Value half = s.constant(f32, 0.5), one = s.constant(f32, 1);
    if (coordinates == "asymmetric")
      return s.div(position, axis.scale);
    if (coordinates == "align_corners") {
      Value slope = s.div(s.sub(axis.in, one), s.max(s.sub(axis.out, one), one));
      return s.mul(position, slope);
    }
    Value centre = s.sub(s.div(s.add(position, half), axis.scale), half);
    if (coordinates == "pytorch_half_pixel")
      return s.select(s.compare(Predicate::sgt, axis.out, one), centre, s.constant(f32, 0));
    return centre;
  };
  auto toIndex = [&](ScalarBuilder &s, Value position, const ResizeAxis &axis) {
    Value integer = arith::FPToSIOp::create(b, b.getI64Type(), position);
    Value index = arith::IndexCastOp::create(b, b.getIndexType(), integer);
    return s.min(s.max(index, s.index(0)), axis.last);
  };

  Type storage = x.element();
  if (linear)
    x = ctx.toF32(x);
  Tensor y = ctx.map({}, out, x.element(), [&](ScalarBuilder &s, ValueRange) {
    SmallVector<Value> position;
    for (int64_t i = 0; i < x.rank(); ++i)
      position.push_back(s.loopIndex(i));
    if (!linear) {
      for (const ResizeAxis &axis : axes) {
        Value original = toOriginal(s, axis), half = s.constant(f32, 0.5);
        Value nearest = rounding == "floor"               ? s.op<math::FloorOp>({original})
                        : rounding == "ceil"              ? s.op<math::CeilOp>({original})
                        : rounding == "round_prefer_ceil" ? s.op<math::FloorOp>({s.add(original, half)})
                                                          : s.op<math::CeilOp>({s.sub(original, half)});
        position[axis.dim] = toIndex(s, nearest, axis);
      }
      return ctx.extract(x, position);
    }
    // Two neighbours along each axis; their weights multiply.
    SmallVector<std::array<Value, 2>> neighbours, weights;
    for (const ResizeAxis &axis : axes) {
      Value last = s.sub(axis.in, s.constant(f32, 1));
      Value original = s.min(s.max(toOriginal(s, axis), s.constant(f32, 0)), last);
      Value below = s.op<math::FloorOp>({original}), fraction = s.sub(original, below);
      Value index = toIndex(s, below, axis);
      neighbours.push_back({index, s.min(s.add(index, s.index(1)), axis.last)});
      weights.push_back({s.sub(s.constant(f32, 1), fraction), fraction});
    }
    Value sum;
    for (unsigned corner = 0; corner < 1u << axes.size(); ++corner) {
      Value weight;
      for (auto [i, axis] : llvm::enumerate(axes)) {
        bool side = corner >> i & 1;
        position[axis.dim] = neighbours[i][side];
        weight = weight ? s.mul(weight, weights[i][side]) : weights[i][side];
      }
      Value term = ctx.extract(x, position);
      if (weight)
        term = s.mul(weight, s.castTo(term, x.element(), f32));
      sum = sum ? s.add(sum, term) : term;
    }
    return sum;
  });
  ctx.set(op, 0, isa<FloatType>(storage) ? ctx.castFloat(y, storage) : y);
  return success();
}
