//===- QuantizeCache.cpp - Caches get an encoding ----------------------------------------------------------------------------===//
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
    DenseMap<StringAttr, SmallVector<CacheReadOp>> reads;
    DenseMap<Operation *, size_t> layers; // attentions over caches, in the model's order
    DenseMap<StringAttr, CacheRole> roles;
    WalkResult walked = module.walk([&](CacheReadOp read) {
      StringAttr name = read.getCacheAttr().getAttr();
      FailureOr<std::optional<CacheRole>> role = read.getRole();
      if (failed(role) || (*role && roles.try_emplace(name, **role).first->second != **role)) {
        read.emitOpError("expected only attention to read a cache, as keys, as values or as angles of keys");
        return WalkResult::interrupt();
      }
      reads[name].push_back(read);
      forAttentions(read, [&](Operation *attention) { layers.try_emplace(attention, layers.size()); });
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return signalPassFailure();
    DenseMap<StringAttr, SmallVector<CacheAppendOp>> appends;
    module.walk([&](CacheAppendOp append) { appends[append.getCacheAttr().getAttr()].push_back(append); });
    if (widths.size() > 1 && widths.size() != layers.size()) {
      module.emitError() << "option 'bits' has " << widths.size() << " widths, but the model has " << layers.size()
                         << " layers with a cache; give one for each, or one for all";
      return signalPassFailure();
    }
    for (auto cache : module.getOps<CacheOp>()) {
      RankedTensorType type = cache.getTensorType();
      auto role = roles.find(cache.getSymNameAttr());
      bool isAngle = role != roles.end() && role->second == CacheRole::Angle;
      if (type.getEncoding() || isAngle || !pattern.match(cache.getSymName()))
        continue;
      ArrayRef<CacheReadOp> readers = reads[cache.getSymNameAttr()];
      size_t layer = widths.size() == 1 ? 0 : findLayer(readers, layers);
      bool isKey = role != roles.end() && role->second == CacheRole::Key;
      CacheAttr encoding = chooseEncoding(cache, isKey, widths[layer]);
      if (!encoding || (encoding.getScale() == CacheScale::Sketch &&
                        failed(sketchKeys(cache, appends[cache.getSymNameAttr()], readers, widths[layer].sketch, /*seed=*/0))))
        return signalPassFailure();
      auto encode = [&](Type from) { return RankedTensorType::get(cast<RankedTensorType>(from).getShape(), type.getElementType(), encoding); };
      cache.setType(encode(cache.getType()));
      for (CacheReadOp read : readers)
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

  /// "4", "4/2" or "sketch/2", separated by commas. How many bits a cache can have is the encoding's business.
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

  /// The attentions that read it, perhaps rotated.
  static void forAttentions(CacheReadOp read, function_ref<void(Operation *)> body) {
    for (Operation *user : read->getUsers())
      if (isa<AttentionOp>(user))
        body(user);
      else
        llvm::for_each(user->getUsers(), body);
  }

  /// Of a cache that several layers read, the first; nobody reads it: any.
  static size_t findLayer(ArrayRef<CacheReadOp> readers, const DenseMap<Operation *, size_t> &layers) {
    size_t first = layers.size();
    for (CacheReadOp read : readers)
      forAttentions(read, [&](Operation *attention) { first = std::min(first, layers.lookup(attention)); });
    return first < layers.size() ? first : 0;
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
