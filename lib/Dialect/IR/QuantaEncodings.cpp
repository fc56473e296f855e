//===- QuantaEncodings.cpp - What each encoding stores ---------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Packing.h"
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

std::optional<CodeSpec> mlir::quanta::getCodeSpec(Attribute encoding, ArrayRef<int64_t> shape) {
  auto [rows, columns] = getMatrixShape(shape);
  if (auto planes = dyn_cast<PlanesAttr>(encoding))
    return CodeSpec{rows, columns, planes.getCount(), planes.getGroup(), 0};
  if (auto uniform = dyn_cast<UniformAttr>(encoding))
    return CodeSpec{rows, columns, uniform.getBits(), uniform.getGroup(), uniform.getLevels()};
  return std::nullopt;
}

int64_t mlir::quanta::getLeafStep(const CodeSpec &spec) {
  std::optional<::quanta::TileShape> layout = getTileShape(spec);
  // Blocks begin at group starts; where groups are not whole blocks only group starts are regular.
  bool regular = !layout || layout->groups <= 1 || layout->groupColumns % layout->blockColumns == 0;
  return !layout ? 1 : regular ? layout->blockColumns : layout->groupColumns;
}

/// Encodings with a code for each weight, their first component.
static bool isLeaf(Attribute encoding) { return getCodeSpec(encoding, {}).has_value(); }

/// Encodings whose stored columns are the logical ones.
static bool keepsOrder(Attribute encoding) {
  auto split = dyn_cast<SplitAttr>(encoding);
  return !isa<PackedAttr, AffineAttr, TwinAttr, Log2Attr, NarrowAttr>(encoding) && !(split && split.getKind() == SplitKind::Columns);
}

/// The stored bits of `count` consecutive codes of a leaf.
static int64_t getCodeBits(Attribute leaf, int64_t count) {
  CodeSpec spec = *getCodeSpec(leaf, {});
  return spec.levels ? llvm::divideCeil(count, 5) * 8 : count * spec.bits;
}

static void append(SmallVectorImpl<Component> &components, StringRef prefix, ArrayRef<Component> part) {
  for (const Component &component : part)
    components.push_back({(prefix + component.name).str(), component.shape, component.elementType});
}

static void append(SmallVectorImpl<PackedComponent> &components, StringRef prefix, ArrayRef<PackedComponent> part) {
  for (PackedComponent component : part) {
    for (std::string *name : {&component.name, &component.source, &component.mask})
      if (!name->empty())
        name->insert(0, prefix.str());
    components.push_back(std::move(component));
  }
}

/// Of a leaf: the codes in words, everything else (scales, zeros, …) in tiles.
static SmallVector<PackedComponent> packLeaf(EncodingAttrInterface leaf, ArrayRef<int64_t> shape) {
  CodeSpec spec = *getCodeSpec(leaf, shape);
  std::optional<::quanta::TileShape> layout = getTileShape(spec);
  int64_t tiles = llvm::divideCeil(spec.rows, ::quanta::kTileRows);
  SmallVector<PackedComponent> packed;
  for (Component &component : leaf.getComponents(shape)) {
    PackedComponent part{std::move(component)};
    part.source = part.name;
    if (packed.empty()) {
      part.kind = PackedComponent::Kind::Codes;
      part.spec = spec;
      // A size that overflows is refused when it is packed.
      part.shape = {tiles, layout ? layout->tileBytes / (::quanta::kTileRows * 4) : 0, ::quanta::kTileRows};
      part.elementType = IntegerType::get(leaf.getContext(), 32);
    } else {
      part.shape = {tiles, part.shape[1], ::quanta::kTileRows};
      if (auto uniform = dyn_cast<UniformAttr>(Attribute(leaf)); uniform && part.source == "multiples")
        part.most = (1 << uniform.getMultiples()) - 1;
    }
    packed.push_back(std::move(part));
  }
  return packed;
}

//===- uniform --------------------------------------------------------------------------------------------------------===//

/// The most bits of a multiple m such that m · (q − zero), doubled where zero is 1/2, fits a signed byte.
static int64_t getMostMultiples(unsigned bits, ZeroKind zero, unsigned levels) {
  int64_t most = levels ? 1 : zero == ZeroKind::Point ? (1 << bits) - 1 : 1 << (bits - 1);
  return llvm::Log2_64(127 / most + 1);
}

LogicalResult UniformAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, int64_t group,
                                  ZeroKind zero, Type scale, unsigned levels, unsigned multiples) {
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits but got " << bits;
  if (group < kTensor)
    return emitError() << "expected a group of columns, 0 (row) or -1 (tensor) but got " << group;
  if (levels != 0 && (levels != 3 || bits != 2 || zero == ZeroKind::Point))
    return emitError() << "expected levels of 0, or of 3 with bits = 2 and a zero that is symmetric or offset, but got "
                       << levels << " with bits = " << bits << " and zero = " << stringifyZeroKind(zero);
  if (multiples && (group <= 0 || zero == ZeroKind::Offset))
    return emitError() << "expected multiples of groups of columns, with a zero that is symmetric or a point, but got group = "
                       << group << " and zero = " << stringifyZeroKind(zero);
  if (int64_t most = getMostMultiples(bits, zero, levels); multiples > most)
    return emitError() << "expected multiples of at most " << most << " bits, which leave a signed byte for multiple · (q - zero), but got "
                       << multiples;
  return verifyScale(emitError, scale);
}

LogicalResult UniformAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                          function_ref<InFlightDiagnostic()> emitError) const {
  return verifyTensor("a uniform", shape, elementType, emitError);
}

SmallVector<Component> UniformAttr::getComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  Type i8 = IntegerType::get(getContext(), 8);
  SmallVector<int64_t> ofGroups{getScaleRows(rows), countGroups(columns, getGroup())}, ofRows{rows, std::min<int64_t>(ofGroups[1], 1)};
  if (ShapedType::isDynamic(ofGroups[1]))
    ofRows[1] = 1;
  SmallVector<Component> components{{"codes", SmallVector<int64_t>{rows, columns}, i8},
                                    {"scales", getMultiples() ? ofRows : ofGroups, getScale()}};
  if (getZero() == ZeroKind::Point)
    components.push_back({"zeros", ofGroups, i8});
  else if (getZero() == ZeroKind::Offset)
    components.push_back({"offsets", ofGroups, getScale()});
  if (getMultiples())
    components.push_back({"multiples", ofGroups, i8});
  return components;
}

int64_t UniformAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t scaleBits = getScale().getIntOrFloatBitWidth();
  int64_t perGroup = getMultiples() + (getZero() == ZeroKind::Point    ? getBits()
                                       : getZero() == ZeroKind::Offset ? scaleBits
                                                                       : 0);
  return rows * getCodeBits(*this, columns) +
         getScaleRows(rows) * (getScaleGroups(columns) * scaleBits + getGroupCount(columns) * perGroup);
}

SmallVector<PackedComponent> UniformAttr::getPackedComponents(ArrayRef<int64_t> shape) const {
  return packLeaf(*this, shape);
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

SmallVector<PackedComponent> PlanesAttr::getPackedComponents(ArrayRef<int64_t> shape) const {
  return packLeaf(*this, shape);
}

//===- split ----------------------------------------------------------------------------------------------------------===//

LogicalResult SplitAttr::verify(function_ref<InFlightDiagnostic()> emitError, SplitKind kind, int64_t count, int64_t tile,
                                int64_t kept, EncodingAttrInterface high, EncodingAttrInterface low) {
  if (count < 0)
    return emitError() << "expected a count of 0 or more but got " << count;
  for (Attribute part : {Attribute(high), Attribute(low)}) {
    if (kind == SplitKind::Mask && !isLeaf(part))
      return emitError() << "expected uniform or planes encodings on both sides of a split by mask but got " << part;
    if (!keepsOrder(part))
      return emitError() << "expected encodings that keep the order of columns in a split but got " << part;
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
  auto withoutCodes = [shape, rows = rows, columns = columns](EncodingAttrInterface part) {
    return part.getStoredBits(shape) - rows * getCodeBits(part, columns);
  };
  return mask + getCodeBits(getHigh(), getCount()) + getCodeBits(getLow(), rows * columns - getCount()) +
         withoutCodes(getHigh()) + withoutCodes(getLow());
}

SmallVector<PackedComponent> SplitAttr::getPackedComponents(ArrayRef<int64_t> shape) const {
  auto [rows, columns] = getMatrixShape(shape);
  Builder b(getContext());
  SmallVector<PackedComponent> packed;
  auto add = [&](StringRef name, PackedComponent::Kind kind, ArrayRef<int64_t> size, Type element) {
    PackedComponent part{{name.str(), SmallVector<int64_t>(size), element}, kind, "codes", "mask", {}};
    part.count = getCount();
    packed.push_back(part);
    return &packed.back();
  };
  if (getKind() == SplitKind::Columns) {
    add("order", PackedComponent::Kind::Order, {columns}, b.getI32Type());
    append(packed, "high.", getHigh().getPackedComponents({rows, getCount()}));
    append(packed, "low.", getLow().getPackedComponents({rows, columns - getCount()}));
    return packed;
  }
  ::quanta::SparseShape sparse{rows, columns, getSparseBlockColumns(*this, shape)};
  add("offsets", PackedComponent::Kind::Offsets, {sparse.getOffsetCount()}, b.getI32Type())->blockColumns = sparse.blockColumns;
  add("entries", PackedComponent::Kind::Entries, {ShapedType::kDynamic, ::quanta::kTileRows}, b.getI16Type())->blockColumns =
      sparse.blockColumns;
  append(packed, "low.", getLow().getPackedComponents(shape));
  packed[2].source = "codes";
  packed[2].mask = "mask";
  append(packed, "high.", ArrayRef(getHigh().getPackedComponents(shape)).drop_front());
  return packed;
}

int64_t mlir::quanta::getSparseBlockColumns(SplitAttr split, ArrayRef<int64_t> shape) {
  CodeSpec high = *getCodeSpec(split.getHigh(), shape), low = *getCodeSpec(split.getLow(), shape);
  int64_t step = getLeafStep(low), columns = ::quanta::kMostSparseColumns;
  while ((high.group > 0 && high.group < high.columns && high.group % columns) || (columns % step && step % columns))
    --columns;
  return columns;
}

//===- sum ------------------------------------------------------------------------------------------------------------===//

LogicalResult SumAttr::verify(function_ref<InFlightDiagnostic()> emitError, EncodingAttrInterface first,
                              EncodingAttrInterface second) {
  for (Attribute part : {Attribute(first), Attribute(second)})
    if (!keepsOrder(part))
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

SmallVector<PackedComponent> SumAttr::getPackedComponents(ArrayRef<int64_t> shape) const {
  SmallVector<PackedComponent> packed;
  append(packed, "0.", getFirst().getPackedComponents(shape));
  append(packed, "1.", getSecond().getPackedComponents(shape));
  return packed;
}

//===- packed ---------------------------------------------------------------------------------------------------------===//

LogicalResult PackedAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (getRows() != ::quanta::kTileRows)
    return emitError() << "expected tiles of " << ::quanta::kTileRows << " rows but got " << getRows();
  if (isa_and_present<PackedAttr, CacheAttr, AffineAttr, TwinAttr, Log2Attr, NarrowAttr>(Attribute(getBase())))
    return emitError() << "expected a logical encoding to pack but got " << getBase();
  if (getBase())
    return cast<VerifiableTensorEncoding>(Attribute(getBase())).verifyEncoding(shape, elementType, emitError);
  return success();
}

SmallVector<PackedComponent> PackedAttr::getPackedComponents(ArrayRef<int64_t> shape) const {
  if (getBase())
    return getBase().getPackedComponents(shape);
  auto [rows, columns] = getMatrixShape(shape);
  int64_t tiles = llvm::divideCeil(rows, getRows());
  return {PackedComponent{{"values", SmallVector<int64_t>{tiles, columns, getRows()}, Float32Type::get(getContext())}}};
}

SmallVector<Component> PackedAttr::getComponents(ArrayRef<int64_t> shape) const {
  SmallVector<Component> components;
  for (PackedComponent &component : getPackedComponents(shape))
    components.push_back(std::move(component));
  return components;
}

int64_t PackedAttr::getBlockColumns() const {
  auto spec = getBase() ? getCodeSpec(getBase(), {1, 1}) : std::nullopt;
  return spec ? getTileShape(*spec)->blockColumns : 1;
}

int64_t PackedAttr::getStoredBits(ArrayRef<int64_t> shape) const {
  if (getBase())
    return getBase().getStoredBits(shape);
  auto [rows, columns] = getMatrixShape(shape);
  return rows * columns * 32;
}
