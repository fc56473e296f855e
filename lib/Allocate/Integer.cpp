//===- Integer.cpp - Allocation by integer programming -----------------------------------------------------------------===//
//
// minimize   Σ error_uc · x_uc + Σ error_p · y_p
// such that  Σ_c x_uc = 1 for each unit, Σ cost_uc · x_uc ≤ budget for each budget, and for each interaction y = x · x',
//            which for binary x is y ≤ x, y ≤ x', y ≥ x + x' − 1, y ≥ 0.
//
//===----------------------------------------------------------------------------------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <glpk.h>
#include <memory>
#include <numeric>

namespace quanta {

namespace {
using Model = std::unique_ptr<glp_prob, decltype(&glp_delete_prob)>;

class IntegerProgram {
public:
  explicit IntegerProgram(const AllocationProblem &problem, int64_t nodes)
      : problem(problem), limit(nodes), model(glp_create_prob(), glp_delete_prob) {
    glp_term_out(GLP_OFF);
    scaleErrors();
    addUnits();
    for (size_t budget = 0; budget < problem.budgets.size(); ++budget)
      addBudget(budget);
    for (const Interaction &pair : problem.interactions)
      addInteraction(pair);
  }

  std::optional<Allocation> solve() {
    glp_smcp simplex;
    glp_init_smcp(&simplex);
    if (glp_simplex(model.get(), &simplex) != 0 || glp_get_status(model.get()) != GLP_OPT)
      return std::nullopt;
    bound = glp_get_obj_val(model.get());
    // A row may be exceeded by what the solver takes for rounding, which for large costs can be a whole unit. The budget
    // is hard: such a row is made a little tighter.
    for (int attempt = 0; attempt < 8; ++attempt) {
      std::optional<Allocation> allocation = branch(attempt == 0);
      if (!allocation)
        return std::nullopt;
      if (fits(problem, *allocation)) {
        if (attempt > 0 || stopped)
          allocation->lowerBound = std::min(bound * errorScale + errorOffset, allocation->error);
        return allocation;
      }
      tighten(*allocation);
    }
    return std::nullopt;
  }

private:
  /// Errors of any size become numbers for which the solver's tolerances are meant.
  void scaleErrors() {
    for (const std::vector<Candidate> &unit : problem.units) {
      auto [least, most] = std::minmax_element(unit.begin(), unit.end(),
                                               [](const Candidate &a, const Candidate &b) { return a.error < b.error; });
      errorOffset += least->error;
      errorScale = std::max(errorScale, most->error - least->error);
      leastErrors.push_back(least->error);
    }
    for (const Interaction &pair : problem.interactions)
      errorScale = std::max(errorScale, std::fabs(pair.error));
    errorScale = errorScale > 0 ? errorScale / 1000 : 1;
  }

  int addBinary(double error) {
    int column = glp_add_cols(model.get(), 1);
    glp_set_col_kind(model.get(), column, GLP_BV);
    glp_set_obj_coef(model.get(), column, error / errorScale);
    return column;
  }
  int addRow(int type, double lower, double upper, const std::vector<std::pair<int, double>> &entries) {
    int row = glp_add_rows(model.get(), 1);
    glp_set_row_bnds(model.get(), row, type, lower, upper);
    std::vector<int> columns(1);
    std::vector<double> values(1);
    for (auto [column, value] : entries) {
      columns.push_back(column);
      values.push_back(value);
    }
    glp_set_mat_row(model.get(), row, static_cast<int>(entries.size()), columns.data(), values.data());
    return row;
  }

  void addUnits() {
    for (size_t unit = 0; unit < problem.units.size(); ++unit) {
      firstColumn.push_back(glp_get_num_cols(model.get()) + 1);
      std::vector<std::pair<int, double>> entries;
      for (const Candidate &candidate : problem.units[unit])
        entries.push_back({addBinary(candidate.error - leastErrors[unit]), 1});
      addRow(GLP_FX, 1, 1, entries);
    }
  }

  /// Costs beyond the least of each unit, in units of their greatest common divisor: small numbers, often exact ones.
  void addBudget(size_t budget) {
    int64_t left = problem.budgets[budget], divisor = 0;
    std::vector<int64_t> least;
    for (const std::vector<Candidate> &unit : problem.units) {
      least.push_back(unit[0].costs[budget]);
      for (const Candidate &candidate : unit)
        least.back() = std::min(least.back(), candidate.costs[budget]);
      for (const Candidate &candidate : unit)
        divisor = std::gcd(divisor, candidate.costs[budget] - least.back());
      left -= least.back(); // never below zero: allocateInteger has looked
    }
    divisor = std::max<int64_t>(divisor, 1);
    std::vector<std::pair<int, double>> entries;
    for (size_t unit = 0; unit < problem.units.size(); ++unit)
      for (size_t c = 0; c < problem.units[unit].size(); ++c)
        if (int64_t cost = problem.units[unit][c].costs[budget] - least[unit])
          entries.push_back({firstColumn[unit] + static_cast<int>(c), static_cast<double>(cost / divisor)});
    budgetDivisors.push_back(divisor);
    budgetRows.push_back(addRow(GLP_UP, 0, static_cast<double>(left / divisor), entries));
  }

  void addInteraction(const Interaction &pair) {
    int first = firstColumn[pair.firstUnit] + static_cast<int>(pair.firstCandidate);
    int second = firstColumn[pair.secondUnit] + static_cast<int>(pair.secondCandidate);
    int both = addBinary(pair.error);
    addRow(GLP_UP, 0, 0, {{both, 1}, {first, -1}});
    addRow(GLP_UP, 0, 0, {{both, 1}, {second, -1}});
    addRow(GLP_LO, -1, 0, {{both, 1}, {first, -1}, {second, -1}});
  }

  void tighten(const Allocation &allocation) {
    for (size_t i = 0; i < budgetRows.size(); ++i)
      if (allocation.costs[i] > problem.budgets[i]) {
        int64_t excess = allocation.costs[i] - problem.budgets[i];
        double upper = glp_get_row_ub(model.get(), budgetRows[i]) - static_cast<double>(excess / budgetDivisors[i] + 1);
        glp_set_row_bnds(model.get(), budgetRows[i], GLP_UP, 0, upper);
      }
    glp_simplex(model.get(), nullptr);
  }

  std::optional<Allocation> branch(bool untouched) {
    glp_iocp options;
    glp_init_iocp(&options);
    options.cov_cuts = GLP_ON;
    options.cb_func = &IntegerProgram::callBack;
    options.cb_info = this;
    visited = 0;
    stopped = false;
    openBound = bound;
    int code = glp_intopt(model.get(), &options);
    int status = glp_mip_status(model.get());
    if ((code != 0 && code != GLP_ESTOP) || (status != GLP_OPT && status != GLP_FEAS))
      return std::nullopt;
    if (untouched)
      bound = stopped ? std::max(bound, openBound) : glp_mip_obj_val(model.get());
    std::vector<size_t> choice;
    for (size_t unit = 0; unit < problem.units.size(); ++unit) {
      size_t best = 0;
      for (size_t c = 0; c < problem.units[unit].size(); ++c)
        if (value(unit, c) > value(unit, best))
          best = c;
      choice.push_back(best);
    }
    return evaluate(problem, std::move(choice));
  }
  double value(size_t unit, size_t candidate) const {
    return glp_mip_col_val(model.get(), firstColumn[unit] + static_cast<int>(candidate));
  }

  /// Counts nodes rather than seconds, so that the result is the same everywhere.
  static void callBack(glp_tree *tree, void *info) {
    auto &self = *static_cast<IntegerProgram *>(info);
    if (glp_ios_reason(tree) != GLP_ISELECT)
      return;
    if (int best = glp_ios_best_node(tree))
      self.openBound = glp_ios_node_bound(tree, best);
    if (++self.visited > self.limit) {
      self.stopped = true;
      glp_ios_terminate(tree);
    }
  }

  const AllocationProblem &problem;
  int64_t limit;
  Model model;
  double errorScale = 0, errorOffset = 0;
  double bound = 0, openBound = 0; ///< in the solver's units
  std::vector<double> leastErrors;
  std::vector<int> firstColumn, budgetRows;
  std::vector<int64_t> budgetDivisors;
  int64_t visited = 0;
  bool stopped = false;
};

/// The cheapest candidates in one of the costs.
Allocation cheapest(const AllocationProblem &problem, size_t budget) {
  std::vector<size_t> choice;
  for (const std::vector<Candidate> &unit : problem.units) {
    auto least = std::min_element(unit.begin(), unit.end(), [&](const Candidate &a, const Candidate &b) {
      return a.costs[budget] < b.costs[budget];
    });
    choice.push_back(static_cast<size_t>(least - unit.begin()));
  }
  return evaluate(problem, std::move(choice));
}
} // namespace

std::optional<Allocation> allocateInteger(const AllocationProblem &problem, int64_t nodes) {
  if (problem.units.empty())
    return evaluate(problem, {});
  for (size_t budget = 0; budget < problem.budgets.size(); ++budget)
    if (cheapest(problem, budget).costs[budget] > problem.budgets[budget])
      return std::nullopt;
  std::optional<Allocation> allocation = IntegerProgram(problem, nodes).solve();
  if (problem.budgets.size() > 1 || !problem.interactions.empty())
    return allocation;
  // The walk along the hulls is always at hand, should the solver have stopped early.
  std::optional<Allocation> greedy = allocateGreedy(problem);
  if (!allocation)
    return greedy;
  if (greedy->error < allocation->error) {
    greedy->lowerBound = std::min(std::max(greedy->lowerBound, allocation->lowerBound), greedy->error);
    return greedy;
  }
  return allocation;
}

} // namespace quanta
