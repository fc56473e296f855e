//===- TensorBlocks.cpp - Tensors made from tensors, which the converters share ---------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

Value ConvertContext::empty(ArrayRef<AffineExpr> dims, Type element) {
  return tensor::EmptyOp::create(b, sizes(dims), element);
}

Tensor ConvertContext::fill(ArrayRef<AffineExpr> dims, TypedAttr value) {
  Value scalar = arith::ConstantOp::create(b, value);
  Value init = empty(dims, value.getType());
  return {linalg::FillOp::create(b, ValueRange{scalar}, ValueRange{init}).getResult(0), SmallVector<AffineExpr>(dims)};
}

Tensor ConvertContext::map(ArrayRef<Tensor> inputs, ArrayRef<AffineExpr> out, Type element, Body body,
    bool isUnsigned) {
  SmallVector<AffineMap> maps;
  for (const Tensor &input : inputs) {
    SmallVector<AffineExpr> exprs;
    int64_t skipped = static_cast<int64_t>(out.size()) - input.rank();
    for (auto [i, size] : llvm::enumerate(input.dims))
      exprs.push_back(isConstant(size, 1) && !isConstant(out[skipped + i], 1) ? b.getAffineConstantExpr(0)
                                                                              : b.getAffineDimExpr(skipped + i));
    maps.push_back(AffineMap::get(out.size(), 0, exprs, b.getContext()));
  }
  return map(inputs, maps, out, element, body, isUnsigned);
}

Tensor ConvertContext::map(ArrayRef<Tensor> inputs, ArrayRef<AffineMap> maps, ArrayRef<AffineExpr> out, Type element,
                           Body body, bool isUnsigned) {
  SmallVector<Value> operands, scalars(inputs.size());
  SmallVector<AffineMap> operandMaps;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    DenseElementsAttr splat;
    auto made = input.value.getDefiningOp<tensor::FromElementsOp>();
    if (made && made.getElements().size() == 1) {
      scalars[i] = made.getElements()[0];
    } else if (matchPattern(input.value, m_Constant(&splat)) && splat.isSplat()) {
      scalars[i] = arith::ConstantOp::create(b, cast<TypedAttr>(splat.getSplatValue<Attribute>()));
    } else {
      operands.push_back(input.value);
      operandMaps.push_back(maps[i]);
    }
  }
  Value init = empty(out, element);
  operandMaps.push_back(b.getMultiDimIdentityMap(out.size()));
  SmallVector<utils::IteratorType> iterators(out.size(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, init.getType(), operands, init, operandMaps, iterators,
      [&](OpBuilder &nested, Location, ValueRange arguments) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
        unsigned next = 0;
        SmallVector<Value> values =
            llvm::map_to_vector(scalars, [&](Value scalar) { return scalar ? scalar : arguments[next++]; });
        ScalarBuilder s{b, isUnsigned};
        linalg::YieldOp::create(b, body(s, values));
      });
  return {generic.getResult(0), SmallVector<AffineExpr>(out)};
}

Tensor ConvertContext::reduce(Tensor input, ArrayRef<bool> reduced, double initial, Body combine, bool isUnsigned) {
  SmallVector<AffineExpr> out, kept;
  SmallVector<utils::IteratorType> iterators;
  for (auto [i, size] : llvm::enumerate(input.dims)) {
    iterators.push_back(reduced[i] ? utils::IteratorType::reduction : utils::IteratorType::parallel);
    if (reduced[i])
      continue;
    out.push_back(size);
    kept.push_back(b.getAffineDimExpr(i));
  }
  Tensor init = fill(out, getNumberAttr(input.element(), initial, isUnsigned));
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(input.rank()),
                              AffineMap::get(input.rank(), 0, kept, b.getContext())};
  auto generic = linalg::GenericOp::create(
      b, init.value.getType(), input.value, init.value, maps, iterators,
      [&](OpBuilder &nested, Location, ValueRange arguments) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
        ScalarBuilder s{b, isUnsigned};
        linalg::YieldOp::create(b, combine(s, arguments));
      });
  return {generic.getResult(0), out};
}

Tensor ConvertContext::fitted(Value value, ArrayRef<AffineExpr> dims) {
  RankedTensorType want = type(dims, getElementTypeOrSelf(value.getType()));
  if (value.getType() != want)
    value = tensor::CastOp::create(b, want, value);
  return {value, SmallVector<AffineExpr>(dims)};
}

/// Products of sizes are equal if their constant factors and the multisets of the others are.
static std::pair<int64_t, SmallVector<const void *>> factorize(ArrayRef<AffineExpr> exprs) {
  std::pair<int64_t, SmallVector<const void *>> result{1, {}};
  SmallVector<AffineExpr> work(exprs);
  while (!work.empty()) {
    AffineExpr expr = work.pop_back_val();
    auto operation = dyn_cast<AffineBinaryOpExpr>(expr);
    if (auto constant = getConstant(expr)) {
      result.first *= *constant;
    } else if (operation && expr.getKind() == AffineExprKind::Mul) {
      work.append({operation.getLHS(), operation.getRHS()});
    } else {
      result.second.push_back(expr.getAsOpaquePointer());
    }
  }
  llvm::sort(result.second);
  return result;
}

/// Dimensions [from, fromEnd) of one shape that hold as many elements as [to, toEnd) of another.
struct DimGroup {
  unsigned from, fromEnd, to, toEnd;
};
/// Splits both shapes from the left into groups that `equal` says hold as many elements, the smallest ones first. Also returns where
/// that ends in each of them.
static std::tuple<SmallVector<DimGroup>, unsigned, unsigned>
regroup(ArrayRef<AffineExpr> from, ArrayRef<AffineExpr> to,
        function_ref<bool(ArrayRef<AffineExpr>, ArrayRef<AffineExpr>)> equal) {
  SmallVector<DimGroup> groups;
  unsigned i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    std::optional<DimGroup> found;
    unsigned limit = from.size() - i + to.size() - j;
    for (unsigned total = 2; total <= limit && !found; ++total)
      for (unsigned n = 1; n < total && !found; ++n)
        if (unsigned m = total - n;
            i + n <= from.size() && j + m <= to.size() && equal(from.slice(i, n), to.slice(j, m)))
          found = DimGroup{i, i + n, j, j + m};
    if (!found)
      break;
    groups.push_back(*found);
    i = found->fromEnd;
    j = found->toEnd;
  }
  return {groups, i, j};
}

Tensor ConvertContext::reshape(onnx::NodeOp op, Tensor input, ArrayRef<AffineExpr> to) {
  ArrayRef<AffineExpr> from = input.dims;
  if (from == to)
    return input;
  RankedTensorType target = type(to, input.element());
  if (target.hasStaticShape() && target.getNumElements() == 0)
    return {empty(to, input.element()), SmallVector<AffineExpr>(to)};
  ElementsAttr attr;
  if (target.hasStaticShape() && matchPattern(input.value, m_Constant(&attr)) &&
      attr.getNumElements() == target.getNumElements()) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr)))
      return makeConstant(
          cast<ElementsAttr>(Attribute(DenseResourceElementsAttr::get(target, resource.getRawHandle()))));
    return makeConstant(cast<ElementsAttr>(cast<DenseElementsAttr>(attr).reshape(target)));
  }

  auto equal = [&](ArrayRef<AffineExpr> x, ArrayRef<AffineExpr> y) {
    return factorize(x) == factorize(y) || symbols().product(x) == symbols().product(y);
  };
  auto isOne = [](AffineExpr expr) { return isConstant(expr, 1); };
  // If all but one of the sizes are the same, then so is that one: by a check when the model runs.
  auto others = [&](ArrayRef<AffineExpr> exprs) {
    auto range = llvm::make_filter_range(llvm::enumerate(exprs), [&](auto item) { return !isOne(item.value()); });
    return llvm::to_vector(range);
  };
  if (auto olds = others(from), news = others(to); olds.size() == news.size()) {
    auto differ = [](auto pair) { return std::get<0>(pair).value() != std::get<1>(pair).value(); };
    auto pairs = llvm::zip(olds, news);
    if (llvm::count_if(pairs, differ) == 1) {
      auto [before, after] = *llvm::find_if(pairs, differ);
      if (succeeded(requireEqual(op, before.value(), after.value(), "number of elements")))
        input.dims[before.index()] = after.value();
      from = input.dims;
    }
  }
  auto [groups, i, j] = regroup(from, to, equal);
  bool provable = llvm::all_of(from.drop_front(i), isOne) && llvm::all_of(to.drop_front(j), isOne);
  if (provable && groups.empty() && !from.empty() && !to.empty())
    provable = false;
  if (!provable) {
    // Cannot be seen to be a regrouping of dimensions; the number of elements has to agree when the model runs.
    (void)requireEqual(op, symbols().product(from), symbols().product(to), "number of elements");
    SmallVector<Value> shape = llvm::map_to_vector(to, [&](AffineExpr expr) { return materialize(expr); });
    Value shapeTensor = tensor::FromElementsOp::create(
        b, RankedTensorType::get({static_cast<int64_t>(to.size())}, b.getIndexType()), shape);
    return {tensor::ReshapeOp::create(b, target, input.value, shapeTensor), SmallVector<AffineExpr>(to)};
  }
  if (!groups.empty()) {
    groups.back().fromEnd = from.size();
    groups.back().toEnd = to.size();
  }

  auto reassociate = [](unsigned begin, unsigned end) {
    return llvm::to_vector<2>(llvm::seq<int64_t>(begin, end));
  };
  SmallVector<ReassociationIndices> collapse, expand;
  SmallVector<AffineExpr> middle;
  for (const DimGroup &group : groups) {
    collapse.push_back(reassociate(group.from, group.fromEnd));
    expand.push_back(reassociate(group.to, group.toEnd));
    ArrayRef<AffineExpr> parts = from.slice(group.from, group.fromEnd - group.from);
    middle.push_back(parts.size() == 1               ? parts[0]
                     : group.toEnd - group.to == 1   ? to[group.to]
                                                     : symbols().product(parts));
  }
  Value value = input.value;
  if (middle.size() != from.size()) {
    value = tensor::CollapseShapeOp::create(b, value, collapse);
    value = fitted(value, middle).value;
  }
  if (middle.size() != to.size()) {
    // The source has to be dynamic where one of its parts is, and only there.
    SmallVector<int64_t> source;
    for (const DimGroup &group : groups) {
      int64_t product = 1;
      for (unsigned k = group.to; k < group.toEnd; ++k)
        product = target.isDynamicDim(k) || ShapedType::isDynamic(product) ? ShapedType::kDynamic
                                                                          : product * target.getDimSize(k);
      source.push_back(product);
    }
    auto sourceType = RankedTensorType::get(source, input.element());
    if (value.getType() != sourceType)
      value = tensor::CastOp::create(b, sourceType, value);
    value = tensor::ExpandShapeOp::create(b, target, value, expand, sizes(to));
  }
  return fitted(value, to);
}

Tensor ConvertContext::transpose(Tensor input, ArrayRef<int64_t> permutation) {
  SmallVector<AffineExpr> out;
  SmallVector<int64_t> moved;
  for (int64_t axis : permutation) {
    out.push_back(input.dims[axis]);
    if (!isConstant(input.dims[axis], 1))
      moved.push_back(axis);
  }
  // Only dimensions of size 1 move: the data stays where it is.
  if (llvm::is_sorted(moved))
    return reshape({}, input, out);
  Value init = empty(out, input.element());
  return {linalg::TransposeOp::create(b, input.value, init, permutation)->getResult(0), out};
}

Tensor ConvertContext::slice(Tensor input, ArrayRef<AffineExpr> offsets, ArrayRef<AffineExpr> extents,
                             ArrayRef<int64_t> strides) {
  bool whole = input.dims == extents;
  for (auto [i, offset] : llvm::enumerate(offsets))
    whole &= isConstant(offset, 0) && (strides.empty() || strides[i] == 1);
  if (whole)
    return input;
  SmallVector<OpFoldResult> steps;
  for (int64_t i = 0; i < input.rank(); ++i)
    steps.push_back(b.getIndexAttr(strides.empty() ? 1 : strides[i]));
  Value value = tensor::ExtractSliceOp::create(b, type(extents, input.element()), input.value, sizes(offsets),
                                               sizes(extents), steps);
  return {value, SmallVector<AffineExpr>(extents)};
}

Tensor ConvertContext::pad(Tensor input, ArrayRef<AffineExpr> low, ArrayRef<AffineExpr> high, Value value) {
  auto isZero = [](AffineExpr expr) { return isConstant(expr, 0); };
  if (llvm::all_of(low, isZero) && llvm::all_of(high, isZero))
    return input;
  SmallVector<AffineExpr> out;
  for (auto [size, before, after] : llvm::zip(input.dims, low, high))
    out.push_back(size + before + after);
  return fitted(tensor::PadOp::create(b, Type(), input.value, sizes(low), sizes(high), value), out);
}

Tensor ConvertContext::broadcast(Tensor input, ArrayRef<AffineExpr> to) {
  if (ArrayRef<AffineExpr>(input.dims) == to)
    return input;
  return map(input, to, input.element(), [](ScalarBuilder &, ValueRange x) { return x[0]; });
}

Tensor ConvertContext::castFloat(Tensor input, Type element) {
  if (input.element() == element)
    return input;
  ElementsAttr attr;
  if (element.isF32() && isa<FloatType>(input.element()) && matchPattern(input.value, m_Constant(&attr))) {
    auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr));
    return makeConstant(resource ? resource.getRawHandle().getKey() : StringRef("constant"),
        attr.getShapedType().getShape(),
                        [&](MutableArrayRef<float> out) { llvm::copy(readFloats(attr), out.begin()); });
  }
  Type from = input.element();
  return map(input, input.dims, element, [&](ScalarBuilder &s, ValueRange x) { return s.castTo(x[0], from, element); });
}
