//===- Allocate.cpp - Candidates are chosen within a budget ---------------------------------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include "LatencyModel.h"
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
    if (ms > 0 && failed(addLatency(problem)))
      return signalPassFailure();
    if (loss != "proxy" && failed(measureLoss(problem)))
      return signalPassFailure();
    std::optional<Allocation> allocation = solver == "integer" || ms > 0 ? allocateInteger(problem)
                                           : solver == "greedy"          ? allocateGreedy(problem)
                                                                         : allocateDynamic(problem);
    if (!allocation) {
      reportTooSmall(problem);
      return signalPassFailure();
    }
    annotate(problem, *allocation);
  }

private:
  LogicalResult checkOptions() {
    if (!(bpw > 0 && bpw <= 64) && bytes <= 0 && !(ms > 0 && ms <= 1e9))
      return getOperation().emitError() << "expected a budget, bpw from 0 to 64, bytes above 0 or ms from 0 to 1e9, but got "
                                        << double(bpw) << ", " << int64_t(bytes) << " and " << double(ms);
    if (ms > 0 && costTable.empty() && !(bandwidth > 0 && peak > 0))
      return getOperation().emitError("a budget of latency needs a cost-table, or bandwidth and peak of the target");
    if (tokens < 1 || cores < 1)
      return getOperation().emitError("expected at least one token and one core");
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
  static RankedTensorType getType(DictionaryAttr candidate) {
    return cast<RankedTensorType>(cast<TypeAttr>(candidate.get("type")).getValue());
  }
  static DictionaryAttr getCandidate(Operation *op, size_t index) { return cast<DictionaryAttr>(getCandidates(op)[index]); }

  AllocationProblem makeProblem() {
    AllocationProblem problem;
    int64_t budget = bpw > 0 ? static_cast<int64_t>(std::floor(bpw * static_cast<double>(weights))) : INT64_MAX, most = 0;
    if (bytes > 0)
      budget = std::min(budget, bytes > INT64_MAX / 8 ? INT64_MAX : 8 * bytes);
    for (Operation *op : layers) {
      problem.units.emplace_back();
      for (auto candidate : getCandidates(op).getAsRange<DictionaryAttr>())
        problem.units.back().push_back({cast<FloatAttr>(candidate.get("error")).getValueAsDouble(),
                                        {cast<IntegerAttr>(candidate.get("bits")).getInt()}});
      most += llvm::max_element(problem.units.back(), [](auto &a, auto &b) { return a.costs[0] < b.costs[0]; })->costs[0];
    }
    problem.budgets = {std::min(budget, most)};
    return problem;
  }

  /// Nanoseconds are a second cost.
  LogicalResult addLatency(AllocationProblem &problem) {
    LatencyModel model = LatencyModel::roofline(bandwidth, peak, tokens);
    if (!costTable.empty()) {
      auto table = LatencyModel::read(costTable, &getContext(), tokens, cores, act);
      if (!table)
        return getOperation().emitError() << toString(table.takeError());
      model = std::move(*table);
    }
    for (auto [op, unit] : llvm::zip_equal(layers, problem.units))
      for (auto [i, candidate] : llvm::enumerate(unit)) {
        auto ns = model.predict(getType(getCandidate(op, i)));
        if (!ns)
          return op->emitOpError() << toString(ns.takeError());
        candidate.costs.push_back(*ns);
      }
    problem.budgets.push_back(static_cast<int64_t>(std::floor(1e6 * ms)));
    return success();
  }

  /// The same with stored bits as the only cost.
  static AllocationProblem dropLatency(AllocationProblem problem) {
    problem.budgets.resize(1);
    for (auto &unit : problem.units)
      for (::quanta::Candidate &candidate : unit)
        candidate.costs.resize(1);
    return problem;
  }

  void reportTooSmall(const AllocationProblem &problem) {
    int64_t least[2] = {};
    for (const auto &unit : problem.units)
      for (size_t cost = 0; cost < problem.budgets.size(); ++cost)
        least[cost] += llvm::min_element(unit, [&](auto &a, auto &b) { return a.costs[cost] < b.costs[cost]; })->costs[cost];
    InFlightDiagnostic error = getOperation().emitError();
    error << "a budget of " << problem.budgets[0] << " bits (" << print(perWeight(problem.budgets[0])) << " a weight) ";
    if (ms > 0)
      error << "and " << print(ms) << " ms ";
    error << "is too small: the smallest candidates take " << least[0] << " (" << print(perWeight(least[0])) << ")";
    if (ms > 0)
      error << ", the fastest " << print(1e-6 * static_cast<double>(least[1])) << " ms";
    error << "; offer smaller candidates or raise it";
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
      // The one in the middle: of the relation of loss and error, the smallest candidates leave more than the rest.
      SmallVector<std::pair<int64_t, size_t>> bySize;
      for (auto [i, candidate] : llvm::enumerate(unit))
        bySize.push_back({candidate.costs[0], i});
      llvm::sort(bySize);
      size_t middle = bySize[(unit.size() - 1) / 2].second;
      double probed = unit[middle].error, divergence = 0;
      for (size_t i = 0; i < unit.size(); ++i) {
        if (i != middle && loss == "probe")
          continue;
        auto measured = measure(number, i);
        if (!measured)
          return op->emitOpError() << toString(measured.takeError());
        unit[i].error = *measured;
        if (i == middle)
          divergence = *measured;
      }
      if (loss == "probe")
        for (size_t i = 0; i < unit.size(); ++i)
          if (i != middle)
            unit[i].error *= probed > 0 ? divergence / probed : 0;
      op->emitRemark() << "switched alone to " << unit[middle].costs[0] << " bits: divergence " << print(divergence)
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
      entry.set("encoding", getType(candidate).getEncoding());
      if (measured.costs.size() > 1)
        entry.set("ns", builder.getI64IntegerAttr(measured.costs[1]));
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
      RankedTensorType type = getType(candidate);
      op->setAttr("quanta.solver", candidate.get("solver"));
      op->setAttr("quanta.encoding", type.getEncoding());
      op->removeAttr("quanta.candidates");
      op->emitRemark() << "gets " << print(double(unit[choice].costs[0]) / type.getNumElements()) << " bits a weight, loss "
                       << print(unit[choice].error);
    }
    SmallVector<Attribute> frontier;
    for (const Allocation &point : convexFrontier(dropLatency(problem)))
      frontier.push_back(DictionaryAttr::get(&getContext(), {builder.getNamedAttr("bits", builder.getI64IntegerAttr(point.costs[0])),
                                                             builder.getNamedAttr("loss", builder.getF64FloatAttr(point.error))}));
    NamedAttrList summary;
    summary.set("budget", builder.getI64IntegerAttr(problem.budgets[0]));
    summary.set("bits", builder.getI64IntegerAttr(allocation.costs[0]));
    if (ms > 0) {
      summary.set("ns", builder.getI64IntegerAttr(allocation.costs[1]));
      summary.set("ns_budget", builder.getI64IntegerAttr(problem.budgets[1]));
    }
    summary.set("weights", builder.getI64IntegerAttr(weights));
    summary.set("loss", builder.getF64FloatAttr(allocation.error));
    summary.set("lower_bound", builder.getF64FloatAttr(allocation.lowerBound));
    summary.set("frontier", builder.getArrayAttr(frontier));
    summary.set("layers", builder.getArrayAttr(chosen));
    getOperation()->setAttr("quanta.allocation", summary.getDictionary(&getContext()));
    InFlightDiagnostic remark = getOperation().emitRemark();
    if (ms > 0)
      remark << "predicted " << print(1e-6 * static_cast<double>(allocation.costs[1])) << " of " << print(ms) << " ms; ";
    remark << layers.size() << " layers take " << print(perWeight(allocation.costs[0])) << " of "
                                << print(perWeight(problem.budgets[0])) << " bits a weight; loss " << print(allocation.error)
                                << ", no allocation has less than " << print(allocation.lowerBound) << " (gap "
                                << print(100 * allocation.gap()) << " %)";
  }

  SmallVector<Operation *> layers; ///< one for each weight
  int64_t weights = 0;
};
} // namespace
