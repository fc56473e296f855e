//===- QuantizeCache.cpp - Caches get an encoding ----------------------------------------------------------------------------===//
#include "CacheLayers.h"
#include "SketchKeys.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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
    FailureOr<CacheLayers> layers = CacheLayers::find(module);
    if (failed(layers))
      return signalPassFailure();
    DenseMap<StringAttr, SmallVector<CacheAppendOp>> appends;
    module.walk([&](CacheAppendOp append) { appends[append.getCacheAttr().getAttr()].push_back(append); });
    if (widths.size() > 1 && widths.size() != layers->count) {
      module.emitError() << "option 'bits' has " << widths.size() << " widths, but the model has " << layers->count
                         << " layers with a cache; give one for each, or one for all";
      return signalPassFailure();
    }
    for (auto cache : module.getOps<CacheOp>()) {
      RankedTensorType type = cache.getTensorType();
      std::optional<CacheRole> role = layers->getRole(cache);
      if (type.getEncoding() || role == CacheRole::Angle || !pattern.match(cache.getSymName()))
        continue;
      const Widths &width = widths[widths.size() == 1 ? 0 : layers->getLayer(cache)];
      bool isKey = role == CacheRole::Key;
      if ((isKey ? width.keys + width.sketch : width.values) == 0)
        continue;
      CacheAttr encoding = chooseEncoding(cache, isKey, width);
      ArrayRef<CacheReadOp> reads = layers->getReads(cache);
      if (!encoding || (encoding.getScale() == CacheScale::Sketch &&
                        failed(sketchKeys(cache, appends[cache.getSymNameAttr()], reads, width.sketch, /*seed=*/0))))
        return signalPassFailure();
      auto encode = [&](Type from) { return RankedTensorType::get(cast<RankedTensorType>(from).getShape(), type.getElementType(), encoding); };
      cache.setType(encode(cache.getType()));
      for (CacheReadOp read : reads)
        read.getResult().setType(encode(read.getType()));
    }
  }

private:
  struct Widths {
    unsigned keys = 0, values = 0;
    unsigned sketch = 0; ///< signs for each channel of keys, instead of `keys`
  };

  /// "sketch" or "sketch2".
  static bool parseSketch(StringRef text, unsigned &signs) {
    signs = 1;
    return text.consume_front("sketch") && (text.empty() || (!text.getAsInteger(10, signs) && signs >= 1 && signs <= 8));
  }

  /// "4", "4/2" or "sketch/2", separated by commas; 0 keeps floats. How many bits a cache can have is the encoding's business.
  LogicalResult parseWidths(SmallVectorImpl<Widths> &widths) {
    for (StringRef text : llvm::split(StringRef(bits), ',')) {
      auto [keys, values] = text.split('/');
      Widths pair;
      bool sketched = keys.starts_with("sketch");
      if ((sketched ? !parseSketch(keys, pair.sketch) : keys.getAsInteger(10, pair.keys)) ||
          (text.contains('/') ? values : keys).getAsInteger(10, pair.values))
        return getOperation().emitError() << "option 'bits' must be numbers, or KEYS/VALUES, where keys may also be 'sketch' or "
                                             "'sketch2' to 'sketch8', separated by commas, but is '" << bits << "'";
      widths.push_back(pair);
    }
    return success();
  }

  /// Null after an error.
  CacheAttr chooseEncoding(CacheOp cache, bool isKey, Widths widths) {
    auto emitError = [&] { return cache.emitError(); };
    CacheScale scale = isKey && widths.sketch ? CacheScale::Sketch : isKey && group != 0 ? CacheScale::Channel : CacheScale::Token;
    unsigned width = scale == CacheScale::Sketch ? 1 : isKey ? widths.keys : widths.values;
    return CacheAttr::getChecked(emitError, &getContext(), scale, width, scale == CacheScale::Channel ? group.getValue() : 0,
                                 window.getValue());
  }
};
} // namespace
