//===- SelectLayers.cpp - Which layers a recipe quantizes -----------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/Regex.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_SELECTLAYERS
#define GEN_PASS_DEF_LEAVEFLOAT
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// True for ops that move or rescale elements without mixing channels through weights.
bool isTransparent(Operation *op) {
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::CastOp, tensor::ExtractSliceOp, tensor::ReshapeOp, SoftmaxOp,
          ActivationOp, linalg::TransposeOp>(op))
    return true;
  auto generic = dyn_cast<linalg::GenericOp>(op);
  return generic && generic.getNumReductionLoops() == 0;
}

/// Linear layers that reach the model's first output through transparent ops only: the output head.
DenseSet<Operation *> findHead(func::FuncOp function) {
  DenseSet<Operation *> head, seen;
  if (function.isExternal())
    return head;
  auto ret = dyn_cast<func::ReturnOp>(function.getBody().front().getTerminator());
  SmallVector<Value> worklist;
  if (ret && ret.getNumOperands())
    worklist.push_back(ret.getOperand(0));
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    if (isa<LinearOp>(op))
      head.insert(op);
    else if (isTransparent(op))
      llvm::append_range(worklist, op->getOperands());
  }
  return head;
}

struct SelectLayers : public mlir::quanta::impl::SelectLayersBase<SelectLayers> {
  using SelectLayersBase::SelectLayersBase;

  void runOnOperation() override {
    llvm::Regex onlyPattern(only), keepPattern(keep);
    for (auto [option, text, pattern] : {std::tuple("only", &only, &onlyPattern), std::tuple("keep", &keep, &keepPattern)}) {
      std::string error; // an empty pattern is not valid, and selects nothing
      if (!text->empty() && !pattern->isValid(error)) {
        getOperation().emitError() << "option '" << option << "' is not a regular expression: " << error;
        return signalPassFailure();
      }
    }
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      DenseSet<Operation *> outputHead = findHead(function);
      function.walk([&](Operation *op) {
        if (!isa<LinearOp, Conv2DOp>(op) || getEncoding(op->getOperand(1).getType()))
          return;
        std::string name = getNodeName(op->getLoc()), weightName = getNodeName(op->getOperand(1).getLoc());
        auto matches = [&](llvm::Regex &pattern) { return pattern.match(name) || pattern.match(weightName); };
        StringRef why = !matchPattern(op->getOperand(1), m_Constant())  ? "its weight is not a constant"
                        : !keep.empty() && matches(keepPattern)         ? "kept by request"
                        : !only.empty() && !matches(onlyPattern)        ? "not selected"
                        : !head && outputHead.contains(op)              ? "output head"
                                                                        : "";
        mark(op, why);
      });
    }
  }

  /// `why`: the layer stays in float; empty: it is selected.
  void mark(Operation *op, StringRef why) {
    Builder builder(&getContext());
    if (why.empty()) {
      op->removeAttr("quanta.note");
      op->setAttr("quanta.selected", builder.getUnitAttr());
    } else {
      op->removeAttr("quanta.selected");
      op->setAttr("quanta.note", builder.getStringAttr("in float: " + why));
    }
  }
};

struct LeaveFloat : public mlir::quanta::impl::LeaveFloatBase<LeaveFloat> {
  void runOnOperation() override {
    getOperation().walk([&](Operation *op) {
      if (op->removeAttr("quanta.selected"))
        op->setAttr("quanta.note", StringAttr::get(&getContext(), "in float: by choice"));
    });
  }
};
} // namespace
