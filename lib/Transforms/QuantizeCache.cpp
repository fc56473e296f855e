//===- QuantizeCache.cpp - Caches get an encoding ----------------------------------------------------------------------------===//
#include "quanta/Transforms/Passes.h"
#include "llvm/Support/Regex.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZECACHE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct QuantizeCache : public mlir::quanta::impl::QuantizeCacheBase<QuantizeCache> {
  using QuantizeCacheBase::QuantizeCacheBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::string problem;
    llvm::Regex pattern(only.empty() ? StringRef(".*") : StringRef(only));
    if (!pattern.isValid(problem)) {
      module.emitError("option 'only' is not a regular expression: " + problem);
      return signalPassFailure();
    }
    DenseMap<StringAttr, SmallVector<CacheReadOp>> reads;
    module.walk([&](CacheReadOp read) { reads[read.getCacheAttr().getAttr()].push_back(read); });
    for (auto cache : module.getOps<CacheOp>()) {
      RankedTensorType type = cache.getTensorType();
      if (type.getEncoding() || !pattern.match(cache.getSymName()))
        continue;
      ArrayRef<CacheReadOp> readers = reads[cache.getSymNameAttr()];
      CacheAttr encoding = chooseEncoding(cache, readers);
      if (!encoding)
        return signalPassFailure();
      auto encode = [&](Type from) { return RankedTensorType::get(cast<RankedTensorType>(from).getShape(), type.getElementType(), encoding); };
      cache.setType(encode(type));
      for (CacheReadOp read : readers)
        read.getResult().setType(encode(read.getType()));
    }
  }

private:
  /// Null after an error.
  CacheAttr chooseEncoding(CacheOp cache, ArrayRef<CacheReadOp> readers) {
    bool isKey = false;
    for (CacheReadOp read : readers)
      for (Operation *user : read.getResult().getUsers()) {
        auto attention = dyn_cast<AttentionOp>(user);
        isKey |= attention && attention.getKey() == read.getResult();
      }
    auto emitError = [&] { return cache.emitError(); };
    bool byChannel = isKey && group != 0;
    return CacheAttr::getChecked(emitError, &getContext(), byChannel ? CacheScale::Channel : CacheScale::Token, bits.getValue(),
                                 byChannel ? group.getValue() : 0, window.getValue());
  }
};
} // namespace
