//===- InferLayout.cpp - Shapes and values of operators that move data --------------------------------------------===//
#include "Inference.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

FailureOr<int64_t> quanta::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return failure();
  return axis < 0 ? axis + rank : axis;
}

static FailureOr<SmallVector<int64_t>> normalizeAxes(ArrayRef<int64_t> axes, int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t axis : axes) {
    auto normal = normalizeAxis(axis, rank);
    if (failed(normal) || llvm::is_contained(result, *normal))
      return failure();
    result.push_back(*normal);
  }
  return result;
}

/// Elements in the same order under a new shape.
static LogicalResult sameElements(Inference &s, Exprs dims) {
  return s.result(s.elementType("x"), std::move(dims), s.known(s.node.input("x")));
}

LogicalResult infer::shape(Inference &s) {
  int64_t rank = s.rank("x");
  auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  int64_t start = clamp(s.node.integer("start", 0)), end = clamp(s.node.integer("end", INT64_MAX));
  Exprs elements;
  for (int64_t axis = start; axis < end; ++axis)
    elements.push_back(s.dims("x")[axis]);
  return s.result(IntegerType::get(s.c.getContext(), 64), {s.c.constant(elements.size())}, elements);
}

LogicalResult infer::size(Inference &s) {
  return s.result(IntegerType::get(s.c.getContext(), 64), {}, Exprs{s.c.product(s.dims("x"))});
}

LogicalResult infer::reshape(Inference &s) {
  if (!s.elementType("shape").isInteger(64) || s.rank("shape") != 1)
    return s.error("the shape must be a list of i64");
  auto shape = s.node.expressions("shape", s.shapes);
  if (failed(shape))
    return s.error("the rank of the result is not known");
  const Exprs &in = s.dims("x");
  Exprs dims, others;
  std::optional<unsigned> inferred;
  for (auto [i, size] : llvm::enumerate(**shape)) {
    auto value = Inference::constant(size);
    if (value && *value < -1)
      return s.error("negative size");
    if (value == -1) {
      if (inferred)
        return s.error("more than one size is -1");
      inferred = i;
      dims.push_back({});
      continue;
    }
    if (value == 0 && !s.node.integer("allowzero", 0)) {
      if (i >= in.size())
        return s.error("size 0 stands for a dimension that the input does not have");
      size = in[i];
    }
    dims.push_back(size);
    others.push_back(size);
  }
  AffineExpr total = s.c.product(in), product = s.c.product(others);
  auto from = Inference::constant(total), to = Inference::constant(product);
  if (inferred) {
    if (to == 0 || (from && to && *from % *to))
      return s.error("the input's elements cannot be arranged in this shape");
    dims[*inferred] = s.c.quotient(in, others);
  } else if (from && to && *from != *to) {
    return s.error("the input has " + Twine(*from) + " elements, the result " + Twine(*to));
  }
  return sameElements(s, dims);
}

LogicalResult infer::flatten(Inference &s) {
  ArrayRef<AffineExpr> in = s.dims("x");
  int64_t axis = s.node.integer("axis"), rank = in.size();
  axis += axis < 0 ? rank : 0;
  if (axis < 0 || axis > rank)
    return s.error("axis is out of range");
  return sameElements(s, {s.c.product(in.take_front(axis)), s.c.product(in.drop_front(axis))});
}

LogicalResult infer::squeeze(Inference &s) {
  const Exprs &in = s.dims("x");
  auto axes = s.node.constants("axes", s.shapes);
  if (failed(axes))
    return s.error("axes must be constant");
  SmallVector<int64_t> gone;
  if (*axes) {
    auto normal = normalizeAxes(**axes, in.size());
    if (failed(normal))
      return s.error("axes are out of range");
    gone = *normal;
  } else {
    for (auto [axis, size] : llvm::enumerate(in)) {
      if (!Inference::constant(size))
        return s.error("which dimensions are 1 is not known");
      if (Inference::constant(size) == 1)
        gone.push_back(axis);
    }
  }
  Exprs dims;
  for (auto [axis, size] : llvm::enumerate(in)) {
    if (!llvm::is_contained(gone, int64_t(axis)))
      dims.push_back(size);
    else if (Inference::constant(size).value_or(1) != 1)
      return s.error("a dimension to be removed is not 1");
  }
  return sameElements(s, dims);
}

LogicalResult infer::unsqueeze(Inference &s) {
  const Exprs &in = s.dims("x");
  auto axes = s.node.constants("axes", s.shapes);
  if (failed(axes) || !*axes || (*axes)->size() > 32)
    return s.error("axes must be constant");
  auto normal = normalizeAxes(**axes, in.size() + (*axes)->size());
  if (failed(normal))
    return s.error("axes are out of range");
  Exprs dims;
  for (size_t axis = 0, next = 0; axis < in.size() + normal->size(); ++axis)
    dims.push_back(llvm::is_contained(*normal, int64_t(axis)) ? s.c.constant(1) : in[next++]);
  return sameElements(s, dims);
}

/// Elements of the result of a data movement: `source` gives the position in the operand for each multi-index.
template <typename Source>
static std::optional<Exprs> moved(Inference &s, const std::optional<Exprs> &elements, ArrayRef<AffineExpr> dims,
                                  Source source) {
  auto count = Inference::smallCount(dims);
  if (!elements || !count)
    return std::nullopt;
  Exprs result;
  SmallVector<int64_t> index(dims.size());
  for (int64_t i = 0; i < *count; ++i) {
    int64_t rest = i;
    for (int64_t axis = dims.size() - 1; axis >= 0; --axis) {
      int64_t size = *Inference::constant(dims[axis]);
      index[axis] = rest % size;
      rest /= size;
    }
    int64_t position = source(ArrayRef<int64_t>(index));
    if (position < 0 || position >= int64_t(elements->size()))
      return std::nullopt;
    result.push_back((*elements)[position]);
  }
  return result;
}

static int64_t linear(ArrayRef<AffineExpr> dims, ArrayRef<int64_t> index) {
  int64_t position = 0;
  for (auto [size, i] : llvm::zip(dims, index))
    position = position * *Inference::constant(size) + i;
  return position;
}

LogicalResult infer::transpose(Inference &s) {
  const Exprs &in = s.dims("x");
  SmallVector<int64_t> perm;
  if (auto given = s.node.integers("perm"))
    perm = *given;
  else
    for (int64_t i = in.size(); i-- > 0;)
      perm.push_back(i);
  auto normal = normalizeAxes(perm, in.size());
  if (failed(normal) || normal->size() != in.size())
    return s.error("perm is not a permutation of the axes");
  Exprs dims;
  for (int64_t axis : *normal)
    dims.push_back(in[axis]);
  auto elements = moved(s, s.known(s.node.input("x")), dims, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index.size());
    for (auto [to, from] : llvm::enumerate(*normal))
      source[from] = index[to];
    return linear(in, source);
  });
  return s.result(s.elementType("x"), dims, elements);
}

LogicalResult infer::concat(Inference &s) {
  SmallVector<Value> values = s.node.inputs("x");
  auto type = cast<RankedTensorType>(values[0].getType());
  auto axis = normalizeAxis(s.node.integer("axis"), type.getRank());
  if (failed(axis))
    return s.error("axis is out of range");
  Exprs dims = s.dims(values[0]);
  bool known = !!s.known(values[0]);
  for (Value value : ArrayRef(values).drop_front()) {
    auto other = cast<RankedTensorType>(value.getType());
    if (other.getElementType() != type.getElementType() || other.getRank() != type.getRank())
      return s.error("operands differ in element type or rank");
    known |= !!s.known(value);
    for (int64_t i = 0; i < type.getRank(); ++i) {
      dims[i] = i == *axis ? s.c.add(dims[i], s.dims(value)[i]) : s.unify(dims[i], s.dims(value)[i]);
      if (!dims[i])
        return s.error("operands differ in a size other than the one concatenated");
    }
  }
  std::optional<Exprs> elements;
  if (known && type.getRank() == 1) {
    elements = Exprs();
    for (Value value : values)
      if (auto part = s.shapes.getElements(value); part && elements)
        elements->append(*part);
      else
        elements.reset();
  }
  return s.result(type.getElementType(), dims, elements);
}

LogicalResult infer::split(Inference &s) {
  const Exprs &in = s.dims("x");
  auto axis = normalizeAxis(s.node.integer("axis"), in.size());
  auto sizes = s.node.expressions("split", s.shapes);
  if (failed(axis) || failed(sizes))
    return s.error("axis is out of range or the number of parts is not known");
  int64_t count = s.node.op->getNumResults();
  Exprs parts;
  if (*sizes) {
    parts = **sizes;
    AffineExpr sum = s.c.constant(0);
    for (AffineExpr part : parts)
      sum = s.c.add(sum, part);
    if (int64_t(parts.size()) != count || !sum || !s.unify(sum, in[*axis]))
      return s.error("the parts do not add up to the input");
  } else {
    // The last part is the smaller one (opset 18); before, all must be equal.
    AffineExpr each = s.c.ceilDiv(in[*axis], count);
    if (auto whole = Inference::constant(in[*axis]); whole && s.node.version() < 18 && *whole % count)
      return s.error("the input cannot be split into equal parts");
    parts.assign(count, each);
    parts.back() = s.c.sub(in[*axis], s.c.mul(each, s.c.constant(count - 1)));
  }
  int64_t offset = 0;
  for (AffineExpr part : parts) {
    Exprs dims = in;
    dims[*axis] = part;
    std::optional<Exprs> elements;
    if (auto size = Inference::constant(part); size && in.size() == 1 && s.known(s.node.input("x")) && *size >= 0 &&
                                               offset + *size <= int64_t(s.known(s.node.input("x"))->size())) {
      elements = Exprs(ArrayRef(*s.known(s.node.input("x"))).slice(offset, *size));
      offset += *size;
    }
    if (failed(s.result(s.elementType("x"), dims, elements)))
      return failure();
  }
  return success();
}

FailureOr<SliceForm> quanta::getSliceForm(const BoundNode &node, SymbolicShapes &shapes) {
  ShapeContext &c = shapes.context();
  const Exprs &in = shapes.get(node.input("x")).dims;
  auto starts = node.expressions("starts", shapes), ends = node.expressions("ends", shapes);
  auto axes = node.constants("axes", shapes), steps = node.constants("steps", shapes);
  if (failed(starts) || failed(ends) || failed(axes) || failed(steps) || !*starts || !*ends)
    return failure();
  size_t count = (*starts)->size();
  SmallVector<int64_t> which;
  if (*axes) {
    auto normal = normalizeAxes(**axes, in.size());
    if (failed(normal))
      return failure();
    which = *normal;
  } else {
    which = llvm::to_vector(llvm::seq<int64_t>(0, std::min(count, in.size())));
  }
  if (which.size() != count || (*ends)->size() != count || (*steps && (*steps)->size() != count))
    return failure();
  SliceForm form;
  form.starts.assign(in.size(), c.constant(0));
  form.sizes.assign(in.begin(), in.end());
  form.steps.assign(in.size(), 1);
  for (size_t i = 0; i < count; ++i) {
    int64_t axis = which[i], step = *steps ? (**steps)[i] : 1;
    AffineExpr size = in[axis], zero = c.constant(0), last = c.sub(size, c.constant(1));
    if (step == 0 || step == INT64_MIN)
      return failure();
    // Negative bounds count from the end; a bound of unknown sign is taken as not negative only if it is an expression
    // of sizes.
    auto bound = [&](AffineExpr at, AffineExpr low, AffineExpr high) {
      auto value = Inference::constant(at);
      if (value && *value < 0) {
        if (*value <= -INT32_MAX)
          return low;
        at = c.add(at, size);
        return c.isNonNegative(c.sub(at, low)) ? c.min(at, high) : c.min(c.max(at, low), high);
      }
      if (value && *value >= INT32_MAX)
        return high;
      if (!value && c.isNonNegative(c.sub(zero, at)))
        at = c.add(at, size);
      return c.min(c.isNonNegative(c.sub(at, low)) ? at : c.max(at, low), high);
    };
    if (step > 0) {
      AffineExpr start = bound((**starts)[i], zero, size), end = bound((**ends)[i], zero, size);
      form.starts[axis] = start;
      AffineExpr length = c.sub(end, start);
      if (!length)
        return failure();
      form.sizes[axis] = c.ceilDiv(c.max(length, zero), step);
    } else {
      AffineExpr start = bound((**starts)[i], zero, last), end = bound((**ends)[i], c.constant(-1), last);
      form.starts[axis] = start;
      form.sizes[axis] = c.ceilDiv(c.max(c.sub(start, end), zero), -step);
    }
    form.steps[axis] = step;
    if (!form.starts[axis] || !form.sizes[axis])
      return failure();
  }
  return form;
}

LogicalResult infer::slice(Inference &s) {
  auto form = getSliceForm(s.node, s.shapes);
  if (failed(form))
    return s.error("axes and steps must be constant, in range and as many as the bounds");
  const Exprs &in = s.dims("x");
  auto elements = moved(s, s.known(s.node.input("x")), form->sizes, [&](ArrayRef<int64_t> index) -> int64_t {
    SmallVector<int64_t> source;
    for (auto [start, step, i] : llvm::zip(form->starts, form->steps, index)) {
      if (!Inference::constant(start))
        return -1;
      source.push_back(*Inference::constant(start) + step * i);
    }
    return linear(in, source);
  });
  return s.result(s.elementType("x"), form->sizes, elements);
}

LogicalResult infer::gather(Inference &s) {
  const Exprs &in = s.dims("x"), &at = s.dims("indices");
  auto axis = normalizeAxis(s.node.integer("axis"), in.size());
  Type indexType = s.elementType("indices");
  if (failed(axis) || !(indexType.isInteger(64) || indexType.isInteger(32)))
    return s.error("axis is out of range or the indices are not i32 or i64");
  Exprs dims(ArrayRef(in).take_front(*axis));
  dims.append(at);
  dims.append(in.begin() + *axis + 1, in.end());
  std::optional<Exprs> elements;
  const auto &data = s.known(s.node.input("x")), &indices = s.known(s.node.input("indices"));
  auto size = Inference::constant(in[*axis]);
  if (indices && size)
    for (AffineExpr index : *indices)
      if (auto value = Inference::constant(index); value && (*value < -*size || *value >= *size))
        return s.error("index " + Twine(*value) + " is out of range");
  if (data && indices && in.size() == 1) {
    elements = Exprs();
    for (AffineExpr index : *indices) {
      auto value = Inference::constant(index);
      elements->push_back(value ? (*data)[*value < 0 ? *value + *size : *value] : AffineExpr());
    }
  }
  return s.result(s.elementType("x"), dims, elements);
}

LogicalResult infer::gatherElements(Inference &s) {
  Type indexType = s.elementType("indices");
  if (failed(normalizeAxis(s.node.integer("axis"), s.rank("x"))) || s.rank("x") != s.rank("indices") ||
      !(indexType.isInteger(64) || indexType.isInteger(32)))
    return s.error("axis is out of range or the indices do not fit");
  return s.result(s.elementType("x"), s.dims("indices"));
}

LogicalResult infer::expand(Inference &s) {
  auto shape = s.node.expressions("shape", s.shapes);
  if (failed(shape) || s.rank("shape") != 1)
    return s.error("the rank of the result is not known");
  const Exprs &in = s.dims("x");
  for (AffineExpr size : **shape)
    if (auto value = Inference::constant(size); value && *value < 0)
      return s.error("negative size");
  auto dims = s.broadcast(**shape, in);
  if (!dims)
    return s.error("the input cannot be expanded to this shape");
  std::optional<Exprs> elements;
  if (s.known(s.node.input("x")) && Inference::smallCount(*dims)) {
    elements = Exprs();
    for (int64_t position : Inference::broadcastPositions(in, *dims))
      elements->push_back((*s.known(s.node.input("x")))[position]);
  }
  return s.result(s.elementType("x"), *dims, elements);
}

LogicalResult infer::tile(Inference &s) {
  auto repeats = s.node.expressions("repeats", s.shapes);
  const Exprs &in = s.dims("x");
  if (failed(repeats) || (*repeats)->size() != in.size())
    return s.error("repeats must have one number for each dimension");
  Exprs dims;
  for (auto [size, factor] : llvm::zip(in, **repeats))
    dims.push_back(s.c.mul(size, factor));
  auto elements = moved(s, s.known(s.node.input("x")), dims, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t> source;
    for (auto [size, i] : llvm::zip(in, index))
      source.push_back(i % *Inference::constant(size));
    return linear(in, source);
  });
  return s.result(s.elementType("x"), dims, elements);
}

LogicalResult infer::trilu(Inference &s) {
  if (s.rank("x") < 2)
    return s.error("the input must have at least two dimensions");
  return s.result(s.elementType("x"), s.dims("x"));
}

FailureOr<PadForm> quanta::getPadForm(const BoundNode &node, SymbolicShapes &shapes) {
  size_t rank = shapes.get(node.input("x")).dims.size();
  auto pads = node.expressions("pads", shapes);
  auto axes = node.constants("axes", shapes);
  if (failed(pads) || failed(axes) || !*pads)
    return failure();
  SmallVector<int64_t> which = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (*axes) {
    auto normal = normalizeAxes(**axes, rank);
    if (failed(normal))
      return failure();
    which = *normal;
  }
  if ((*pads)->size() != 2 * which.size())
    return failure();
  PadForm form;
  form.low.assign(rank, shapes.context().constant(0));
  form.high = form.low;
  for (auto [i, axis] : llvm::enumerate(which)) {
    form.low[axis] = (**pads)[i];
    form.high[axis] = (**pads)[which.size() + i];
  }
  return form;
}

LogicalResult infer::pad(Inference &s) {
  auto form = getPadForm(s.node, s.shapes);
  if (failed(form))
    return s.error("pads must have two numbers for each axis");
  if (s.node.input("value") && s.elementType("value") != s.elementType("x"))
    return s.error("the padding value is not of the input's type");
  Exprs dims;
  for (auto [size, low, high] : llvm::zip(s.dims("x"), form->low, form->high))
    dims.push_back(s.c.add(size, s.c.add(low, high)));
  return s.result(s.elementType("x"), dims);
}

LogicalResult infer::depthToSpace(Inference &s) {
  const Exprs &in = s.dims("x");
  int64_t block = s.node.integer("blocksize");
  if (in.size() != 4 || block < 1 || block > 65536)
    return s.error("the input must have four dimensions and the block size be positive");
  AffineExpr b = s.c.constant(block), area = s.c.constant(block * block);
  bool toSpace = s.node.is("DepthToSpace");
  for (auto [axis, size] : llvm::enumerate(in))
    if (auto value = Inference::constant(size); value && axis &&
                                                *value % (toSpace     ? axis == 1 ? block * block : 1
                                                          : axis == 1 ? 1
                                                                      : block))
      return s.error("a size is not a multiple of the block size");
  if (toSpace)
    return s.result(s.elementType("x"), {in[0], s.c.floorDiv(in[1], area), s.c.mul(in[2], b), s.c.mul(in[3], b)});
  return s.result(s.elementType("x"), {in[0], s.c.mul(in[1], area), s.c.floorDiv(in[2], b), s.c.floorDiv(in[3], b)});
}

LogicalResult infer::resize(Inference &s) {
  const Exprs &in = s.dims("x");
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, in.size()));
  if (auto given = s.node.integers("axes")) {
    auto normal = normalizeAxes(*given, in.size());
    if (failed(normal))
      return s.error("axes are out of range");
    axes = *normal;
  }
  if (!isa<FloatType>(s.elementType("x")) && s.node.string("mode") != "nearest")
    return s.error("only floating-point tensors can be interpolated");
  Exprs dims = in;
  Value sizes = s.node.input("sizes");
  if (sizes && !s.dims(sizes).empty() && Inference::constant(s.dims(sizes)[0]) != 0) {
    auto exprs = s.node.expressions("sizes", s.shapes);
    if (failed(exprs) || (*exprs)->size() != axes.size())
      return s.error("sizes must have one number for each axis");
    for (auto [axis, size] : llvm::zip(axes, **exprs))
      dims[axis] = size;
    return s.result(s.elementType("x"), dims);
  }
  auto factors = getResizeScales(s.node, s.shapes);
  if (failed(factors) || factors->size() != axes.size())
    return s.error("scales must be constant and one for each axis");
  for (auto [axis, factor] : llvm::zip(axes, *factors)) {
    // floor(size * factor) for a factor that is an integer or the inverse of one, or a static size.
    double inverse = 1 / factor;
    if (!(factor > 0) || factor > 65536 || inverse > 65536)
      return s.error("scales must be positive and at most 65536");
    if (std::floor(factor) == factor)
      dims[axis] = s.c.mul(in[axis], s.c.constant(int64_t(factor)));
    else if (auto size = Inference::constant(in[axis]))
      dims[axis] =
          *size < (int64_t(1) << 40) ? s.c.constant(int64_t(std::floor(double(*size) * float(factor)))) : AffineExpr();
    else if (std::floor(inverse) == inverse)
      dims[axis] = s.c.floorDiv(in[axis], s.c.constant(int64_t(inverse)));
    else
      return s.error("a dynamic size can only be scaled by an integer or its inverse");
  }
  return s.result(s.elementType("x"), dims);
}

//===- Made from nothing ------------------------------------------------------------------------------------------===//

LogicalResult infer::noShape(Inference &s) { return s.error("constants are not nodes"); }

LogicalResult infer::constantOfShape(Inference &s) {
  auto shape = s.node.expressions("shape", s.shapes);
  if (failed(shape) || s.rank("shape") != 1)
    return s.error("the rank of the result is not known");
  Type type = Float32Type::get(s.c.getContext());
  AffineExpr fill = s.c.constant(0);
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(s.node.op.getNodeAttr("value"))) {
    if (value.getNumElements() != 1)
      return s.error("the value must be one element");
    type = value.getElementType();
    fill = AffineExpr();
    if (type.isInteger() && !type.isUnsignedInteger(64))
      fill = s.c.constant(type.isInteger(1) || type.isUnsignedInteger()
                              ? int64_t((*value.value_begin<APInt>()).getZExtValue())
                              : (*value.value_begin<APInt>()).getSExtValue());
    else if (auto f = dyn_cast<FloatType>(type); f && f.getWidth() >= 32) {
      APFloat number = *value.value_begin<APFloat>();
      APSInt integer(64, false);
      bool exact = false;
      if (number.convertToInteger(integer, APFloat::rmTowardZero, &exact) == APFloat::opOK && exact)
        fill = s.c.constant(integer.getSExtValue());
    }
  }
  Exprs dims = **shape;
  std::optional<Exprs> elements;
  if (auto count = Inference::smallCount(dims); count && fill)
    elements = Exprs(*count, fill);
  return s.result(type, dims, elements);
}

LogicalResult infer::range(Inference &s) {
  Type type = s.elementType("start");
  if (type != s.elementType("limit") || type != s.elementType("delta") || type.isInteger(1) || s.rank("start") ||
      s.rank("limit") || s.rank("delta"))
    return s.error("start, limit and delta must be numbers of one type");
  auto start = s.shapes.getElements(s.node.input("start")), limit = s.shapes.getElements(s.node.input("limit")),
       delta = s.shapes.getElements(s.node.input("delta"));
  auto step = delta ? Inference::constant((*delta)[0]) : std::nullopt;
  if (!start || !limit || !step || *step == 0 || std::abs(*step) > INT32_MAX)
    return s.error("start and limit must be integers, delta an integer constant");
  AffineExpr distance = *step > 0 ? s.c.sub((*limit)[0], (*start)[0]) : s.c.sub((*start)[0], (*limit)[0]);
  AffineExpr count = s.c.ceilDiv(s.c.max(distance, s.c.constant(0)), std::abs(*step));
  std::optional<Exprs> elements;
  if (auto n = count ? Inference::smallCount({count}) : std::nullopt) {
    elements = Exprs();
    for (int64_t i = 0; i < *n; ++i)
      elements->push_back(s.c.add((*start)[0], s.c.constant(i * *step)));
  }
  return s.result(type, {count}, elements);
}
