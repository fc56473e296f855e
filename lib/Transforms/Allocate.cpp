//===- Allocate.cpp - Candidates are chosen within a budget ---------------------------------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include "quanta/Allocate/Ranks.h"
#include "Candidate.h"
#include "LatencyModel.h"
#include "LayerLosses.h"
#include "quanta/Support/Figures.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>
#include <numeric>

namespace mlir::quanta {
#define GEN_PASS_DEF_ALLOCATE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Allocation;
using ::quanta::AllocationProblem;
using ::quanta::printFigure;

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
    if (failed(estimateLosses(getOperation(), layers, getLossOptions(), problem)))
      return signalPassFailure();
    std::optional<Allocation> allocation = solve(problem);
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
    if (!llvm::is_contained({"greedy", "dynamic", "integer", "strs"}, StringRef(solver)))
      return getOperation().emitError() << "expected solver 'greedy', 'dynamic', 'integer' or 'strs' but got '" << StringRef(solver) << "'";
    if (!llvm::is_contained(getLossNames(), StringRef(loss)))
      return getOperation().emitError() << "expected loss '" << llvm::join(getLossNames(), "', '") << "' but got '" << StringRef(loss) << "'";
    if (solver == "strs" && (ms > 0 || loss == "pairwise"))
      return getOperation().emitError("solver 'strs' knows neither a budget of latency nor the loss 'pairwise'");
    return success();
  }

  LossOptions getLossOptions() {
    LossOptions result;
    result.loss = loss;
    result.data = data;
    result.samples = samples;
    result.window = window;
    result.batch = batch;
    result.seed = seed;
    result.store = store;
    result.resume = resume;
    result.threads = threads;
    return result;
  }

  std::optional<Allocation> solve(const AllocationProblem &problem) {
    if (solver == "strs")
      return truncate(problem);
    if (solver == "integer" || problem.budgets.size() > 1 || !problem.interactions.empty())
      return allocateInteger(problem);
    return solver == "greedy" ? allocateGreedy(problem) : allocateDynamic(problem);
  }

  /// STRS: layers stay at their largest candidate but for those of the smaller ones that do the least damage.
  static std::optional<Allocation> truncate(const AllocationProblem &problem) {
    std::vector<::quanta::RankProbe> probes;
    std::vector<double> sizes;
    std::vector<size_t> largest;
    auto bits = [](const ::quanta::Candidate &candidate) { return static_cast<double>(candidate.costs[0]); };
    for (auto [layer, unit] : llvm::enumerate(problem.units)) {
      largest.push_back(llvm::max_element(unit, [&](auto &a, auto &b) { return bits(a) < bits(b); }) - unit.begin());
      sizes.push_back(bits(unit[largest.back()]));
      for (const ::quanta::Candidate &candidate : unit)
        if (bits(candidate) < sizes.back())
          probes.push_back({layer, bits(candidate) / sizes.back(), candidate.error});
    }
    double all = std::accumulate(sizes.begin(), sizes.end(), 0.0);
    auto search = ::quanta::searchRanks(probes, sizes, static_cast<double>(problem.budgets[0]) / all);
    if (!search)
      return std::nullopt;
    for (auto [layer, unit] : llvm::enumerate(problem.units))
      for (auto [number, candidate] : llvm::enumerate(unit))
        if (bits(candidate) / sizes[layer] == search->ratios[layer])
          largest[layer] = number;
    Allocation allocation = ::quanta::evaluate(problem, largest);
    auto relaxed = allocateGreedy(problem);
    if (relaxed)
      allocation.lowerBound = std::min(relaxed->lowerBound, allocation.error);
    return fits(problem, allocation) ? std::optional(allocation) : std::nullopt;
  }

  double perWeight(int64_t bits) const { return static_cast<double>(bits) / static_cast<double>(weights); }

  static ArrayAttr getCandidates(Operation *op) { return op->getAttrOfType<ArrayAttr>("quanta.candidates"); }
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
        candidate.costs.push_back(0);
        for (RankedTensorType type : getWeightTypes(getCandidate(op, i))) {
          auto ns = model.predict(type);
          if (!ns)
            return op->emitOpError() << toString(ns.takeError());
          candidate.costs.back() += *ns;
        }
      }
    if (std::optional<double> worst = model.getWorstFit())
      getOperation().emitRemark() << "some latencies are not in the cost table but on lines through those of other sizes, which are off by up to "
                                  << printFigure(100 * *worst) << " % at these";
    problem.budgets.push_back(static_cast<int64_t>(std::floor(1e6 * ms)));
    return success();
  }

  /// The same with stored bits as the only cost, and without interactions.
  static AllocationProblem dropLatency(AllocationProblem problem) {
    problem.budgets.resize(1);
    problem.interactions.clear();
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
    error << "a budget of " << problem.budgets[0] << " bits (" << printFigure(perWeight(problem.budgets[0])) << " a weight) ";
    if (ms > 0)
      error << "and " << printFigure(ms) << " ms ";
    error << "is too small: the smallest candidates take " << least[0] << " (" << printFigure(perWeight(least[0])) << ")";
    if (ms > 0)
      error << ", the fastest " << printFigure(1e-6 * static_cast<double>(least[1])) << " ms";
    error << "; offer smaller candidates or raise it";
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
      SmallVector<Attribute> types = llvm::map_to_vector(getWeightTypes(candidate), [](Type type) -> Attribute { return TypeAttr::get(type); });
      entry.set("weights", builder.getArrayAttr(types));
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
      op->setAttr("quanta.solver", candidate.get("solver"));
      if (Attribute encoding = getWeightTypes(candidate).front().getEncoding())
        op->setAttr("quanta.encoding", encoding);
      op->removeAttr("quanta.candidates");
      op->emitRemark() << "gets " << printFigure(double(unit[choice].costs[0]) / cast<RankedTensorType>(op->getOperand(1).getType()).getNumElements()) << " bits a weight, loss "
                       << printFigure(unit[choice].error);
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
      remark << "predicted " << printFigure(1e-6 * static_cast<double>(allocation.costs[1])) << " of " << printFigure(ms) << " ms; ";
    remark << layers.size() << " layers take " << printFigure(perWeight(allocation.costs[0])) << " of "
                                << printFigure(perWeight(problem.budgets[0])) << " bits a weight; loss " << printFigure(allocation.error)
                                << ", no allocation has less than " << printFigure(allocation.lowerBound) << " (gap "
                                << printFigure(100 * allocation.gap()) << " %)";
  }

  SmallVector<Operation *> layers; ///< one for each weight
  int64_t weights = 0;
};
} // namespace
