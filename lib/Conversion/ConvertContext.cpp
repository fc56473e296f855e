//===- ConvertContext.cpp - What ONNX values have become, and their constants -----------------------------------===//
#include "ConvertContext.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::quanta;

std::string quanta::getNodeName(onnx::NodeOp op) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  return op.getOpType().str();
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
