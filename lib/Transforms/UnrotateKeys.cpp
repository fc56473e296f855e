//===- UnrotateKeys.cpp - Caches hold keys as they are before their rotation ----------------------------------------------===//
//
// C. Hooper et al., KVQuant, 2024: channels of keys have outlying sizes until the rotary embedding mixes pairs of them.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_UNROTATEKEYS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct UnrotateKeys : public mlir::quanta::impl::UnrotateKeysBase<UnrotateKeys> {
  using UnrotateKeysBase::UnrotateKeysBase;

  void runOnOperation() override {
    symbols.emplace(getOperation());
    angles.clear();
    DenseMap<StringAttr, SmallVector<CacheReadOp>> reads;
    SmallVector<CacheAppendOp> appends;
    getOperation().walk([&](Operation *op) {
      if (auto read = dyn_cast<CacheReadOp>(op))
        reads[read.getCacheAttr().getAttr()].push_back(read);
      else if (auto append = dyn_cast<CacheAppendOp>(op))
        appends.push_back(append);
    });
    bool any = false;
    for (CacheAppendOp append : appends)
      any |= unrotate(append, appends.front(), reads[append.getCacheAttr().getAttr()]);
    if (!any) {
      getOperation().emitError("no cache holds keys behind a rotary embedding that could be stored before it; leave keys as they are");
      signalPassFailure();
    }
  }

private:
  static Value skipCasts(Value value) {
    while (auto cast = value.getDefiningOp<tensor::CastOp>())
      value = cast.getSource();
    return value;
  }

  /// The size of the first dimension, or none.
  static std::optional<int64_t> getRows(Value value) {
    while (true) {
      if (int64_t size = cast<RankedTensorType>(value.getType()).getDimSize(0); !ShapedType::isDynamic(size))
        return size;
      if (auto cast = value.getDefiningOp<tensor::CastOp>())
        value = cast.getSource();
      else if (auto expand = value.getDefiningOp<tensor::ExpandShapeOp>())
        return getConstantIntValue(expand.getMixedOutputShape()[0]);
      else
        return std::nullopt;
    }
  }

  bool unrotate(CacheAppendOp append, CacheAppendOp first, ArrayRef<CacheReadOp> readers) {
    auto rotary = skipCasts(append.getValues()).getDefiningOp<RotaryOp>();
    auto cache = symbols->lookup<CacheOp>(append.getCache());
    auto isPlainKey = [](CacheReadOp read) {
      FailureOr<std::optional<CacheRole>> role = read.getRole();
      return succeeded(role) && *role == CacheRole::Key &&
             llvm::none_of(read->getUsers(), [](Operation *user) { return isa<RotaryOp>(user); });
    };
    if (!rotary || !cache || cache.getTensorType().getEncoding() || readers.empty() || !llvm::all_of(readers, isPlainKey))
      return false;
    int64_t batch = cache.getTensorType().getDimSize(0);
    for (Value table : {rotary.getCos(), rotary.getSin()}) {
      std::optional<int64_t> rows = getRows(table);
      auto type = cast<RankedTensorType>(table.getType());
      if (!rows || (*rows != 1 && *rows != batch) || type.isDynamicDim(1) || !type.getElementType().isF32()) {
        append.emitRemark() << "its keys stay rotated: a table of the rotary embedding is " << type
                            << ", not f32 with a fixed number of rows and heads";
        return false;
      }
    }
    StringAttr cosines = getAngles(rotary.getCos(), "cosines", cache, first), sines = getAngles(rotary.getSin(), "sines", cache, first);
    append.getValuesMutable().assign(rotary.getInput());
    for (CacheReadOp read : readers) {
      ImplicitLocOpBuilder b(rotary.getLoc(), read->getContext());
      b.setInsertionPointAfter(read);
      auto readAngles = [&](StringAttr name) -> Value {
        RankedTensorType whole = symbols->lookup<CacheOp>(name).getTensorType();
        auto type = cast<RankedTensorType>(read.getType());
        auto viewed = RankedTensorType::get({whole.getDimSize(0), whole.getDimSize(1), type.getDimSize(2), whole.getDimSize(3)},
                                            whole.getElementType());
        return CacheReadOp::create(b, viewed, FlatSymbolRefAttr::get(name), read.getLength());
      };
      Value cos = readAngles(cosines), sin = readAngles(sines);
      auto rotated = RotaryOp::create(b, read.getType(), read, cos, sin);
      read.getResult().replaceAllUsesExcept(rotated, rotated);
    }
    return true;
  }

  /// The cache of a table, filled before anything else is; tables that layers share have one.
  StringAttr getAngles(Value table, StringRef name, CacheOp keys, CacheAppendOp first) {
    auto [entry, isNew] = angles.try_emplace(table);
    if (!isNew)
      return entry->second;
    auto type = cast<RankedTensorType>(table.getType());
    auto whole = RankedTensorType::get({*getRows(table), type.getDimSize(1), keys.getCapacity(), type.getDimSize(3)}, type.getElementType());
    OpBuilder atEnd = OpBuilder::atBlockEnd(getOperation().getBody());
    auto cache = CacheOp::create(atEnd, table.getLoc(), name, whole);
    symbols->insert(cache);
    // A table that is computed later than the first keys are appended is appended where it is there.
    OpBuilder b(first);
    if (Operation *op = table.getDefiningOp(); op && !op->isBeforeInBlock(first))
      b.setInsertionPointAfter(op);
    CacheAppendOp::create(b, table.getLoc(), FlatSymbolRefAttr::get(cache.getSymNameAttr()), table);
    return entry->second = cache.getSymNameAttr();
  }

  std::optional<SymbolTable> symbols;
  llvm::DenseMap<Value, StringAttr> angles;
};
} // namespace
