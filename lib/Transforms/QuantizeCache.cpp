//===- QuantizeCache.cpp - Caches get an encoding ----------------------------------------------------------------------------===//
#include "quanta/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
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
    SmallVector<Widths> widths;
    if (failed(parseWidths(widths)))
      return signalPassFailure();
    DenseMap<StringAttr, SmallVector<CacheReadOp>> reads;
    DenseMap<Operation *, size_t> layers; // attentions over caches, in the model's order
    module.walk([&](CacheReadOp read) {
      reads[read.getCacheAttr().getAttr()].push_back(read);
      for (Operation *user : read.getResult().getUsers())
        layers.try_emplace(user, layers.size());
    });
    if (widths.size() > 1 && widths.size() != layers.size()) {
      module.emitError() << "option 'bits' has " << widths.size() << " widths, but the model has " << layers.size()
                         << " layers with a cache; give one for each, or one for all";
      return signalPassFailure();
    }
    for (auto cache : module.getOps<CacheOp>()) {
      RankedTensorType type = cache.getTensorType();
      if (type.getEncoding() || !pattern.match(cache.getSymName()))
        continue;
      ArrayRef<CacheReadOp> readers = reads[cache.getSymNameAttr()];
      size_t layer = widths.size() == 1 ? 0 : findLayer(readers, layers);
      CacheAttr encoding = chooseEncoding(cache, readers, widths[layer]);
      if (!encoding)
        return signalPassFailure();
      auto encode = [&](Type from) { return RankedTensorType::get(cast<RankedTensorType>(from).getShape(), type.getElementType(), encoding); };
      cache.setType(encode(type));
      for (CacheReadOp read : readers)
        read.getResult().setType(encode(read.getType()));
    }
  }

private:
  struct Widths {
    unsigned keys, values;
  };

  /// "4" or "4/2", separated by commas. How many bits a cache can have is the encoding's business.
  LogicalResult parseWidths(SmallVectorImpl<Widths> &widths) {
    for (StringRef text : llvm::split(StringRef(bits), ',')) {
      auto [keys, values] = text.split('/');
      Widths pair;
      if (keys.getAsInteger(10, pair.keys) || (text.contains('/') ? values : keys).getAsInteger(10, pair.values))
        return getOperation().emitError() << "option 'bits' must be numbers, or KEYS/VALUES, separated by commas, but is '" << bits
                                          << "'";
      widths.push_back(pair);
    }
    return success();
  }

  /// Of a cache that several layers read, the first; nobody reads it: any.
  static size_t findLayer(ArrayRef<CacheReadOp> readers, const DenseMap<Operation *, size_t> &layers) {
    size_t first = layers.size();
    for (CacheReadOp read : readers)
      for (Operation *user : read->getUsers())
        first = std::min(first, layers.lookup(user));
    return first < layers.size() ? first : 0;
  }

  /// Null after an error.
  CacheAttr chooseEncoding(CacheOp cache, ArrayRef<CacheReadOp> readers, Widths widths) {
    bool isKey = false;
    for (CacheReadOp read : readers)
      for (Operation *user : read.getResult().getUsers()) {
        auto attention = dyn_cast<AttentionOp>(user);
        isKey |= attention && attention.getKey() == read.getResult();
      }
    auto emitError = [&] { return cache.emitError(); };
    bool byChannel = isKey && group != 0;
    return CacheAttr::getChecked(emitError, &getContext(), byChannel ? CacheScale::Channel : CacheScale::Token,
                                 isKey ? widths.keys : widths.values, byChannel ? group.getValue() : 0, window.getValue());
  }
};
} // namespace
