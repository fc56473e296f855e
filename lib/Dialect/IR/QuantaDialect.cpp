//===- QuantaDialect.cpp - Dialect and encodings ----------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Format/TileLayout.h"
#include "mlir/IR/DialectImplementation.h"
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

  static void name(Attribute attr, raw_ostream &os) {
    if (auto uniform = dyn_cast<UniformAttr>(attr)) {
      os << (uniform.getZero() == ZeroKind::Symmetric ? "s" : "u") << uniform.getBits();
      if (uniform.getGroup() > 0)
        os << "g" << uniform.getGroup();
      else
        os << (uniform.getGroup() == UniformAttr::kRow ? "row" : "tensor");
    } else if (auto packed = dyn_cast<PackedAttr>(attr)) {
      if (packed.getBase())
        name(packed.getBase(), os);
      else
        os << "f32";
      os << "_packed";
    }
  }
  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    if (!isa<UniformAttr, PackedAttr>(attr))
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

//===- uniform --------------------------------------------------------------------------------------------------------===//

LogicalResult UniformAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, int64_t group,
                                  ZeroKind zero, Type scale) {
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits but got " << bits;
  if (group < kTensor)
    return emitError() << "expected a group of columns, 0 (row) or -1 (tensor) but got " << group;
  if (!isa<Float16Type, Float32Type>(scale))
    return emitError() << "expected a scale type of f16 or f32 but got " << scale;
  return success();
}

LogicalResult UniformAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                          function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.empty())
    return emitError() << "expected a tensor of rank 1 or more for a uniform encoding";
  if (!isa<FloatType>(elementType))
    return emitError() << "expected a floating-point element type for a uniform encoding but got " << elementType;
  return success();
}

SmallVector<Component> UniformAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  Type i8 = IntegerType::get(getContext(), 8);
  int64_t groups = getGroup() <= 0                      ? 1
                   : ShapedType::isDynamic(columns) ? ShapedType::kDynamic
                                                    : getGroupCount(columns);
  SmallVector<int64_t> scaleShape{getScaleRows(rows), groups};
  SmallVector<Component> components{{"codes", SmallVector<int64_t>{rows, columns}, i8}, {"scales", scaleShape, getScale()}};
  if (getZero() == ZeroKind::Point)
    components.push_back({"zeros", scaleShape, i8});
  else if (getZero() == ZeroKind::Offset)
    components.push_back({"offsets", scaleShape, getScale()});
  return components;
}

int64_t UniformAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t scaleBits = getScale().getIntOrFloatBitWidth();
  int64_t perGroup = scaleBits + (getZero() == ZeroKind::Point    ? getBits()
                                  : getZero() == ZeroKind::Offset ? scaleBits
                                                                  : 0);
  return rows * columns * getBits() + getScaleRows(rows) * getGroupCount(columns) * perGroup;
}

//===- packed ---------------------------------------------------------------------------------------------------------===//

LogicalResult PackedAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (getRows() != ::quanta::kTileRows)
    return emitError() << "expected tiles of " << ::quanta::kTileRows << " rows but got " << getRows();
  if (getBase() && !isa<UniformAttr>(Attribute(getBase())))
    return emitError() << "expected a leaf encoding to pack but got " << getBase();
  if (getBase())
    return cast<VerifiableTensorEncoding>(Attribute(getBase())).verifyEncoding(shape, elementType, emitError);
  return success();
}

SmallVector<Component> PackedAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t tiles = llvm::divideCeil(rows, getRows());
  if (!getBase())
    return {{"values", SmallVector<int64_t>{tiles, columns, getRows()}, Float32Type::get(getContext())}};
  auto uniform = cast<UniformAttr>(Attribute(getBase()));
  std::optional<::quanta::TileShape> tile = ::quanta::TileShape::get({rows, columns, uniform.getBits(), uniform.getGroup()});
  SmallVector<Component> components = uniform.getComponents(shape);
  if (!tile)
    return components;
  int64_t words = tile->tileBytes / (getRows() * sizeof(uint32_t));
  components[0] = {"codes", SmallVector<int64_t>{tiles, words, getRows()}, IntegerType::get(getContext(), 32)};
  for (Component &component : MutableArrayRef(components).drop_front())
    component.shape = {tiles, tile->groups, getRows()};
  return components;
}

int64_t PackedAttr::getBlockColumns() const {
  if (!getBase())
    return 1;
  return ::quanta::TileShape::get({1, 1, cast<UniformAttr>(Attribute(getBase())).getBits(), 0})->blockColumns;
}

int64_t PackedAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  if (getBase())
    return getBase().getStoredBits(shape);
  auto [rows, columns] = getMatrixShape(shape);
  return rows * columns * 32;
}
