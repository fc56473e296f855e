//===- ONNXConstantFold.cpp - Values of nodes whose inputs are constants ------------------------------------------------===//
//
// Two families: nodes that only move elements are strided copies, nodes that compute do so in f64 or i64 and round
// once. Everything else, and what would blow up the module, is left to run time.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

/// Copies of weights are worth their memory because they replace work at run time, up to a point.
static constexpr int64_t maxMovedBytes = int64_t(64) << 20;
static constexpr int64_t maxComputedElements = int64_t(1) << 20;

using Strides = SmallVector<int64_t>;

static Strides getStrides(ArrayRef<int64_t> dims) {
  Strides strides(dims.size(), 1);
  for (int64_t i = static_cast<int64_t>(dims.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * dims[i + 1];
  return strides;
}

/// Strides by which an operand is read when it is broadcast to a shape; nothing if it cannot be.
static std::optional<Strides> getBroadcastStrides(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  if (from.size() > to.size())
    return std::nullopt;
  Strides own = getStrides(from), strides(to.size(), 0);
  size_t added = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != 1 && from[i] != to[added + i])
      return std::nullopt;
    strides[added + i] = from[i] == 1 ? 0 : own[i];
  }
  return strides;
}

/// Calls `visit` with the operands' offsets for each element of a shape in row-major order.
template <size_t N, typename Visit>
static void forEachElement(ArrayRef<int64_t> dims, const std::array<Strides, N> &strides, Visit visit) {
  if (llvm::is_contained(dims, 0))
    return;
  SmallVector<int64_t> index(dims.size(), 0);
  std::array<int64_t, N> offsets = {};
  for (;;) {
    visit(offsets);
    int64_t d = static_cast<int64_t>(dims.size()) - 1;
    for (; d >= 0; --d) {
      bool wraps = ++index[d] == dims[d];
      for (size_t k = 0; k < N; ++k)
        offsets[k] += wraps ? -strides[k][d] * (dims[d] - 1) : strides[k][d];
      if (!wraps)
        break;
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

//===- Moving elements ----------------------------------------------------------------------------------------------------===//

static ElementsAttr copyStrided(const ConstantView &from, RankedTensorType type, int64_t offset,
                                const Strides &strides) {
  SmallVector<char, 0> bytes(type.getNumElements() * from.width());
  char *to = bytes.data();
  forEachElement<1>(type.getShape(), {strides}, [&](const std::array<int64_t, 1> &offsets) {
    std::memcpy(to, from.at(offset + offsets[0]), from.width());
    to += from.width();
  });
  return makeElements(type, bytes);
}

static ElementsAttr foldTranspose(NodeOp node, const ConstantView &from, RankedTensorType type) {
  SmallVector<int64_t> perm = node.getInts("perm");
  if (perm.empty())
    perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, type.getRank())));
  Strides own = getStrides(from.dims()), strides;
  for (auto [axis, size] : llvm::zip_equal(perm, type.getShape())) {
    if (from.dims()[axis] != size)
      return {};
    strides.push_back(own[axis]);
  }
  return copyStrided(from, type, 0, strides);
}

static ElementsAttr foldSlice(NodeOp node, const ConstantView &from, RankedTensorType type) {
  auto list = [&](unsigned input, StringRef name) -> std::optional<SmallVector<int64_t>> {
    return node.getInput(input) ? getIntegers(node.getInput(input)) : node.getInts(name);
  };
  int64_t rank = type.getRank();
  auto starts = list(1, "starts"), axes = getAxes(node, 3, rank), steps = list(4, "steps");
  if (!starts || !axes || !steps)
    return {};
  int64_t offset = 0;
  Strides own = getStrides(from.dims()), strides = own;
  for (auto [i, start] : llvm::enumerate(*starts)) {
    int64_t axis = axes->empty() ? i : (*axes)[i], step = steps->empty() ? 1 : (*steps)[i], size = from.dims()[axis];
    start += start < 0 ? size : 0;
    start = std::clamp<int64_t>(start, 0, step < 0 ? size - 1 : size);
    offset += start * own[axis];
    strides[axis] = own[axis] * step;
  }
  return copyStrided(from, type, offset, strides);
}

static ElementsAttr foldGather(NodeOp node, const ConstantView &from, RankedTensorType type) {
  auto indices = ConstantView::get(node.getInput(1));
  if (!indices || from.dims().empty())
    return {};
  int64_t rank = from.dims().size(), axis = node.getInt("axis", 0);
  axis += axis < 0 ? rank : 0;
  int64_t outer = 1, inner = 1, size = from.dims()[axis];
  for (int64_t i = 0; i < rank; ++i)
    (i < axis ? outer : inner) *= i == axis ? 1 : from.dims()[i];
  SmallVector<char, 0> bytes;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < indices->size(); ++i) {
      int64_t index = indices->getInt(i);
      index += index < 0 ? size : 0;
      if (index < 0 || index >= size)
        return {};
      for (int64_t e = (o * size + index) * inner, end = e + inner; e < end; ++e)
        bytes.append(from.at(e), from.at(e) + from.width());
    }
  return makeElements(type, bytes);
}

static ElementsAttr foldConcat(NodeOp node, RankedTensorType type) {
  int64_t axis = node.getInt("axis", 0);
  axis += axis < 0 ? type.getRank() : 0;
  unsigned width = getByteWidth(type.getElementType());
  SmallVector<char, 0> bytes(type.getNumElements() * width);
  Strides strides = getStrides(type.getShape());
  int64_t begin = 0;
  for (Value input : node.getOperands()) {
    auto from = ConstantView::get(input);
    if (!from)
      return {};
    int64_t next = 0;
    forEachElement<1>(from->dims(), {strides}, [&](const std::array<int64_t, 1> &offsets) {
      std::memcpy(bytes.data() + (begin + offsets[0]) * width, from->at(next++), width);
    });
    begin += from->dims()[axis] * strides[axis];
  }
  return makeElements(type, bytes);
}

static ElementsAttr foldMove(NodeOp node, RankedTensorType type) {
  if (type.getNumElements() * getByteWidth(type.getElementType()) > maxMovedBytes)
    return {};
  StringRef op = node.getOpType();
  if (op == "Concat")
    return foldConcat(node, type);
  auto from = ConstantView::get(node.getInput(0));
  if (!from)
    return {};
  if (llvm::is_contained({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}, op))
    return from->size() == type.getNumElements() ? from->reshaped(type) : ElementsAttr();
  if (op == "Transpose")
    return foldTranspose(node, *from, type);
  if (op == "Slice")
    return foldSlice(node, *from, type);
  if (op == "Gather")
    return foldGather(node, *from, type);
  if (op == "Expand")
    if (auto strides = getBroadcastStrides(from->dims(), type.getShape()))
      return copyStrided(*from, type, 0, *strides);
  return {};
}

//===- Computing ----------------------------------------------------------------------------------------------------------===//

namespace {
/// A function of up to two elements, on floats and on integers. Null where it is not computed here.
struct Scalar {
  double (*onFloats)(double, double) = nullptr;
  std::optional<int64_t> (*onIntegers)(int64_t, int64_t) = nullptr;
  explicit operator bool() const { return onFloats || onIntegers; }
};
} // namespace

using Integer = std::optional<int64_t>;
/// Integers wrap, as they do at run time.
static int64_t wrap(uint64_t value) { return static_cast<int64_t>(value); }

static Integer divide(int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? wrap(0 - uint64_t(a)) : a / b;
}

static Scalar getScalarFunction(StringRef op) {
#define FLOATS(expression) [](double a, double b) -> double { return expression; }
#define INTEGERS(expression) [](int64_t a, int64_t b) -> Integer { return expression; }
#define BOTH(expression)                                                                                               \
  Scalar { FLOATS(expression), INTEGERS(expression) }
  return llvm::StringSwitch<Scalar>(op)
      .Case("Add", {FLOATS(a + b), INTEGERS(wrap(uint64_t(a) + uint64_t(b)))})
      .Case("Sub", {FLOATS(a - b), INTEGERS(wrap(uint64_t(a) - uint64_t(b)))})
      .Case("Mul", {FLOATS(a * b), INTEGERS(wrap(uint64_t(a) * uint64_t(b)))})
      .Case("Div", {FLOATS(a / b), INTEGERS(divide(a, b))})
      .Case("Pow", {FLOATS(std::pow(a, b)), nullptr})
      .Case("Min", BOTH(a < b ? a : b))
      .Case("Max", BOTH(a > b ? a : b))
      .Case("Equal", BOTH(a == b))
      .Case("Less", BOTH(a < b))
      .Case("LessOrEqual", BOTH(a <= b))
      .Case("Greater", BOTH(a > b))
      .Case("GreaterOrEqual", BOTH(a >= b))
      .Case("And", {nullptr, INTEGERS(a && b)})
      .Case("Or", {nullptr, INTEGERS(a || b)})
      .Case("Xor", {nullptr, INTEGERS(!a != !b)})
      .Case("Not", {nullptr, INTEGERS(!a)})
      .Case("Neg", {FLOATS(-a), INTEGERS(wrap(0 - uint64_t(a)))})
      .Case("Abs", {FLOATS(std::fabs(a)), INTEGERS(a < 0 ? wrap(0 - uint64_t(a)) : a)})
      .Case("Sqrt", {FLOATS(std::sqrt(a)), nullptr})
      .Case("Reciprocal", {FLOATS(1 / a), nullptr})
      .Case("Exp", {FLOATS(std::exp(a)), nullptr})
      .Case("Log", {FLOATS(std::log(a)), nullptr})
      .Case("Floor", {FLOATS(std::floor(a)), nullptr})
      .Case("Ceil", {FLOATS(std::ceil(a)), nullptr})
      .Case("Cast", BOTH(a))
      .Case("Where", BOTH(a))
      .Default({});
#undef BOTH
#undef INTEGERS
#undef FLOATS
}

/// Stores a computed element; false if the type cannot hold it.
static bool store(char *to, Type type, double value) {
  if (isa<FloatType>(type)) {
    storeDouble(to, type, value);
    return true;
  }
  if (type.isInteger(1)) {
    storeInt(to, type, value != 0);
    return true;
  }
  // Casting a float that no integer represents is undefined in ONNX: the target decides at run time.
  if (!(std::fabs(value) < 9.2e18))
    return false;
  storeInt(to, type, static_cast<int64_t>(value));
  return true;
}

static ElementsAttr foldCompute(NodeOp node, RankedTensorType type) {
  StringRef op = node.getOpType();
  Scalar function = getScalarFunction(op);
  bool selects = op == "Where";
  unsigned inputs = node.getNumOperands();
  if (!function || node.getNumInputs() != inputs || type.getNumElements() > maxComputedElements ||
      inputs != (selects ? 3 : std::clamp(inputs, 1u, 2u)))
    return {};
  SmallVector<ConstantView, 3> views;
  std::array<Strides, 3> strides;
  strides.fill(Strides(type.getRank(), 0));
  for (auto [i, operand] : llvm::enumerate(node.getOperands())) {
    auto view = ConstantView::get(operand);
    auto broadcast = view ? getBroadcastStrides(view->dims(), type.getShape()) : std::nullopt;
    // Beyond 2^63 unsigned numbers would be taken for negative ones.
    if (!broadcast || view->elementType().isUnsignedInteger(64))
      return {};
    strides[i] = *broadcast;
    views.push_back(std::move(*view));
  }
  const ConstantView &typed = views[selects ? 1 : 0];
  // Conversion to 8-bit floats saturates or not by an attribute.
  if (auto narrow = dyn_cast<FloatType>(type.getElementType()); narrow && narrow.getWidth() < 16)
    return {};
  bool onFloats = isa<FloatType>(typed.elementType());
  if ((onFloats ? !function.onFloats : !function.onIntegers) || views.back().elementType() != typed.elementType())
    return {};

  SmallVector<char, 0> bytes(type.getNumElements() * getByteWidth(type.getElementType()));
  char *to = bytes.data();
  bool valid = true;
  forEachElement<3>(type.getShape(), strides, [&](const std::array<int64_t, 3> &at) {
    // Where(condition, a, b) is the element of one of its last two inputs.
    unsigned first = selects ? (views[0].getInt(at[0]) ? 1 : 2) : 0, second = inputs == 2 ? 1 : first;
    if (onFloats) {
      valid &= store(to, type.getElementType(),
                     function.onFloats(views[first].getDouble(at[first]), views[second].getDouble(at[second])));
    } else {
      Integer value = function.onIntegers(views[first].getInt(at[first]), views[second].getInt(at[second]));
      valid &= value.has_value();
      if (value && isa<FloatType>(type.getElementType()))
        storeDouble(to, type.getElementType(), static_cast<double>(*value));
      else if (value)
        storeInt(to, type.getElementType(), *value);
    }
    to += getByteWidth(type.getElementType());
  });
  return valid ? makeElements(type, bytes) : ElementsAttr();
}

//===- Making elements ----------------------------------------------------------------------------------------------------===//

static ElementsAttr foldConstantOfShape(NodeOp node, RankedTensorType type) {
  if (type.getNumElements() > maxComputedElements)
    return {};
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(node.getNodeAttr("value")))
    return value.getNumElements() == 1 && value.getElementType() == type.getElementType()
               ? DenseElementsAttr::get(type, value.getValues<Attribute>()[0])
               : ElementsAttr();
  return type.getElementType().isF32() ? DenseElementsAttr::get(type, 0.0f) : ElementsAttr();
}

static ElementsAttr foldRange(NodeOp node, RankedTensorType type) {
  auto start = ConstantView::get(node.getInput(0)), delta = ConstantView::get(node.getInput(2));
  if (!start || !delta || type.getNumElements() > maxComputedElements)
    return {};
  Type element = type.getElementType();
  unsigned width = getByteWidth(element);
  SmallVector<char, 0> bytes(type.getNumElements() * width);
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    if (isa<FloatType>(element))
      storeDouble(bytes.data() + i * width, element, start->getDouble(0) + i * delta->getDouble(0));
    else
      storeInt(bytes.data() + i * width, element,
               wrap(uint64_t(start->getInt(0)) + uint64_t(i) * uint64_t(delta->getInt(0))));
  return makeElements(type, bytes);
}

static ElementsAttr foldConstantNode(NodeOp node, RankedTensorType type) {
  Builder builder(node.getContext());
  if (auto value = dyn_cast_or_null<ElementsAttr>(node.getNodeAttr("value")))
    return value.getShapedType() == type ? value : ElementsAttr();
  if (auto value = dyn_cast_or_null<FloatAttr>(node.getNodeAttr("value_float")))
    return DenseElementsAttr::get(type, value);
  if (auto value = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr("value_int")))
    return DenseElementsAttr::get(type, value);
  if (auto values = dyn_cast_or_null<DenseI64ArrayAttr>(node.getNodeAttr("value_ints")))
    return DenseElementsAttr::get(type, values.asArrayRef());
  if (auto values = dyn_cast_or_null<DenseF32ArrayAttr>(node.getNodeAttr("value_floats")))
    return DenseElementsAttr::get(type, values.asArrayRef());
  return {};
}

ElementsAttr quanta::foldConstant(NodeOp node) {
  if (node.getNumResults() != 1 || node.getNumRegions() || !(node.getDomain().empty() || node.getDomain() == "ai.onnx"))
    return {};
  auto type = getTensorType(node.getResult(0));
  if (!type || !type.hasStaticShape() || !getByteWidth(type.getElementType()))
    return {};
  if (node.is("Constant"))
    return foldConstantNode(node, type);
  if (node.is("Shape") && getTensorType(node.getOperand(0)).hasStaticShape() && node.getNodeAttributes().empty())
    return DenseElementsAttr::get(type, getTensorType(node.getOperand(0)).getShape());
  if (!llvm::all_of(node.getOperands(), [](Value v) { return matchPattern(v, m_Constant()); }) ||
      !node.getNumOperands())
    return {};
  if (node.is("ConstantOfShape"))
    return foldConstantOfShape(node, type);
  if (node.is("Range"))
    return foldRange(node, type);
  if (ElementsAttr moved = foldMove(node, type))
    return moved;
  return foldCompute(node, type);
}
