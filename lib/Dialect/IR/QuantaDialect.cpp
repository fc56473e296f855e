//===- QuantaDialect.cpp - Dialect and encodings ----------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Format/TileLayout.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Location.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::quanta;

#include "quanta/Dialect/IR/QuantaDialect.cpp.inc"
#include "quanta/Dialect/IR/QuantaEnums.cpp.inc"
#include "quanta/Dialect/IR/QuantaInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "quanta/Dialect/IR/QuantaAttrs.cpp.inc"

namespace {
/// Names types after their encoding, so that a printed model is readable: `#u4g128_rows16`.
struct EncodingAliases : public OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  static void nameGroup(int64_t group, raw_ostream &os) {
    if (group > 0)
      os << "g" << group;
    else
      os << (group == UniformAttr::kRow ? "row" : "tensor");
  }
  static void name(Attribute attr, raw_ostream &os) {
    if (auto uniform = dyn_cast<UniformAttr>(attr)) {
      if (uniform.getLevels())
        os << "t";
      else
        os << (uniform.getZero() == ZeroKind::Symmetric ? "s" : "u") << uniform.getBits();
      nameGroup(uniform.getGroup(), os);
      if (uniform.getMultiples())
        os << "m" << uniform.getMultiples();
    } else if (auto planes = dyn_cast<PlanesAttr>(attr)) {
      os << "b" << planes.getCount();
      nameGroup(planes.getGroup(), os);
    } else if (auto split = dyn_cast<SplitAttr>(attr)) {
      name(split.getHigh(), os);
      os << (split.getKind() == SplitKind::Columns ? "_columns_" : "_mask_");
      name(split.getLow(), os);
    } else if (auto sum = dyn_cast<SumAttr>(attr)) {
      name(sum.getFirst(), os);
      os << "_plus_";
      name(sum.getSecond(), os);
    } else if (auto cache = dyn_cast<CacheAttr>(attr)) {
      os << stringifyCacheScale(cache.getScale()) << cache.getBits() << "w" << cache.getWindow();
    } else if (auto affine = dyn_cast<AffineAttr>(attr)) {
      os << "a" << affine.getBits() << "x" << affine.getSegmentCount();
    } else if (auto twin = dyn_cast<TwinAttr>(attr)) {
      os << "twin" << twin.getBits() << "m" << twin.getShift();
    } else if (auto log = dyn_cast<Log2Attr>(attr)) {
      os << (log.getRoot() ? "logroot" : "log") << log.getBits();
    } else if (auto narrow = dyn_cast<NarrowAttr>(attr)) {
      os << "narrow_" << narrow.getType();
    } else if (auto packed = dyn_cast<PackedAttr>(attr)) {
      if (packed.getBase())
        name(packed.getBase(), os);
      else
        os << "f32";
      os << "_packed";
    }
  }
  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    if (!isa<EncodingAttrInterface>(attr))
      return AliasResult::NoAlias;
    name(attr, os);
    return AliasResult::OverridableAlias;
  }
};
} // namespace

void QuantaDialect::initialize() {
  registerEncodings();
  registerOps();
  addInterfaces<EncodingAliases>();
}

void QuantaDialect::registerEncodings() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "quanta/Dialect/IR/QuantaAttrs.cpp.inc"
      >();
}

std::string mlir::quanta::getNodeName(Location loc) {
  std::string name;
  loc->walk([&](Location part) {
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name;
}

std::pair<int64_t, int64_t> mlir::quanta::getMatrixShape(ArrayRef<int64_t> shape) {
  if (shape.empty())
    return {1, 1};
  int64_t columns = 1;
  for (int64_t size : shape.drop_front())
    columns = ShapedType::isDynamic(size) || ShapedType::isDynamic(columns) ? ShapedType::kDynamic : columns * size;
  return {shape[0], columns};
}

std::optional<ArrayRef<char>> mlir::quanta::getRawData(Attribute attr, SmallVectorImpl<char> &storage) {
  if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? std::optional(blob->getData()) : std::nullopt;
  }
  auto dense = dyn_cast_or_null<DenseElementsAttr>(attr);
  if (!dense || dense.getElementType().getIntOrFloatBitWidth() % 8)
    return std::nullopt;
  ArrayRef<char> data = dense.getRawData();
  if (!dense.isSplat())
    return data;
  storage.clear();
  for (int64_t i = 0; i < dense.getNumElements(); ++i)
    storage.append(data.begin(), data.end());
  return ArrayRef<char>(storage);
}

EncodingAttrInterface mlir::quanta::getEncoding(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<EncodingAttrInterface>(tensor.getEncoding()) : EncodingAttrInterface();
}

RankedTensorType mlir::quanta::dropEncoding(RankedTensorType type) {
  return RankedTensorType::get(type.getShape(), type.getElementType());
}

LogicalResult mlir::quanta::detail::verifyEncodings(Operation *op) {
  auto check = [&](Type type) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(type);
    auto encoding = tensor ? dyn_cast_or_null<VerifiableTensorEncoding>(tensor.getEncoding()) : VerifiableTensorEncoding();
    if (!encoding)
      return success();
    return encoding.verifyEncoding(tensor.getShape(), tensor.getElementType(), [&] { return op->emitOpError(); });
  };
  for (Type type : op->getOperandTypes())
    if (failed(check(type)))
      return failure();
  for (Type type : op->getResultTypes())
    if (failed(check(type)))
      return failure();
  return success();
}
