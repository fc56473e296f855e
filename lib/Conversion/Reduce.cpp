//===- Reduce.cpp - ONNX reductions and pooling -------------------------------------------------------------------===//
#include "ConvertContext.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::quanta;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

static Value sum(ScalarBuilder &s, ValueRange v) { return s.add(v[0], v[1]); }
static Value greatest(ScalarBuilder &s, ValueRange v) { return s.max(v[0], v[1]); }

/// A size as a number of a type, outside of any body.
static Value getCount(ConvertContext &ctx, AffineExpr size, Type type) {
  if (auto constant = getConstant(size))
    return arith::ConstantOp::create(ctx.b, getNumberAttr(type, *constant));
  Value value = arith::IndexCastOp::create(ctx.b, ctx.b.getI64Type(), ctx.materialize(size));
  return ScalarBuilder{ctx.b}.castTo(value, ctx.b.getI64Type(), type);
}

LogicalResult convert::reduce(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  auto axes = getReductionAxes(node, ctx.shapes);
  if (failed(axes))
    return op.emitError() << "node " << getNodeName(op) << ": axes that are not constant are not supported";
  bool isUnsigned = getONNXElement(op.getInput(0)).isUnsignedInteger();
  Type storage = x.element();
  if (storage.isF16() || storage.isBF16())
    x = ctx.toF32(x);
  Type type = x.element();
  SmallVector<bool> reduced(x.rank(), false);
  SmallVector<AffineExpr> row(x.dims), counted;
  for (int64_t axis : *axes) {
    reduced[axis] = true;
    counted.push_back(x.dims[axis]);
    row[axis] = ctx.constant(1);
  }
  auto absolute = [](ScalarBuilder &s, Value v) {
    return isa<FloatType>(v.getType()) ? s.op<math::AbsFOp>({v}) : s.isUnsigned ? v : s.op<math::AbsIOp>({v});
  };
  auto finish = [&](Tensor y, ConvertContext::Body body) { return ctx.map(y, y.dims, type, body, isUnsigned); };

  Tensor y;
  StringRef name = op.getOpType();
  if (name == "ReduceSum" || name == "ReduceMean") {
    y = ctx.reduce(x, reduced, 0, sum);
    if (name == "ReduceMean") {
      Value count = getCount(ctx, ctx.symbols().product(counted), type);
      y = finish(y, [&](ScalarBuilder &s, ValueRange v) { return s.div(v[0], count); });
    }
  } else if (name == "ReduceMax") {
    y = ctx.reduce(x, reduced, -kInfinity, greatest, isUnsigned);
  } else if (name == "ReduceMin") {
    y = ctx.reduce(x, reduced, kInfinity, [](ScalarBuilder &s, ValueRange v) { return s.min(v[0], v[1]); }, isUnsigned);
  } else if (name == "ReduceProd") {
    y = ctx.reduce(x, reduced, 1, [](ScalarBuilder &s, ValueRange v) { return s.mul(v[0], v[1]); });
  } else if (name == "ReduceL1") {
    y = ctx.reduce(x, reduced, 0, [&](ScalarBuilder &s, ValueRange v) { return s.add(absolute(s, v[0]), v[1]); },
        isUnsigned);
  } else if (name == "ReduceL2" || name == "ReduceSumSquare") {
    y = ctx.reduce(x, reduced, 0, [](ScalarBuilder &s, ValueRange v) { return s.add(s.mul(v[0], v[0]), v[1]); });
    if (name == "ReduceL2")
      y = finish(y, [&](ScalarBuilder &s, ValueRange v) {
        Type wide = isa<FloatType>(type) ? type : Type(s.b.getF64Type());
        return s.castTo(s.op<math::SqrtOp>({s.castTo(v[0], type, wide)}), wide, type);
      });
  } else if (name == "ReduceLogSum") {
    y = finish(ctx.reduce(x, reduced, 0, sum),
               [](ScalarBuilder &s, ValueRange v) { return s.op<math::LogOp>({v[0]}); });
  } else if (name == "ReduceLogSumExp" && isa<FloatType>(type)) {
    Tensor top = ctx.reshape(op, ctx.reduce(x, reduced, -kInfinity, greatest), row);
    // Infinite maxima would make NaN of their difference.
    top = finish(top, [&](ScalarBuilder &s, ValueRange v) {
      Value finite = s.compare(arith::CmpIPredicate::slt, s.op<math::AbsFOp>({v[0]}), s.constant(type, kInfinity));
      return s.select(finite, v[0], s.constant(type, 0));
    });
    Tensor powers = ctx.map({x, top}, x.dims, type,
                            [](ScalarBuilder &s, ValueRange v) { return s.op<math::ExpOp>({s.sub(v[0], v[1])}); });
    Tensor total = ctx.reshape(op, ctx.reduce(powers, reduced, 0, sum), row);
    y = ctx.map({total, top}, row, type,
                [](ScalarBuilder &s, ValueRange v) { return s.add(s.op<math::LogOp>({v[0]}), v[1]); });
  } else {
    return op.emitError() << "node " << getNodeName(op) << ": " << name << " of " << type << " is not supported";
  }
  y = ctx.reshape(op, y, ctx.dims(op->getResult(0)));
  ctx.set(op, 0, isa<FloatType>(storage) ? ctx.castFloat(y, storage) : y);
  return success();
}

LogicalResult convert::argReduce(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  int64_t axis = wrapAxis(node.integer("axis"), x.rank());
  bool isMax = node.is("ArgMax"), last = node.integer("select_last_index");
  bool isUnsigned = getONNXElement(op.getInput(0)).isUnsignedInteger();
  SmallVector<AffineExpr> out, kept;
  SmallVector<utils::IteratorType> iterators(x.rank(), utils::IteratorType::parallel);
  iterators[axis] = utils::IteratorType::reduction;
  for (int64_t i = 0; i < x.rank(); ++i)
    if (i != axis) {
      out.push_back(x.dims[i]);
      kept.push_back(ctx.b.getAffineDimExpr(i));
    }
  // The first element always wins against index -1, so that rows of infinities have a result.
  Tensor best = ctx.fill(out, getNumberAttr(x.element(), isMax ? -kInfinity : kInfinity, isUnsigned));
  Tensor index = ctx.fill(out, ctx.b.getI64IntegerAttr(-1));
  AffineMap map = AffineMap::get(x.rank(), 0, kept, ctx.b.getContext());
  auto generic = linalg::GenericOp::create(
      ctx.b, TypeRange{best.value.getType(), index.value.getType()}, x.value, ValueRange{best.value, index.value},
      {ctx.b.getMultiDimIdentityMap(x.rank()), map, map}, iterators, [&](OpBuilder &nested, Location, ValueRange v) {
        OpBuilder::InsertionGuard guard(ctx.b);
        ctx.b.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
        ScalarBuilder s{ctx.b, isUnsigned};
        using P = arith::CmpIPredicate;
        Value here = arith::IndexCastOp::create(ctx.b, ctx.b.getI64Type(), s.loopIndex(axis));
        Value better = s.compare(isMax ? (last ? P::sge : P::sgt) : (last ? P::sle : P::slt), v[0], v[1]);
        Value none = s.compare(P::eq, v[2], s.constantInt(ctx.b.getI64Type(), -1));
        better = arith::OrIOp::create(ctx.b, better, none);
        linalg::YieldOp::create(ctx.b, ValueRange{s.select(better, v[0], v[1]), s.select(better, here, v[2])});
      });
  ctx.set(op, 0, ctx.reshape(op, {generic.getResult(1), out}, ctx.dims(op->getResult(0))));
  return success();
}

LogicalResult convert::cumSum(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  Tensor x = ctx.input(op, 0);
  auto axisInput = ctx.integers(op.getInput(1));
  if (!axisInput || axisInput->size() != 1)
    return op.emitError() << "node " << getNodeName(op)
        << ": CumSum along an axis that is not constant is not supported";
  int64_t axis = wrapAxis((*axisInput)[0], x.rank());
  bool exclusive = node.integer("exclusive"), reverse = node.integer("reverse");
  ImplicitLocOpBuilder &b = ctx.b;
  SmallVector<AffineExpr> part(x.dims);
  part[axis] = ctx.constant(1);
  Tensor zero = ctx.fill(part, getNumberAttr(x.element(), 0));
  Value init = ctx.empty(x.dims, x.element());
  SmallVector<OpFoldResult> extents = ctx.sizes(part), offsets(x.rank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> ones(x.rank(), b.getIndexAttr(1));
  ScalarBuilder s{b};
  Value first = ctx.materialize(ctx.constant(0)), step = ctx.materialize(ctx.constant(1));
  Value end = ctx.materialize(x.dims[axis]);
  auto loop = scf::ForOp::create(b, first, end, step, ValueRange{init, zero.value});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value position = loop.getInductionVar();
  if (reverse)
    position = s.sub(s.sub(end, step), position);
  offsets[axis] = position;
  Value here = tensor::ExtractSliceOp::create(b, ctx.type(part, x.element()), x.value, offsets, extents, ones);
  Value before = loop.getRegionIterArg(1);
  // Not ctx.map: what it materializes would stay in the loop.
  SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(x.rank()));
  SmallVector<utils::IteratorType> iterators(x.rank(), utils::IteratorType::parallel);
  auto added = linalg::GenericOp::create(b, before.getType(), here, before, maps, iterators,
                                         [&](OpBuilder &nested, Location loc, ValueRange v) {
                                           ImplicitLocOpBuilder inner(loc, nested);
                                           ScalarBuilder body{inner};
                                           linalg::YieldOp::create(nested, loc, body.add(v[0], v[1]));
                                         });
  Value written = exclusive ? before : added.getResult(0);
  Value next = tensor::InsertSliceOp::create(b, written, loop.getRegionIterArg(0), offsets, extents, ones);
  scf::YieldOp::create(b, ValueRange{next, added.getResult(0)});
  ctx.set(op, 0, {loop.getResult(0), x.dims});
  return success();
}

//===- Pooling ----------------------------------------------------------------------------------------------------===//

LogicalResult convert::globalPool(onnx::NodeOp op, ConvertContext &ctx) {
  Tensor x = ctx.input(op, 0);
  Type storage = x.element();
  if (storage.isF16() || storage.isBF16())
    x = ctx.toF32(x);
  SmallVector<bool> reduced(x.rank(), true);
  reduced[0] = reduced[1] = false;
  bool isMax = op.getOpType() == "GlobalMaxPool";
  Tensor y = isMax ? ctx.reduce(x, reduced, -kInfinity, greatest) : ctx.reduce(x, reduced, 0, sum);
  if (!isMax) {
    Value count = getCount(ctx, ctx.symbols().product(ArrayRef(x.dims).drop_front(2)), x.element());
    y = ctx.map(y, y.dims, x.element(), [&](ScalarBuilder &s, ValueRange v) { return s.div(v[0], count); });
  }
  ctx.set(op, 0, ctx.castFloat(ctx.reshape(op, y, ctx.dims(op->getResult(0))), storage));
  return success();
}

/// Reduces windows over the last dimensions of an input that has been padded.
static Tensor reduceWindows(ConvertContext &ctx, Tensor x, ArrayRef<AffineExpr> out, const SlidingWindow &window,
                            double initial, ConvertContext::Body combine, bool isUnsigned) {
  ImplicitLocOpBuilder &b = ctx.b;
  unsigned rank = x.rank(), spatial = window.kernel.size(), lead = rank - spatial;
  SmallVector<AffineExpr> in, kernel, result;
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  iterators.append(spatial, utils::IteratorType::reduction);
  for (unsigned i = 0; i < rank; ++i) {
    AffineExpr dim = b.getAffineDimExpr(i);
    result.push_back(dim);
    if (i >= lead) {
      AffineExpr tap = b.getAffineDimExpr(rank + i - lead);
      kernel.push_back(tap);
      dim = dim * window.strides[i - lead] + tap * window.dilations[i - lead];
    }
    in.push_back(dim);
  }
  SmallVector<AffineMap> maps;
  for (ArrayRef<AffineExpr> exprs : {ArrayRef(in), ArrayRef(kernel), ArrayRef(result)})
    maps.push_back(AffineMap::get(rank + spatial, 0, exprs, b.getContext()));
  // Only there for its shape: the extent of the window's loops.
  Value shape = tensor::EmptyOp::create(b, window.kernel, x.element());
  Tensor init = ctx.fill(out, getNumberAttr(x.element(), initial, isUnsigned));
  auto generic = linalg::GenericOp::create(b, init.value.getType(), ValueRange{x.value, shape}, init.value, maps,
      iterators,
                                           [&](OpBuilder &nested, Location, ValueRange v) {
                                             OpBuilder::InsertionGuard guard(b);
                                             b.setInsertionPoint(nested.getInsertionBlock(),
                                                 nested.getInsertionPoint());
                                             ScalarBuilder s{b, isUnsigned};
                                             linalg::YieldOp::create(b, combine(s, {v[0], v[2]}));
                                           });
  return {generic.getResult(0), SmallVector<AffineExpr>(out)};
}

/// How many elements each window of a static average pool covers along one dimension.
static SmallVector<int64_t> countTaps(const SlidingWindow &window, unsigned dim, int64_t size, int64_t out,
    bool padded) {
  SmallVector<int64_t> counts;
  int64_t begin = padded ? -window.padsBegin[dim] : 0, end = size + (padded ? window.padsEnd[dim] : 0);
  for (int64_t o = 0; o < out; ++o) {
    int64_t count = 0;
    for (int64_t k = 0; k < window.kernel[dim]; ++k) {
      int64_t position = o * window.strides[dim] - window.padsBegin[dim] + k * window.dilations[dim];
      count += position >= begin && position < end;
    }
    counts.push_back(std::max<int64_t>(1, count));
  }
  return counts;
}

LogicalResult convert::pool(onnx::NodeOp op, ConvertContext &ctx) {
  BoundNode node(op);
  auto window = getSlidingWindow(node, ctx.shapes);
  if (failed(window))
    return op.emitError() << "node " << getNodeName(op)
        << ": SAME padding of a size that is not static is not supported";
  bool isMax = node.is("MaxPool"), isUnsigned = getONNXElement(op.getInput(0)).isUnsignedInteger();
  Tensor x = ctx.input(op, 0);
  Type storage = x.element();
  if (storage.isF16() || storage.isBF16())
    x = ctx.toF32(x);
  ArrayRef<AffineExpr> out = ctx.dims(op->getResult(0));
  unsigned spatial = window->kernel.size();

  // Windows of ceil_mode may reach beyond the padding; others may not reach its end.
  auto amounts = [&](unsigned lead, bool ones) {
    std::pair<SmallVector<AffineExpr>, SmallVector<AffineExpr>> result;
    result.first.assign(lead, ctx.constant(0));
    result.second.assign(lead, ctx.constant(0));
    for (unsigned i = 0; i < spatial; ++i) {
      AffineExpr reach = (out[2 + i] - 1) * window->strides[i] + (window->kernel[i] - 1) * window->dilations[i] + 1;
      AffineExpr end = reach - x.dims[2 + i] - window->padsBegin[i];
      end = simplifyAffineExpr(end, 0, ctx.symbols().symbols().size());
      result.first.push_back(ctx.constant(window->padsBegin[i]));
      result.second.push_back(ctx.max(end, ctx.constant(0)));
    }
    return result;
  };
  auto [low, high] = amounts(2, false);
  double initial = isMax ? -kInfinity : 0;
  Value filler = arith::ConstantOp::create(ctx.b, getNumberAttr(x.element(), initial, isUnsigned));
  Tensor padded = ctx.pad(x, low, high, filler);
  Tensor y = reduceWindows(ctx, padded, out, *window, initial, isMax ? greatest : sum, isUnsigned);
  if (!isMax) {
    bool includePad = node.integer("count_include_pad");
    // The number of elements under a window is a product over the dimensions.
    SmallVector<Tensor> inputs{y};
    int64_t common = 1;
    SmallVector<AffineMap> maps{ctx.b.getMultiDimIdentityMap(y.rank())};
    for (unsigned i = 0; i < spatial; ++i) {
      AffineExpr size = x.dims[2 + i];
      auto map = AffineMap::get(y.rank(), 0, ctx.b.getAffineDimExpr(2 + i), ctx.b.getContext());
      auto staticSize = getConstant(size), staticOut = getConstant(out[2 + i]);
      bool noPad = window->padsBegin[i] == 0 && window->padsEnd[i] == 0;
      if (staticSize && staticOut) {
        SmallVector<int64_t> counts = countTaps(*window, i, *staticSize, *staticOut, includePad);
        if (llvm::all_equal(counts)) {
          common *= counts.empty() ? 1 : counts[0];
          continue;
        }
        inputs.push_back(ctx.makeConstant("counts", {*staticOut},
                                          [&](MutableArrayRef<float> to) { llvm::copy(counts, to.begin()); }));
      } else if ((noPad || includePad) && !node.integer("ceil_mode")) {
        common *= window->kernel[i];
        continue;
      } else {
        Value begin = ctx.materialize(ctx.constant(includePad ? -window->padsBegin[i] : 0));
        Value end = ctx.materialize(includePad ? size + window->padsEnd[i] : size);
        inputs.push_back(ctx.map({}, out[2 + i], ctx.b.getF32Type(), [&](ScalarBuilder &s, ValueRange) {
          Value start = s.sub(s.mul(s.loopIndex(0), s.index(window->strides[i])), s.index(window->padsBegin[i]));
          Value count = s.index(0);
          for (int64_t k = 0; k < window->kernel[i]; ++k) {
            Value position = s.add(start, s.index(k * window->dilations[i]));
            Value inside = arith::AndIOp::create(s.b, s.compare(arith::CmpIPredicate::sge, position, begin),
                                                 s.compare(arith::CmpIPredicate::slt, position, end));
            count = s.add(count, s.select(inside, s.index(1), s.index(0)));
          }
          Value integer = arith::IndexCastOp::create(s.b, s.b.getI64Type(), s.max(count, s.index(1)));
          return s.castTo(integer, s.b.getI64Type(), s.b.getF32Type());
        }));
      }
      maps.push_back(map);
    }
    for (Tensor &counts : MutableArrayRef(inputs).drop_front())
      counts = ctx.castFloat(counts, x.element());
    y = ctx.map(inputs, maps, out, x.element(), [&](ScalarBuilder &s, ValueRange v) {
      Value count = s.constant(x.element(), common);
      for (Value factor : v.drop_front())
        count = s.mul(count, factor);
      return s.div(v[0], count);
    });
  }
  ctx.set(op, 0, isa<FloatType>(storage) ? ctx.castFloat(y, storage) : y);
  return success();
}
