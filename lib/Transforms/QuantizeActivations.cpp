//===- QuantizeActivations.cpp - Layers with encoded weights read encoded activations ---------------------------------------===//
#include "VerifiedEdits.h"
#include "quanta/Calibrate/Histogram.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "quanta/Transforms/ActivationForm.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/Regex.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::Histogram;

namespace {

/// Leading dimensions as one; their groups for a tensor of this rank.
SmallVector<ReassociationIndices> collapseLeading(int64_t rank) {
  SmallVector<ReassociationIndices> groups(1);
  for (int64_t i = 0; i + 1 < rank; ++i)
    groups[0].push_back(i);
  groups.push_back({rank - 1});
  return groups;
}

/// A value that layers read, and how it is encoded for them.
struct ReadActivation {
  SmallVector<Operation *> layers;
  SmallVector<int64_t> splits; ///< where its second and later segments begin
  std::vector<Histogram> histograms; ///< of each segment, for static scales
  Attribute encoding;
  Value encoded, rows; ///< as a convolution reads it, and as linear layers do
};

struct QuantizeActivations : public mlir::quanta::impl::QuantizeActivationsBase<QuantizeActivations> {
  using QuantizeActivationsBase::QuantizeActivationsBase;

  void runOnOperation() override {
    if (act == "f32")
      return;
    form = ActivationForm::parse(act);
    unsigned attentionBits = parseAttention(act);
    if (!form && !attentionBits)
      return fail("option 'act' must be f32, bf16 or intN-token, intN-tensor, intN-cluster, intN-attention with N from 2 to 8 but is '" + act + "'");
    if (range != "mse" && range != "minmax")
      return fail("option 'range' must be mse or minmax but is '" + range + "'");
    if (form && form->isStatic() && data.empty())
      return fail("act=" + act + " chooses ranges on data: give quanta-quantize-activations data=FILE");
    llvm::Regex onlyPattern(only), keepPattern(keep);
    for (auto [option, text, pattern] : {std::tuple("only", &only, &onlyPattern), std::tuple("keep", &keep, &keepPattern)}) {
      std::string error; // an empty pattern is not valid, and selects nothing
      if (!text->empty() && !pattern->isValid(error))
        return fail("option '" + Twine(option) + "' is not a regular expression: " + error);
    }
    auto isSelected = [&](ArrayRef<std::string> names) {
      auto matches = [&](llvm::Regex &pattern) { return llvm::any_of(names, [&](StringRef name) { return pattern.match(name); }); };
      return (keep.empty() || !matches(keepPattern)) && (only.empty() || matches(onlyPattern));
    };
    if (attentionBits) {
      getOperation().walk([&](AttentionOp op) {
        if (!readsCache(op) && isSelected(getNodeName(op.getLoc())))
          op->setAttr("quanta.attention_bits", IntegerAttr::get(IntegerType::get(&getContext(), 64), attentionBits));
      });
      return;
    }
    activations.clear();
    getOperation().walk([&](Operation *op) {
      if (isa<LinearOp, Conv2DOp>(op) && serves(op) && isSelected({getNodeName(op->getLoc()), getNodeName(op->getOperand(1).getLoc())}))
        add(op);
    });
    if (form->isStatic()) {
      if (activations.empty())
        return;
      if (llvm::Error error = chooseRanges())
        return fail(llvm::toString(std::move(error)));
    }
    for (auto &[x, activation] : activations)
      for (Operation *op : activation.layers)
        quantize(op, x, activation);
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  /// N of intN-attention, or 0.
  static unsigned parseAttention(StringRef text) {
    unsigned bits = 0;
    bool fits = text.consume_front("int") && text.consume_back("-attention") && !text.getAsInteger(10, bits) && bits >= 2 && bits <= 8;
    return fits ? bits : 0;
  }

  static bool readsCache(AttentionOp op) {
    auto rotary = op.getKey().getDefiningOp<RotaryOp>();
    Value key = rotary ? rotary.getInput() : op.getKey();
    return key.getDefiningOp<CacheReadOp>() || op.getValue().getDefiningOp<CacheReadOp>();
  }

  bool serves(Operation *op) {
    Value weight = op->getOperand(1);
    auto input = cast<RankedTensorType>(op->getOperand(0).getType());
    if (!getEncoding(weight.getType()) || !matchPattern(weight, m_Constant()) || getEncoding(input) || !input.getElementType().isF32())
      return false;
    if (isa<Conv2DOp>(op))
      return form->isStatic();
    return input.getRank() >= 2 && !input.isDynamicDim(input.getRank() - 1);
  }

  void add(Operation *op) {
    ReadActivation &activation = activations[op->getOperand(0)];
    activation.layers.push_back(op);
    auto clusters = op->getAttrOfType<DenseI64ArrayAttr>("quanta.input_clusters");
    if (form->sharing != ActivationForm::Sharing::Cluster || !clusters || !activation.splits.empty())
      return;
    int64_t end = 0;
    for (int64_t count : clusters.asArrayRef().drop_back())
      activation.splits.push_back(end += count);
  }

  //===- Static ranges ----------------------------------------------------------------------------------------------------===//

  llvm::Error chooseRanges() {
    SmallVector<Value> values;
    for (auto &[x, activation] : activations) {
      values.push_back(x);
      activation.histograms.resize(activation.splits.size() + 1);
    }
    ModelCheck model(getOperation(), {data, samples, window, seed, threads});
    auto observe = [&](const ::quanta::CalibrationBatch &, const ArrayMap &, ArrayRef<Array> observed) -> llvm::Error {
      std::vector<char> finite(observed.size());
      llvm::parallelFor(0, observed.size(), [&](size_t i) { finite[i] = count(activations.begin()[i].second, observed[i]); });
      for (auto [fine, entry] : llvm::zip_equal(finite, activations))
        if (!fine)
          return ::quanta::userError("the input of '" + getNodeName(entry.second.layers.front()->getLoc()) +
                                     "' is not finite on the data: ranges cannot be chosen");
      return llvm::Error::success();
    };
    if (llvm::Error error = model.run(values, samples, observe))
      return error;
    // Each searches its own histograms.
    llvm::parallelFor(0, activations.size(), [&](size_t i) {
      ReadActivation &activation = activations.begin()[i].second;
      activation.encoding = chooseEncoding(activation);
      activation.histograms.clear();
    });
    return llvm::Error::success();
  }

  static bool count(ReadActivation &activation, const Array &array) {
    ArrayRef<float> data = array.as<float>();
    if (!llvm::all_of(data, [](float x) { return std::isfinite(x); }))
      return false;
    if (activation.splits.empty()) {
      activation.histograms.front().add(data);
      return true;
    }
    size_t columns = array.getShape().back();
    std::vector<float> gathered;
    for (size_t s = 0; s < activation.histograms.size(); ++s) {
      size_t begin = s ? activation.splits[s - 1] : 0, end = s < activation.splits.size() ? activation.splits[s] : columns;
      gathered.clear();
      for (size_t row = 0; row < data.size(); row += columns)
        gathered.insert(gathered.end(), data.begin() + row + begin, data.begin() + row + end);
      activation.histograms[s].add(gathered);
    }
    return true;
  }

  Attribute chooseEncoding(const ReadActivation &activation) {
    int64_t least = AffineAttr::getLeastCode(form->bits), levels = AffineAttr::getGreatestCode(form->bits) - least + 1;
    // The zeros that pad a convolution's input need a code, and those behind rectifiers are many.
    bool throughZero = activation.splits.empty();
    SmallVector<float> scales;
    SmallVector<int64_t> zeros;
    for (const Histogram &histogram : activation.histograms) {
      Histogram::Grid grid = range == "mse" ? histogram.bestGrid(levels, throughZero) : histogram.wholeGrid(levels, throughZero);
      scales.push_back(static_cast<float>(grid.step));
      zeros.push_back(grid.zero + least);
    }
    MLIRContext *context = &getContext();
    return AffineAttr::get(context, form->bits, DenseI64ArrayAttr::get(context, activation.splits), DenseF32ArrayAttr::get(context, scales),
                           DenseI64ArrayAttr::get(context, zeros));
  }

  //===- Rewriting --------------------------------------------------------------------------------------------------------===//

  /// The input's encoded form; layers that read the same value share it.
  Value getEncoded(Operation *op, Value x, ReadActivation &activation) {
    Value &result = isa<LinearOp>(op) ? activation.rows : activation.encoded;
    if (result)
      return result;
    ImplicitLocOpBuilder b(x.getLoc(), &getContext());
    b.setInsertionPointAfterValue(x);
    auto type = cast<RankedTensorType>(x.getType());
    if (isa<LinearOp>(op) && type.getRank() > 2)
      x = tensor::CollapseShapeOp::create(b, x, collapseLeading(type.getRank()));
    type = cast<RankedTensorType>(x.getType());
    if (!activation.encoding && form->sharing == ActivationForm::Sharing::None) {
      activation.encoding = NarrowAttr::get(&getContext(), b.getBF16Type());
    } else if (!activation.encoding) { // with few bits half of the codes would be too many to lose where values have one sign
      ZeroKind zero = form->bits == 8 ? ZeroKind::Symmetric : ZeroKind::Offset;
      activation.encoding = UniformAttr::get(&getContext(), form->bits, UniformAttr::kRow, zero, b.getF32Type(), 0);
    }
    auto encoded = RankedTensorType::get(type.getShape(), type.getElementType(), activation.encoding);
    return result = QuantizeOp::create(b, encoded, x);
  }

  void quantize(Operation *op, Value x, ReadActivation &activation) {
    Value encoded = getEncoded(op, x, activation);
    auto linear = dyn_cast<LinearOp>(op);
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    int64_t rank = type.getRank();
    if (!linear || rank == 2) {
      op->setOperand(0, encoded);
      return;
    }
    ImplicitLocOpBuilder b(op->getLoc(), op);
    auto flat = RankedTensorType::get({cast<RankedTensorType>(encoded.getType()).getDimSize(0), type.getDimSize(rank - 1)}, type.getElementType());
    auto layer = LinearOp::create(b, flat, encoded, linear.getWeight(), linear.getBias());
    layer->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, op->getLoc(), x);
    sizes.back() = b.getIndexAttr(type.getDimSize(rank - 1));
    Value result = tensor::ExpandShapeOp::create(b, type, layer.getResult(), collapseLeading(rank), sizes);
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }

  std::optional<ActivationForm> form;
  llvm::MapVector<Value, ReadActivation> activations;
};

} // namespace
