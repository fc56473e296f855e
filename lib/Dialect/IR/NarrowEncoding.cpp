//===- NarrowEncoding.cpp - #quanta.narrow -------------------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

LogicalResult NarrowAttr::verify(function_ref<InFlightDiagnostic()> emitError, Type type) {
  if (!type.isBF16())
    return emitError() << "expected bf16 but got " << type;
  return success();
}

LogicalResult NarrowAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType, function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.empty() || !elementType.isF32())
    return emitError() << "expected f32 activations of rank 1 or more for a narrow encoding";
  return success();
}

SmallVector<Component> NarrowAttr::getComponents(ArrayRef<int64_t> shape) const { return {{"codes", SmallVector<int64_t>(shape), getType()}}; }

/// None: activations are no constants.
SmallVector<PackedComponent> NarrowAttr::getPackedComponents(ArrayRef<int64_t>) const { return {}; }

int64_t NarrowAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  return ShapedType::getNumElements(shape) * getType().getIntOrFloatBitWidth();
}
