//===- AllocationTest.cpp - Choosing a format for every layer within a budget --------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include "../Solver/Oracle.h"
#include <cmath>
#include <functional>

using namespace quanta;
using namespace quanta::test;

namespace {
AllocationProblem makeProblem(const Matrix &errors, const Matrix &costs, int64_t budget) {
  AllocationProblem problem;
  problem.budgets = {budget};
  for (int64_t unit = 0; unit < errors.rows; ++unit) {
    problem.units.emplace_back();
    for (int64_t c = 0; c < errors.columns; ++c)
      problem.units.back().push_back({errors(unit, c), {static_cast<int64_t>(costs(unit, c))}});
  }
  return problem;
}

TEST(Allocation, Oracles) {
  for (int budget : {23, 28, 35}) {
    Oracle oracle("alloc", "mckp_budget_" + std::to_string(budget));
    AllocationProblem problem = makeProblem(oracle.input("damage"), oracle.input("cost"), budget);
    auto greedy = allocateGreedy(problem), dynamic = allocateDynamic(problem), integer = allocateInteger(problem);
    ASSERT_TRUE(greedy && dynamic && integer);
    EXPECT_NEAR(greedy->error, oracle.number("expected", "greedy"), 1e-9);
    EXPECT_NEAR(greedy->lowerBound, oracle.number("expected", "lp_lower_bound"), 1e-9);
    expectNear(greedy->choice, oracle.expected("greedy_pick").data, 0);
    EXPECT_NEAR(dynamic->error, oracle.number("expected", "optimum"), 1e-9);
    expectNear(dynamic->choice, oracle.expected("pick").data, 0);
    expectNear(integer->choice, oracle.expected("pick").data, 0);
  }
}

/// Up to 6 units with up to 4 candidates; errors need not fall with the costs.
AllocationProblem randomProblem(std::mt19937 &random, size_t budgets, int64_t costScale = 1) {
  AllocationProblem problem;
  std::uniform_real_distribution<double> error(-1, 10);
  auto number = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  problem.units.resize(static_cast<size_t>(number(1, 6)));
  std::vector<int64_t> least(budgets), most(budgets);
  for (std::vector<Candidate> &unit : problem.units) {
    unit.resize(static_cast<size_t>(number(1, 4)));
    for (Candidate &candidate : unit) {
      candidate.error = error(random);
      for (size_t i = 0; i < budgets; ++i)
        candidate.costs.push_back(number(0, 9 * costScale));
    }
    for (size_t i = 0; i < budgets; ++i) {
      auto less = [&](const Candidate &a, const Candidate &b) { return a.costs[i] < b.costs[i]; };
      least[i] += std::min_element(unit.begin(), unit.end(), less)->costs[i];
      most[i] += std::max_element(unit.begin(), unit.end(), less)->costs[i];
    }
  }
  for (size_t i = 0; i < budgets; ++i)
    problem.budgets.push_back(number(std::max<int64_t>(least[i] - 1, 0), most[i] + 1));
  return problem;
}

std::optional<Allocation> exhaustive(const AllocationProblem &problem) {
  std::optional<Allocation> best;
  std::vector<size_t> choice;
  std::function<void()> search = [&] {
    if (choice.size() == problem.units.size()) {
      Allocation allocation = evaluate(problem, choice);
      if (fits(problem, allocation) && (!best || allocation.error < best->error))
        best = allocation;
      return;
    }
    for (size_t c = 0; c < problem.units[choice.size()].size(); ++c) {
      choice.push_back(c);
      search();
      choice.pop_back();
    }
  };
  search();
  return best;
}

void checkBudget(const AllocationProblem &problem, const Allocation &allocation) {
  Allocation again = evaluate(problem, allocation.choice);
  EXPECT_EQ(again.costs, allocation.costs);
  EXPECT_EQ(again.error, allocation.error);
  for (size_t i = 0; i < problem.budgets.size(); ++i)
    EXPECT_LE(allocation.costs[i], problem.budgets[i]);
  EXPECT_LE(allocation.lowerBound, allocation.error);
  EXPECT_GE(allocation.gap(), 0);
}

TEST(Allocation, ExactSolversFindTheOptimum) {
  std::mt19937 random(5);
  int exactGreedy = 0, solvable = 0;
  for (int trial = 0; trial < 300; ++trial) {
    AllocationProblem problem = randomProblem(random, 1, trial % 2 ? 1 : 1000003);
    auto best = exhaustive(problem), greedy = allocateGreedy(problem), dynamic = allocateDynamic(problem);
    auto integer = allocateInteger(problem);
    ASSERT_EQ(best.has_value(), greedy.has_value());
    ASSERT_EQ(best.has_value(), dynamic.has_value());
    ASSERT_EQ(best.has_value(), integer.has_value());
    if (!best)
      continue;
    ++solvable;
    for (const Allocation &allocation : {*greedy, *dynamic, *integer})
      checkBudget(problem, allocation);
    EXPECT_NEAR(dynamic->error, best->error, 1e-9);
    EXPECT_NEAR(integer->error, best->error, 1e-6);
    EXPECT_EQ(dynamic->gap(), 0);
    EXPECT_LE(greedy->lowerBound, best->error + 1e-9);
    EXPECT_GE(greedy->error, best->error - 1e-9);
    exactGreedy += greedy->error < best->error + 1e-9;
  }
  EXPECT_GT(solvable, 200);
  EXPECT_GT(exactGreedy, solvable / 2);
  EXPECT_LT(exactGreedy, solvable); // or the exact solvers are not put to the test
}

TEST(Allocation, SeveralBudgetsAndInteractions) {
  std::mt19937 random(6);
  int solvable = 0, changed = 0;
  for (int trial = 0; trial < 150; ++trial) {
    AllocationProblem problem = randomProblem(random, 1 + trial % 3);
    std::uniform_real_distribution<double> error(-4, 4);
    for (size_t unit = 0; unit + 1 < problem.units.size(); ++unit)
      for (size_t a = 0; a < problem.units[unit].size(); ++a)
        problem.interactions.push_back({unit, a, unit + 1, a % problem.units[unit + 1].size(), error(random)});
    auto best = exhaustive(problem), integer = allocateInteger(problem);
    ASSERT_EQ(best.has_value(), integer.has_value());
    if (!best)
      continue;
    ++solvable;
    checkBudget(problem, *integer);
    EXPECT_NEAR(integer->error, best->error, 1e-6);
    EXPECT_NEAR(integer->lowerBound, best->error, 1e-6);
    AllocationProblem without = problem;
    without.interactions.clear();
    changed += exhaustive(without)->choice != best->choice;
  }
  EXPECT_GT(solvable, 75);
  EXPECT_GT(changed, 20);
}

/// As of a model with 72 layers: every solver stays within the bound of the relaxation, and the gap is small.
TEST(Allocation, LargeProblems) {
  std::mt19937 random(7);
  AllocationProblem problem;
  std::lognormal_distribution<double> importance(0, 2);
  std::uniform_int_distribution<int64_t> width(64, 4096);
  int64_t weights = 0;
  for (int unit = 0; unit < 72; ++unit) {
    int64_t rows = width(random), columns = width(random);
    double a = importance(random);
    weights += rows * columns;
    problem.units.emplace_back();
    for (int bits = 1; bits <= 8; ++bits)
      problem.units.back().push_back({a * std::pow(4, -bits), {rows * (columns * bits + 16)}});
  }
  problem.budgets = {weights * 5 / 2};
  auto greedy = allocateGreedy(problem), dynamic = allocateDynamic(problem), coarse = allocateDynamic(problem, 500);
  auto integer = allocateInteger(problem, 2000);
  ASSERT_TRUE(greedy && dynamic && coarse && integer);
  for (const Allocation &allocation : {*greedy, *dynamic, *coarse, *integer}) {
    checkBudget(problem, allocation);
    EXPECT_GE(allocation.error, greedy->lowerBound * (1 - 1e-9));
    EXPECT_LE(allocation.error, greedy->error);
    EXPECT_LT(allocation.gap(), 0.01);
  }
  EXPECT_LE(dynamic->error, coarse->error);
  EXPECT_GT(dynamic->costs[0], problem.budgets[0] * 0.999);
  EXPECT_EQ(allocateInteger(problem, 2000)->choice, integer->choice);
}

TEST(Allocation, FrontierIsOptimalForItsCosts) {
  std::mt19937 random(8);
  for (int trial = 0; trial < 40; ++trial) {
    AllocationProblem problem = randomProblem(random, 1);
    std::vector<Allocation> frontier = convexFrontier(problem);
    for (size_t i = 0; i < frontier.size(); ++i) {
      if (i > 0) {
        EXPECT_GT(frontier[i].costs[0], frontier[i - 1].costs[0]);
        EXPECT_LT(frontier[i].error, frontier[i - 1].error);
      }
      AllocationProblem tight = problem;
      tight.budgets = frontier[i].costs;
      EXPECT_NEAR(exhaustive(tight)->error, frontier[i].error, 1e-9);
    }
  }
}

TEST(Allocation, Degenerate) {
  AllocationProblem empty;
  empty.budgets = {0};
  for (auto *solve : {+[](const AllocationProblem &p) { return allocateGreedy(p); },
                      +[](const AllocationProblem &p) { return allocateDynamic(p); },
                      +[](const AllocationProblem &p) { return allocateInteger(p); }}) {
    ASSERT_TRUE(solve(empty));
    EXPECT_TRUE(solve(empty)->choice.empty());
    // Costs whose sum is no 64-bit number do not fit rather than wrap around.
    AllocationProblem huge;
    huge.budgets = {INT64_MAX - 1};
    huge.units.assign(3, {{1.0, {INT64_MAX / 2}}, {0.0, {INT64_MAX}}});
    EXPECT_FALSE(solve(huge));
    huge.units.resize(1);
    ASSERT_TRUE(solve(huge));
    EXPECT_EQ(solve(huge)->choice[0], 0u);
  }
}
} // namespace
