//===- ChannelRules.cpp - How each op relates the channels of its operands and results ------------------------------------===//
//
// One function an op. A new op is a function here and a case in getChannelRules.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ChannelRules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::quanta;

using Kind = ChannelTransform;
using Role = ChannelPlan::Absorber::Role;

static ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }

//===- Building links -----------------------------------------------------------------------------------------------------===//

namespace {
struct LinkBuilder {
  ChannelLink link;

  unsigned dim(int64_t size) {
    link.sizes.push_back(size);
    return link.sizes.size() - 1;
  }
  SmallVector<unsigned> dims(ArrayRef<int64_t> sizes) {
    SmallVector<unsigned> result;
    for (int64_t size : sizes)
      result.push_back(dim(size));
    return result;
  }

  /// Axis i of the member is indexed by dims[i]; −1: not part of the link. An axis of size 1 is broadcast.
  LinkMember &add(Value value, OpOperand *use, ArrayRef<int64_t> dims) {
    LinkMember member{value, use, {}};
    for (auto [size, dim] : llvm::zip_equal(shapeOf(value), dims)) {
      AxisIndex &axis = member.axes.emplace_back();
      if (dim >= 0 && (size != 1 || link.sizes[dim] == 1))
        axis.dims.push_back(dim);
    }
    link.members.push_back(std::move(member));
    return link.members.back();
  }
  LinkMember &add(OpOperand &use, ArrayRef<int64_t> dims) { return add(use.get(), &use, dims); }
  LinkMember &add(OpResult result, ArrayRef<int64_t> dims) { return add(result, nullptr, dims); }
};
} // namespace

/// −1 for all axes but the given one.
static SmallVector<int64_t> only(int64_t rank, int64_t axis, int64_t dim) {
  SmallVector<int64_t> result(rank, -1);
  result[axis] = dim;
  return result;
}
static SmallVector<int64_t> all(int64_t rank) { return llvm::to_vector(llvm::seq<int64_t>(0, rank)); }

static bool isSplat(Value value) {
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return false;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense.isSplat();
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || !resource.getElementType().isF32() || blob->getData().size() < sizeof(float))
    return false;
  ArrayRef<char> data = blob->getData();
  for (size_t i = sizeof(float); i < data.size(); ++i)
    if (data[i] != data[i - sizeof(float)])
      return false;
  return true;
}

//===- Ops that pass everything on ----------------------------------------------------------------------------------------===//

/// Operands and results of equal shapes, element by element.
static ChannelRules passOn(Operation *op) {
  LinkBuilder builder;
  builder.dims(shapeOf(op->getResult(0)));
  for (OpOperand &use : op->getOpOperands())
    builder.add(use, all(shapeOf(use.get()).size()));
  for (OpResult result : op->getResults())
    builder.add(result, all(shapeOf(result).size()));
  ChannelRules rules;
  rules.alternatives.push_back({builder.link});
  return rules;
}

//===- Contractions with constants ----------------------------------------------------------------------------------------===//

/// Along the contraction: what `weight` reads.
static void finishContraction(ChannelLink &link, LinkMember &weight, Kind kind) {
  weight.inverse = true;
  if (kind == Kind::Shift)
    weight.role = Role::BiasOfShift;
}

/// Along the output: a shift needs a bias and leaves the weight alone.
static void addOutput(LinkBuilder &builder, Operation *op, OpOperand &weight, OpOperand *bias,
                      ArrayRef<int64_t> weightDims, ArrayRef<int64_t> biasDims, ArrayRef<int64_t> resultDims,
                      Kind kind) {
  builder.add(op->getResult(0), resultDims);
  if (kind != Kind::Shift)
    builder.add(weight, weightDims);
  if (bias)
    builder.add(*bias, biasDims);
  else if (kind == Kind::Shift)
    builder.link.missingBias = op;
}

static OpOperand *biasOf(MutableOperandRange range) { return range.empty() ? nullptr : &range[0]; }

static ChannelRules linearRules(LinearOp op, Kind kind) {
  int64_t rank = shapeOf(op.getInput()).size();
  ChannelRules rules;
  rules.reason = "only the last axis of a linear layer's input and result are channels";
  auto &links = rules.alternatives.emplace_back();
  if (kind == Kind::Center) {
    rules.reason = "a linear layer sees the mean of its input";
  } else {
    LinkBuilder in;
    in.dim(shapeOf(op.getWeight())[1]);
    in.add(op.getInputMutable(), only(rank, rank - 1, 0));
    finishContraction(in.link, in.add(op.getWeightMutable(), {-1, 0}), kind);
    links.push_back(in.link);
  }
  LinkBuilder out;
  out.dim(shapeOf(op.getWeight())[0]);
  addOutput(out, op, op.getWeightMutable(), biasOf(op.getBiasMutable()), {0, -1}, {0}, only(rank, rank - 1, 0), kind);
  links.push_back(out.link);
  return rules;
}

static ChannelRules convRules(Conv2DOp op, Kind kind) {
  ArrayRef<int64_t> weight = shapeOf(op.getWeight());
  int64_t groups = op.getGroups();
  OpOperand *bias = biasOf(op.getBiasMutable());
  ChannelRules rules;
  rules.reason = "only axis 1 of a convolution's input and result are channels";
  auto &links = rules.alternatives.emplace_back();
  bool padded = llvm::any_of(op.getPads(), [](int64_t pad) { return pad != 0; });
  if (groups > 1 && weight[1] == 1 && weight[0] == groups && (kind == Kind::Permute || kind == Kind::Duplicate)) {
    // Depthwise: output channel c reads input channel c and nothing else.
    LinkBuilder channel;
    channel.dim(groups);
    channel.add(op.getInputMutable(), {-1, 0, -1, -1});
    addOutput(channel, op, op.getWeightMutable(), bias, {0, -1, -1, -1}, {0}, {-1, 0, -1, -1}, kind);
    links.push_back(channel.link);
    return rules;
  }
  if (kind == Kind::Center || (kind == Kind::Shift && padded)) {
    rules.reason = kind == Kind::Center ? "a convolution sees the mean of its input"
                                        : "the convolution pads with zeros, which would not be shifted";
  } else {
    // Channels (g, j); output (g, o) reads the channels of its group.
    LinkBuilder in;
    unsigned g = in.dim(groups), o = in.dim(weight[0] / groups), j = in.dim(weight[1]);
    LinkMember &input = in.add(op.getInputMutable(), {-1, -1, -1, -1});
    input.axes[1].dims = {g, j};
    LinkMember &read = in.add(op.getWeightMutable(), {-1, -1, -1, -1});
    if (groups > 1)
      read.axes[0].dims = {g, o};
    read.axes[1].dims = {j};
    finishContraction(in.link, read, kind);
    in.link.inner = j;
    links.push_back(in.link);
  }
  LinkBuilder out;
  unsigned g = out.dim(groups), o = out.dim(weight[0] / groups);
  addOutput(out, op, op.getWeightMutable(), bias, {-1, -1, -1, -1}, {-1}, {-1, -1, -1, -1}, kind);
  for (LinkMember &member : out.link.members)
    member.axes[member.use ? 0 : 1].dims = {g, o};
  // The output channels of a group read its own input channels.
  out.link.inner = o;
  links.push_back(out.link);
  return rules;
}

static ChannelRules embeddingRules(EmbeddingOp op) {
  int64_t rank = shapeOf(op.getResult()).size();
  LinkBuilder builder;
  builder.dim(shapeOf(op.getTable())[1]);
  builder.add(op.getTableMutable(), {-1, 0});
  builder.add(op->getResult(0), only(rank, rank - 1, 0));
  ChannelRules rules;
  rules.alternatives.push_back({builder.link});
  rules.reason = "only the last axis of an embedding's result are channels";
  return rules;
}

//===- Contractions of activations ----------------------------------------------------------------------------------------===//

static ChannelRules matmulRules(MatmulOp op, Kind kind) {
  ChannelRules rules;
  int64_t rank = shapeOf(op.getResult()).size(), batches = rank - 2;
  ArrayRef<int64_t> lhs = shapeOf(op.getLhs()), rhs = shapeOf(op.getRhs());
  int64_t rhsK = op.getTransposeRhs() ? rank - 1 : rank - 2, rhsN = op.getTransposeRhs() ? rank - 2 : rank - 1;
  if (kind == Kind::Center || kind == Kind::Shift) {
    rules.reason = "a product of activations does not commute with it";
    return rules;
  }
  auto &links = rules.alternatives.emplace_back();
  auto make = [&](int64_t size, int64_t lhsAxis, int64_t rhsAxis, int64_t resultAxis) {
    LinkBuilder builder;
    builder.dims(shapeOf(op.getResult()).take_front(batches));
    unsigned channel = builder.dim(size);
    auto axes = [&](int64_t axis) {
      SmallVector<int64_t> dims = all(batches);
      dims.append({-1, -1});
      dims[axis] = channel;
      return dims;
    };
    if (lhsAxis >= 0)
      builder.add(op.getLhsMutable(), axes(lhsAxis));
    if (rhsAxis >= 0)
      builder.add(op.getRhsMutable(), axes(rhsAxis)).inverse = lhsAxis >= 0;
    if (resultAxis >= 0)
      builder.add(op->getResult(0), axes(resultAxis));
    builder.link.inner = channel;
    builder.link.needsInner = true;
    links.push_back(builder.link);
  };
  if (kind != Kind::Duplicate)
    make(lhs[rank - 1], rank - 1, rhsK, -1);
  make(lhs[rank - 2], rank - 2, -1, rank - 2);
  make(rhs[rhsN], -1, rhsN, rank - 1);
  rules.reason = kind == Kind::Duplicate ? "the sum over its channels would count some twice" : "";
  return rules;
}

static ChannelRules attentionRules(AttentionOp op, Kind kind) {
  ArrayRef<int64_t> query = shapeOf(op.getQuery()), value = shapeOf(op.getValue());
  int64_t heads = query[1], keyHeads = shapeOf(op.getKey())[1];
  ChannelRules rules;
  rules.reason = kind == Kind::Shift       ? "scores of shifted queries or keys differ"
                 : kind == Kind::Duplicate ? "scores would count some channels twice"
                 : kind == Kind::Center    ? "attention sees the mean over channels"
                                           : "attention mixes this axis";
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(keyHeads) || kind == Kind::Center)
    return rules;
  auto &links = rules.alternatives.emplace_back();
  auto make = [&](int64_t size) {
    LinkBuilder builder;
    builder.dim(heads);
    builder.link.inner = builder.dim(size);
    builder.link.needsInner = true;
    return builder;
  };
  // Query head h reads key head h·G/H.
  auto shareHeads = [&](LinkMember &member) {
    member.axes[1].dims = {0};
    member.axes[1].divide = heads / keyHeads;
  };
  if (kind != Kind::Shift && kind != Kind::Duplicate) {
    LinkBuilder scores = make(query[3]);
    scores.add(op.getQueryMutable(), {-1, 0, -1, 1});
    LinkMember &key = scores.add(op.getKeyMutable(), {-1, -1, -1, 1});
    key.inverse = true;
    shareHeads(key);
    links.push_back(scores.link);
  }
  LinkBuilder mix = make(value[3]);
  shareHeads(mix.add(op.getValueMutable(), {-1, -1, -1, 1}));
  mix.add(op->getResult(0), {-1, 0, -1, 1});
  links.push_back(mix.link);
  return rules;
}

static ChannelRules rotaryRules(RotaryOp op, Kind kind) {
  ChannelRules rules;
  rules.reason = "rotary embedding ties the two halves of a head to positions";
  if (kind != Kind::Permute && kind != Kind::Scale)
    return rules;
  LinkBuilder builder;
  builder.dims(shapeOf(op.getInput()));
  builder.link.pairs = 3;
  builder.add(op.getInputMutable(), all(4));
  if (kind == Kind::Permute) { // the tables move along; a scale that is equal within a pair leaves them alone
    builder.add(op.getCosMutable(), all(4));
    builder.add(op.getSinMutable(), all(4));
  }
  builder.add(op->getResult(0), all(4));
  rules.alternatives.push_back({builder.link});
  return rules;
}

//===- Norms, softmax, activations ----------------------------------------------------------------------------------------===//

/// y = normalize(x) · scale + bias over the last axis.
static ChannelRules normRules(Operation *op, const PlanOptions &options) {
  Kind kind = options.kind;
  int64_t rank = shapeOf(op->getResult(0)).size();
  bool subtractsMean = isa<LayerNormOp>(op);
  OpOperand &input = op->getOpOperand(0), &scale = op->getOpOperand(1);
  OpOperand *bias = op->getNumOperands() > 2 ? &op->getOpOperand(2) : nullptr;
  ChannelRules rules;
  LinkBuilder builder;
  builder.dims(shapeOf(op->getResult(0)));
  builder.link.inner = rank - 1;
  auto addParameters = [&](LinkBuilder &b) {
    b.add(scale, {rank - 1});
    if (bias)
      b.add(*bias, {rank - 1});
  };
  switch (kind) {
  case Kind::Permute: {
    builder.add(op->getResult(0), all(rank));
    addParameters(builder);
    if (options.permutedStores) {
      LinkBuilder store = builder;
      store.link.store = op;
      store.link.needsInner = true;
      rules.alternatives.push_back({store.link});
    }
    builder.add(input, all(rank));
    rules.alternatives.push_back({builder.link});
    return rules;
  }
  case Kind::Scale:
    builder.add(op->getResult(0), all(rank));
    addParameters(builder);
    builder.link.needsInner = true;
    rules.alternatives.push_back({builder.link});
    rules.reason = "the norm's statistics depend on the scales of its input";
    return rules;
  case Kind::Shift:
    rules.reason = "the norm's statistics depend on shifts of its input";
    if (!subtractsMean) {
      rules.reason = "an RMS norm has no bias to absorb a shift";
      return rules;
    }
    builder.add(op->getResult(0), all(rank));
    if (bias)
      builder.add(*bias, {rank - 1});
    else
      builder.link.missingBias = op;
    builder.link.needsInner = true;
    rules.alternatives.push_back({builder.link});
    return rules;
  case Kind::Rotate:
    if (subtractsMean || !isSplat(scale.get())) {
      rules.reason = subtractsMean ? "the norm subtracts the mean, which a rotation moves"
                                   : "the norm's scale differs between channels; fold it into its readers first";
      return rules;
    }
    builder.add(input, all(rank));
    builder.add(op->getResult(0), all(rank));
    builder.link.needsInner = true;
    rules.alternatives.push_back({builder.link});
    return rules;
  case Kind::Center:
    rules.reason = "an RMS norm sees the mean of its input";
    if (subtractsMean) {
      rules.reason = "a norm's result cannot be centered";
      builder.add(input, all(rank));
      builder.link.needsInner = true;
      rules.alternatives.push_back({builder.link});
    }
    return rules;
  case Kind::Duplicate:
    rules.reason = "the norm's statistics would count some channels twice";
    return rules;
  }
  llvm_unreachable("all kinds are handled");
}

static ChannelRules softmaxRules(SoftmaxOp op, Kind kind) {
  ChannelRules rules;
  if (kind == Kind::Permute) {
    rules = passOn(op);
    rules.alternatives[0][0].inner = shapeOf(op.getResult()).size() - 1;
  }
  rules.reason = "softmax does not commute with it";
  return rules;
}

static ChannelRules activationRules(ActivationOp op, Kind kind) {
  if (kind == Kind::Permute || kind == Kind::Duplicate || (kind == Kind::Scale && op.getKind() == ActivationKind::Relu))
    return passOn(op);
  ChannelRules rules;
  rules.reason = ("the nonlinearity " + stringifyActivationKind(op.getKind()) + " does not commute with it").str();
  return rules;
}

//===- Moving elements ----------------------------------------------------------------------------------------------------===//

/// expand_shape and collapse_shape: `wide` has the axes of `groups`, `narrow` one for each group.
static ChannelRules reshapeRules(Operation *op, bool expands, ArrayRef<ReassociationIndices> groups, Kind kind) {
  OpOperand &source = op->getOpOperand(0);
  Value result = op->getResult(0), wide = expands ? result : source.get();
  LinkBuilder builder;
  builder.dims(shapeOf(wide));
  SmallVector<int64_t> none(shapeOf(source.get()).size(), -1), noneOfResult(shapeOf(result).size(), -1);
  LinkMember in = builder.add(source, none), out = builder.add(op->getResult(0), noneOfResult);
  LinkMember &wideMember = expands ? out : in, &narrowMember = expands ? in : out;
  for (auto [axis, group] : llvm::enumerate(groups)) {
    int64_t sizable = llvm::count_if(group, [&](int64_t i) { return shapeOf(wide)[i] != 1; });
    if (kind == Kind::Duplicate && sizable > 1)
      continue; // the parts' sizes are fixed
    for (int64_t i : group) {
      wideMember.axes[i].dims = {static_cast<unsigned>(i)};
      narrowMember.axes[axis].dims.push_back(i);
    }
  }
  builder.link.members[0] = in;
  builder.link.members[1] = out;
  ChannelRules rules;
  rules.alternatives.push_back({builder.link});
  rules.reason = "the reshape fixes the number of channels of its parts";
  return rules;
}

static ChannelRules transposeRules(linalg::TransposeOp op) {
  LinkBuilder builder;
  builder.dims(shapeOf(op->getResult(0)));
  SmallVector<int64_t> dims(op.getPermutation().size());
  for (auto [to, from] : llvm::enumerate(op.getPermutation()))
    dims[from] = to;
  builder.add(op.getInputMutable(), dims);
  builder.add(op->getResult(0), all(dims.size()));
  ChannelRules rules;
  rules.alternatives.push_back({builder.link});
  return rules;
}

static ChannelRules sliceRules(tensor::ExtractSliceOp op, Kind kind) {
  ChannelRules rules;
  rules.reason = "the slice cuts the channels at places that are not constant";
  auto dropped = op.getDroppedDims();
  LinkBuilder builder;
  builder.dims(op.getStaticSizes());
  LinkMember source{op.getSource(), &op.getSourceMutable(), {}}, result{op.getResult(), nullptr, {}};
  for (auto [axis, size] : llvm::enumerate(shapeOf(op.getSource()))) {
    AxisIndex index;
    index.offset = op.getStaticOffsets()[axis];
    index.stride = op.getStaticStrides()[axis];
    bool whole = op.getStaticSizes()[axis] == size && index.offset == 0 && index.stride == 1;
    bool known = !ShapedType::isDynamic(index.offset) && !ShapedType::isDynamic(index.stride);
    if (known && (whole || kind != Kind::Duplicate))
      index.dims.push_back(axis);
    // What lies outside the slice need not change.
    if (known && !whole && !ShapedType::isDynamic(size) && !ShapedType::isDynamic(op.getStaticSizes()[axis]))
      builder.link.always.push_back(axis);
    source.axes.push_back(index);
    if (!dropped.test(axis)) {
      AxisIndex &own = result.axes.emplace_back();
      own.dims = index.dims;
    }
  }
  builder.link.members = {source, result};
  rules.alternatives.push_back({builder.link});
  return rules;
}

static ChannelRules concatRules(tensor::ConcatOp op, Kind kind) {
  ChannelRules rules;
  rules.reason = "the concatenation does not keep this axis together";
  auto &links = rules.alternatives.emplace_back();
  int64_t axis = op.getDim(), offset = 0;
  for (OpOperand &use : op->getOpOperands()) {
    int64_t size = shapeOf(use.get())[axis];
    LinkBuilder builder;
    builder.dims(shapeOf(use.get()));
    SmallVector<int64_t> dims = all(builder.link.sizes.size());
    // With Duplicate, the other parts' places would change.
    if (ShapedType::isDynamic(offset) || kind == Kind::Duplicate)
      dims[axis] = -1;
    builder.add(use, dims);
    builder.add(op->getResult(0), dims).axes[axis].offset = offset;
    links.push_back(builder.link);
    offset = ShapedType::isDynamic(size) || ShapedType::isDynamic(offset) ? ShapedType::kDynamic : offset + size;
  }
  return rules;
}

static bool isConstantFloat(Value value, llvm::function_ref<bool(const APFloat &)> test) {
  APFloat number(0.0f);
  return matchPattern(value, m_ConstantFloat(&number)) && test(number);
}

static ChannelRules padRules(tensor::PadOp op, Kind kind) {
  ChannelRules rules;
  rules.reason = "the padding would not change with the channels";
  Value padding = op.getConstantPaddingValue();
  bool zero = padding && isConstantFloat(padding, [](const APFloat &f) { return f.isZero(); });
  bool scalable = zero || (padding && isConstantFloat(padding, [](const APFloat &f) { return f.isInfinity(); }));
  if (!(kind == Kind::Permute || kind == Kind::Duplicate ? static_cast<bool>(padding)
        : kind == Kind::Scale                            ? scalable
                                                         : zero && kind != Kind::Shift))
    return rules;
  LinkBuilder builder;
  builder.dims(shapeOf(op.getSource()));
  SmallVector<int64_t> dims = all(builder.link.sizes.size());
  for (int64_t axis : dims)
    if (op.getStaticLow()[axis] != 0 || op.getStaticHigh()[axis] != 0)
      dims[axis] = -1;
  builder.add(op.getSourceMutable(), dims);
  builder.add(op->getResult(0), dims);
  rules.alternatives.push_back({builder.link});
  return rules;
}

static ChannelRules fillRules(linalg::FillOp op, Kind kind) {
  ChannelRules rules;
  auto test = [&](const APFloat &f) { return f.isZero() || (f.isInfinity() && kind == Kind::Scale); };
  rules.ignore = kind == Kind::Permute || kind == Kind::Duplicate ||
                 (kind != Kind::Shift && isConstantFloat(op.getInputs()[0], test));
  rules.reason = "a filled tensor would not change with the channels";
  return rules;
}

//===- linalg.generic -----------------------------------------------------------------------------------------------------===//

namespace {
/// How a scalar of a generic's body changes if its arguments do. Scale: the exponent of the factor; Rotate, Center: 1
/// if it is a linear combination of changing arguments; Shift: the multiple of the shift.
class BodyDegree {
public:
  static constexpr int kAny = 100; ///< zero (or infinite): of every degree
  static constexpr int kBad = 101;

  BodyDegree(Kind kind, const DenseMap<Value, int> &arguments) : kind(kind), degrees(arguments) {}

  int get(Value value) {
    auto [it, isNew] = degrees.try_emplace(value, 0);
    if (!isNew)
      return it->second;
    int degree = compute(value);
    degrees[value] = degree;
    return degree;
  }

private:
  bool isLinear() const { return kind == Kind::Rotate || kind == Kind::Center; }

  int sum(int a, int b, int sign) {
    if (a == kBad || b == kBad)
      return kBad;
    if (kind == Kind::Shift)
      return a + sign * b;
    return a == kAny ? b : b == kAny || a == b ? a : kBad;
  }
  int same(int a, int b) { return kind == Kind::Scale || (a == 0 && b == 0) ? sum(a, b, 1) : kBad; }
  int product(int a, int b, int sign) {
    if (a == kBad || b == kBad || (b == kAny && sign < 0))
      return kBad;
    if (kind == Kind::Shift || (isLinear() && sign < 0 && b != 0))
      return a == 0 && b == 0 ? 0 : kBad;
    if (a == kAny || b == kAny)
      return kAny;
    return isLinear() && a + b > 1 ? kBad : a + sign * b;
  }

  int compute(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return 0;
    APFloat number(0.0f);
    if (matchPattern(value, m_ConstantFloat(&number)))
      return kind != Kind::Shift && (number.isZero() || (number.isInfinity() && kind == Kind::Scale)) ? kAny : 0;
    auto operand = [&](unsigned i) { return get(op->getOperand(i)); };
    return llvm::TypeSwitch<Operation *, int>(op)
        .Case<arith::AddFOp>([&](auto) { return sum(operand(0), operand(1), 1); })
        .Case<arith::SubFOp>([&](auto) { return sum(operand(0), operand(1), -1); })
        .Case<arith::MulFOp>([&](auto) { return product(operand(0), operand(1), 1); })
        .Case<arith::DivFOp>([&](auto) { return product(operand(0), operand(1), -1); })
        .Case<arith::NegFOp>([&](auto) { return sum(kind == Kind::Shift ? 0 : kAny, operand(0), -1); })
        .Case<arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp, arith::MinNumFOp>(
            [&](auto) { return same(operand(0), operand(1)); })
        .Case<math::AbsFOp>([&](auto) { return same(operand(0), operand(0)); })
        .Case<arith::CmpFOp>([&](auto) { return same(operand(0), operand(1)) == kBad ? kBad : 0; })
        .Case<arith::SelectOp>([&](auto) { return operand(0) == 0 ? sum2(operand(1), operand(2)) : kBad; })
        .Default([&](Operation *) {
          return op->getNumRegions() == 0 &&
                         llvm::all_of(op->getOperands(), [&](Value v) { return get(v) == 0 || get(v) == kAny; })
                     ? 0
                     : kBad;
        });
  }
  /// Of two values of which one is chosen for each element.
  int sum2(int a, int b) { return kind == Kind::Scale || isLinear() ? sum(a, b, 1) : a == b ? a : kBad; }

  Kind kind;
  DenseMap<Value, int> degrees;
};

class GenericRules {
public:
  GenericRules(linalg::GenericOp op, Kind kind) : op(op), kind(kind) {
    builder.dims(op.getStaticLoopRanges());
    for (auto [use, map] : llvm::zip_equal(op->getOpOperands(), op.getIndexingMapsArray())) {
      BlockArgument argument = op.getMatchingBlockArgument(&use);
      if (isa<RankedTensorType>(use.get().getType()) && !(argument.use_empty() && op.isDpsInit(&use)))
        slots.push_back({&use, argument, map});
    }
    findOpaqueDims();
  }

  ChannelRules get() {
    ChannelRules rules;
    rules.reason = "the elementwise computation does not commute with it";
    if (kind == Kind::Permute || kind == Kind::Duplicate) {
      for (Slot &slot : slots)
        add(builder, slot.use->get(), slot.use, slot.map);
      for (auto [i, result] : llvm::enumerate(op->getResults()))
        add(builder, result, nullptr, op.getMatchingIndexingMap(op.getDpsInitOperand(i)));
      rules.alternatives.push_back({builder.link});
    } else if (slots.size() <= 4 && (kind != Kind::Shift || op.getNumReductionLoops() == 0)) {
      SmallVector<int> degrees(slots.size());
      enumerate(degrees, 0);
      llvm::stable_sort(found, [](auto &a, auto &b) { return a.first < b.first; });
      for (auto &[cost, link] : found)
        rules.alternatives.emplace_back().push_back(std::move(link));
    }
    return rules;
  }

private:
  struct Slot {
    OpOperand *use;
    BlockArgument argument;
    AffineMap map;
  };

  static LinkMember &add(LinkBuilder &to, Value value, OpOperand *use, AffineMap map) {
    SmallVector<int64_t> dims;
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      dims.push_back(dim ? static_cast<int64_t>(dim.getPosition()) : -1);
    }
    return to.add(value, use, dims);
  }

  void findOpaqueDims() {
    ChannelLink &link = builder.link;
    link.opaqueReason = "the computation depends on the position along this axis";
    for (AffineMap map : op.getIndexingMapsArray())
      for (AffineExpr expr : map.getResults())
        if (!isa<AffineDimExpr, AffineConstantExpr>(expr))
          for (unsigned d = 0; d < op.getNumLoops(); ++d)
            if (expr.isFunctionOfDim(d))
              link.opaque.push_back(d);
    op->walk([&](linalg::IndexOp index) { link.opaque.push_back(index.getDim()); });
    // The order of a sum or a maximum does not matter.
    if (kind != Kind::Permute || !isCommutative()) {
      if (kind != Kind::Scale)
        for (auto [d, iterator] : llvm::enumerate(op.getIteratorTypesArray()))
          if (iterator == utils::IteratorType::reduction)
            link.opaque.push_back(d);
    }
  }
  bool isCommutative() {
    for (auto [i, yielded] : llvm::enumerate(op.getBody()->getTerminator()->getOperands())) {
      Operation *combine = yielded.getDefiningOp();
      BlockArgument accumulator = op.getRegionOutputArgs()[i];
      if (!isa_and_nonnull<arith::AddFOp, arith::MulFOp, arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp,
                           arith::MinNumFOp, arith::AddIOp, arith::MulIOp, arith::MaxSIOp, arith::MinSIOp,
                           arith::AndIOp, arith::OrIOp>(combine) ||
          !accumulator.hasOneUse() || *accumulator.user_begin() != combine)
        return false;
    }
    return true;
  }

  void enumerate(SmallVectorImpl<int> &degrees, size_t next) {
    if (next < degrees.size()) {
      bool isFloat = isa<FloatType>(slots[next].argument.getType());
      bool first = llvm::all_of(ArrayRef(degrees).take_front(next), [](int d) { return d == 0; });
      for (int degree : {0, 1, -1}) {
        if (degree != 0 && (!isFloat || (degree < 0 && (first || kind != Kind::Scale))))
          continue;
        degrees[next] = degree;
        enumerate(degrees, next + 1);
      }
      degrees[next] = 0;
      return;
    }
    if (llvm::any_of(degrees, [](int d) { return d != 0; }))
      tryDegrees(degrees);
  }

  void tryDegrees(ArrayRef<int> degrees) {
    DenseMap<Value, int> arguments;
    for (auto [slot, degree] : llvm::zip_equal(slots, degrees))
      arguments[slot.argument] = degree;
    BodyDegree body(kind, arguments);
    LinkBuilder to = builder;
    int activations = 0;
    for (auto [slot, degree] : llvm::zip_equal(slots, degrees)) {
      if (degree == 0 && kind != Kind::Rotate && kind != Kind::Center)
        continue;
      LinkMember &member = add(to, slot.use->get(), slot.use, slot.map);
      member.inverse = degree < 0;
      member.uniform = degree == 0;
      activations += degree != 0 && !matchPattern(slot.use->get(), m_Constant());
    }
    for (auto [i, yielded] : llvm::enumerate(op.getBody()->getTerminator()->getOperands())) {
      int degree = body.get(yielded);
      if (degree == BodyDegree::kAny)
        degree = 0;
      if (degree < -1 || degree > 1 || (degree < 0 && kind != Kind::Scale))
        return;
      // What is accumulated stays of one degree.
      BlockArgument accumulator = op.getRegionOutputArgs()[i];
      if (!accumulator.use_empty() && arguments.lookup(accumulator) != degree)
        return;
      if (degree == 0)
        continue;
      add(to, op->getResult(i), nullptr, op.getMatchingIndexingMap(op.getDpsInitOperand(i))).inverse = degree < 0;
      ++activations;
    }
    found.push_back({activations, std::move(to.link)});
  }

  linalg::GenericOp op;
  Kind kind;
  LinkBuilder builder;
  SmallVector<Slot> slots;
  std::vector<std::pair<int, ChannelLink>> found;
};
} // namespace

//===- The table ----------------------------------------------------------------------------------------------------------===//

ChannelRules mlir::quanta::getChannelRules(Operation *op, const PlanOptions &options) {
  Kind kind = options.kind;
  return llvm::TypeSwitch<Operation *, ChannelRules>(op)
      .Case<LinearOp>([&](auto linear) { return linearRules(linear, kind); })
      .Case<Conv2DOp>([&](auto conv) { return convRules(conv, kind); })
      .Case<EmbeddingOp>([&](auto embedding) { return embeddingRules(embedding); })
      .Case<MatmulOp>([&](auto matmul) { return matmulRules(matmul, kind); })
      .Case<AttentionOp>([&](auto attention) { return attentionRules(attention, kind); })
      .Case<RotaryOp>([&](auto rotary) { return rotaryRules(rotary, kind); })
      .Case<LayerNormOp, RMSNormOp>([&](Operation *norm) { return normRules(norm, options); })
      .Case<SoftmaxOp>([&](auto softmax) { return softmaxRules(softmax, kind); })
      .Case<ActivationOp>([&](auto activation) { return activationRules(activation, kind); })
      .Case<ObserveOp, tensor::CastOp>([&](Operation *pass) { return passOn(pass); })
      .Case<tensor::ExpandShapeOp>(
          [&](auto expand) { return reshapeRules(expand, true, expand.getReassociationIndices(), kind); })
      .Case<tensor::CollapseShapeOp>(
          [&](auto collapse) { return reshapeRules(collapse, false, collapse.getReassociationIndices(), kind); })
      .Case<tensor::ExtractSliceOp>([&](auto slice) { return sliceRules(slice, kind); })
      .Case<tensor::ConcatOp>([&](auto concat) { return concatRules(concat, kind); })
      .Case<tensor::PadOp>([&](auto pad) { return padRules(pad, kind); })
      .Case<linalg::TransposeOp>([&](auto transpose) { return transposeRules(transpose); })
      .Case<linalg::FillOp>([&](auto fill) { return fillRules(fill, kind); })
      .Case<linalg::GenericOp>([&](auto generic) { return GenericRules(generic, kind).get(); })
      .Case<tensor::DimOp>([&](auto) {
        ChannelRules rules;
        rules.ignore = true;
        return rules;
      })
      .Default([&](Operation *other) {
        ChannelRules rules;
        rules.reason = ("nothing is known of how " + other->getName().getStringRef() + " treats channels").str();
        return rules;
      });
}
