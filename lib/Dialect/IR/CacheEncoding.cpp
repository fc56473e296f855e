//===- CacheEncoding.cpp - #quanta.cache ---------------------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Packing.h"
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

LogicalResult CacheAttr::verify(function_ref<InFlightDiagnostic()> emitError, CacheScale scale, unsigned bits, int64_t group,
                                int64_t window) {
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits but got " << bits;
  if (window < 0 || window > 1 << 30)
    return emitError() << "expected a window of 0 to 2^30 positions but got " << window;
  if (scale == CacheScale::Channel && (group < kBlock || group > 1 << 20 || group % kBlock))
    return emitError() << "expected a group of a multiple of " << kBlock << " positions but got " << group;
  if (scale == CacheScale::Sketch && (bits != 1 || group != 0))
    return emitError() << "expected a sketch of 1 bit without groups but got " << bits << " bits and a group of " << group;
  if (scale == CacheScale::Token && (group < 0 || group % kBlock))
    return emitError() << "expected a group of a multiple of " << kBlock << " channels, or 0 for all, but got " << group;
  return success();
}

LogicalResult CacheAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                        function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.size() != 4 || ShapedType::isDynamic(shape[1]) || ShapedType::isDynamic(shape[3]) || !elementType.isF32())
    return emitError() << "expected f32 keys or values [B, H, N, D] with fixed H and D for a cache encoding";
  return success();
}

SmallVector<Component> CacheAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto half = Float16Type::get(getContext());
  SmallVector<int64_t> scales(shape), recent(shape);
  if (getScale() != CacheScale::Channel)
    scales[3] = llvm::divideCeil(shape[3], getGroupChannels(shape[3]));
  else if (!ShapedType::isDynamic(shape[2]))
    scales[2] = llvm::divideCeil(shape[2], getGroup());
  recent[2] = ShapedType::isDynamic(shape[2]) ? getRecentPositions() : std::min(getRecentPositions(), shape[2]);
  SmallVector<Component> components{{"codes", SmallVector<int64_t>(shape), IntegerType::get(getContext(), 8)}, {"scales", scales, half}};
  if (hasOffsets())
    components.push_back({"offsets", scales, half});
  components.push_back({"recent", recent, Float32Type::get(getContext())});
  return components;
}

/// None: a cache is no constant, and its kernels choose the arrays by what they hold, keys or values.
SmallVector<PackedComponent> CacheAttr::getPackedComponents(ArrayRef<int64_t>) const { return {}; }

int64_t CacheAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  SmallVector<Component> components = getComponents(shape);
  auto count = [&](unsigned i) { return ShapedType::getNumElements(components[i].shape); };
  return count(0) * getBits() + count(1) * (hasOffsets() ? 32 : 16) + count(components.size() - 1) * 32;
}
