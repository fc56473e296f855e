//===- ModuleMemory.cpp - Weights and caches as arrays of the module --------------------------------------------------------===//
#include "ModuleMemory.h"
#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Packing.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::quanta;

//===- Weights ------------------------------------------------------------------------------------------------------------===//

Attribute WeightStore::getConstant(Value value) {
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return {};
  return attr;
}

Value WeightStore::store(OpBuilder &b, Location loc, StringRef hint, Attribute value, MemRefType type, Attribute layout, StringRef component,
                         ArrayRef<int64_t> shape) {
  Builder attrs(module.getContext());
  Attribute key = attrs.getArrayAttr({value, TypeAttr::get(type), layout ? layout : attrs.getUnitAttr(), attrs.getStringAttr(component)});
  WeightsOp &op = stored[key];
  if (!op) {
    OpBuilder atStart = OpBuilder::atBlockEnd(module.getBody());
    op = WeightsOp::create(atStart, loc, attrs.getStringAttr(hint), TypeAttr::get(type), value, layout);
    if (layout) {
      op->setAttr("component", attrs.getStringAttr(component));
      op->setAttr("shape", attrs.getDenseI64ArrayAttr(shape));
    }
    symbols.insert(op);
  }
  return WeightOp::create(b, loc, type, FlatSymbolRefAttr::get(op.getSymNameAttr()));
}

/// How many entries there are depends on the mask.
static LogicalResult countEntries(Operation *user, Attribute value, ArrayRef<int64_t> shape, PackedComponent &entries) {
  SmallVector<char> storage;
  auto mask = getRawData(cast<DictionaryAttr>(value).get(entries.mask), storage);
  auto [rows, columns] = getMatrixShape(shape);
  if (!mask || static_cast<int64_t>(mask->size()) != rows * columns)
    return user->emitOpError() << "expected a mask of " << rows << " x " << columns << " bytes in its weight";
  auto offsets = ::quanta::getSparseOffsets(reinterpret_cast<const uint8_t *>(mask->data()),
                                            {rows, columns, entries.blockColumns});
  if (!offsets)
    return user->emitOpError() << "its weight has 2^31 or more entries in its lists of high weights";
  entries.shape[0] = offsets->back();
  return success();
}

FailureOr<StoredWeight> WeightStore::storeTiles(OpBuilder &b, Operation *user, Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  Attribute value = getConstant(weight);
  if (!value || !type.getElementType().isF32() || !type.hasStaticShape())
    return user->emitOpError() << "expected a constant f32 weight but got " << type;
  EncodingAttrInterface encoding = getEncoding(type);
  if (encoding && !isa<DecodeInterface>(Attribute(encoding)))
    return user->emitOpError() << "no kernel can decode the encoding " << encoding;
  auto packed = PackedAttr::get(user->getContext(), encoding, kLanes);
  StoredWeight result;
  Builder attrs(user->getContext());
  result.config.set("encoding", packed);
  result.config.set("shape", attrs.getDenseI64ArrayAttr(type.getShape()));
  for (PackedComponent &component : packed.getPackedComponents(type.getShape())) {
    if (component.kind == PackedComponent::Kind::Entries && failed(countEntries(user, value, type.getShape(), component)))
      return failure();
    result.addresses.push_back(store(b, weight.getLoc(), nameOf(weight, component.name), value,
                                     MemRefType::get(component.shape, component.elementType), packed, component.name,
                                     type.getShape()));
  }
  return result;
}

std::string WeightStore::nameOf(Value weight, StringRef component) {
  std::string name = getNodeName(weight.getLoc());
  if (name.empty())
    name = "w";
  return component == "values" || component.empty() ? name : name + "." + component.str();
}

//===- Caches -------------------------------------------------------------------------------------------------------------===//

static WalkResult refuse(Operation *op, const Twine &message) {
  op->emitOpError(message);
  return WalkResult::interrupt();
}

LogicalResult CacheStore::assignRoles() {
  WalkResult result = module.walk([&](CacheReadOp read) {
    FailureOr<std::optional<CacheRole>> role = read.getRole();
    if (failed(role))
      return refuse(read, "expected only attention to read a cache");
    if (*role && roles.try_emplace(read.getCacheAttr().getAttr(), **role).first->second != **role)
      return refuse(read, "expected a cache to hold keys, values or angles of keys, and one of them only");
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

SmallVector<Value> CacheStore::getMemory(OpBuilder &b, Location loc, FlatSymbolRefAttr name) {
  SmallVector<Value> addresses;
  SmallVector<StatesOp> &arrays = stored[name.getAttr()];
  CacheOp cache = lookup(name);
  SmallVector<Component> components = getCacheComponents(cache.getTensorType(), getRole(name));
  for (auto [i, component] : llvm::enumerate(components)) {
    auto type = MemRefType::get(component.shape, component.elementType);
    if (i == arrays.size()) {
      OpBuilder atEnd = OpBuilder::atBlockEnd(module.getBody());
      std::string label = cache.getSymName().str() + (component.name.empty() ? ".memory" : "." + component.name);
      arrays.push_back(StatesOp::create(atEnd, cache.getLoc(), label, type));
      symbols.insert(arrays.back());
    }
    addresses.push_back(StateOp::create(b, loc, type, FlatSymbolRefAttr::get(arrays[i].getSymNameAttr())));
  }
  return addresses;
}

void CacheStore::eraseCaches() {
  for (auto cache : llvm::make_early_inc_range(module.getOps<CacheOp>()))
    cache.erase();
}
