//===- ExplainLegality.cpp - Remarks on what transforms are legal ---------------------------------------------------------===//
#include "quanta/Transforms/ChannelPlan.h"
#include "quanta/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_EXPLAINLEGALITY
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

/// "6 groups of 64", or sizes one by one.
static std::string describeGroups(const ChannelPlan &plan) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << plan.channels << " channels";
  if (plan.groups.size() < 2)
    return text;
  size_t size = plan.groups.front().size();
  if (llvm::all_of(plan.groups, [&](auto &group) { return group.size() == size; }))
    os << " in " << plan.groups.size() << " groups of " << size;
  else {
    os << " in groups of ";
    llvm::interleaveComma(plan.groups, os, [&](auto &group) { os << group.size(); });
  }
  return text;
}

namespace {
struct ExplainLegality : public mlir::quanta::impl::ExplainLegalityBase<ExplainLegality> {
  using ExplainLegalityBase::ExplainLegalityBase;

  void runOnOperation() override {
    markAllAnalysesPreserved();
    std::optional<ChannelTransform> kind = findChannelTransform(transform);
    if (!kind) {
      getOperation().emitError() << "expected transform permute, scale, shift, rotate, center or duplicate but got '"
                                 << StringRef(transform) << "'";
      return signalPassFailure();
    }
    options.kind = *kind;
    options.permutedStores = stores;
    getOperation().walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op)
          .Case<LinearOp>([&](LinearOp linear) {
            explain(op, "input", linear.getInput(), cast<RankedTensorType>(linear.getInput().getType()).getRank() - 1);
          })
          .Case<Conv2DOp>([&](Conv2DOp conv) { explain(op, "input", conv.getInput(), 1); })
          .Case<AttentionOp>([&](AttentionOp attention) {
            explain(op, "query", attention.getQuery(), {1, 3});
            explain(op, "value", attention.getValue(), {1, 3});
          });
    });
  }

  void explain(Operation *op, StringRef what, Value value, ArrayRef<int64_t> axes) {
    ChannelPlan plan = planTransform(value, axes, options);
    InFlightDiagnostic remark = op->emitRemark() << what << (plan.isLegal() ? " may" : " may not") << " change by a "
                                                 << getNoun(options.kind) << ": ";
    if (!plan.isLegal()) {
      remark << plan.refusal;
      if (plan.culprit && plan.culprit != op)
        remark.attachNote(plan.culprit->getLoc()) << "here";
      return;
    }
    remark << describeGroups(plan) << ", " << plan.absorbers.size() << " constants absorb it, "
           << plan.cost.rewrittenBytes << " bytes rewritten";
    if (plan.cost.untiedBytes)
      remark << ", " << plan.cost.untiedBytes << " bytes stored twice";
    if (plan.cost.gathers)
      remark << ", " << plan.cost.gathers << " norm stores permuted";
    if (!plan.missingBiases.empty())
      remark << ", " << plan.missingBiases.size() << " biases added";
  }

  PlanOptions options;
};
} // namespace
