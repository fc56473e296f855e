//===- ConvertContext.cpp - State and helpers of the ONNX conversion ----------------------------------------------===//
#include "ConvertContext.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::quanta;

//===- Constants --------------------------------------------------------------------------------------------------===//

static ArrayRef<char> getResourceData(DenseResourceElementsAttr attr) {
  AsmResourceBlob *blob = attr.getRawHandle().getBlob();
  return blob ? blob->getData() : ArrayRef<char>();
}

template <typename T> static T load(ArrayRef<char> data, size_t index) {
  T value;
  memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::vector<float> quanta::readFloats(ElementsAttr attr) {
  std::vector<float> result(attr.getNumElements());
  Type type = attr.getElementType();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr))) {
    ArrayRef<char> data = getResourceData(resource);
    if (data.size() < result.size() * type.getIntOrFloatBitWidth() / 8)
      return result;
    if (type.isF32()) {
      memcpy(result.data(), data.data(), result.size() * sizeof(float));
    } else if (type.isF64()) {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = static_cast<float>(load<double>(data, i));
    } else if (type.isBF16()) {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = llvm::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(data, i)) << 16);
    } else {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = APFloat(APFloat::IEEEhalf(), APInt(16, load<uint16_t>(data, i))).convertToFloat();
    }
    return result;
  }
  for (auto [out, value] : llvm::zip(result, cast<DenseElementsAttr>(attr).getValues<APFloat>())) {
    APFloat number = value;
    bool lost;
    number.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &lost);
    out = number.convertToFloat();
  }
  return result;
}

SmallVector<int64_t> quanta::readInts(ElementsAttr attr) {
  SmallVector<int64_t> result;
  unsigned bits = attr.getElementType().getIntOrFloatBitWidth();
  bool zeroExtend = attr.getElementType().isUnsignedInteger() || bits == 1;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr))) {
    ArrayRef<char> data = getResourceData(resource);
    size_t bytes = llvm::divideCeil(bits, 8);
    for (size_t i = 0; (i + 1) * bytes <= data.size(); ++i) {
      uint64_t value = 0;
      memcpy(&value, data.data() + i * bytes, bytes);
      result.push_back(zeroExtend ? value : llvm::SignExtend64(value, bits));
    }
    return result;
  }
  for (const APInt &value : cast<DenseElementsAttr>(attr).getValues<APInt>())
    result.push_back(zeroExtend ? value.getZExtValue() : value.getSExtValue());
  return result;
}

std::optional<int64_t> quanta::getConstant(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant ? std::optional(constant.getValue()) : std::nullopt;
}
bool quanta::isConstant(AffineExpr expr, int64_t value) { return getConstant(expr) == value; }

Type quanta::getStorageType(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return element;
  return IntegerType::get(element.getContext(), integer.getWidth() == 1 ? 8 : integer.getWidth());
}

std::string quanta::getNodeName(onnx::NodeOp op) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  return op.getOpType().str();
}

TypedAttr quanta::getNumberAttr(Type type, double value, bool isUnsigned) {
  if (auto floating = dyn_cast<FloatType>(type))
    return FloatAttr::get(floating, value);
  unsigned width = type.getIntOrFloatBitWidth();
  if (std::isinf(value))
    return IntegerAttr::get(type, value > 0 ? (isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width))
                                            : (isUnsigned ? APInt::getMinValue(width)
                                                : APInt::getSignedMinValue(width)));
  return IntegerAttr::get(type, APInt(width, static_cast<int64_t>(value), true, /*implicitTrunc=*/true));
}

//===- Scalars ----------------------------------------------------------------------------------------------------===//

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

Value ScalarBuilder::constant(Type type, double value) {
  if (isa<IndexType>(type))
    return index(static_cast<int64_t>(value));
  return arith::ConstantOp::create(b, getNumberAttr(type, value, isUnsigned));
}
Value ScalarBuilder::constantInt(Type type, int64_t value) {
  return arith::ConstantOp::create(b, cast<TypedAttr>(b.getIntegerAttr(type, value)));
}
Value ScalarBuilder::add(Value x, Value y) {
  return isFloat(x) ? op<arith::AddFOp>({x, y}) : op<arith::AddIOp>({x, y});
}
Value ScalarBuilder::sub(Value x, Value y) {
  return isFloat(x) ? op<arith::SubFOp>({x, y}) : op<arith::SubIOp>({x, y});
}
Value ScalarBuilder::mul(Value x, Value y) {
  return isFloat(x) ? op<arith::MulFOp>({x, y}) : op<arith::MulIOp>({x, y});
}
Value ScalarBuilder::neg(Value x) {
  return isFloat(x) ? op<arith::NegFOp>({x}) : sub(constantInt(x.getType(), 0), x);
}
Value ScalarBuilder::min(Value x, Value y) {
  if (isFloat(x))
    return op<arith::MinimumFOp>({x, y});
  return isUnsigned ? op<arith::MinUIOp>({x, y}) : op<arith::MinSIOp>({x, y});
}
Value ScalarBuilder::max(Value x, Value y) {
  if (isFloat(x))
    return op<arith::MaximumFOp>({x, y});
  return isUnsigned ? op<arith::MaxUIOp>({x, y}) : op<arith::MaxSIOp>({x, y});
}

/// A divisor for which the machine's division neither traps nor overflows.
static Value makeDivisorSafe(ScalarBuilder &s, Value y) {
  Value one = s.constantInt(y.getType(), 1);
  Value bad = s.compare(arith::CmpIPredicate::eq, y, s.constantInt(y.getType(), 0));
  if (!s.isUnsigned)
    bad = arith::OrIOp::create(s.b, bad, s.compare(arith::CmpIPredicate::eq, y, s.constantInt(y.getType(), -1)));
  return s.select(bad, one, y);
}
Value ScalarBuilder::div(Value x, Value y) {
  if (isFloat(x))
    return op<arith::DivFOp>({x, y});
  Value safe = makeDivisorSafe(*this, y);
  if (isUnsigned)
    return op<arith::DivUIOp>({x, safe});
  Value isMinusOne = compare(arith::CmpIPredicate::eq, y, constantInt(y.getType(), -1));
  return select(isMinusOne, neg(x), op<arith::DivSIOp>({x, safe}));
}
Value ScalarBuilder::rem(Value x, Value y) {
  if (isFloat(x))
    return op<arith::RemFOp>({x, y});
  Value safe = makeDivisorSafe(*this, y);
  return isUnsigned ? op<arith::RemUIOp>({x, safe}) : op<arith::RemSIOp>({x, safe});
}

Value ScalarBuilder::compare(arith::CmpIPredicate predicate, Value x, Value y) {
  using I = arith::CmpIPredicate;
  using F = arith::CmpFPredicate;
  if (isFloat(x)) {
    F floating = predicate == I::eq    ? F::OEQ
                 : predicate == I::ne  ? F::UNE
                 : predicate == I::slt ? F::OLT
                 : predicate == I::sle ? F::OLE
                 : predicate == I::sgt ? F::OGT
                                       : F::OGE;
    return arith::CmpFOp::create(b, floating, x, y);
  }
  if (isUnsigned)
    predicate = predicate == I::slt   ? I::ult
                : predicate == I::sle ? I::ule
                : predicate == I::sgt ? I::ugt
                : predicate == I::sge ? I::uge
                                      : predicate;
  return arith::CmpIOp::create(b, predicate, x, y);
}

Value ScalarBuilder::castTo(Value x, Type from, Type to) {
  Type target = getStorageType(to);
  bool fromUnsigned = from.isUnsignedInteger() || from.isInteger(1), toUnsigned = to.isUnsignedInteger();
  if (to.isInteger(1))
    return from.isInteger(1) ? x : toBool(compare(arith::CmpIPredicate::ne, x, constant(x.getType(), 0)));
  if (x.getType() == target)
    return x;
  if (isFloat(x) && isa<FloatType>(target)) {
    unsigned have = x.getType().getIntOrFloatBitWidth(), want = target.getIntOrFloatBitWidth();
    if (have == want)
      return castTo(arith::ExtFOp::create(b, b.getF32Type(), x), b.getF32Type(), to);
    return have < want ? Value(arith::ExtFOp::create(b, target, x)) : Value(arith::TruncFOp::create(b, target, x));
  }
  if (isFloat(x)) {
    // Out of range or NaN would be poison: clamp to what the integer type holds.
    if (x.getType().getIntOrFloatBitWidth() < 32)
      x = arith::ExtFOp::create(b, b.getF32Type(), x);
    unsigned width = target.getIntOrFloatBitWidth();
    auto limit = [&](APInt integer) {
      APFloat value(cast<FloatType>(x.getType()).getFloatSemantics());
      value.convertFromAPInt(integer, !toUnsigned, APFloat::rmTowardZero);
      return arith::ConstantOp::create(b, FloatAttr::get(x.getType(), value));
    };
    Value isNumber = arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, x, x);
    x = select(isNumber, x, constant(x.getType(), 0));
    x = max(x, limit(toUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width)));
    x = min(x, limit(toUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width)));
    return toUnsigned ? Value(arith::FPToUIOp::create(b, target, x)) : Value(arith::FPToSIOp::create(b, target, x));
  }
  if (isa<FloatType>(target))
    return fromUnsigned ? Value(arith::UIToFPOp::create(b, target, x)) : Value(arith::SIToFPOp::create(b, target, x));
  if (x.getType().getIntOrFloatBitWidth() > target.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(b, target, x);
  return fromUnsigned ? Value(arith::ExtUIOp::create(b, target, x)) : Value(arith::ExtSIOp::create(b, target, x));
}

//===- Values -----------------------------------------------------------------------------------------------------===//

ConvertContext::ConvertContext(func::FuncOp function, SymbolicShapes allShapes)
    : b(function.getLoc(), function.getContext()), shapes(std::move(allShapes)), function(function) {
  Block &entry = function.front();
  // A converted node may use constants of a later one (a bias).
  prologue = nullptr;
  for (Operation &op : llvm::make_early_inc_range(entry)) {
    auto constant = dyn_cast<arith::ConstantOp>(op);
    if (constant && prologue)
      op.moveBefore(prologue);
    else if (!constant && !prologue)
      prologue = &op;
    if (constant)
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue()))
        ++resourceUses[resource.getRawHandle().getKey()];
  }
  unsigned count = entry.getNumArguments();
  for (unsigned i = 0; i < count; ++i) {
    BlockArgument argument = entry.getArgument(i);
    auto onnxType = dyn_cast<RankedTensorType>(argument.getType());
    if (!onnxType)
      continue;
    ArrayRef<AffineExpr> sizes = dims(argument);
    Value converted = entry.addArgument(type(sizes, getStorageType(onnxType.getElementType())), argument.getLoc());
    values[argument] = Tensor{converted, SmallVector<AffineExpr>(sizes)};
    for (auto [dim, size] : llvm::enumerate(sizes))
      if (isa<AffineSymbolExpr>(size))
        dimSources.try_emplace(size, converted, dim);
  }
}

void ConvertContext::set(Value onnxValue, Tensor tensor) {
  ArrayRef<AffineExpr> expected = dims(onnxValue);
  RankedTensorType want = type(expected, getStorageType(getElementTypeOrSelf(onnxValue.getType())));
  if (tensor.value.getType() != want)
    tensor.value = tensor::CastOp::create(b, want, tensor.value);
  tensor.dims.assign(expected.begin(), expected.end());
  values[onnxValue] = std::move(tensor);
}

bool ConvertContext::isAvailable(Value onnxValue) {
  return values.contains(onnxValue) || onnxValue.getDefiningOp<arith::ConstantOp>() ||
         shapes.get(onnxValue).elements.has_value();
}

Tensor ConvertContext::get(Value onnxValue) {
  if (auto it = values.find(onnxValue); it != values.end())
    return it->second;
  if (auto constant = onnxValue.getDefiningOp<arith::ConstantOp>()) {
    auto attr = cast<ElementsAttr>(constant.getValue());
    if (attr.getElementType() != getStorageType(attr.getElementType()))
      return values[onnxValue] = makeConstant(attr);
    Tensor tensor{onnxValue, {}};
    for (int64_t size : attr.getShapedType().getShape())
      tensor.dims.push_back(this->constant(size));
    return values[onnxValue] = tensor;
  }
  // Only symbolically known so far.
  ArrayRef<AffineExpr> sizes = dims(onnxValue);
  auto result = type(sizes, getStorageType(getElementTypeOrSelf(onnxValue.getType())));
  const auto &known = *shapes.get(onnxValue).elements;
  Type element = result.getElementType();
  Tensor tensor{{}, SmallVector<AffineExpr>(sizes)};
  if (llvm::all_of(known, [](AffineExpr expr) { return isa<AffineConstantExpr>(expr); })) {
    SmallVector<APInt> numbers;
    for (AffineExpr expr : known)
      numbers.push_back(APInt(element.getIntOrFloatBitWidth(), *getConstant(expr), true, true));
    tensor.value = arith::ConstantOp::create(b, DenseElementsAttr::get(result, numbers));
  } else {
    SmallVector<Value> scalars;
    for (AffineExpr expr : known)
      scalars.push_back(arith::IndexCastOp::create(b, element, materialize(expr)));
    tensor.value = tensor::FromElementsOp::create(b, result, scalars);
  }
  return values[onnxValue] = tensor;
}

Tensor ConvertContext::input(onnx::NodeOp op, unsigned position) {
  Value value = op.getInput(position);
  return value ? get(value) : Tensor();
}

//===- Sizes ------------------------------------------------------------------------------------------------------===//

std::optional<SmallVector<AffineExpr>> ConvertContext::elements(Value onnxValue) {
  if (const auto &known = shapes.get(onnxValue).elements)
    return known;
  ElementsAttr attr = constantOf(onnxValue);
  if (!attr || !isa<IntegerType>(attr.getElementType()))
    return std::nullopt;
  return llvm::map_to_vector(readInts(attr), [&](int64_t value) { return constant(value); });
}

std::optional<SmallVector<int64_t>> ConvertContext::integers(Value onnxValue) {
  auto exprs = elements(onnxValue);
  if (!exprs || !llvm::all_of(*exprs, [](AffineExpr expr) { return isa<AffineConstantExpr>(expr); }))
    return std::nullopt;
  return llvm::map_to_vector(*exprs, [](AffineExpr expr) { return *getConstant(expr); });
}

/// True if the value follows from the arguments alone, so that it can be computed at the top.
bool ConvertContext::isEarly(AffineExpr expr) {
  bool early = true;
  expr.walk([&](AffineExpr part) {
    auto symbolExpr = dyn_cast<AffineSymbolExpr>(part);
    if (!symbolExpr)
      return;
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    if (symbol.kind == ShapeSymbol::Kind::Element)
      early &= isa<BlockArgument>(symbol.value);
    else if (symbol.kind != ShapeSymbol::Kind::Dim)
      early &= isEarly(symbol.lhs) && isEarly(symbol.rhs);
  });
  return early;
}

Value ConvertContext::materialize(AffineExpr expr) {
  if (auto it = indices.find(expr); it != indices.end())
    return it->second;
  OpBuilder::InsertionGuard guard(b);
  Location loc = b.getLoc();
  if (isEarly(expr)) {
    b.setInsertionPoint(prologue);
    b.setLoc(function.getLoc());
  }
  ScalarBuilder s{b};
  auto floorDiv = [&](Value x, Value y) -> Value { return arith::FloorDivSIOp::create(b, x, y); };
  auto binary = [&](AffineExprKind kind, Value x, Value y) -> Value {
    switch (kind) {
    case AffineExprKind::Add: return s.add(x, y);
    case AffineExprKind::Mul: return s.mul(x, y);
    case AffineExprKind::FloorDiv: return floorDiv(x, y);
    case AffineExprKind::CeilDiv: return arith::CeilDivSIOp::create(b, x, y);
    default: return s.sub(x, s.mul(floorDiv(x, y), y));
    }
  };
  Value result;
  if (auto constant = getConstant(expr)) {
    result = s.index(*constant);
  } else if (auto operation = dyn_cast<AffineBinaryOpExpr>(expr)) {
    auto negated = dyn_cast<AffineBinaryOpExpr>(operation.getRHS());
    if (expr.getKind() == AffineExprKind::Add && negated && negated.getKind() == AffineExprKind::Mul &&
        isConstant(negated.getRHS(), -1)) {
      Value lhs = materialize(operation.getLHS());
      result = s.sub(lhs, materialize(negated.getLHS()));
    } else {
      Value lhs = materialize(operation.getLHS());
      result = binary(expr.getKind(), lhs, materialize(operation.getRHS()));
    }
  } else {
    // A copy: materializing operands may not grow the table, but computing values may.
    ShapeSymbol symbol = symbols().symbols()[cast<AffineSymbolExpr>(expr).getPosition()];
    using Kind = ShapeSymbol::Kind;
    if (symbol.kind == Kind::Dim) {
      auto source = dimSources.find(expr);
      assert(source != dimSources.end() && "a named size that no argument has");
      result = tensor::DimOp::create(b, source->second.first, source->second.second);
    } else if (symbol.kind == Kind::Element) {
      Tensor tensor = get(symbol.value);
      SmallVector<Value> position(tensor.rank());
      int64_t rest = symbol.index;
      for (int64_t i = tensor.rank() - 1; i >= 0; --i) {
        int64_t size = getConstant(tensor.dims[i]).value_or(std::numeric_limits<int64_t>::max());
        position[i] = materialize(this->constant(rest % size));
        rest /= size;
      }
      Value scalar = extract(tensor, position);
      Type from = getElementTypeOrSelf(symbol.value.getType());
      result = from.isUnsignedInteger() ? Value(arith::IndexCastUIOp::create(b, b.getIndexType(), scalar))
                                        : Value(arith::IndexCastOp::create(b, b.getIndexType(), scalar));
    } else {
      Value lhs = materialize(symbol.lhs), rhs = materialize(symbol.rhs);
      if (symbol.kind == Kind::Min)
        result = s.min(lhs, rhs);
      else if (symbol.kind == Kind::Max)
        result = s.max(lhs, rhs);
      else
        result = binary(symbol.kind == Kind::FloorDiv ? AffineExprKind::FloorDiv : AffineExprKind::Mod, lhs, rhs);
    }
  }
  b.setLoc(loc);
  return indices[expr] = result;
}

OpFoldResult ConvertContext::size(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return b.getIndexAttr(*constant);
  return materialize(expr);
}
SmallVector<OpFoldResult> ConvertContext::sizes(ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector(exprs, [&](AffineExpr expr) { return size(expr); });
}

RankedTensorType ConvertContext::type(ArrayRef<AffineExpr> dims, Type element) {
  return RankedTensorType::get(
      llvm::map_to_vector(dims, [](AffineExpr expr) { return getConstant(expr).value_or(ShapedType::kDynamic); }),
      element);
}

std::optional<int64_t> ConvertContext::lowerBound(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return constant;
  auto both = [&](AffineExpr x, AffineExpr y, auto combine) -> std::optional<int64_t> {
    std::optional<int64_t> a = lowerBound(x), b = lowerBound(y);
    return a && b ? std::optional<int64_t>(combine(*a, *b)) : std::nullopt;
  };
  if (auto symbolExpr = dyn_cast<AffineSymbolExpr>(expr)) {
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    switch (symbol.kind) {
    case ShapeSymbol::Kind::Dim: return 0;
    case ShapeSymbol::Kind::Min:
      return both(symbol.lhs, symbol.rhs, [](int64_t a, int64_t b) { return std::min(a, b); });
    case ShapeSymbol::Kind::Max: {
      auto a = lowerBound(symbol.lhs), b = lowerBound(symbol.rhs);
      return a && b ? std::optional(std::max(*a, *b)) : a ? a : b;
    }
    case ShapeSymbol::Kind::FloorDiv:
    case ShapeSymbol::Kind::Mod: {
      auto bound = both(symbol.lhs, symbol.rhs, [](int64_t a, int64_t b) { return a >= 0 && b >= 0 ? 0 : -1; });
      return bound && *bound == 0 ? bound : std::nullopt;
    }
    case ShapeSymbol::Kind::Element: return std::nullopt;
    }
  }
  auto operation = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!operation)
    return std::nullopt;
  auto lhs = lowerBound(operation.getLHS()), rhs = lowerBound(operation.getRHS());
  if (!lhs || !rhs)
    return std::nullopt;
  auto factor = getConstant(operation.getRHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add: return *lhs + *rhs;
  case AffineExprKind::Mul:
    if ((factor && *factor >= 0) || (*lhs >= 0 && *rhs >= 0))
      return *lhs * *rhs;
    return std::nullopt;
  case AffineExprKind::FloorDiv:
    return factor && *factor > 0 ? std::optional(llvm::divideFloorSigned(*lhs, *factor)) : std::nullopt;
  case AffineExprKind::CeilDiv:
    return factor && *factor > 0 ? std::optional(llvm::divideCeilSigned(*lhs, *factor)) : std::nullopt;
  case AffineExprKind::Mod: return 0;
  default: return std::nullopt;
  }
}

bool ConvertContext::isAtMost(AffineExpr a, AffineExpr b) {
  auto bound = lowerBound(simplifyAffineExpr(b - a, 0, symbols().symbols().size()));
  return bound && *bound >= 0;
}
AffineExpr ConvertContext::max(AffineExpr a, AffineExpr b) {
  return isAtMost(a, b) ? b : isAtMost(b, a) ? a : symbols().max(a, b);
}
AffineExpr ConvertContext::min(AffineExpr a, AffineExpr b) {
  return isAtMost(a, b) ? a : isAtMost(b, a) ? b : symbols().min(a, b);
}

std::string ConvertContext::describe(AffineExpr expr) {
  if (auto constant = getConstant(expr))
    return std::to_string(*constant);
  if (auto symbolExpr = dyn_cast<AffineSymbolExpr>(expr)) {
    const ShapeSymbol &symbol = symbols().symbols()[symbolExpr.getPosition()];
    static const char *const names[] = {"", "min", "max", "floordiv", "mod"};
    if (symbol.kind == ShapeSymbol::Kind::Dim)
      return symbol.name;
    if (symbol.kind == ShapeSymbol::Kind::Element)
      return "a computed size";
    return names[static_cast<int>(symbol.kind)] + ("(" + describe(symbol.lhs) + ", " + describe(symbol.rhs) + ")");
  }
  auto operation = cast<AffineBinaryOpExpr>(expr);
  StringRef sign = expr.getKind() == AffineExprKind::Add        ? " + "
                   : expr.getKind() == AffineExprKind::Mul      ? " * "
                   : expr.getKind() == AffineExprKind::FloorDiv ? " floordiv "
                   : expr.getKind() == AffineExprKind::CeilDiv  ? " ceildiv "
                                                                : " mod ";
  return (describe(operation.getLHS()) + sign + describe(operation.getRHS())).str();
}

LogicalResult ConvertContext::requireEqual(onnx::NodeOp op, AffineExpr x, AffineExpr y, const Twine &what) {
  if (x == y || checked.contains({x, y}))
    return success();
  if (isa<AffineConstantExpr>(x) && isa<AffineConstantExpr>(y))
    return op.emitError() << "node " << getNodeName(op) << ": " << describe(x) << " and " << describe(y) << " differ ("
                          << what << ")";
  checked.insert({x, y});
  OpBuilder::InsertionGuard guard(b);
  if (isEarly(x) && isEarly(y))
    b.setInsertionPoint(prologue);
  Value lhs = materialize(x), rhs = materialize(y);
  require(op, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lhs, rhs),
          describe(x) + " and " + describe(y) + " differ (" + what + ")");
  return success();
}

void ConvertContext::require(onnx::NodeOp op, Value condition, const Twine &message) {
  cf::AssertOp::create(b, condition, b.getStringAttr("node " + getNodeName(op) + ": " + message));
}

LogicalResult ConvertContext::requireBroadcast(onnx::NodeOp op, ArrayRef<Tensor> inputs, ArrayRef<AffineExpr> out) {
  for (const Tensor &input : inputs)
    for (auto [have, want] : llvm::zip(llvm::reverse(input.dims), llvm::reverse(out)))
      if (!isConstant(have, 1) && failed(requireEqual(op, have, want, "broadcast")))
        return failure();
  return success();
}

//===- Constants --------------------------------------------------------------------------------------------------===//

ElementsAttr ConvertContext::constantOf(Value onnxValue) {
  while (auto node = onnxValue.getDefiningOp<onnx::NodeOp>()) {
    if (!node.is("Identity"))
      return {};
    onnxValue = node.getInput(0);
  }
  auto constant = onnxValue.getDefiningOp<arith::ConstantOp>();
  return constant ? dyn_cast<ElementsAttr>(constant.getValue()) : ElementsAttr();
}

Tensor ConvertContext::makeConstant(ElementsAttr attr) {
  auto type = cast<RankedTensorType>(attr.getShapedType());
  auto stored = RankedTensorType::get(type.getShape(), getStorageType(type.getElementType()));
  if (stored != type) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr)))
      attr = DenseResourceElementsAttr::get(stored, resource.getRawHandle());
    else if (type.getElementType().isInteger(1))
      attr = DenseElementsAttr::get(stored, ArrayRef<int8_t>(llvm::map_to_vector(readInts(attr), [](int64_t value) {
                                      return static_cast<int8_t>(value);
                                    })));
    else
      attr = DenseElementsAttr::getFromRawBuffer(stored, cast<DenseElementsAttr>(attr).getRawData());
  }
  Tensor tensor{arith::ConstantOp::create(b, stored, cast<TypedAttr>(Attribute(attr))), {}};
  for (int64_t size : stored.getShape())
    tensor.dims.push_back(constant(size));
  return tensor;
}

Tensor ConvertContext::makeConstant(StringRef name, ArrayRef<int64_t> shape,
                                    function_ref<void(MutableArrayRef<float>)> fill) {
  auto type = RankedTensorType::get(shape, b.getF32Type());
  size_t count = type.getNumElements();
  if (count * sizeof(float) <= 64) {
    SmallVector<float> values(count);
    fill(values);
    return makeConstant(cast<ElementsAttr>(DenseElementsAttr::get(type, ArrayRef<float>(values))));
  }
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(count * sizeof(float), 64);
  fill({reinterpret_cast<float *>(blob.getMutableData().data()), count});
  return makeConstant(cast<ElementsAttr>(Attribute(DenseResourceElementsAttr::get(type, name, std::move(blob)))));
}

static void freeResource(MLIRContext *context, StringRef key) {
  DenseResourceElementsHandle::getManagerInterface(context).getBlobManager().update(key, AsmResourceBlob());
}

void ConvertContext::release(Value onnxConstant) {
  auto attr = dyn_cast_or_null<DenseResourceElementsAttr>(Attribute(constantOf(onnxConstant)));
  if (!attr)
    return;
  StringRef key = attr.getRawHandle().getKey();
  if (onnxConstant.getDefiningOp<arith::ConstantOp>() && onnxConstant.hasOneUse() && !values.contains(onnxConstant) &&
      resourceUses.lookup(key) == 1)
    freeResource(b.getContext(), key);
  else
    superseded.push_back(key.str());
}

void ConvertContext::releaseRemaining(ModuleOp module) {
  if (superseded.empty())
    return;
  llvm::StringSet<> used;
  module.walk([&](arith::ConstantOp op) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(op.getValue()))
      used.insert(resource.getRawHandle().getKey());
  });
  for (StringRef key : superseded)
    if (!used.contains(key))
      freeResource(b.getContext(), key);
}

//===- Building blocks --------------------------------------------------------------------------------------------===//

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

  // Groups of dimensions with equal products, the smallest ones first.
  struct Group {
    unsigned from, fromEnd, to, toEnd;
  };
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
  SmallVector<Group> groups;
  unsigned i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    std::optional<Group> found;
    unsigned limit = from.size() - i + to.size() - j;
    for (unsigned total = 2; total <= limit && !found; ++total)
      for (unsigned n = 1; n < total && !found; ++n)
        if (unsigned m = total - n;
            i + n <= from.size() && j + m <= to.size() && equal(from.slice(i, n), to.slice(j, m)))
          found = Group{i, i + n, j, j + m};
    if (!found)
      break;
    groups.push_back(*found);
    i = found->fromEnd;
    j = found->toEnd;
  }
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
  for (const Group &group : groups) {
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
    for (const Group &group : groups) {
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
