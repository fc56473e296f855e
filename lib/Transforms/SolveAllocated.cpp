//===- SolveAllocated.cpp - Each layer is solved as the allocation says ---------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_SOLVEALLOCATED
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct SolveAllocated : public mlir::quanta::impl::SolveAllocatedBase<SolveAllocated> {
  using SolveAllocatedBase::SolveAllocatedBase;

  void runOnOperation() override {
    // Layers that share a weight have the choice of the one that carries it.
    DenseMap<Value, StringAttr> ofWeight;
    llvm::MapVector<StringAttr, SmallVector<Operation *>> layers;
    SmallVector<Operation *> selected;
    getOperation().walk([&](Operation *op) {
      if (isa<LinearOp, Conv2DOp>(op) && op->hasAttr("quanta.selected"))
        selected.push_back(op);
      if (auto solver = op->getAttrOfType<StringAttr>("quanta.solver"))
        ofWeight[op->getOperand(1)] = solver;
    });
    for (Operation *op : selected)
      layers[ofWeight.lookup(op->getOperand(1))].push_back(op);
    setSelected(selected, false);
    for (auto &[solver, group] : layers) {
      if (!solver)
        continue;
      setSelected(group, true);
      if (failed(solve(solver)))
        return signalPassFailure();
      setSelected(group, false);
      for (Operation *op : group)
        for (StringRef name : {"quanta.solver", "quanta.encoding"})
          op->removeAttr(name);
    }
    setSelected(layers.lookup(StringAttr()), true);
  }

private:
  void setSelected(ArrayRef<Operation *> ops, bool value) {
    for (Operation *op : ops)
      if (value)
        op->setAttr("quanta.selected", UnitAttr::get(&getContext()));
      else
        op->removeAttr("quanta.selected");
  }

  LogicalResult solve(StringAttr solver) {
    OpPassManager passes(ModuleOp::getOperationName());
    std::string message;
    llvm::raw_string_ostream os(message);
    if (failed(parsePassPipeline(solver, passes, os)))
      return getOperation().emitError() << "in the allocated solver '" << solver.getValue() << "': " << StringRef(message).trim();
    return runPipeline(passes, getOperation());
  }
};
} // namespace
