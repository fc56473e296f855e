//===- DecomposeAttention.cpp - Attention as products and a softmax -------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_DECOMPOSEATTENTION
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// `x` with each element changed by `body`, which also gets that of `other` (broadcast where its size is 1), if there is one.
Value mapElements(ImplicitLocOpBuilder &b, Value x, Value other, function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  auto type = cast<RankedTensorType>(x.getType());
  int64_t rank = type.getRank();
  SmallVector<Value> inputs{x};
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(rank)};
  if (other) {
    SmallVector<AffineExpr> at;
    ArrayRef<int64_t> sizes = cast<RankedTensorType>(other.getType()).getShape();
    for (int64_t d = 0; d < rank; ++d)
      at.push_back(sizes[d] == 1 ? b.getAffineConstantExpr(0) : b.getAffineDimExpr(d));
    inputs.push_back(other);
    maps.push_back(AffineMap::get(rank, 0, at, b.getContext()));
  }
  maps.push_back(b.getMultiDimIdentityMap(rank));
  Value empty = tensor::EmptyOp::create(b, tensor::getMixedSizes(b, b.getLoc(), x), type.getElementType());
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(b, TypeRange{type}, inputs, ValueRange{empty}, maps, loops,
                                   [&](OpBuilder &inner, Location loc, ValueRange args) {
                                     ImplicitLocOpBuilder at(loc, inner);
                                     linalg::YieldOp::create(at, body(at, args));
                                   })
      .getResult(0);
}

struct DecomposeAttention : public mlir::quanta::impl::DecomposeAttentionBase<DecomposeAttention> {
  void runOnOperation() override {
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) { ops.push_back(op); });
    for (AttentionOp op : ops)
      decompose(op);
  }

  void decompose(AttentionOp op) {
    auto typeOf = [](Value value) { return cast<RankedTensorType>(value.getType()); };
    auto q = typeOf(op.getQuery()), k = typeOf(op.getKey());
    bool cached = op.getKey().getDefiningOp<CacheReadOp>() || op.getValue().getDefiningOp<CacheReadOp>();
    if (cached || op->hasAttr("quanta.attention_bits") || q.getDimSize(1) != k.getDimSize(1) || q.isDynamicDim(1))
      return;
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Value scaled = mapElements(b, op.getQuery(), {}, [&](ImplicitLocOpBuilder &at, ValueRange args) {
      Value scale = arith::ConstantOp::create(at, at.getFloatAttr(q.getElementType(), op.getScale()));
      return arith::MulFOp::create(at, args[0], scale);
    });
    SmallVector<int64_t> shape{q.getDimSize(0), q.getDimSize(1), q.getDimSize(2), k.getDimSize(2)};
    auto scoresType = RankedTensorType::get(shape, q.getElementType());
    Value scores = MatmulOp::create(b, scoresType, scaled, op.getKey(), b.getUnitAttr());
    if (op.getMask())
      scores = mapElements(b, scores, op.getMask(), [](ImplicitLocOpBuilder &at, ValueRange args) {
        return arith::AddFOp::create(at, args[0], args[1]);
      });
    Value probabilities = SoftmaxOp::create(b, scoresType, scores);
    Value result = MatmulOp::create(b, op.getResult().getType(), probabilities, op.getValue(), UnitAttr());
    op.getResult().replaceAllUsesWith(result);
    op.erase();
  }
};
} // namespace
