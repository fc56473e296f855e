//===- Allocate.cpp - Candidates are chosen within a budget ---------------------------------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include "LossStore.h"
#include "SwitchedModel.h"
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Transforms/Passes.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

namespace mlir::quanta {
#define GEN_PASS_DEF_ALLOCATE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Allocation;
using ::quanta::AllocationProblem;

namespace {
struct AllocatePass : public mlir::quanta::impl::AllocateBase<AllocatePass> {
  using AllocateBase::AllocateBase;

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();
    layers.clear();
    weights = 0;
    getOperation().walk([&](Operation *op) {
      if (!op->hasAttr("quanta.candidates"))
        return;
      layers.push_back(op);
      weights += cast<RankedTensorType>(op->getOperand(1).getType()).getNumElements();
    });
    if (layers.empty())
      return;
    AllocationProblem problem = makeProblem();
    if (loss != "proxy" && failed(measureLoss(problem)))
      return signalPassFailure();
    std::optional<Allocation> allocation = solver == "greedy"    ? allocateGreedy(problem)
                                           : solver == "dynamic" ? allocateDynamic(problem)
                                                                 : allocateInteger(problem);
    if (!allocation) {
      int64_t least = convexFrontier(problem).front().costs[0];
      getOperation().emitError() << "a budget of " << problem.budgets[0] << " bits (" << print(perWeight(problem.budgets[0]))
                                 << " a weight) is too small: the smallest candidates take " << least << " ("
                                 << print(perWeight(least)) << "); offer smaller candidates or raise it";
      return signalPassFailure();
    }
    annotate(problem, *allocation);
  }

private:
  LogicalResult checkOptions() {
    if (!(bpw > 0 && bpw <= 64) && bytes <= 0)
      return getOperation().emitError() << "expected a budget, bpw from 0 to 64 or bytes above 0, but got " << double(bpw) << " and "
                                        << int64_t(bytes);
    if (!llvm::is_contained({"greedy", "dynamic", "integer"}, StringRef(solver)))
      return getOperation().emitError() << "expected solver 'greedy', 'dynamic' or 'integer' but got '" << StringRef(solver) << "'";
    if (!llvm::is_contained({"proxy", "probe", "kl"}, StringRef(loss)))
      return getOperation().emitError() << "expected loss 'proxy', 'probe' or 'kl' but got '" << StringRef(loss) << "'";
    return success();
  }

  static std::string print(double value) {
    std::string text;
    llvm::raw_string_ostream(text) << llvm::format("%.4g", value);
    return text;
  }
  double perWeight(int64_t bits) const { return static_cast<double>(bits) / static_cast<double>(weights); }

  static ArrayAttr getCandidates(Operation *op) { return op->getAttrOfType<ArrayAttr>("quanta.candidates"); }
  static DictionaryAttr getCandidate(Operation *op, size_t index) { return cast<DictionaryAttr>(getCandidates(op)[index]); }

  AllocationProblem makeProblem() {
    AllocationProblem problem;
    int64_t budget = bpw > 0 ? static_cast<int64_t>(std::floor(bpw * static_cast<double>(weights))) : INT64_MAX;
    if (bytes > 0)
      budget = std::min(budget, bytes > INT64_MAX / 8 ? INT64_MAX : 8 * bytes);
    problem.budgets = {budget};
    for (Operation *op : layers) {
      problem.units.emplace_back();
      for (auto candidate : getCandidates(op).getAsRange<DictionaryAttr>())
        problem.units.back().push_back({cast<FloatAttr>(candidate.get("error")).getValueAsDouble(),
                                        {cast<IntegerAttr>(candidate.get("bits")).getInt()}});
    }
    return problem;
  }

  /// Replaces the errors of the layers' outputs by what they do to the model's output.
  LogicalResult measureLoss(AllocationProblem &problem) {
    ::quanta::CalibrationOptions sampling;
    sampling.samples = samples;
    sampling.window = window;
    sampling.seed = seed;
    sampling.batch = batch;
    auto model = SwitchedModel::create(getOperation(), data, sampling, threads);
    if (!model)
      return getOperation().emitError() << toString(model.takeError());
    auto fingerprint = model->getDataFingerprint();
    if (!fingerprint)
      return getOperation().emitError() << toString(fingerprint.takeError());
    auto known = LossStore::open(store, fingerprintCandidates(*fingerprint), resume);
    if (!known)
      return getOperation().emitError() << toString(known.takeError());
    auto measure = [&](size_t layer, size_t candidate) -> llvm::Expected<double> {
      if (std::optional<double> loss = known->find(layer, candidate))
        return *loss;
      auto loss = model->measure(layers[layer], getCandidate(layers[layer], candidate));
      if (loss)
        if (llvm::Error error = known->add(layer, candidate, *loss))
          return std::move(error);
      return loss;
    };
    for (auto [number, op, unit] : llvm::enumerate(layers, problem.units)) {
      size_t cheapest = 0;
      for (size_t i = 1; i < unit.size(); ++i)
        if (unit[i].costs[0] < unit[cheapest].costs[0])
          cheapest = i;
      double probed = unit[cheapest].error, divergence = 0;
      for (size_t i = 0; i < unit.size(); ++i) {
        if (i != cheapest && loss == "probe")
          continue;
        auto measured = measure(number, i);
        if (!measured)
          return op->emitOpError() << toString(measured.takeError());
        unit[i].error = *measured;
        if (i == cheapest)
          divergence = *measured;
      }
      if (loss == "probe")
        for (size_t i = 0; i < unit.size(); ++i)
          if (i != cheapest)
            unit[i].error *= probed > 0 ? divergence / probed : 0;
      op->emitRemark() << "switched alone to " << unit[cheapest].costs[0] << " bits: divergence " << print(divergence)
                       << ", relative error of the output " << print(probed);
    }
    return success();
  }

  /// Of the model, its candidates and the data. Names of the candidates' arrays do not count, they depend on who made them.
  uint64_t fingerprintCandidates(uint64_t dataFingerprint) {
    std::string text;
    llvm::raw_string_ostream os(text);
    SmallVector<ArrayAttr> candidates;
    for (Operation *op : layers) {
      candidates.push_back(getCandidates(op));
      for (auto candidate : candidates.back().getAsRange<DictionaryAttr>())
        os << candidate.get("solver") << candidate.get("type") << candidate.get("bits") << candidate.get("error");
      op->removeAttr("quanta.candidates");
    }
    std::string model = fingerprintModule(getOperation());
    for (auto [op, value] : llvm::zip_equal(layers, candidates))
      op->setAttr("quanta.candidates", value);
    return ::quanta::fingerprintOf({"losses", model, text, std::to_string(dataFingerprint)});
  }

  /// What a layer could choose from, without the encoded weights.
  DictionaryAttr describeChoice(Operation *op, size_t choice, ArrayRef<::quanta::Candidate> unit) {
    Builder builder(&getContext());
    SmallVector<Attribute> candidates;
    for (auto [candidate, measured] : llvm::zip_equal(getCandidates(op).getAsRange<DictionaryAttr>(), unit)) {
      NamedAttrList entry;
      for (StringRef name : {"solver", "bits", "error"})
        entry.set(name, candidate.get(name));
      entry.set("loss", builder.getF64FloatAttr(measured.error));
      candidates.push_back(entry.getDictionary(&getContext()));
    }
    std::string name = getNodeName(op->getLoc());
    NamedAttrList entries;
    entries.set("name", builder.getStringAttr(name.empty() ? getNodeName(op->getOperand(1).getLoc()) : name));
    entries.set("chosen", builder.getI64IntegerAttr(static_cast<int64_t>(choice)));
    entries.set("candidates", builder.getArrayAttr(candidates));
    return entries.getDictionary(&getContext());
  }

  void annotate(const AllocationProblem &problem, const Allocation &allocation) {
    Builder builder(&getContext());
    SmallVector<Attribute> chosen;
    for (auto [op, choice, unit] : llvm::zip_equal(layers, allocation.choice, problem.units)) {
      DictionaryAttr candidate = getCandidate(op, choice);
      chosen.push_back(describeChoice(op, choice, unit));
      auto type = cast<RankedTensorType>(cast<TypeAttr>(candidate.get("type")).getValue());
      op->setAttr("quanta.solver", candidate.get("solver"));
      op->setAttr("quanta.encoding", type.getEncoding());
      op->removeAttr("quanta.candidates");
      op->emitRemark() << "gets " << print(double(unit[choice].costs[0]) / type.getNumElements()) << " bits a weight, loss "
                       << print(unit[choice].error);
    }
    SmallVector<Attribute> frontier;
    for (const Allocation &point : convexFrontier(problem))
      frontier.push_back(DictionaryAttr::get(&getContext(), {builder.getNamedAttr("bits", builder.getI64IntegerAttr(point.costs[0])),
                                                             builder.getNamedAttr("loss", builder.getF64FloatAttr(point.error))}));
    NamedAttrList summary;
    summary.set("budget", builder.getI64IntegerAttr(problem.budgets[0]));
    summary.set("bits", builder.getI64IntegerAttr(allocation.costs[0]));
    summary.set("weights", builder.getI64IntegerAttr(weights));
    summary.set("loss", builder.getF64FloatAttr(allocation.error));
    summary.set("lower_bound", builder.getF64FloatAttr(allocation.lowerBound));
    summary.set("frontier", builder.getArrayAttr(frontier));
    summary.set("layers", builder.getArrayAttr(chosen));
    getOperation()->setAttr("quanta.allocation", summary.getDictionary(&getContext()));
    getOperation().emitRemark() << layers.size() << " layers take " << print(perWeight(allocation.costs[0])) << " of "
                                << print(perWeight(problem.budgets[0])) << " bits a weight; loss " << print(allocation.error)
                                << ", no allocation has less than " << print(allocation.lowerBound) << " (gap "
                                << print(100 * allocation.gap()) << " %)";
  }

  SmallVector<Operation *> layers; ///< one for each weight
  int64_t weights = 0;
};
} // namespace
