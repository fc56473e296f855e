//===- Candidate.cpp - What a layer could become --------------------------------------------------------------------------===//
#include "Candidate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::quanta;

static std::optional<NamedAttrList> describeWeight(Value weight) {
  NamedAttrList entries;
  entries.set("type", TypeAttr::get(weight.getType()));
  if (auto encoded = weight.getDefiningOp<ConstantOp>())
    entries.set("components", encoded.getComponentsAttr());
  else if (auto plain = weight.getDefiningOp<arith::ConstantOp>())
    entries.set("value", plain.getValue());
  else
    return std::nullopt;
  return entries;
}

std::optional<NamedAttrList> mlir::quanta::describeWeights(Operation *layer) {
  std::optional<NamedAttrList> result = describeWeight(layer->getOperand(1));
  Value input = layer->getOperand(0);
  if (!result || isa<BlockArgument>(input))
    return result;
  if (auto concat = input.getDefiningOp<tensor::ConcatOp>()) {
    auto type = concat.getType();
    if (concat.getInputs().size() != 2 || !isa<BlockArgument>(concat.getInputs()[0]) || concat.getDim() + 1 != uint64_t(type.getRank()))
      return std::nullopt;
    input = concat.getInputs()[1];
  }
  auto inner = input.getDefiningOp<LinearOp>();
  if (!inner || inner.getBias() || !isa<BlockArgument>(inner.getInput()))
    return std::nullopt;
  std::optional<NamedAttrList> first = describeWeight(inner.getWeight());
  if (!first)
    return std::nullopt;
  result->set("input", first->getDictionary(layer->getContext()));
  return result;
}

static Value createWeight(OpBuilder &builder, Location location, DictionaryAttr weight) {
  auto type = cast<RankedTensorType>(weight.getAs<TypeAttr>("type").getValue());
  if (auto components = weight.getAs<DictionaryAttr>("components"))
    return ConstantOp::create(builder, location, type, components);
  return arith::ConstantOp::create(builder, location, type, weight.getAs<TypedAttr>("value"));
}

void mlir::quanta::replaceWeights(Operation *layer, DictionaryAttr candidate) {
  if (!candidate.contains("components") && !candidate.contains("value"))
    return;
  OpBuilder builder(layer);
  Location location = layer->getOperand(1).getLoc();
  Value weight = createWeight(builder, location, candidate);
  layer->setOperand(1, weight);
  auto first = candidate.getAs<DictionaryAttr>("input");
  if (!first)
    return;
  Value input = layer->getOperand(0), inner = createWeight(builder, location, first);
  auto type = cast<RankedTensorType>(input.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = cast<RankedTensorType>(inner.getType()).getDimSize(0);
  Value branch = LinearOp::create(builder, location, type.clone(shape), input, inner, Value());
  if (int64_t columns = cast<RankedTensorType>(weight.getType()).getDimSize(1); columns != shape.back()) {
    shape.back() = columns;
    branch = tensor::ConcatOp::create(builder, location, type.clone(shape), type.getRank() - 1, ValueRange{input, branch});
  }
  layer->setOperand(0, branch);
}

SmallVector<RankedTensorType> mlir::quanta::getWeightTypes(DictionaryAttr candidate) {
  SmallVector<RankedTensorType> types;
  for (; candidate; candidate = candidate.getAs<DictionaryAttr>("input"))
    types.push_back(cast<RankedTensorType>(candidate.getAs<TypeAttr>("type").getValue()));
  return types;
}

int64_t mlir::quanta::countStoredBits(DictionaryAttr candidate) {
  int64_t bits = 0;
  for (RankedTensorType type : getWeightTypes(candidate)) {
    EncodingAttrInterface encoding = getEncoding(type);
    bits += encoding ? encoding.getStoredBits(type.getShape()) : type.getNumElements() * type.getElementTypeBitWidth();
  }
  return bits;
}
