//===- ONNXMatchAttention.cpp - Recognise rotary embedding and attention ------------------------------------------------===//
//
// Attention is two matrix products around a softmax. Between them exporters put the scale, the mask, casts and guards
// in many places; the path from the softmax back to the first product is peeled one node at a time.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"
#include "quanta/Import/ONNX/Shapes.h"
#include "quanta/Transforms/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_ONNXMATCHATTENTION
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

/// True if a value of these dimensions broadcasts to the target without enlarging it, as far as sizes are known: two
/// different expressions may turn out equal at run time, and a well-formed model makes them so.
static bool broadcastsInto(ArrayRef<AffineExpr> dims, ArrayRef<AffineExpr> target) {
  if (dims.size() > target.size())
    return false;
  auto isOne = [](AffineExpr dim) { return dim == getAffineConstantExpr(1, dim.getContext()); };
  for (auto [dim, size] : llvm::zip(llvm::reverse(dims), llvm::reverse(target)))
    if (!isOne(dim) && dim != size && (isOne(size) || (isa<AffineConstantExpr>(dim) && isa<AffineConstantExpr>(size))))
      return false;
  return true;
}

//===- Rotary -------------------------------------------------------------------------------------------------------------===//

/// The argument of a slice of [begin, end) of the last dimension of size `size`, or of the half of a two-way split.
static Value matchHalf(Value value, int64_t begin, int64_t end, int64_t size) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node)
    return {};
  Value from = node.getInput(0);
  int64_t last = getTensorType(value).getRank() - 1;
  if (node.is("Split")) {
    int64_t axis = node.getInt("axis", 0);
    bool halves = node.getNumResults() == 2 && (axis == last || axis == -1) &&
                  getTensorType(value).getDimSize(last) == end - begin;
    return halves && value == node.getResult(begin == 0 ? 0 : 1) ? from : Value();
  }
  if (!node.is("Slice"))
    return {};
  auto list = [&](unsigned input, StringRef name) {
    return node.getInput(input) ? getIntegers(node.getInput(input)) : node.getInts(name);
  };
  auto starts = list(1, "starts"), ends = list(2, "ends"), axes = getAxes(node, 3, last + 1), steps = list(4, "steps");
  if (!starts || !ends || !axes || !steps || starts->size() != 1 || ends->size() != 1 ||
      *axes != SmallVector<int64_t>{last} || (!steps->empty() && steps->front() != 1))
    return {};
  auto wrap = [&](int64_t position) { return std::min(position < 0 ? position + size : position, size); };
  return wrap(starts->front()) == begin && wrap(ends->front()) == end ? from : Value();
}

/// x of concat(−x[D/2:], x[:D/2]).
static Value matchRotatedHalves(Value value) {
  NodeOp concat = getNode(value, "Concat");
  auto type = concat ? getTensorType(value) : RankedTensorType();
  if (!type || type.getRank() != 4 || concat.getNumOperands() != 2 || type.isDynamicDim(3) || type.getDimSize(3) % 2)
    return {};
  int64_t axis = concat.getInt("axis", 0), size = type.getDimSize(3);
  Value negated = concat.getOperand(0), high = getArgument(negated, "Neg");
  matchCommuted(getNode(negated, "Mul"),
                [&](Value factor, Value constant) { return getScalar(constant) == -1.0 && (high = factor); });
  if ((axis != 3 && axis != -1) || !high)
    return {};
  Value x = matchHalf(high, size / 2, size, size);
  return x && matchHalf(concat.getOperand(1), 0, size / 2, size) == x && getTensorType(x).getDimSize(3) == size
             ? x
             : Value();
}

static Value matchRotary(NodeOp root, OpBuilder &builder, const SymbolicShapes &shapes) {
  Value x, cos, sin;
  auto isTable = [&](Value table) {
    ArrayRef<AffineExpr> dims = shapes.get(table).dims, target = shapes.get(x).dims;
    return !dims.empty() && dims.back() == target.back() && broadcastsInto(dims, target);
  };
  bool found = root.is("Add") && matchCommuted(root, [&](Value straight, Value crossed) {
                 return matchCommuted(getNode(crossed, "Mul"), [&](Value rotated, Value sinTable) {
                   x = matchRotatedHalves(rotated);
                   return x && matchCommuted(getNode(straight, "Mul"), [&](Value factor, Value cosTable) {
                            std::tie(cos, sin) = std::pair(cosTable, sinTable);
                            return factor == x && isTable(cos) && isTable(sin);
                          });
                 });
               });
  if (!found)
    return {};
  Location loc = builder.getFusedLoc({x.getLoc(), root.getLoc()});
  Value tables[] = {unsqueezeTo(builder, loc, cos, 4), unsqueezeTo(builder, loc, sin, 4)};
  return makeNode(builder, loc, "Rotary", 1, {x, tables[0], tables[1]}, root.getResult(0).getType(), {}, "quanta");
}

//===- Attention ----------------------------------------------------------------------------------------------------------===//

namespace {
/// softmax argument = scale · q · kT with the masks applied on top, innermost last.
struct Scores {
  struct Mask {
    /// An additive mask, or a condition under which `fill` replaces the scores (or, negated, does not).
    Value value, fill;
    bool negated = false;
  };
  Value product, q, kT;
  double scale = 1;
  SmallVector<Mask, 2> masks;
};
} // namespace

/// The argument of multiplications by and divisions by numbers, which are multiplied into `scale`.
static Value peelScale(Value value, double &scale) {
  for (;;) {
    Value inner;
    double factor = 1;
    if (NodeOp div = getNode(value, "Div")) {
      if (auto number = getScalar(div.getInput(1)); number && *number != 0)
        std::tie(inner, factor) = std::pair(div.getInput(0), 1 / *number);
    } else {
      matchCommuted(getNode(value, "Mul"), [&](Value other, Value constant) {
        auto number = getScalar(constant);
        if (number)
          std::tie(inner, factor) = std::pair(other, *number);
        return number.has_value();
      });
    }
    // A constant of higher rank would change the rank.
    if (!inner || getTensorType(inner).getRank() != getTensorType(value).getRank())
      return value;
    value = inner;
    scale *= factor;
  }
}

/// Looks through conversions between float types: attention chooses its own precision.
static Value peelCast(Value value) {
  Value inner = getArgument(value, "Cast");
  return inner && isa<FloatType>(getElementTypeOrSelf(inner)) && isa<FloatType>(getElementTypeOrSelf(value)) ? inner
                                                                                                             : value;
}

/// A number that makes a probability zero against any score in practice.
static bool isMasking(Value value) {
  auto number = getScalar(value);
  auto type = dyn_cast<FloatType>(getElementTypeOrSelf(value));
  return number && type && getTensorType(value).getRank() <= 1 && *number <= (type.getWidth() == 16 ? -6e4 : -1e9);
}

static bool matchScores(Value value, Scores &scores) {
  value = peelCast(value);
  if (scores.masks.size() > 4)
    return false;
  if (NodeOp product = getNode(value, "MatMul")) {
    std::tie(scores.product, scores.q, scores.kT) = std::tuple(value, product.getInput(0), product.getInput(1));
    return true;
  }
  double scale = 1;
  if (Value inner = peelScale(value, scale); inner != value) {
    // What follows must not be masked: scaling a mask is not representable.
    Scores below;
    if (!matchScores(inner, below) || !below.masks.empty())
      return false;
    std::tie(scores.product, scores.q, scores.kT) = std::tuple(below.product, below.q, below.kT);
    scores.scale = scale * below.scale;
    return true;
  }
  auto descend = [&](Value inner, Scores::Mask mask) {
    Scores before = scores;
    scores.masks.push_back(mask);
    if (matchScores(inner, scores))
      return true;
    scores = before;
    return false;
  };
  if (NodeOp where = getNode(value, "Where")) {
    Value condition = where.getInput(0), a = where.getInput(1), b = where.getInput(2);
    return (isMasking(a) && descend(b, {condition, a, false})) || (isMasking(b) && descend(a, {condition, b, true}));
  }
  return matchCommuted(getNode(value, "Add"), [&](Value inner, Value mask) {
    return descend(inner, {mask, {}, false});
  });
}

static RankedTensorType getBroadcastType(Value a, Value b, Type element) {
  SmallVector<int64_t> dims;
  auto aDims = getTensorType(a).getShape(), bDims = getTensorType(b).getShape();
  for (size_t i = 0, rank = std::max(aDims.size(), bDims.size()); i < rank; ++i) {
    int64_t x = i < aDims.size() ? aDims[aDims.size() - 1 - i] : 1,
            y = i < bDims.size() ? bDims[bDims.size() - 1 - i] : 1;
    dims.push_back(x == 1 || (ShapedType::isDynamic(x) && y != 1) ? y : x);
  }
  std::reverse(dims.begin(), dims.end());
  return RankedTensorType::get(dims, element);
}

/// One additive mask of rank 4 for all masks, null if there is none.
static Value buildMask(const Scores &scores, Type element, OpBuilder &builder, Location loc) {
  Value mask;
  for (const Scores::Mask &step : llvm::reverse(scores.masks)) {
    if (!step.fill) {
      mask = mask ? makeNode(builder, loc, "Add", 14, {mask, step.value}, getBroadcastType(mask, step.value, element))
                  : step.value;
      continue;
    }
    Value kept = mask ? mask : makeFloat(builder, loc, element, 0);
    Value inputs[] = {step.value, step.negated ? kept : step.fill, step.negated ? step.fill : kept};
    mask = makeNode(builder, loc, "Where", 16, inputs, getBroadcastType(step.value, kept, element));
  }
  return mask ? unsqueezeTo(builder, loc, mask, 4) : Value();
}

/// The heads that a value repeats, each several times in a row: x of Reshape(Expand(Unsqueeze(x, 2))).
static Value matchRepeatedHeads(Value value, const SymbolicShapes &shapes) {
  NodeOp reshape = getNode(value, "Reshape");
  NodeOp expand = reshape ? getNode(reshape.getInput(0), "Expand") : NodeOp();
  NodeOp unsqueeze = expand ? getNode(expand.getInput(0), "Unsqueeze") : NodeOp();
  if (!unsqueeze || getAxes(unsqueeze, 1, 5) != SmallVector<int64_t>{2})
    return {};
  Value x = unsqueeze.getInput(0);
  ArrayRef<AffineExpr> from = shapes.get(x).dims, wide = shapes.get(expand.getResult(0)).dims,
                       to = shapes.get(value).dims;
  if (from.size() != 4 || wide.size() != 5 || to.size() != 4)
    return {};
  bool kept = wide[0] == from[0] && wide[1] == from[1] && wide[3] == from[2] && wide[4] == from[3] &&
              to[0] == from[0] && to[2] == from[2] && to[3] == from[3];
  // Then the reshape can only merge dimensions 1 and 2.
  return kept ? x : Value();
}

static Value matchAttention(NodeOp root, OpBuilder &builder, const SymbolicShapes &shapes) {
  if (!root.is("MatMul"))
    return {};
  Value guarded = peelCast(root.getInput(0)), probabilities = guarded;
  // Exporters guard rows whose keys are all masked: Where(IsNaN(p), 0, p).
  bool isGuarded = false;
  if (NodeOp where = getNode(guarded, "Where"))
    if (Value tested = getArgument(where.getInput(0), "IsNaN");
        tested && tested == where.getInput(2) && getScalar(where.getInput(1)) == 0.0)
      std::tie(probabilities, isGuarded) = std::pair(peelCast(tested), true);
  NodeOp softmax = getNode(probabilities, "Softmax");
  Scores scores;
  // Before version 13 the axis only says where rows begin: for the last dimension that is the same.
  int64_t axis = softmax ? softmax.getInt("axis", softmax.getSinceVersion() < 13 ? 1 : -1) : 0;
  if ((axis != 3 && axis != -1) || !matchScores(softmax.getInput(0), scores))
    return {};

  Value q = peelScale(scores.q, scores.scale), kT = peelScale(scores.kT, scores.scale), v = root.getInput(1);
  NodeOp transpose = getNode(kT, "Transpose");
  SmallVector<int64_t> perm = transpose ? transpose.getInts("perm") : SmallVector<int64_t>{0, 1, 2, 3};
  for (Value value : {q, kT, v, probabilities, root.getResult(0)})
    if (getTensorType(value).getRank() != 4)
      return {};
  if (perm.size() != 4)
    return {};
  std::swap(perm[2], perm[3]);
  Value k = transpose ? transpose.getInput(0) : kT;
  bool isIdentity = llvm::equal(perm, llvm::seq<int64_t>(0, 4));
  if (isIdentity)
    k = peelScale(k, scores.scale);

  // Batches agree, heads do or are repeated; the masks do not enlarge the scores.
  auto dims = [&](Value value) { return ArrayRef<AffineExpr>(shapes.get(value).dims); };
  if (dims(q)[0] != dims(kT)[0] || dims(q)[0] != dims(v)[0] || dims(q)[1] != dims(kT)[1] || dims(q)[1] != dims(v)[1] ||
      dims(kT)[3] != dims(v)[2])
    return {};
  Type element = getElementTypeOrSelf(q);
  bool coversKeys = scores.masks.empty();
  for (const Scores::Mask &mask : scores.masks) {
    // Casts on the way may have left a mask in another precision than q and k.
    if (getElementTypeOrSelf(mask.fill ? mask.fill : mask.value) != element)
      return {};
    if (!broadcastsInto(dims(mask.value), dims(scores.product)))
      return {};
    coversKeys |= !dims(mask.value).empty() && !isa<AffineConstantExpr>(dims(mask.value).back());
    coversKeys |= !dims(mask.value).empty() && dims(mask.value).back() == dims(scores.product)[3];
  }
  if (!coversKeys)
    return {};

  Location loc = builder.getFusedLoc({scores.product.getLoc(), softmax.getLoc(), root.getLoc()});
  Value fewK = isIdentity ? matchRepeatedHeads(k, shapes) : Value(), fewV = matchRepeatedHeads(v, shapes);
  if (fewK && fewV && dims(fewK)[1] == dims(fewV)[1]) {
    k = fewK;
    v = fewV;
  } else if (!isIdentity) {
    ArrayRef<int64_t> kTDims = getTensorType(kT).getShape();
    k = makeNode(builder, loc, "Transpose", 13, k, getTensorType(k).clone({kTDims[0], kTDims[1], kTDims[3], kTDims[2]}),
                 builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr(perm)));
  }
  SmallVector<Value> inputs = {q, k, v};
  if (Value mask = buildMask(scores, element, builder, loc))
    inputs.push_back(mask);
  Type resultType = root.getResult(0).getType();
  Value attention = makeNode(builder, loc, "Attention", 1, inputs, resultType,
                             builder.getNamedAttr("scale", builder.getF32FloatAttr(scores.scale)), "quanta");
  if (!isGuarded)
    return attention;
  // The rows that the guard is for are NaN in the result too, and zero probabilities give zero.
  Value isNaN =
      makeNode(builder, loc, "IsNaN", 13, attention, cast<RankedTensorType>(resultType).clone(builder.getI1Type()));
  Value zero = makeFloat(builder, loc, getElementTypeOrSelf(resultType), 0);
  return makeNode(builder, loc, "Where", 16, {isNaN, zero, attention}, resultType);
}

namespace {
struct ONNXMatchAttention : quanta::impl::ONNXMatchAttentionBase<ONNXMatchAttention> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    FailureOr<SymbolicShapes> shapes = SymbolicShapes::compute(function);
    if (failed(shapes))
      return signalPassFailure();
    rewriteUpwards(function, [&](NodeOp node, OpBuilder &builder) {
      Value rotary = matchRotary(node, builder, *shapes);
      return rotary ? rotary : matchAttention(node, builder, *shapes);
    });
  }
};
} // namespace
