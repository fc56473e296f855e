//===- QuantizeActivations.cpp - Layers with encoded weights read encoded activations ---------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Regex.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Leading dimensions as one; their groups for a tensor of this rank.
SmallVector<ReassociationIndices> collapseLeading(int64_t rank) {
  SmallVector<ReassociationIndices> groups(1);
  for (int64_t i = 0; i + 1 < rank; ++i)
    groups[0].push_back(i);
  groups.push_back({rank - 1});
  return groups;
}

struct QuantizeActivations : public mlir::quanta::impl::QuantizeActivationsBase<QuantizeActivations> {
  using QuantizeActivationsBase::QuantizeActivationsBase;

  void runOnOperation() override {
    if (act == "f32")
      return;
    if (act != "int8-token") {
      getOperation().emitError() << "option 'act' must be f32 or int8-token but is '" << act << "'";
      return signalPassFailure();
    }
    llvm::Regex onlyPattern(only), keepPattern(keep);
    for (auto [option, text, pattern] : {std::tuple("only", &only, &onlyPattern), std::tuple("keep", &keep, &keepPattern)}) {
      std::string error; // an empty pattern is not valid, and selects nothing
      if (!text->empty() && !pattern->isValid(error)) {
        getOperation().emitError() << "option '" << option << "' is not a regular expression: " << error;
        return signalPassFailure();
      }
    }
    SmallVector<LinearOp> layers;
    getOperation().walk([&](LinearOp op) {
      std::string name = getNodeName(op.getLoc()), weightName = getNodeName(op.getWeight().getLoc());
      auto matches = [&](llvm::Regex &pattern) { return pattern.match(name) || pattern.match(weightName); };
      auto input = cast<RankedTensorType>(op.getInput().getType());
      bool serves = getEncoding(op.getWeight().getType()) && matchPattern(op.getWeight(), m_Constant()) && !getEncoding(input) &&
                    input.getElementType().isF32() && input.getRank() >= 2 && !input.isDynamicDim(input.getRank() - 1);
      if (serves && (keep.empty() || !matches(keepPattern)) && (only.empty() || matches(onlyPattern)))
        layers.push_back(op);
    });
    for (LinearOp op : layers)
      quantize(op);
    quantized.clear();
  }

  /// The input's encoded form; layers that read the same value share it.
  Value getQuantized(Value x) {
    Value &result = quantized[x];
    if (result)
      return result;
    ImplicitLocOpBuilder b(x.getLoc(), &getContext());
    b.setInsertionPointAfterValue(x);
    auto type = cast<RankedTensorType>(x.getType());
    Value tokens = x;
    if (type.getRank() > 2)
      tokens = tensor::CollapseShapeOp::create(b, x, collapseLeading(type.getRank()));
    type = cast<RankedTensorType>(tokens.getType());
    auto encoding = UniformAttr::get(&getContext(), 8, UniformAttr::kRow, ZeroKind::Symmetric, b.getF32Type(), 0);
    return result = QuantizeOp::create(b, RankedTensorType::get(type.getShape(), type.getElementType(), encoding), tokens);
  }

  void quantize(LinearOp op) {
    Value x = op.getInput(), tokens = getQuantized(x);
    ImplicitLocOpBuilder b(op.getLoc(), op);
    auto type = cast<RankedTensorType>(op.getResult().getType());
    int64_t rank = type.getRank();
    if (rank == 2) {
      op.getInputMutable().assign(tokens);
      return;
    }
    auto flat = RankedTensorType::get({cast<RankedTensorType>(tokens.getType()).getDimSize(0), type.getDimSize(rank - 1)}, type.getElementType());
    auto layer = LinearOp::create(b, flat, tokens, op.getWeight(), op.getBias());
    layer->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, op.getLoc(), x);
    sizes.back() = b.getIndexAttr(type.getDimSize(rank - 1));
    Value result = tensor::ExpandShapeOp::create(b, type, layer.getResult(), collapseLeading(rank), sizes);
    op.getResult().replaceAllUsesWith(result);
    op.erase();
  }

  llvm::MapVector<Value, Value> quantized;
};

} // namespace
