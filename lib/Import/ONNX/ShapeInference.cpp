//===- ShapeInference.cpp - Symbolic shapes of a function ---------------------------------------------------------===//
#include "Inference.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

//===- Inference --------------------------------------------------------------------------------------------------===//

std::optional<int64_t> Inference::smallCount(ArrayRef<AffineExpr> dims) {
  int64_t count = 1;
  for (AffineExpr dim : dims) {
    auto size = constant(dim);
    if (!size || *size < 0 || (count *= std::min<int64_t>(*size, maxElements + 1)) > maxElements * maxElements)
      return std::nullopt;
  }
  return count <= maxElements ? std::optional(count) : std::nullopt;
}

LogicalResult Inference::result(Type elementType, Exprs dims, std::optional<Exprs> elements) {
  int64_t count = 1;
  for (AffineExpr &dim : dims) {
    if (!dim)
      return error("the size of the result cannot be expressed or is too large");
    auto size = constant(dim);
    if (size && *size < 0)
      return error("the result would have a negative size");
    // 2^48 elements are more than any machine has; below, products of sizes and element sizes cannot overflow.
    if (size && *size != 0 && (llvm::MulOverflow(count, *size, count) || count > (int64_t(1) << 48)))
      return error("the result is too large");
    c.assumeNonNegative(dim);
  }
  if (dims.size() > 32)
    return error("the result has more than 32 dimensions");
  unsigned index = results.size();
  if (elements) {
    auto expected = smallCount(dims);
    bool integer = elementType.isIntOrIndex() && !elementType.isInteger(1);
    if (!expected || *expected != int64_t(elements->size()) ||
        (!elements->empty() && !llvm::any_of(*elements, [](AffineExpr e) { return !!e; })))
      elements.reset();
    for (unsigned i = 0; elements && i < elements->size(); ++i) {
      AffineExpr &element = (*elements)[i];
      auto value = constant(element);
      bool fits = !value || elementType.isF64() || elementType.isF32() ||
                  (elementType.isIntOrIndex() && llvm::isIntN(elementType.getIntOrFloatBitWidth() + 1, *value));
      if (element && fits)
        continue;
      if (integer && index < node.op->getNumResults())
        element = c.element(node.op->getResult(index), i);
      else
        elements.reset();
    }
  }
  results.push_back({std::move(dims), std::move(elements)});
  types.push_back(RankedTensorType::get(results.back().getStatic(), elementType));
  return success();
}

AffineExpr Inference::unify(AffineExpr a, AffineExpr b) {
  auto x = constant(a), y = constant(b);
  if (x && y)
    return *x == *y ? a : AffineExpr();
  return x ? a : y ? b : c.simpler(a, b);
}

std::optional<Exprs> Inference::broadcast(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Exprs result(a);
  for (unsigned i = 0; i < b.size(); ++i) {
    AffineExpr &dim = result[a.size() - b.size() + i];
    if (constant(b[i]) == 1)
      continue;
    dim = constant(dim) == 1 ? b[i] : unify(dim, b[i]);
    if (!dim)
      return std::nullopt;
  }
  return result;
}

SmallVector<int64_t> Inference::broadcastPositions(ArrayRef<AffineExpr> operand, ArrayRef<AffineExpr> result) {
  int64_t count = *smallCount(result);
  SmallVector<int64_t> positions(count, 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, stride = 1;
    for (int64_t axis = result.size() - 1; axis >= 0; --axis) {
      int64_t size = *constant(result[axis]), index = rest % size;
      rest /= size;
      int64_t own = axis - int64_t(result.size() - operand.size());
      if (own < 0)
        break;
      int64_t ownSize = *constant(operand[own]);
      positions[i] += (ownSize == 1 ? 0 : index) * stride;
      stride *= ownSize;
    }
  }
  return positions;
}

//===- SymbolicShapes ---------------------------------------------------------------------------------------------===//

std::optional<Exprs> SymbolicShapes::getElements(Value value) {
  const ValueShape &shape = get(value);
  if (shape.elements)
    return shape.elements;
  auto count = Inference::smallCount(shape.dims);
  Type type = cast<ShapedType>(value.getType()).getElementType();
  if (!count || !type.isInteger() || type.isInteger(1))
    return std::nullopt;
  Exprs elements;
  for (int64_t i = 0; i < *count; ++i)
    elements.push_back(symbols->element(value, i));
  return elements;
}

/// Elements of a small constant if all are integral.
static std::optional<Exprs> constantElements(ElementsAttr attr, ShapeContext &c) {
  Exprs elements;
  Type type = attr.getElementType();
  auto addFloat = [&](double value) {
    if (std::isfinite(value) && std::floor(value) == value && std::abs(value) <= 9007199254740992.0)
      elements.push_back(c.constant(value));
  };
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    if (isa<FloatType>(type)) {
      for (const APFloat &value : dense.getValues<APFloat>()) {
        APFloat wide = value;
        bool lost;
        wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
        addFloat(wide.convertToDouble());
      }
    } else if (auto integer = dyn_cast<IntegerType>(type)) {
      bool isSigned = !integer.isUnsigned() && integer.getWidth() > 1;
      for (const APInt &value : dense.getValues<APInt>())
        if (isSigned || value.isSignedIntN(63) || value.getActiveBits() < 64)
          elements.push_back(c.constant(isSigned ? value.getSExtValue() : int64_t(value.getZExtValue())));
    }
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    unsigned width = type.isIntOrFloat() ? type.getIntOrFloatBitWidth() / 8 : 0;
    if (!blob || blob->getData().size() != uint64_t(attr.getNumElements()) * std::max(width, 1u))
      return std::nullopt;
    auto each = [&](auto example, auto &&add) {
      decltype(example) value;
      for (int64_t i = 0; i < attr.getNumElements(); ++i) {
        std::memcpy(&value, blob->getData().data() + i * sizeof(value), sizeof(value));
        add(value);
      }
    };
    auto addInteger = [&](int64_t value) { elements.push_back(c.constant(value)); };
    if (type.isInteger(64) && !type.isUnsignedInteger())
      each(int64_t(), addInteger);
    else if (type.isInteger(32) && !type.isUnsignedInteger())
      each(int32_t(), addInteger);
    else if (type.isInteger(1))
      each(int8_t(), addInteger);
    else if (type.isF32())
      each(float(), addFloat);
    else if (type.isF64())
      each(double(), addFloat);
  }
  if (int64_t(elements.size()) != attr.getNumElements())
    return std::nullopt;
  return elements;
}

void SymbolicShapes::addConstant(arith::ConstantOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getType());
  if (!type)
    return;
  ValueShape &shape = shapes[op.getResult()];
  shape = {};
  for (int64_t size : type.getShape())
    shape.dims.push_back(symbols->constant(size));
  if (type.getNumElements() <= maxElements)
    shape.elements = constantElements(cast<ElementsAttr>(op.getValue()), *symbols);
}

FailureOr<SmallVector<Type>> SymbolicShapes::addNode(onnx::NodeOp op, std::string &why) {
  BoundNode node(op);
  if (!node) {
    why = "no rule for this operator";
    return failure();
  }
  for (auto [position, spec] : llvm::enumerate(node.row->inputs))
    if (spec.kind == InputSpec::Kind::Required && !op.getInput(position)) {
      why = ("input '" + spec.name + "' is missing").str();
      return failure();
    }
  for (Value operand : op.getOperands())
    if (!isa<RankedTensorType>(operand.getType()) || !contains(operand)) {
      why = "an operand is not a tensor of known rank";
      return failure();
    }
  Inference inference(node, *this);
  if (failed(node.row->infer(inference)) || inference.results.size() < op->getNumResults()) {
    why = inference.why.empty() ? "shapes of the results cannot be inferred" : inference.why;
    return failure();
  }
  for (auto [value, shape] : llvm::zip(op->getResults(), inference.results))
    shapes[value] = shape;
  inference.types.resize(op->getNumResults());
  return inference.types;
}

FailureOr<SymbolicShapes> SymbolicShapes::compute(func::FuncOp function) {
  SymbolicShapes result(function.getContext());
  ShapeContext &c = result.context();
  auto dims = function->getAttrOfType<ArrayAttr>("quanta.dims");
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    unsigned index = argument.getArgNumber();
    auto names = dims && index < dims.size() ? dyn_cast<ArrayAttr>(dims[index]) : ArrayAttr();
    if (!type || (names && names.size() != size_t(type.getRank())))
      return function.emitError() << "argument " << index << " is not a tensor described by 'quanta.dims'";
    ValueShape shape;
    for (int64_t axis = 0; axis < type.getRank(); ++axis) {
      auto name = names ? dyn_cast<StringAttr>(names[axis]) : StringAttr();
      if (!type.isDynamicDim(axis))
        shape.dims.push_back(c.constant(type.getDimSize(axis)));
      else
        shape.dims.push_back(c.dim(name ? name.getValue().str() : llvm::formatv("arg{0}.dim{1}", index, axis).str()));
    }
    result.set(argument, std::move(shape));
  }
  for (Operation &op : function.getBody().front().without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      result.addConstant(constant);
      continue;
    }
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node)
      return op.emitError("has no symbolic shape");
    std::string why;
    if (failed(result.addNode(node, why)))
      return op.emitError() << why;
  }
  return result;
}
