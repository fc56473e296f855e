//===- AllocateCache.cpp - Widths of caches are chosen within a budget ----------------------------------------------------===//
#include "CacheLayers.h"
#include "MeasuredLosses.h"
#include "quanta/Allocate/Allocation.h"
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Support/Figures.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_ALLOCATECACHE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Allocation;
using ::quanta::AllocationProblem;
using ::quanta::printFigure;

namespace {
/// Stored bits of a cache.
int64_t countBits(CacheOp cache) {
  RankedTensorType type = cache.getTensorType();
  EncodingAttrInterface encoding = getEncoding(type);
  return encoding ? encoding.getStoredBits(type.getShape()) : 32 * type.getNumElements();
}

struct AllocateCache : public mlir::quanta::impl::AllocateCacheBase<AllocateCache> {
  using AllocateCacheBase::AllocateCacheBase;

  void runOnOperation() override {
    if (bytes < 1)
      return fail("expected a budget of bytes above 0 but got " + Twine(bytes));
    widths.clear();
    StringRef(candidates).split(widths, ',', -1, /*KeepEmpty=*/false);
    if (widths.empty())
      return fail("expected candidates, as 'candidates=8/4,4,2'");
    FailureOr<CacheLayers> found = CacheLayers::find(getOperation());
    if (failed(found))
      return signalPassFailure();
    layers = std::move(*found);
    if (layers.count == 0)
      return fail("the model has no layers with a cache; run quanta-use-cache before");
    AllocationProblem problem;
    if (failed(makeProblem(problem)))
      return signalPassFailure();
    std::optional<Allocation> allocation = allocateDynamic(problem);
    if (!allocation)
      return fail("a budget of " + Twine(bytes) + " bytes is too small: the smallest candidates take " +
                  Twine(llvm::divideCeil(leastBits(problem) + fixedBits, 8)) + "; offer smaller ones, a smaller capacity, or raise it");
    std::vector<StringRef> chosen;
    for (size_t choice : allocation->choice)
      chosen.push_back(widths[choice]);
    std::string list = llvm::join(chosen, ",");
    if (failed(encode(getOperation(), list)))
      return signalPassFailure();
    getOperation().emitRemark() << "caches of " << layers.count << " layers get the widths " << list << " and take "
                                << llvm::divideCeil(allocation->costs[0] + fixedBits, 8) << " of " << int64_t(bytes)
                                << " bytes; loss " << printFigure(allocation->error);
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError(message);
    signalPassFailure();
  }

  LogicalResult encode(ModuleOp module, StringRef bits) {
    QuantizeCacheOptions options;
    options.bits = bits.str();
    options.group = group;
    options.window = recent;
    PassManager passes(&getContext(), ModuleOp::getOperationName());
    passes.addPass(createQuantizeCache(options));
    return passes.run(module);
  }

  /// The model with one layer's caches encoded.
  FailureOr<OwningOpRef<ModuleOp>> switchLayer(size_t layer, StringRef width) {
    std::vector<StringRef> list(layers.count, "0");
    list[layer] = width;
    OwningOpRef<ModuleOp> variant(getOperation().clone());
    if (failed(encode(*variant, llvm::join(list, ","))))
      return failure();
    return variant;
  }

  LogicalResult makeProblem(AllocationProblem &problem) {
    ::quanta::CalibrationOptions sampling;
    sampling.samples = samples;
    sampling.window = window;
    sampling.seed = seed;
    auto fingerprint = [&](uint64_t fingerprintOfData) {
      return ::quanta::fingerprintOf({"cache losses", fingerprintModule(getOperation()), candidates, std::to_string(group),
                                      std::to_string(recent), std::to_string(fingerprintOfData)});
    };
    auto losses = MeasuredLosses::create(getOperation(), {data, sampling, threads, store, resume}, fingerprint);
    if (!losses)
      return getOperation().emitError() << toString(losses.takeError());
    for (size_t layer = 0; layer < layers.count; ++layer) {
      problem.units.emplace_back();
      for (auto [number, width] : llvm::enumerate(widths)) {
        auto variant = switchLayer(layer, width);
        if (failed(variant))
          return failure();
        int64_t bits = 0;
        for (auto cache : (**variant).getOps<CacheOp>())
          if (isChosen(cache) && layers.getLayer(cache) == layer)
            bits += countBits(cache);
        auto loss = losses->get({{layer, number}}, [&](SwitchedModel &model) { return model.measure(**variant); });
        if (!loss)
          return getOperation().emitError() << toString(loss.takeError());
        problem.units.back().push_back({*loss, {bits}});
      }
    }
    fixedBits = 0;
    for (auto cache : getOperation().getOps<CacheOp>())
      if (!isChosen(cache))
        fixedBits += countBits(cache);
    int64_t most = 0, budget = bytes > INT64_MAX / 8 ? INT64_MAX : 8 * bytes;
    for (const auto &unit : problem.units)
      most += llvm::max_element(unit, [](auto &a, auto &b) { return a.costs[0] < b.costs[0]; })->costs[0];
    problem.budgets = {std::max<int64_t>(0, std::min(budget - fixedBits, most))};
    return success();
  }

  /// By the symbol, which variants of the model share. Angles and what is encoded already stay as they are.
  bool isChosen(CacheOp cache) {
    auto original = getOperation().lookupSymbol<CacheOp>(cache.getSymNameAttr());
    return layers.getRole(original) != CacheRole::Angle && !original.getTensorType().getEncoding();
  }

  static int64_t leastBits(const AllocationProblem &problem) {
    int64_t sum = 0;
    for (const auto &unit : problem.units)
      sum += llvm::min_element(unit, [](auto &a, auto &b) { return a.costs[0] < b.costs[0]; })->costs[0];
    return sum;
  }

  SmallVector<StringRef> widths;
  CacheLayers layers;
  int64_t fixedBits = 0; ///< of caches that are not chosen
};
} // namespace
