//===- LayerShape.cpp - What a layer multiplies its weights with --------------------------------------------------------===//
#include "LayerShape.h"

using namespace mlir;
using namespace mlir::quanta;

LayerShape::LayerShape(Operation *layer) {
  ArrayRef<int64_t> weight = cast<RankedTensorType>(layer->getOperand(1).getType()).getShape();
  channels = getMatrixShape(weight).second;
  auto convolution = dyn_cast<Conv2DOp>(layer);
  if (!convolution)
    return;
  blocks = static_cast<int64_t>(convolution.getGroups());
  window.emplace();
  for (int d : {0, 1}) {
    window->kernel[d] = weight[static_cast<size_t>(d + 2)];
    window->strides[d] = convolution.getStrides()[static_cast<size_t>(d)];
    window->dilations[d] = convolution.getDilations()[static_cast<size_t>(d)];
  }
  llvm::copy(convolution.getPads(), window->pads);
}

bool LayerShape::operator==(const LayerShape &other) const {
  if (channels != other.channels || blocks != other.blocks || window.has_value() != other.window.has_value())
    return false;
  auto equal = [](const auto &a, const auto &b) { return std::equal(std::begin(a), std::end(a), std::begin(b)); };
  return !window || (equal(window->kernel, other.window->kernel) && equal(window->strides, other.window->strides) &&
                     equal(window->dilations, other.window->dilations) && equal(window->pads, other.window->pads));
}

std::string mlir::quanta::getLayerName(Operation *layer) {
  std::string name = getNodeName(layer->getLoc());
  return name.empty() ? "layer " + std::to_string(layer->getAttrOfType<IntegerAttr>("quanta.calibration_layer").getInt()) : name;
}
