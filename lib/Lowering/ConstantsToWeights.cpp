//===- ConstantsToWeights.cpp - Constant tensors become module-level weights -------------------------------------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "quanta/Lowering/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_CONSTANTSTOWEIGHTS
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

int64_t mlir::quanta::getElementBytes(Type elementType) {
  if (auto complex = dyn_cast<ComplexType>(elementType))
    return 2 * getElementBytes(complex.getElementType());
  return elementType.isIndex() ? 8 : llvm::divideCeil(elementType.getIntOrFloatBitWidth(), 8);
}

template <typename Op> static DenseMap<StringAttr, int64_t> assignOffsets(ModuleOp module, int64_t &total) {
  DenseMap<StringAttr, int64_t> offsets;
  total = 0;
  for (Op op : module.getOps<Op>()) {
    auto type = cast<MemRefType>(op.getType());
    offsets[op.getSymNameAttr()] = total;
    total = llvm::alignTo(total + type.getNumElements() * getElementBytes(type.getElementType()), 64);
  }
  return offsets;
}

DenseMap<StringAttr, int64_t> mlir::quanta::assignWeightOffsets(ModuleOp module, int64_t &total) {
  return assignOffsets<WeightsOp>(module, total);
}

DenseMap<StringAttr, int64_t> mlir::quanta::assignStateOffsets(ModuleOp module, int64_t &total) {
  return assignOffsets<StatesOp>(module, total);
}

namespace {
struct ConstantsToWeights : quanta::impl::ConstantsToWeightsBase<ConstantsToWeights> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    // Keyed by value; a stored constant with a layout is not in logical order.
    DenseMap<Attribute, WeightsOp> stored;
    for (auto weights : module.getOps<WeightsOp>())
      if (!weights.getLayout())
        stored.try_emplace(weights.getValue(), weights);

    SmallVector<arith::ConstantOp> constants;
    module.walk([&](arith::ConstantOp constant) {
      if (isa<RankedTensorType>(constant.getType()))
        constants.push_back(constant);
    });
    OpBuilder top(module.getBody(), module.getBody()->begin());
    for (arith::ConstantOp constant : constants) {
      OpBuilder b(constant);
      Location loc = constant.getLoc();
      auto type = cast<RankedTensorType>(constant.getType());
      Value replacement;
      if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()); dense && dense.isSplat()) {
        Value scalar = arith::ConstantOp::create(b, loc, cast<TypedAttr>(dense.getSplatValue<Attribute>()));
        Value empty = tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
        replacement = linalg::FillOp::create(b, loc, scalar, empty).getResult(0);
      } else {
        auto memref = MemRefType::get(type.getShape(), type.getElementType());
        WeightsOp &weights = stored[constant.getValue()];
        if (!weights || cast<MemRefType>(weights.getType()) != memref) {
          auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
          StringRef name = resource ? resource.getRawHandle().getKey() : "constant";
          weights = WeightsOp::create(top, loc, name, memref, constant.getValue(), Attribute());
          symbols.insert(weights, top.getInsertionPoint());
        }
        Value address = WeightOp::create(b, loc, memref, FlatSymbolRefAttr::get(weights.getSymNameAttr()));
        replacement = bufferization::ToTensorOp::create(b, loc, type, address, /*restrict=*/true, /*writable=*/false);
      }
      constant.replaceAllUsesWith(replacement);
      constant.erase();
    }
  }
};
} // namespace
