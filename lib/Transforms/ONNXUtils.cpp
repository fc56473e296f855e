//===- ONNXUtils.cpp - Reading and rewriting onnx.node graphs -----------------------------------------------------------===//
#include "ONNXUtils.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

//===- Reading ------------------------------------------------------------------------------------------------------------===//

NodeOp quanta::getNode(Value value, StringRef opType) {
  auto node = value ? value.getDefiningOp<NodeOp>() : NodeOp();
  return node && node.is(opType) ? node : NodeOp();
}

Value quanta::getArgument(Value value, StringRef opType) {
  NodeOp node = getNode(value, opType);
  return node ? node.getInput(0) : Value();
}

std::optional<double> quanta::getScalar(Value value) {
  auto view = ConstantView::get(value);
  if (!view || view->size() != 1)
    return std::nullopt;
  return isa<FloatType>(view->elementType()) ? view->getDouble(0) : static_cast<double>(view->getInt(0));
}

std::optional<SmallVector<int64_t>> quanta::getIntegers(Value value) {
  auto view = ConstantView::get(value);
  if (!view || !isa<IntegerType>(view->elementType()) || view->size() > 64)
    return std::nullopt;
  SmallVector<int64_t> values;
  for (int64_t i = 0; i < view->size(); ++i)
    values.push_back(view->getInt(i));
  return values;
}

std::optional<SmallVector<int64_t>> quanta::getAxes(NodeOp node, unsigned input, int64_t rank) {
  std::optional<SmallVector<int64_t>> axes;
  if (Value value = node.getInput(input))
    axes = getIntegers(value);
  else
    axes = node.getInts("axes");
  if (axes)
    for (int64_t &axis : *axes)
      axis += axis < 0 ? rank : 0;
  return axes;
}

std::optional<ConstantView> ConstantView::get(Value value) {
  ConstantView view;
  if (!value || !matchPattern(value, m_Constant(&view.attr)))
    return std::nullopt;
  view.type = dyn_cast<RankedTensorType>(value.getType());
  if (!view.type || !(view.bytesPerElement = getByteWidth(view.type.getElementType())))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(view.attr)) {
    view.splat = dense.isSplat();
    if (view.type.getElementType().isInteger(1)) {
      // One representation for booleans, whatever the attribute's own is.
      view.splat = false;
      llvm::append_range(view.unpacked, dense.getValues<bool>());
      view.data = view.unpacked;
    } else {
      view.data = dense.getRawData();
    }
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(view.attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || static_cast<int64_t>(blob->getData().size()) < view.size() * view.bytesPerElement)
      return std::nullopt;
    view.data = blob->getData();
  } else {
    return std::nullopt;
  }
  return view;
}

static const llvm::fltSemantics &getSemantics(Type type) { return cast<FloatType>(type).getFloatSemantics(); }

double ConstantView::getDouble(int64_t index) const {
  const char *from = at(index);
  if (elementType().isF32()) {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
  uint64_t bits = 0;
  std::memcpy(&bits, from, bytesPerElement);
  llvm::APFloat value(getSemantics(elementType()), llvm::APInt(8 * bytesPerElement, bits));
  bool losesInfo;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return value.convertToDouble();
}

int64_t ConstantView::getInt(int64_t index) const {
  uint64_t bits = 0;
  std::memcpy(&bits, at(index), bytesPerElement);
  bool isSigned = !elementType().isUnsignedInteger() && !elementType().isInteger(1);
  return isSigned ? llvm::SignExtend64(bits, 8 * bytesPerElement) : bits;
}

ElementsAttr ConstantView::reshaped(RankedTensorType newType) const {
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense.reshape(newType);
  return DenseResourceElementsAttr::get(newType, cast<DenseResourceElementsAttr>(attr).getRawHandle());
}

//===- Making -------------------------------------------------------------------------------------------------------------===//

unsigned quanta::getByteWidth(Type elementType) {
  if (elementType.isInteger(1))
    return 1;
  if (!elementType.isIntOrFloat() || elementType.getIntOrFloatBitWidth() > 64)
    return 0;
  return elementType.getIntOrFloatBitWidth() % 8 ? 0 : elementType.getIntOrFloatBitWidth() / 8;
}

void quanta::storeDouble(char *to, Type elementType, double value) {
  if (elementType.isF32()) {
    float narrow = static_cast<float>(value);
    std::memcpy(to, &narrow, 4);
    return;
  }
  llvm::APFloat converted(value);
  bool losesInfo;
  converted.convert(getSemantics(elementType), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  uint64_t bits = converted.bitcastToAPInt().getZExtValue();
  std::memcpy(to, &bits, getByteWidth(elementType));
}

void quanta::storeInt(char *to, Type elementType, int64_t value) {
  if (elementType.isInteger(1))
    value = value != 0;
  std::memcpy(to, &value, getByteWidth(elementType));
}

ElementsAttr quanta::makeElements(RankedTensorType type, ArrayRef<char> bytes) {
  constexpr size_t maxInline = 64;
  if (bytes.size() > maxInline)
    return DenseResourceElementsAttr::get(type, "folded",
                                          HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, /*align=*/64));
  if (type.getElementType().isInteger(1)) {
    SmallVector<bool> values(bytes.begin(), bytes.end());
    return DenseElementsAttr::get(type, values);
  }
  return DenseElementsAttr::getFromRawBuffer(type, bytes);
}

Value quanta::makeConstant(OpBuilder &builder, Location loc, ElementsAttr value) {
  return arith::ConstantOp::create(builder, loc, value);
}

Value quanta::makeIntegers(OpBuilder &builder, Location loc, ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get(values.size(), builder.getI64Type());
  return makeConstant(builder, loc, DenseElementsAttr::get(type, values));
}

Value quanta::makeFloat(OpBuilder &builder, Location loc, Type elementType, double value) {
  SmallVector<char, 8> bytes(getByteWidth(elementType));
  storeDouble(bytes.data(), elementType, value);
  return makeConstant(builder, loc, makeElements(RankedTensorType::get({}, elementType), bytes));
}

Value quanta::makeNode(OpBuilder &builder, Location loc, StringRef opType, int64_t sinceVersion, ValueRange inputs,
                       Type result, ArrayRef<NamedAttribute> attributes, StringRef domain) {
  return NodeOp::create(builder, loc, TypeRange(result), builder.getStringAttr(opType), builder.getStringAttr(domain),
                        builder.getI64IntegerAttr(sinceVersion), inputs, builder.getDictionaryAttr(attributes),
                        DenseBoolArrayAttr(), /*subgraphsCount=*/0)
      .getResult(0);
}

Value quanta::unsqueezeTo(OpBuilder &builder, Location loc, Value value, int64_t rank) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t added = rank - type.getRank();
  if (added <= 0)
    return value;
  SmallVector<int64_t> dims(added, 1);
  llvm::append_range(dims, type.getShape());
  Value axes = makeIntegers(builder, loc, llvm::to_vector(llvm::seq<int64_t>(0, added)));
  return makeNode(builder, loc, "Unsqueeze", 13, {value, axes}, type.clone(dims));
}

//===- Rewriting ----------------------------------------------------------------------------------------------------------===//

bool quanta::canReplace(Value value, Value replacement) {
  return value.getType() == replacement.getType() ||
         llvm::none_of(value.getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); });
}

void quanta::rewriteUpwards(func::FuncOp function, function_ref<Value(NodeOp, OpBuilder &)> pattern) {
  if (function.isExternal())
    return;
  OpBuilder builder(function.getContext());
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front()))) {
    if (isOpTriviallyDead(&op)) {
      op.erase();
      continue;
    }
    auto node = dyn_cast<NodeOp>(op);
    if (!node || node.getNumRegions() || node.getNumResults() == 0 ||
        !llvm::all_of(llvm::drop_begin(node.getResults()), [](Value extra) { return extra.use_empty(); }))
      continue;
    builder.setInsertionPoint(node);
    Value replacement = pattern(node, builder);
    if (!replacement || !canReplace(node.getResult(0), replacement))
      continue;
    node.getResult(0).replaceAllUsesWith(replacement);
    node.erase();
  }
}
