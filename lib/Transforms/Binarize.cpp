//===- Binarize.cpp - Weights become signs, and a few that matter codes of more bits --------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_BINARIZE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::RowGrids;
using ::quanta::UniformOptions;

namespace {
/// A layer's mask: 1 for the weights (or columns) of more bits.
struct Mask {
  AsmResourceBlob *blob = nullptr;
  ArrayRef<uint8_t> values; ///< [rows, columns] or [columns]
  bool columns = false;
  int64_t tile = 0, kept = 0;
  int64_t count() const { return llvm::count(values, 1); }
};

struct Binarize : public mlir::quanta::impl::BinarizeBase<Binarize> {
  using BinarizeBase::BinarizeBase;

  void runOnOperation() override {
    if (highBits < 1 || highBits > 8 || lowBits < 1 || lowBits > 8 || group < 0) {
      getOperation().emitError() << "expected 1 to 8 high bits, as many low bits and a group of 0 or more but got " << unsigned(highBits)
                                 << ", " << unsigned(lowBits) << " and " << int64_t(group);
      return signalPassFailure();
    }
    CalibratedLayers layers(&getContext(), damping);
    auto solve = [&](const SolverLayer &layer) { return binarize(layer, layers); };
    if (failed(encodeSelectedLayers(getOperation(), true, solve)))
      signalPassFailure();
  }

  FailureOr<EncodedWeight> binarize(const SolverLayer &layer, CalibratedLayers &layers) {
    auto statistics = layers.load(layer);
    FailureOr<Mask> mask = readMask(layer);
    if (failed(statistics) || failed(mask))
      return failure();
    RowGrids grids = makeGrids(layer, *mask);
    EncodedWeight weight;
    if (mask->count())
      weight.remark = llvm::formatv("{0} of {1} {2} with {3} bits, the others {4}", mask->count(), mask->values.size(),
                                    mask->columns ? "columns" : "weights", unsigned(highBits), describeLow());
    else
      weight.remark = describeLow();
    std::vector<::quanta::HessianFactor> factors = (*statistics)->factors;
    if (mask->columns)
      moveHighLast(**statistics, *mask, factors);
    layers.solve(layer, **statistics, factors, grids, weight);
    encode(grids, *mask, weight);
    if (mask->blob)
      *mask->blob = AsmResourceBlob(); // blobs live as long as the context
    return weight;
  }

  std::string describeLow() const { return lowBits == 1 ? "binary" : llvm::formatv("with {0}", unsigned(lowBits)).str(); }

  FailureOr<Mask> readMask(const SolverLayer &layer) {
    Mask mask;
    Attribute attr = layer.op->getAttr("quanta.mask");
    if (!attr)
      return mask;
    auto fields = dyn_cast<DictionaryAttr>(attr);
    auto values = fields ? fields.getAs<DenseResourceElementsAttr>("values") : DenseResourceElementsAttr();
    mask.blob = values ? values.getRawHandle().getBlob() : nullptr;
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
    if (mask.blob) {
      ArrayRef<char> data = mask.blob->getData();
      mask.values = {reinterpret_cast<const uint8_t *>(data.data()), data.size()};
      mask.columns = values.getType().getRank() == 1;
    }
    int64_t expected = mask.columns ? columns : rows * columns;
    if (!mask.blob || static_cast<int64_t>(mask.values.size()) != expected || llvm::any_of(mask.values, [](uint8_t v) { return v > 1; }))
      return layer.op->emitOpError() << "expected a mask of zeros and ones for " << columns << " columns or " << rows << "x"
                                     << columns << " weights";
    if (auto tile = fields.getAs<IntegerAttr>("tile"))
      mask.tile = tile.getInt();
    if (auto kept = fields.getAs<IntegerAttr>("kept"))
      mask.kept = kept.getInt();
    return mask;
  }

  /// Grids of one bit for the groups of low weights, then one for the high weights.
  RowGrids makeGrids(const SolverLayer &layer, const Mask &mask) {
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
    UniformOptions low, high;
    low.bits = lowBits;
    high.bits = highBits;
    low.zero = high.zero = ::quanta::UniformZero::Offset;
    // Groups count the columns that are stored together: of whole columns, the low ones.
    int64_t lowColumns = mask.columns ? columns - mask.count() : columns, size = group > 0 ? int64_t(group) : columns;
    int64_t groups = llvm::divideCeil(lowColumns, size);
    std::vector<UniformOptions> formats(groups, low);
    if (mask.count())
      formats.push_back(high);
    std::vector<uint16_t> grid(mask.values.empty() ? columns : mask.values.size());
    int64_t next = 0;
    for (size_t i = 0; i < grid.size(); ++i) {
      bool isHigh = !mask.values.empty() && mask.values[i];
      int64_t column = mask.columns ? next : i % columns;
      grid[i] = isHigh ? groups : column / size;
      next += !isHigh;
    }
    return RowGrids::create(rows, columns, std::move(formats), std::move(grid));
  }

  /// Errors of binary columns can be compensated by columns of more bits only if these come last.
  void moveHighLast(const LayerStatistics &statistics, const Mask &mask, std::vector<::quanta::HessianFactor> &factors) {
    for (size_t block = 0; block < factors.size(); ++block) {
      std::vector<int64_t> order = factors[block].order;
      std::stable_partition(order.begin(), order.end(), [&](int64_t column) { return !mask.values[column]; });
      factors[block] = factorHessian(statistics.fit(block), statistics.factorOptions(), std::move(order));
    }
  }

  void encode(const RowGrids &grids, const Mask &mask, EncodedWeight &weight) {
    int64_t count = mask.count(), lowGrids = grids.grids() - (count ? 1 : 0);
    UniformOptions low = grids.formats.front(), high = grids.formats.back();
    low.group = group;
    auto lowEncoding = getUniformEncoding(low, &getContext()), highEncoding = getUniformEncoding(high, &getContext());
    if (!count || !lowGrids) {
      encodeUniform(toUniform(grids, count ? 0 : int64_t(group)), &getContext(), weight);
      return;
    }
    std::vector<float> &lowScales = weight.floats["low.scales"], &lowOffsets = weight.floats["low.offsets"];
    std::vector<float> &highScales = weight.floats["high.scales"], &highOffsets = weight.floats["high.offsets"];
    for (int64_t row = 0; row < grids.rows; ++row)
      for (int64_t g = 0; g < grids.grids(); ++g) {
        (g < lowGrids ? lowScales : highScales).push_back(grids.parameter(row, g).scale);
        (g < lowGrids ? lowOffsets : highOffsets).push_back(grids.parameter(row, g).offset);
      }
    weight.integers["mask"] = mask.values;
    if (mask.columns) {
      for (size_t i = 0; i < grids.codes.size(); ++i)
        weight.integers[mask.values[i % grids.columns] ? "high.codes" : "low.codes"].push_back(grids.codes[i]);
      weight.encoding = SplitAttr::get(&getContext(), SplitKind::Columns, count, 0, 0, highEncoding, lowEncoding);
    } else {
      weight.integers["codes"] = grids.codes;
      weight.encoding = SplitAttr::get(&getContext(), SplitKind::Mask, count, mask.tile, mask.kept, highEncoding, lowEncoding);
    }
  }
};
} // namespace
