//===- MeasureCandidates.cpp - What each way to store a layer would cost --------------------------------------------------===//
//
// A candidate is a pipeline that solves a layer. It runs on a module of its own that holds the layer alone, so whatever pass
// can encode a weight can be a candidate.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "Candidate.h"
#include "LayerSolver.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FileSystem.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_MEASURECANDIDATES
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct MeasureCandidates : public mlir::quanta::impl::MeasureCandidatesBase<MeasureCandidates> {
  using MeasureCandidatesBase::MeasureCandidatesBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    MeasureCandidatesBase::getDependentDialects(registry);
    std::string message;
    if (FailureOr<SmallVector<Solver>> parsed = parseSolvers(message); succeeded(parsed))
      for (Solver &solver : *parsed)
        solver.passes.getDependentDialects(registry);
  }

  LogicalResult initialize(MLIRContext *context) override {
    std::string message;
    FailureOr<SmallVector<Solver>> parsed = parseSolvers(message);
    if (failed(parsed))
      return emitError(UnknownLoc::get(context)) << "in the solvers of quanta-measure-candidates: " << StringRef(message).trim();
    parsedSolvers = std::move(*parsed);
    return success();
  }

  void runOnOperation() override {
    DenseSet<Operation *> measured;
    auto visit = [&](const SolverLayer &layer) {
      // What shares a weight shares the choice.
      return success(!measured.insert(layer.op->getOperand(1).getDefiningOp()).second || succeeded(measure(layer)));
    };
    if (failed(visitSelectedLayers(getOperation(), true, visit)))
      signalPassFailure();
  }

private:
  struct Solver {
    std::string text;
    OpPassManager passes{ModuleOp::getOperationName()};
  };

  FailureOr<SmallVector<Solver>> parseSolvers(std::string &message) const {
    llvm::raw_string_ostream os(message);
    SmallVector<Solver> result;
    for (StringRef text : llvm::split(StringRef(solvers), ';')) {
      result.push_back({text.trim().str()});
      if (text.trim().empty()) {
        os << "expected pipelines, separated by ';', but got '" << StringRef(solvers) << "'";
        return failure();
      }
      if (failed(parsePassPipeline(text.trim(), result.back().passes, os)))
        return failure();
    }
    return result;
  }

  LogicalResult measure(const SolverLayer &layer) {
    SmallVector<Attribute> candidates;
    for (Solver &solver : parsedSolvers) {
      FailureOr<DictionaryAttr> candidate = measure(layer, solver);
      if (failed(candidate))
        return failure();
      candidates.push_back(*candidate);
    }
    layer.op->setAttr("quanta.candidates", ArrayAttr::get(&getContext(), candidates));
    return success();
  }

  FailureOr<DictionaryAttr> measure(const SolverLayer &layer, Solver &solver) {
    ModuleOp scratch;
    Operation *op = isolate(layer, scratch);
    Attribute floats = op->getOperand(1).getDefiningOp<arith::ConstantOp>().getValue();
    LogicalResult solved = runPipeline(solver.passes, scratch);
    FailureOr<DictionaryAttr> result = failure();
    if (succeeded(solved))
      result = describe(op, floats, solver.text, layer.op);
    // A solver that gave the layer another input has left a file of statistics of its own.
    if (auto file = op->getAttrOfType<StringAttr>("quanta.statistics"); file && file != layer.op->getAttr("quanta.statistics"))
      llvm::sys::fs::remove(file.getValue());
    scratch.erase();
    return result;
  }

  /// The layer in a function of its own, at the end of the module. Passes may free the weight's floats when they have encoded
  /// it, so these are a copy.
  Operation *isolate(const SolverLayer &layer, ModuleOp &scratch) {
    Location location = layer.op->getLoc();
    OpBuilder builder(&getContext());
    builder.setInsertionPointToEnd(getOperation().getBody());
    scratch = ModuleOp::create(builder, location);
    builder.setInsertionPointToStart(scratch.getBody());
    auto type = builder.getFunctionType(layer.op->getOperand(0).getType(), layer.op->getResultTypes());
    auto function = func::FuncOp::create(builder, location, "main", type);
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    mapping.map(layer.op->getOperand(0), function.getArgument(0));
    Value weight = layer.op->getOperand(1);
    ArrayRef<float> values(layer.weights.row(0), layer.type.getNumElements());
    mapping.map(weight, arith::ConstantOp::create(builder, weight.getLoc(), layer.type,
                                                  makeFloatResource(layer.name + ".candidate", layer.type, values)).getResult());
    // A bias that is computed does not matter to the solver: zeros stand for it.
    for (Value other : layer.op->getOperands().drop_front(2)) {
      auto otherType = cast<RankedTensorType>(other.getType());
      mapping.map(other, arith::ConstantOp::create(builder, other.getLoc(), otherType, builder.getZeroAttr(otherType)).getResult());
    }
    Operation *op = builder.clone(*layer.op, mapping);
    func::ReturnOp::create(builder, location, op->getResults());
    return op;
  }

  /// `floats` is what isolate() copied.
  FailureOr<DictionaryAttr> describe(Operation *op, Attribute floats, StringRef text, Operation *layer) {
    Builder builder(&getContext());
    std::optional<NamedAttrList> entries = describeWeights(op);
    auto error = op->getAttrOfType<FloatAttr>("quanta.error_held_out");
    if (!error)
      error = op->getAttrOfType<FloatAttr>("quanta.error_calibration");
    if (entries && entries->get("value") == floats && !op->hasAttr("quanta.selected")) {
      // In float, by choice: that needs no copy.
      entries->erase("value");
      error = builder.getF64FloatAttr(0);
      *cast<DenseResourceElementsAttr>(floats).getRawHandle().getBlob() = AsmResourceBlob();
    }
    if (!entries || !error)
      return layer->emitOpError() << "solver '" << text << "' does not leave weights with the error of the layer's "
                                  << "output; choose among methods that use statistics";
    entries->set("solver", builder.getStringAttr(text));
    entries->set("error", error);
    entries->set("bits", builder.getI64IntegerAttr(countStoredBits(entries->getDictionary(&getContext()))));
    return entries->getDictionary(&getContext());
  }

  SmallVector<Solver> parsedSolvers;
};
} // namespace
