//===- AffineEncoding.cpp - #quanta.affine -------------------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

LogicalResult AffineAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, DenseI64ArrayAttr splits,
                                 DenseF32ArrayAttr scales, DenseI64ArrayAttr zeros) {
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits but got " << bits;
  if (scales.empty() || scales.size() != zeros.size() || scales.size() != splits.size() + 1)
    return emitError() << "expected a scale and a zero point for each segment, one more than splits, but got " << scales.size() << ", "
                       << zeros.size() << " and " << splits.size();
  for (auto [i, split] : llvm::enumerate(splits.asArrayRef()))
    if (split <= (i ? splits[i - 1] : 0))
      return emitError() << "expected splits to increase from 1 on but got " << split;
  for (float scale : scales.asArrayRef())
    if (!(scale > 0) || !std::isfinite(scale) || !std::isfinite(1 / scale))
      return emitError() << "expected positive scales with finite inverses but got " << scale;
  for (int64_t zero : zeros.asArrayRef())
    if (zero < -kLargestZero || zero > kLargestZero)
      return emitError() << "expected zero points of magnitude " << kLargestZero << " at most but got " << zero;
  return success();
}

SmallVector<int64_t> AffineAttr::getBounds(int64_t columns) const {
  SmallVector<int64_t> bounds{0};
  llvm::append_range(bounds, getSplits().asArrayRef());
  bounds.push_back(columns);
  return bounds;
}

LogicalResult AffineAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.empty() || !elementType.isF32())
    return emitError() << "expected f32 activations of rank 1 or more for an affine encoding";
  if (!getSplits().empty() && getSplits().asArrayRef().back() >= shape.back()) // also if it is dynamic
    return emitError() << "expected more than " << getSplits().asArrayRef().back() << " columns, a fixed number, for splits";
  return success();
}

SmallVector<Component> AffineAttr::getComponents(ArrayRef<int64_t> shape) const {
  return {{"codes", SmallVector<int64_t>(shape), IntegerType::get(getContext(), 8)}};
}

/// None: activations are no constants.
SmallVector<PackedComponent> AffineAttr::getPackedComponents(ArrayRef<int64_t>) const { return {}; }

int64_t AffineAttr::getStoredBits(ArrayRef<int64_t> shape) const { return ShapedType::getNumElements(shape) * getBits(); }
