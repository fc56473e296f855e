//===- Shape.cpp - ONNX operators that move elements --------------------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

static Type getResultElement(onnx::NodeOp op) { return getStorageType(getONNXElement(op->getResult(0))); }

static LogicalResult refuse(onnx::NodeOp op, const Twine &why) {
  return op.emitError() << "node " << getNodeName(op) << ": " << op.getOpType() << " " << why << " is not supported";
}

LogicalResult convert::reshape(onnx::NodeOp op, ConvertContext &ctx) {
  ctx.set(op, 0, ctx.reshape(op, ctx.input(op, 0), ctx.dims(op->getResult(0))));
  return success();
}

LogicalResult convert::transpose(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  SmallVector<int64_t> permutation = op.getInts("perm");
  if (permutation.empty())
    llvm::append_range(permutation, llvm::reverse(llvm::seq<int64_t>(0, x.rank())));
  ctx.set(op, 0, ctx.transpose(x, permutation));
  return success();
}

LogicalResult convert::concat(onnx::NodeOp op, ConvertContext &ctx) {
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  int64_t axis = wrapAxis(op.getInt("axis", 0), out.size());
  SmallVector<Value> parts;
  for (Value operand : op.getOperands()) {
    Tensor part = ctx.get(operand);
    if (isConstant(part.dims[axis], 0))
      continue;
    for (auto [i, size] : llvm::enumerate(part.dims))
      if (static_cast<int64_t>(i) != axis && failed(ctx.requireEqual(op, size, out[i], "concatenation")))
        return failure();
    parts.push_back(part.value);
  }
  SmallVector<AffineExpr> dims(out);
  if (parts.empty())
    ctx.set(op, 0, {ctx.empty(out, getResultElement(op)), dims});
  else
    ctx.set(op, 0, {parts.size() == 1 ? parts[0] : Value(tensor::ConcatOp::create(ctx.b, axis, parts)), dims});
  return success();
}

LogicalResult convert::split(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  int64_t axis = wrapAxis(op.getInt("axis", 0), x.rank());
  SmallVector<AffineExpr> offsets(x.rank(), ctx.constant(0));
  for (Value result : op->getResults()) {
    ctx.set(result, ctx.slice(x, offsets, ctx.dims(result)));
    offsets[axis] = offsets[axis] + ctx.dims(result)[axis];
  }
  return ctx.requireEqual(op, offsets[axis], x.dims[axis], "sizes of a split");
}

LogicalResult convert::slice(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  auto form = getSliceForm(BoundNode(op), ctx.shapes);
  if (failed(form))
    return refuse(op, "with steps or axes that are not constant");
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  if (llvm::all_of(form->steps, [](int64_t step) { return step > 0; })) {
    ctx.set(op, 0, ctx.slice(x, form->starts, out, form->steps));
    return success();
  }
  SmallVector<Value> starts = llvm::map_to_vector(form->starts, [&](AffineExpr expr) { return ctx.materialize(expr); });
  ctx.set(op, 0, ctx.map({}, out, x.element(), [&](ScalarBuilder &s, ValueRange) {
    SmallVector<Value> position;
    for (int64_t i = 0; i < x.rank(); ++i)
      position.push_back(s.add(starts[i], s.mul(s.loopIndex(i), s.index(form->steps[i]))));
    return ctx.extract(x, position);
  }));
  return success();
}

LogicalResult convert::pad(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  auto form = getPadForm(node, ctx.shapes);
  if (failed(form))
    return refuse(op, "with axes that are not constant");
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  StringRef mode = node.string("mode", "constant");

  // Negative amounts crop; what is not known to be negative pads.
  SmallVector<AffineExpr> offsets(x.rank(), ctx.constant(0)), kept(x.dims);
  for (int64_t i = 0; i < x.rank(); ++i)
    for (AffineExpr *amount : {&form->low[i], &form->high[i]})
      if (auto constant = getConstant(*amount); constant && *constant < 0) {
        if (amount == &form->low[i])
          offsets[i] = ctx.constant(-*constant);
        kept[i] = kept[i] + *constant;
        *amount = ctx.constant(0);
      } else if (!constant && !ctx.isAtMost(ctx.constant(0), *amount)) {
        Value zero = ctx.materialize(ctx.constant(0)), given = ctx.materialize(*amount);
        ctx.require(op, arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sge, given, zero),
            "negative amount of padding");
      }
  x = ctx.slice(x, offsets, kept);

  if (mode == "constant") {
    Value value;
    if (Value given = node.row->findInput("value") ? node.input("value") : Value()) {
      Tensor scalar = ctx.get(given);
      DenseElementsAttr attr;
      if (matchPattern(scalar.value, m_Constant(&attr)))
        value = arith::ConstantOp::create(ctx.b, cast<TypedAttr>(*attr.value_begin<Attribute>()));
      else
        value = ctx.extract(scalar, SmallVector<Value>(scalar.rank(), ctx.materialize(ctx.constant(0))));
    } else {
      value = arith::ConstantOp::create(ctx.b, getNumberAttr(x.element(), node.number("value", 0)));
    }
    ctx.set(op, 0, ctx.pad(x, form->low, form->high, value));
    return success();
  }

  SmallVector<Value> low(x.rank()), last(x.rank());
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (isConstant(form->low[i], 0) && isConstant(form->high[i], 0))
      continue;
    low[i] = ctx.materialize(form->low[i]);
    last[i] = ctx.materialize(x.dims[i] - 1);
    // Reading would leave the tensor.
    AffineExpr need = mode == "reflect" ? ctx.max(form->low[i], form->high[i]) + 1 : ctx.constant(1);
    if (!ctx.isAtMost(need, x.dims[i])) {
      Value have = ctx.materialize(x.dims[i]), want = ctx.materialize(need);
      ctx.require(op, arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sge, have, want),
                  "more padding than there are elements to take it from");
    }
  }
  ctx.set(op, 0, ctx.map({}, out, x.element(), [&](ScalarBuilder &s, ValueRange) {
    SmallVector<Value> position;
    for (int64_t i = 0; i < x.rank(); ++i) {
      Value index = s.loopIndex(i);
      if (low[i]) {
        index = s.sub(index, low[i]);
        if (mode == "reflect") {
          index = s.max(index, s.sub(s.index(0), index));
          index = s.min(index, s.sub(s.add(last[i], last[i]), index));
        } else {
          index = s.min(s.max(index, s.index(0)), last[i]);
        }
      }
      position.push_back(index);
    }
    return ctx.extract(x, position);
  }));
  return success();
}

LogicalResult convert::expand(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  if (failed(ctx.requireBroadcast(op, x, out)))
    return failure();
  ctx.set(op, 0, ctx.broadcast(x, out));
  return success();
}

LogicalResult convert::tile(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  auto repeats = ctx.elements(op.getInput(1));
  if (!repeats)
    return refuse(op, "with repeats that are not known");
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  // A dimension of repeats before each one that is repeated, then both as one.
  SmallVector<AffineExpr> spread, source;
  for (auto [size, count] : llvm::zip(x.dims, *repeats)) {
    if (!isConstant(count, 1) && !isConstant(size, 1)) {
      spread.push_back(count);
      source.push_back(ctx.constant(1));
    }
    spread.push_back(isConstant(size, 1) ? count : size);
    source.push_back(size);
  }
  ctx.set(op, 0, ctx.reshape(op, ctx.broadcast(ctx.reshape(op, x, source), spread), out));
  return success();
}

LogicalResult convert::depthToSpace(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  ArrayRef<AffineExpr> in = x.dims, out = ctx.dims(op->getResult(0));
  AffineExpr block = ctx.constant(node.integer("blocksize"));
  SmallVector<AffineExpr> split;
  SmallVector<int64_t> permutation;
  if (node.is("SpaceToDepth")) {
    split = {in[0], in[1], out[2], block, out[3], block};
    permutation = {0, 3, 5, 1, 2, 4};
  } else if (node.string("mode", "DCR") == "CRD") {
    split = {in[0], out[1], block, block, in[2], in[3]};
    permutation = {0, 1, 4, 2, 5, 3};
  } else {
    split = {in[0], block, block, out[1], in[2], in[3]};
    permutation = {0, 3, 4, 1, 5, 2};
  }
  ctx.set(op, 0, ctx.reshape(op, ctx.transpose(ctx.reshape(op, x, split), permutation), out));
  return success();
}

LogicalResult convert::range(onnx::NodeOp op, ConvertContext &ctx) {
  ctx.set(op, 0, ctx.map({ctx.input(op, 0), ctx.input(op, 2)}, ctx.dims(op->getResult(0)), getResultElement(op),
                         [](ScalarBuilder &s, ValueRange x) {
                           Type type = x[0].getType();
                           Value i = arith::IndexCastOp::create(s.b, s.b.getI64Type(), s.loopIndex(0));
                           return s.add(x[0], s.mul(s.castTo(i, s.b.getI64Type(), type), x[1]));
                         }));
  return success();
}

LogicalResult convert::constantOfShape(onnx::NodeOp op, ConvertContext &ctx) {
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  Type element = getResultElement(op);
  TypedAttr value = getNumberAttr(element, 0);
  if (auto given = dyn_cast_or_null<ElementsAttr>(op.getNodeAttr("value"))) {
    if (isa<FloatType>(element))
      value = cast<TypedAttr>(*cast<DenseElementsAttr>(given).value_begin<Attribute>());
    else
      value = ctx.b.getIntegerAttr(element, readInts(given)[0]);
  }
  RankedTensorType type = ctx.type(out, element);
  if (type.hasStaticShape())
    ctx.set(op, 0, ctx.makeConstant(cast<ElementsAttr>(DenseElementsAttr::get(type, Attribute(value)))));
  else
    ctx.set(op, 0, ctx.fill(out, value));
  return success();
}

LogicalResult convert::shape(onnx::NodeOp op, ConvertContext &ctx) {
  // Known on expressions, except for what is too long for them.
  return refuse(op, "of a tensor of this rank");
}

LogicalResult convert::trilu(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  bool upper = node.integer("upper");
  SmallVector<Tensor> inputs{x};
  if (op.getInput(1)) {
    Tensor k = ctx.input(op, 1);
    inputs.push_back(ctx.reshape(op, k, {}));
  }
  ctx.set(op, 0, ctx.map(inputs, x.dims, x.element(), [&](ScalarBuilder &s, ValueRange v) {
    Value diagonal = s.sub(s.loopIndex(x.rank() - 1), s.loopIndex(x.rank() - 2));
    Value k = inputs.size() > 1 ? Value(arith::IndexCastOp::create(s.b, s.b.getIndexType(), v[1])) : s.index(0);
    Value keep = s.compare(upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle, diagonal, k);
    return s.select(keep, v[0], s.constant(x.element(), 0));
  }));
  return success();
}
