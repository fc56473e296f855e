//===- QuantaOps.cpp - Verifiers, folders and syntax of the quanta ops ----------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace mlir::quanta;

/// `quanta.activation gelu %x`: the kind is a keyword.
static ParseResult parseActivationKeyword(OpAsmParser &parser, ActivationKindAttr &kind) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  auto parsed = symbolizeActivationKind(keyword);
  if (!parsed)
    return parser.emitError(loc, "unknown activation '") << keyword << "'";
  kind = ActivationKindAttr::get(parser.getContext(), *parsed);
  return success();
}
static void printActivationKeyword(OpAsmPrinter &printer, Operation *, ActivationKindAttr kind) {
  printer << stringifyActivationKind(kind.getValue());
}

#define GET_OP_CLASSES
#include "quanta/Dialect/IR/QuantaOps.cpp.inc"

void QuantaDialect::registerOps() {
  addOperations<
#define GET_OP_LIST
#include "quanta/Dialect/IR/QuantaOps.cpp.inc"
      >();
}

Operation *QuantaDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  if (auto components = dyn_cast<DictionaryAttr>(value))
    return ConstantOp::create(builder, loc, type, components);
  return arith::ConstantOp::materialize(builder, value, type, loc);
}

//===- Shape checks ---------------------------------------------------------------------------------------------------===//

static RankedTensorType ranked(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Equal, or at least one not known.
static bool agree(int64_t a, int64_t b) { return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b); }
/// The same, or one of them broadcast.
static bool broadcasts(int64_t a, int64_t b) { return agree(a, b) || a == 1 || b == 1; }

static LogicalResult expectRank(Operation *op, StringRef name, Value value, int64_t rank) {
  if (value && ranked(value).getRank() != rank)
    return op->emitOpError() << "expected operand '" << name << "' of rank " << rank << " but got " << value.getType();
  return success();
}

static LogicalResult expectSize(Operation *op, StringRef name, Value value, unsigned dim, int64_t size) {
  if (value && !agree(ranked(value).getDimSize(dim), size))
    return op->emitOpError() << "expected dimension " << dim << " of '" << name << "' to be " << size << " but got "
                             << ranked(value).getDimSize(dim);
  return success();
}

static LogicalResult expectResult(Operation *op, ArrayRef<int64_t> shape) {
  auto type = ranked(op->getResult(0));
  bool matches = type.getRank() == static_cast<int64_t>(shape.size());
  for (size_t i = 0; matches && i < shape.size(); ++i)
    matches = agree(type.getDimSize(i), shape[i]);
  if (matches)
    return success();
  auto diag = op->emitOpError() << "expected a result of shape [";
  for (auto [i, size] : llvm::enumerate(shape)) {
    if (i)
      diag << ", ";
    if (ShapedType::isDynamic(size))
      diag << "?";
    else
      diag << size;
  }
  return diag << "] but got " << type;
}

/// A float operand's element type must be the result's (encodings keep the logical type).
static LogicalResult expectSameElementType(Operation *op) {
  Type element = ranked(op->getResult(0)).getElementType();
  for (Value operand : op->getOperands())
    if (ranked(operand).getElementType() != element)
      return op->emitOpError() << "expected operands of element type " << element << " but got " << operand.getType();
  return success();
}

LogicalResult LinearOp::verify() {
  auto input = ranked(getInput());
  if (input.getRank() < 1)
    return emitOpError() << "expected operand 'input' of rank 1 or more but got " << input;
  if (failed(expectRank(*this, "weight", getWeight(), 2)) || failed(expectRank(*this, "bias", getBias(), 1)) ||
      failed(expectSameElementType(*this)))
    return failure();
  auto weight = ranked(getWeight());
  if (failed(expectSize(*this, "weight", getWeight(), 1, input.getShape().back())) ||
      failed(expectSize(*this, "bias", getBias(), 0, weight.getDimSize(0))))
    return failure();
  SmallVector<int64_t> shape(input.getShape());
  shape.back() = weight.getDimSize(0);
  return expectResult(*this, shape);
}

LogicalResult MatmulOp::verify() {
  auto lhs = ranked(getLhs()), rhs = ranked(getRhs());
  int64_t rank = lhs.getRank();
  if (rank < 2 || rhs.getRank() != rank)
    return emitOpError() << "expected operands of one rank of 2 or more but got " << lhs << " and " << rhs;
  if (failed(expectSameElementType(*this)))
    return failure();
  unsigned contraction = getTransposeRhs() ? rank - 1 : rank - 2, columns = getTransposeRhs() ? rank - 2 : rank - 1;
  if (failed(expectSize(*this, "rhs", getRhs(), contraction, lhs.getShape().back())))
    return failure();
  SmallVector<int64_t> shape(lhs.getShape());
  for (int64_t i = 0; i < rank - 2; ++i) {
    if (!broadcasts(shape[i], rhs.getDimSize(i)))
      return emitOpError() << "expected batch dimension " << i << " to be equal or 1 but got " << lhs << " and " << rhs;
    if (shape[i] == 1)
      shape[i] = rhs.getDimSize(i);
  }
  shape.back() = rhs.getDimSize(columns);
  return expectResult(*this, shape);
}

LogicalResult Conv2DOp::verify() {
  if (failed(expectRank(*this, "input", getInput(), 4)) || failed(expectRank(*this, "weight", getWeight(), 4)) ||
      failed(expectRank(*this, "bias", getBias(), 1)) || failed(expectSameElementType(*this)))
    return failure();
  auto input = ranked(getInput()), weight = ranked(getWeight());
  if (getStrides().size() != 2 || getDilations().size() != 2 || getPads().size() != 4)
    return emitOpError() << "expected 2 strides, 2 dilations and 4 pads but got " << getStrides().size() << ", "
                         << getDilations().size() << " and " << getPads().size();
  int64_t groups = getGroups();
  for (int64_t value : llvm::concat<const int64_t>(getStrides(), getDilations()))
    if (value < 1)
      return emitOpError() << "expected positive strides and dilations but got " << value;
  if (groups < 1 || (!weight.isDynamicDim(0) && weight.getDimSize(0) % groups != 0))
    return emitOpError() << "expected groups to divide the " << weight.getDimSize(0) << " output channels but got " << groups;
  if (!weight.isDynamicDim(1) && failed(expectSize(*this, "input", getInput(), 1, weight.getDimSize(1) * groups)))
    return failure();
  if (failed(expectSize(*this, "bias", getBias(), 0, weight.getDimSize(0))))
    return failure();
  SmallVector<int64_t> shape{input.getDimSize(0), weight.getDimSize(0), ShapedType::kDynamic, ShapedType::kDynamic};
  for (unsigned i = 0; i < 2; ++i) {
    int64_t size = input.getDimSize(2 + i), kernel = weight.getDimSize(2 + i);
    if (ShapedType::isDynamic(size) || ShapedType::isDynamic(kernel))
      continue;
    int64_t span = size + getPads()[i] + getPads()[i + 2] - (getDilations()[i] * (kernel - 1) + 1);
    if (span < 0)
      return emitOpError() << "expected a kernel no larger than the padded input in dimension " << 2 + i;
    shape[2 + i] = span / getStrides()[i] + 1;
  }
  return expectResult(*this, shape);
}

/// Scale and bias of a norm are vectors of the last dimension.
static LogicalResult verifyNorm(Operation *op, Value input, Value scale, Value bias) {
  if (ranked(input).getRank() < 1)
    return op->emitOpError() << "expected operand 'input' of rank 1 or more but got " << input.getType();
  int64_t channels = ranked(input).getShape().back();
  if (failed(expectRank(op, "scale", scale, 1)) || failed(expectRank(op, "bias", bias, 1)) ||
      failed(expectSize(op, "scale", scale, 0, channels)) || failed(expectSize(op, "bias", bias, 0, channels)))
    return failure();
  return expectSameElementType(op);
}
LogicalResult LayerNormOp::verify() { return verifyNorm(*this, getInput(), getScale(), getBias()); }
LogicalResult RMSNormOp::verify() { return verifyNorm(*this, getInput(), getScale(), Value()); }

LogicalResult SoftmaxOp::verify() {
  if (ranked(getInput()).getRank() < 1)
    return emitOpError() << "expected an operand of rank 1 or more but got " << getInput().getType();
  return success();
}
LogicalResult ActivationOp::verify() {
  if (!isa<FloatType>(ranked(getInput()).getElementType()))
    return emitOpError() << "expected a floating-point tensor but got " << getInput().getType();
  return success();
}

LogicalResult RotaryOp::verify() {
  for (auto [name, value] : {std::pair("input", getInput()), std::pair("cos", getCos()), std::pair("sin", getSin())})
    if (failed(expectRank(*this, name, value, 4)))
      return failure();
  auto input = ranked(getInput());
  int64_t channels = input.getDimSize(3);
  if (ShapedType::isDynamic(channels) || channels % 2 != 0)
    return emitOpError() << "expected a static even number of channels but got " << input;
  for (auto [name, table] : {std::pair("cos", ranked(getCos())), std::pair("sin", ranked(getSin()))})
    for (unsigned i = 0; i < 4; ++i)
      if (!agree(table.getDimSize(i), input.getDimSize(i)) && !(i < 2 && table.getDimSize(i) == 1))
        return emitOpError() << "expected '" << name << "' to match dimension " << i << " of " << input << " but got " << table;
  return success();
}

LogicalResult AttentionOp::verify() {
  for (auto [name, value] : {std::pair("query", getQuery()), std::pair("key", getKey()), std::pair("value", getValue())})
    if (failed(expectRank(*this, name, value, 4)))
      return failure();
  auto query = ranked(getQuery()), key = ranked(getKey()), value = ranked(getValue());
  if (!query.isDynamicDim(1) && !key.isDynamicDim(1) && query.getDimSize(1) % key.getDimSize(1) != 0)
    return emitOpError() << "expected key heads to divide the " << query.getDimSize(1) << " query heads but got "
                         << key.getDimSize(1);
  if (failed(expectSize(*this, "key", getKey(), 3, query.getDimSize(3))) ||
      failed(expectSize(*this, "value", getValue(), 1, key.getDimSize(1))) ||
      failed(expectSize(*this, "value", getValue(), 2, key.getDimSize(2))))
    return failure();
  if (Value mask = getMask()) {
    if (failed(expectRank(*this, "mask", mask, 4)))
      return failure();
    int64_t scores[4] = {query.getDimSize(0), query.getDimSize(1), query.getDimSize(2), key.getDimSize(2)};
    for (unsigned i = 0; i < 4; ++i)
      if (!agree(ranked(mask).getDimSize(i), scores[i]) && ranked(mask).getDimSize(i) != 1)
        return emitOpError() << "expected 'mask' dimension " << i << " to be 1 or " << scores[i] << " but got " << mask.getType();
  }
  return expectResult(*this, {query.getDimSize(0), query.getDimSize(1), query.getDimSize(2), value.getDimSize(3)});
}

LogicalResult EmbeddingOp::verify() {
  if (failed(expectRank(*this, "table", getTable(), 2)))
    return failure();
  if (!isa<IntegerType>(ranked(getIndices()).getElementType()))
    return emitOpError() << "expected integer indices but got " << getIndices().getType();
  SmallVector<int64_t> shape(ranked(getIndices()).getShape());
  shape.push_back(ranked(getTable()).getDimSize(1));
  return expectResult(*this, shape);
}

//===- cache --------------------------------------------------------------------------------------------------------------===//

LogicalResult CacheOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || type.getRank() != 4 || !type.hasStaticShape() || !type.getElementType().isF32())
    return emitOpError() << "expected a static [B, H, N, D] tensor of f32 but got " << getType();
  return success();
}

/// A tensor of the cache's sizes, but for the number of positions.
static LogicalResult verifyCacheUser(Operation *op, FlatSymbolRefAttr name, Type type, bool encoded, SymbolTableCollection &symbols) {
  auto cache = symbols.lookupNearestSymbolFrom<CacheOp>(op, name);
  if (!cache)
    return op->emitOpError() << "expected a quanta.cache named " << name;
  auto tensor = cast<RankedTensorType>(type), whole = cache.getTensorType();
  bool matches = tensor.getRank() == 4 && tensor.getElementType() == whole.getElementType();
  for (unsigned d : {0, 1, 3})
    matches = matches && agree(tensor.getDimSize(d), whole.getDimSize(d));
  if (!matches || tensor.getEncoding() != (encoded ? whole.getEncoding() : Attribute()))
    return op->emitOpError() << "expected positions of " << whole << " but got " << tensor;
  return success();
}

LogicalResult CacheAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyCacheUser(*this, getCacheAttr(), getValues().getType(), /*encoded=*/false, symbols);
}

LogicalResult CacheReadOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyCacheUser(*this, getCacheAttr(), getResult().getType(), /*encoded=*/true, symbols);
}

/// What a use of a cache takes it for.
static FailureOr<CacheRole> getRole(OpOperand &use) {
  if (auto attention = dyn_cast<AttentionOp>(use.getOwner())) {
    bool isKey = &use == &attention.getKeyMutable(), isValue = &use == &attention.getValueMutable();
    if (isKey || isValue)
      return isKey ? CacheRole::Key : CacheRole::Value;
  }
  auto rotary = dyn_cast<RotaryOp>(use.getOwner());
  if (!rotary || !llvm::all_of(rotary->getOperands(), [](Value operand) { return operand.getDefiningOp<CacheReadOp>(); }))
    return failure();
  for (OpOperand &rotated : rotary.getResult().getUses()) {
    auto attention = dyn_cast<AttentionOp>(rotated.getOwner());
    if (!attention || &rotated != &attention.getKeyMutable())
      return failure();
  }
  return &use == &rotary.getInputMutable() ? CacheRole::Key : CacheRole::Angle;
}

FailureOr<std::optional<CacheRole>> CacheReadOp::getRole() {
  std::optional<CacheRole> role;
  for (OpOperand &use : getResult().getUses()) {
    FailureOr<CacheRole> found = ::getRole(use);
    if (failed(found) || (role && *role != *found))
      return failure();
    role = *found;
  }
  return role;
}

//===- quantize -------------------------------------------------------------------------------------------------------===//

LogicalResult QuantizeOp::verify() {
  auto input = ranked(getInput()), result = ranked(getResult());
  if (getEncoding(input) || !input.getElementType().isF32())
    return emitOpError() << "expected an f32 operand without an encoding but got " << input;
  if (!getEncoding(result))
    return emitOpError() << "expected a result with an encoding but got " << result;
  if (isa<UniformAttr>(getEncoding(result)) && input.getRank() < 2)
    return emitOpError() << "expected an operand of rank 2 or more, tokens and channels, but got " << input;
  if (dropEncoding(result) != input)
    return emitOpError() << "expected a result of the operand's shape and type but got " << result;
  return success();
}

//===- constant -------------------------------------------------------------------------------------------------------===//

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getComponents(); }

LogicalResult ConstantOp::verify() {
  auto type = cast<RankedTensorType>(getResult().getType());
  EncodingAttrInterface encoding = getEncoding(type);
  if (!encoding)
    return emitOpError() << "expected a result with an encoding but got " << type;
  if (!type.hasStaticShape())
    return emitOpError() << "expected a static shape but got " << type;
  SmallVector<Component> expected = encoding.getComponents(type.getShape());
  if (expected.size() != getComponents().size())
    return emitOpError() << "expected " << expected.size() << " components but got " << getComponents().size();
  for (const Component &component : expected) {
    auto value = dyn_cast_or_null<ElementsAttr>(getComponents().get(component.name));
    auto want = RankedTensorType::get(component.shape, component.elementType);
    if (!value)
      return emitOpError() << "expected a component '" << component.name << "' of type " << want;
    if (value.getShapedType() != want)
      return emitOpError() << "expected component '" << component.name << "' of type " << want << " but got "
                           << value.getShapedType();
    auto resource = dyn_cast<DenseResourceElementsAttr>(value);
    if (!resource || !resource.getRawHandle().getBlob())
      continue;
    uint64_t bytes = llvm::divideCeil(want.getNumElements() * want.getElementTypeBitWidth(), 8);
    if (resource.getRawHandle().getBlob()->getData().size() != bytes)
      return emitOpError() << "expected " << bytes << " bytes in component '" << component.name << "' but got "
                           << resource.getRawHandle().getBlob()->getData().size();
  }
  return success();
}

//===- weight, kernel -------------------------------------------------------------------------------------------------===//

void WeightOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), getName()); }

void StateOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), getName()); }

void KernelOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  for (OpOperand &operand : (*this)->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    bool output = llvm::is_contained(getOutputs(), operand.get());
    effects.emplace_back(MemoryEffects::Read::get(), &operand, 0, /*effectOnFullRegion=*/true, SideEffects::DefaultResource::get());
    if (output)
      effects.emplace_back(MemoryEffects::Write::get(), &operand, 0, /*effectOnFullRegion=*/true, SideEffects::DefaultResource::get());
  }
}
