//===- QuantaEncodings.cpp - What each encoding stores ---------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Format/SparseLayout.h"
#include "quanta/Format/TileLayout.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::quanta;

//===- Shared checks and sums -----------------------------------------------------------------------------------------===//

static LogicalResult verifyScale(function_ref<InFlightDiagnostic()> emitError, Type scale) {
  if (!isa<Float16Type, Float32Type>(scale))
    return emitError() << "expected a scale type of f16 or f32 but got " << scale;
  return success();
}

static LogicalResult verifyTensor(StringRef which, ArrayRef<int64_t> shape, Type elementType,
                                  function_ref<InFlightDiagnostic()> emitError) {
  if (shape.empty())
    return emitError() << "expected a tensor of rank 1 or more for " << which << " encoding";
  if (!isa<FloatType>(elementType))
    return emitError() << "expected a floating-point element type for " << which << " encoding but got " << elementType;
  return success();
}

/// The groups of a row; dynamic if the columns are.
static int64_t countGroups(int64_t columns, int64_t group) {
  if (group <= 0)
    return 1;
  return ShapedType::isDynamic(columns) ? columns : llvm::divideCeil(columns, group);
}

/// Encodings with a code for each weight, their first component.
static bool isLeaf(Attribute encoding) { return isa<UniformAttr, PlanesAttr>(encoding); }

/// The stored bits of `count` consecutive codes of a leaf.
static int64_t getCodeBits(Attribute leaf, int64_t count) {
  if (auto planes = dyn_cast<PlanesAttr>(leaf))
    return count * planes.getCount();
  auto uniform = cast<UniformAttr>(leaf);
  return uniform.getLevels() ? llvm::divideCeil(count, 5) * 8 : count * uniform.getBits();
}

static void append(SmallVectorImpl<Component> &components, StringRef prefix, ArrayRef<Component> part) {
  for (const Component &component : part)
    components.push_back({(prefix + component.name).str(), component.shape, component.elementType});
}

//===- uniform --------------------------------------------------------------------------------------------------------===//

LogicalResult UniformAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, int64_t group,
                                  ZeroKind zero, Type scale, unsigned levels) {
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits but got " << bits;
  if (group < kTensor)
    return emitError() << "expected a group of columns, 0 (row) or -1 (tensor) but got " << group;
  if (levels != 0 && (levels != 3 || bits != 2 || zero == ZeroKind::Point))
    return emitError() << "expected levels of 0, or of 3 with bits = 2 and a zero that is symmetric or offset, but got "
                       << levels << " with bits = " << bits << " and zero = " << stringifyZeroKind(zero);
  return verifyScale(emitError, scale);
}

LogicalResult UniformAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                          function_ref<InFlightDiagnostic()> emitError) const {
  return verifyTensor("a uniform", shape, elementType, emitError);
}

SmallVector<Component> UniformAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  Type i8 = IntegerType::get(getContext(), 8);
  int64_t groups = countGroups(columns, getGroup());
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
  return rows * getCodeBits(*this, columns) + getScaleRows(rows) * getGroupCount(columns) * perGroup;
}

//===- planes ---------------------------------------------------------------------------------------------------------===//

LogicalResult PlanesAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned count, int64_t group, bool,
                                 Type scale) {
  if (count < 1 || count > 8)
    return emitError() << "expected 1 to 8 planes but got " << count;
  if (group < 0)
    return emitError() << "expected a group of columns or 0 (row) but got " << group;
  return verifyScale(emitError, scale);
}

LogicalResult PlanesAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  return verifyTensor("a planes", shape, elementType, emitError);
}

SmallVector<Component> PlanesAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t groups = countGroups(columns, getGroup());
  int64_t scales = ShapedType::isDynamic(groups) ? groups : groups * getCount();
  SmallVector<Component> components{{"codes", SmallVector<int64_t>{rows, columns}, IntegerType::get(getContext(), 8)},
                                    {"scales", SmallVector<int64_t>{rows, scales}, getScale()}};
  if (getMean())
    components.push_back({"means", SmallVector<int64_t>{rows, groups}, getScale()});
  return components;
}

int64_t PlanesAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t groups = countGroups(columns, getGroup());
  return rows * (getCodeBits(*this, columns) + groups * (getCount() + getMean()) * getScale().getIntOrFloatBitWidth());
}

//===- split ----------------------------------------------------------------------------------------------------------===//

LogicalResult SplitAttr::verify(function_ref<InFlightDiagnostic()> emitError, SplitKind kind, int64_t count, int64_t tile,
                                int64_t kept, EncodingAttrInterface high, EncodingAttrInterface low) {
  if (count < 0)
    return emitError() << "expected a count of 0 or more but got " << count;
  for (Attribute part : {Attribute(high), Attribute(low)}) {
    if (kind == SplitKind::Mask && !isLeaf(part))
      return emitError() << "expected uniform or planes encodings on both sides of a split by mask but got " << part;
    if (isa<PackedAttr>(part))
      return emitError() << "expected logical encodings in a split but got " << part;
  }
  if (kind == SplitKind::Columns && (tile || kept))
    return emitError() << "expected tile and kept only in a split by mask";
  if (tile < 0 || kept < 0 || kept > tile)
    return emitError() << "expected 0 <= kept <= tile but got kept = " << kept << " and tile = " << tile;
  return success();
}

LogicalResult SplitAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                        function_ref<InFlightDiagnostic()> emitError) const {
  if (failed(verifyTensor("a split", shape, elementType, emitError)))
    return failure();
  auto [rows, columns] = getMatrixShape(shape);
  if (ShapedType::isDynamic(rows) || ShapedType::isDynamic(columns))
    return emitError() << "expected a static shape for a split encoding";
  bool byColumns = getKind() == SplitKind::Columns;
  if (int64_t most = byColumns ? columns : rows * columns; getCount() > most)
    return emitError() << "expected a count of at most the " << most << (byColumns ? " columns" : " weights") << " but got "
                       << getCount();
  if (getTile()) {
    int64_t kept = rows * (columns / getTile() * getKept() + std::min(columns % getTile(), getKept()));
    if (getCount() != kept)
      return emitError() << "expected a count of " << kept << " for " << getKept() << " of each " << getTile()
                         << " columns but got " << getCount();
  }
  SmallVector<int64_t> highShape(shape), lowShape(shape);
  if (byColumns) {
    highShape = {rows, getCount()};
    lowShape = {rows, columns - getCount()};
  }
  if (failed(cast<VerifiableTensorEncoding>(Attribute(getHigh())).verifyEncoding(highShape, elementType, emitError)))
    return failure();
  return cast<VerifiableTensorEncoding>(Attribute(getLow())).verifyEncoding(lowShape, elementType, emitError);
}

SmallVector<Component> SplitAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  Type i8 = IntegerType::get(getContext(), 8);
  SmallVector<Component> components;
  if (getKind() == SplitKind::Columns) {
    components.push_back({"mask", SmallVector<int64_t>{columns}, i8});
    append(components, "high.", getHigh().getComponents({rows, getCount()}));
    append(components, "low.", getLow().getComponents({rows, columns - getCount()}));
    return components;
  }
  components.push_back({"mask", SmallVector<int64_t>{rows, columns}, i8});
  components.push_back({"codes", SmallVector<int64_t>{rows, columns}, i8});
  append(components, "high.", ArrayRef(getHigh().getComponents(shape)).drop_front());
  append(components, "low.", ArrayRef(getLow().getComponents(shape)).drop_front());
  return components;
}

int64_t SplitAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  if (getKind() == SplitKind::Columns)
    return columns + getHigh().getStoredBits({rows, getCount()}) + getLow().getStoredBits({rows, columns - getCount()});
  int64_t mask = rows * columns;
  if (int64_t tile = getTile()) {
    int64_t last = columns % tile;
    mask = rows * (columns / tile * ::quanta::choiceBits(tile, getKept()) +
                   ::quanta::choiceBits(last, std::min(getKept(), last)));
  }
  auto withoutCodes = [&](EncodingAttrInterface part) {
    return part.getStoredBits(shape) - rows * getCodeBits(part, columns);
  };
  return mask + getCodeBits(getHigh(), getCount()) + getCodeBits(getLow(), rows * columns - getCount()) +
         withoutCodes(getHigh()) + withoutCodes(getLow());
}

//===- sum ------------------------------------------------------------------------------------------------------------===//

LogicalResult SumAttr::verify(function_ref<InFlightDiagnostic()> emitError, EncodingAttrInterface first,
                              EncodingAttrInterface second) {
  for (Attribute part : {Attribute(first), Attribute(second)})
    if (auto split = dyn_cast<SplitAttr>(part); isa<PackedAttr>(part) || (split && split.getKind() == SplitKind::Columns))
      return emitError() << "expected encodings that keep the order of columns in a sum but got " << part;
  return success();
}

LogicalResult SumAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                      function_ref<InFlightDiagnostic()> emitError) const {
  for (EncodingAttrInterface part : {getFirst(), getSecond()})
    if (failed(cast<VerifiableTensorEncoding>(Attribute(part)).verifyEncoding(shape, elementType, emitError)))
      return failure();
  return success();
}

SmallVector<Component> SumAttr::getComponents(ArrayRef<int64_t> shape) const {
  SmallVector<Component> components;
  append(components, "0.", getFirst().getComponents(shape));
  append(components, "1.", getSecond().getComponents(shape));
  return components;
}

int64_t SumAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  return getFirst().getStoredBits(shape) + getSecond().getStoredBits(shape);
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
  std::optional<::quanta::TileShape> tile = ::quanta::TileShape::get({rows, columns, uniform.getBits(), uniform.getGroup(), uniform.getLevels()});
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
