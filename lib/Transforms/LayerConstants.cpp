//===- LayerConstants.cpp - Constants of layers and norms change ----------------------------------------------------------===//
#include "LayerConstants.h"
#include "LayerSolver.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::quanta;

bool LayerConstants::isFloat(Value value) {
  auto constant = value ? value.getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
  SmallVector<float> storage;
  return constant && cast<ShapedType>(constant.getType()).getElementType().isF32() && getFloats(constant.getValue(), storage);
}

std::vector<double> LayerConstants::read(Value constant) {
  SmallVector<float> storage;
  ArrayRef<float> values = *getFloats(constant.getDefiningOp<arith::ConstantOp>().getValue(), storage);
  return {values.begin(), values.end()};
}

static Value makeConstant(Operation *user, RankedTensorType type, StringRef name, ArrayRef<double> values) {
  OpBuilder b(user);
  std::vector<float> floats(values.begin(), values.end());
  return arith::ConstantOp::create(b, user->getLoc(), type, makeFloatResource(name, type, floats));
}

void LayerConstants::replace(OpOperand &operand, ArrayRef<double> values) {
  std::string name = getNodeName(operand.get().getLoc());
  auto type = cast<RankedTensorType>(operand.get().getType());
  Value constant = makeConstant(operand.getOwner(), type, name.empty() ? "constant" : name, values);
  constant.setLoc(operand.get().getLoc());
  replaced.insert(operand.get().getDefiningOp());
  operand.set(constant);
}

static Value getBiasValue(Operation *op) {
  return isa<LinearOp>(op) ? cast<LinearOp>(op).getBias() : cast<Conv2DOp>(op).getBias();
}
bool LayerConstants::canChangeBias(Operation *op) { return !getBiasValue(op) || isFloat(getBiasValue(op)); }

std::vector<double> LayerConstants::getBias(Operation *op) {
  if (Value bias = getBiasValue(op))
    return read(bias);
  return std::vector<double>(cast<RankedTensorType>(op->getOperand(1).getType()).getDimSize(0));
}

void LayerConstants::setBias(Operation *op, ArrayRef<double> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, Float32Type::get(op->getContext()));
  if (Value before = getBiasValue(op))
    replaced.insert(before.getDefiningOp());
  Value bias = makeConstant(op, type, getNodeName(op->getLoc()) + ".bias", values);
  if (auto linear = dyn_cast<LinearOp>(op))
    linear.getBiasMutable().assign(bias);
  else
    cast<Conv2DOp>(op).getBiasMutable().assign(bias);
}

void LayerConstants::eraseReplaced() {
  eraseUnusedConstants(module, replaced.getArrayRef());
  replaced.clear();
}
