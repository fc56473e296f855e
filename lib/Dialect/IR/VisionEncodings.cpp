//===- VisionEncodings.cpp - Activations of vision transformers: twin-uniform and logarithmic -----------------------------===//
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

static LogicalResult verifyScale(function_ref<InFlightDiagnostic()> emitError, FloatAttr scale) {
  // NaN is not above zero either.
  if (!scale.getType().isF32() || !scale.getValue().isFiniteNonZero() || scale.getValue().isNegative())
    return emitError() << "expected a finite scale of f32 above 0 but got " << scale;
  return success();
}

static LogicalResult verifyActivation(Type elementType, function_ref<InFlightDiagnostic()> emitError) {
  if (!elementType.isF32())
    return emitError() << "expected activations of f32 but got " << elementType;
  return success();
}

static SmallVector<Component> getCodes(MLIRContext *context, ArrayRef<int64_t> shape) {
  return {{"codes", SmallVector<int64_t>(shape), IntegerType::get(context, 8)}};
}

static int64_t countElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

//===- twin ---------------------------------------------------------------------------------------------------------------===//

LogicalResult TwinAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, FloatAttr scale, unsigned shift, bool) {
  if (bits < 2 || bits > 8)
    return emitError() << "expected 2 to 8 bits but got " << bits;
  if (shift > 15)
    return emitError() << "expected a shift of 0 to 15 but got " << shift;
  return verifyScale(emitError, scale);
}

LogicalResult TwinAttr::verifyEncoding(ArrayRef<int64_t>, Type elementType, function_ref<InFlightDiagnostic()> emitError) const {
  return verifyActivation(elementType, emitError);
}

SmallVector<Component> TwinAttr::getComponents(ArrayRef<int64_t> shape) const { return getCodes(getContext(), shape); }
int64_t TwinAttr::getStoredBits(ArrayRef<int64_t> shape) const { return countElements(shape) * getBits(); }
SmallVector<PackedComponent> TwinAttr::getPackedComponents(ArrayRef<int64_t>) const { return {}; }

//===- log2 ---------------------------------------------------------------------------------------------------------------===//

LogicalResult Log2Attr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, FloatAttr scale, bool) {
  // With 8 bits the least values and their squares would be no normal numbers.
  if (bits < 2 || bits > 7)
    return emitError() << "expected 2 to 7 bits but got " << bits;
  return verifyScale(emitError, scale);
}

LogicalResult Log2Attr::verifyEncoding(ArrayRef<int64_t>, Type elementType, function_ref<InFlightDiagnostic()> emitError) const {
  return verifyActivation(elementType, emitError);
}

SmallVector<Component> Log2Attr::getComponents(ArrayRef<int64_t> shape) const { return getCodes(getContext(), shape); }
int64_t Log2Attr::getStoredBits(ArrayRef<int64_t> shape) const { return countElements(shape) * getBits(); }
SmallVector<PackedComponent> Log2Attr::getPackedComponents(ArrayRef<int64_t>) const { return {}; }
