//===- MergeConstants.cpp - Equal constants share one array ------------------------------------------------------------------===//
//
// Exporters write a tied embedding twice, once transposed for the output head; after folding both are the same bytes.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Transforms/Passes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/xxhash.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_MERGECONSTANTS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct MergeConstants : public mlir::quanta::impl::MergeConstantsBase<MergeConstants> {
  void runOnOperation() override {
    // Only arrays of one type and one hash are compared byte by byte.
    DenseMap<std::pair<Type, uint64_t>, SmallVector<DenseResourceElementsAttr>> known;
    SmallVector<DenseResourceElementsAttr> replaced;
    getOperation().walk([&](arith::ConstantOp op) {
      auto value = dyn_cast<DenseResourceElementsAttr>(op.getValue());
      AsmResourceBlob *blob = value ? value.getRawHandle().getBlob() : nullptr;
      if (!blob)
        return;
      ArrayRef<char> data = blob->getData();
      uint64_t hash = llvm::xxh3_64bits(ArrayRef(reinterpret_cast<const uint8_t *>(data.data()), data.size()));
      auto &candidates = known[{value.getType(), hash}];
      for (DenseResourceElementsAttr candidate : candidates) {
        if (candidate == value)
          return;
        if (candidate.getRawHandle().getBlob()->getData() != data)
          continue;
        replaced.push_back(value);
        op.setValueAttr(candidate);
        return;
      }
      candidates.push_back(value);
    });
    if (replaced.empty())
      return markAllAnalysesPreserved();
    // No constant holds these any more, and blobs live as long as the context.
    for (DenseResourceElementsAttr value : replaced)
      if (AsmResourceBlob *blob = value.getRawHandle().getBlob())
        *blob = AsmResourceBlob();
  }
};
} // namespace
