//===- Allocation.cpp - Choosing a format for every layer within a budget -------------------------------------------===//
#include "quanta/Allocate/Allocation.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <tuple>

namespace quanta {

namespace {
/// Sums that do not fit are larger than any budget.
int64_t addSaturated(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

[[maybe_unused]] bool isSimple(const AllocationProblem &problem) {
  return problem.budgets.size() == 1 && problem.interactions.empty();
}

using Candidates = std::vector<Candidate>;

/// The corners of the lower convex hull of a unit's (cost, error), from the cheapest to the best: errors fall, and each
/// step gains less per cost than the one before.
std::vector<size_t> convexHull(const Candidates &candidates) {
  std::vector<size_t> order(candidates.size()), hull;
  std::iota(order.begin(), order.end(), size_t(0));
  auto cost = [&](size_t i) { return candidates[i].costs[0]; };
  auto error = [&](size_t i) { return candidates[i].error; };
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::tuple(cost(a), error(a), a) < std::tuple(cost(b), error(b), b); });
  for (size_t i : order) {
    if (!hull.empty() && error(i) >= error(hull.back()))
      continue;
    while (hull.size() >= 2) {
      size_t last = hull.back(), before = hull[hull.size() - 2];
      double toLast = (error(before) - error(last)) * static_cast<double>(cost(i) - cost(last));
      double fromLast = (error(last) - error(i)) * static_cast<double>(cost(last) - cost(before));
      if (toLast > fromLast)
        break;
      hull.pop_back();
    }
    hull.push_back(i);
  }
  return hull;
}

/// From one corner of a unit's hull to the next.
struct Step {
  double gainPerCost;
  size_t unit;
  int64_t cost;

  /// The best is on top of a heap; of equal ones that of the first unit.
  bool operator<(const Step &other) const {
    return std::tuple(gainPerCost, other.unit) < std::tuple(other.gainPerCost, unit);
  }
};

/// The walk along all hulls at once.
class HullWalk {
public:
  explicit HullWalk(const AllocationProblem &problem) : problem(problem), position(problem.units.size()) {
    for (size_t unit = 0; unit < problem.units.size(); ++unit) {
      hulls.push_back(convexHull(problem.units[unit]));
      push(unit);
    }
  }

  std::optional<Step> next() {
    if (steps.empty())
      return std::nullopt;
    Step step = steps.top();
    steps.pop();
    return step;
  }
  void take(const Step &step) {
    ++position[step.unit];
    push(step.unit);
  }
  Allocation current() const {
    std::vector<size_t> choice;
    for (size_t unit = 0; unit < hulls.size(); ++unit)
      choice.push_back(hulls[unit][position[unit]]);
    return evaluate(problem, std::move(choice));
  }

private:
  void push(size_t unit) {
    const std::vector<size_t> &hull = hulls[unit];
    size_t at = position[unit];
    if (at + 1 == hull.size())
      return;
    const Candidate &from = problem.units[unit][hull[at]], &to = problem.units[unit][hull[at + 1]];
    int64_t cost = to.costs[0] - from.costs[0];
    steps.push({(from.error - to.error) / static_cast<double>(cost), unit, cost});
  }

  const AllocationProblem &problem;
  std::vector<std::vector<size_t>> hulls;
  std::vector<size_t> position;
  std::priority_queue<Step> steps;
};

/// What the units so far cost together, and where that came from.
struct State {
  int64_t cost;
  double error;
  uint32_t previous, candidate;
};

/// Drops the states that cost no less than another one and are no better.
void dropDominated(std::vector<State> &states) {
  std::sort(states.begin(), states.end(), [](const State &a, const State &b) {
    return std::tuple(a.cost, a.error, a.previous, a.candidate) < std::tuple(b.cost, b.error, b.previous, b.candidate);
  });
  size_t kept = 0;
  for (const State &state : states)
    if (kept == 0 || state.error < states[kept - 1].error)
      states[kept++] = state;
  states.resize(kept);
}

/// Keeps the last, which is the best, of each of `limit` equal intervals of cost. The first is what may be needed to stay
/// within the budget.
void thin(std::vector<State> &states, size_t limit) {
  double first = static_cast<double>(states.front().cost), range = static_cast<double>(states.back().cost) - first;
  auto interval = [&](const State &state) {
    return static_cast<size_t>((static_cast<double>(state.cost) - first) / range * static_cast<double>(limit - 1));
  };
  size_t kept = 1;
  for (size_t i = 1; i < states.size(); ++i)
    if (i + 1 == states.size() || interval(states[i]) != interval(states[i + 1]))
      states[kept++] = states[i];
  states.resize(kept);
}
} // namespace

double Allocation::gap() const {
  return error > lowerBound ? (error - lowerBound) / std::fabs(lowerBound) : 0;
}

Allocation evaluate(const AllocationProblem &problem, std::vector<size_t> choice) {
  assert(choice.size() == problem.units.size());
  Allocation allocation;
  allocation.costs.resize(problem.budgets.size());
  for (size_t unit = 0; unit < choice.size(); ++unit) {
    const Candidate &candidate = problem.units[unit][choice[unit]];
    assert(candidate.costs.size() == problem.budgets.size());
    allocation.error += candidate.error;
    for (size_t i = 0; i < candidate.costs.size(); ++i)
      allocation.costs[i] = addSaturated(allocation.costs[i], candidate.costs[i]);
  }
  for (const Interaction &pair : problem.interactions)
    if (choice[pair.firstUnit] == pair.firstCandidate && choice[pair.secondUnit] == pair.secondCandidate)
      allocation.error += pair.error;
  allocation.lowerBound = allocation.error;
  allocation.choice = std::move(choice);
  return allocation;
}

bool fits(const AllocationProblem &problem, const Allocation &allocation) {
  for (size_t i = 0; i < problem.budgets.size(); ++i)
    if (allocation.costs[i] > problem.budgets[i])
      return false;
  return true;
}

std::optional<Allocation> allocateGreedy(const AllocationProblem &problem) {
  assert(isSimple(problem));
  HullWalk walk(problem);
  Allocation start = walk.current();
  if (!fits(problem, start))
    return std::nullopt;
  int64_t left = problem.budgets[0] - start.costs[0];
  double error = start.error;
  std::optional<double> bound;
  while (std::optional<Step> step = walk.next()) {
    if (step->cost > left) {
      // The relaxation takes the part of the first such step that still fits.
      if (!bound)
        bound = error - step->gainPerCost * static_cast<double>(left);
      continue;
    }
    left -= step->cost;
    error -= step->gainPerCost * static_cast<double>(step->cost);
    walk.take(*step);
  }
  Allocation allocation = walk.current();
  if (bound)
    allocation.lowerBound = std::min(*bound, allocation.error);
  return allocation;
}

std::vector<Allocation> convexFrontier(const AllocationProblem &problem) {
  assert(isSimple(problem));
  HullWalk walk(problem);
  std::vector<Allocation> frontier = {walk.current()};
  while (std::optional<Step> step = walk.next()) {
    walk.take(*step);
    frontier.push_back(walk.current());
  }
  return frontier;
}

std::optional<Allocation> allocateDynamic(const AllocationProblem &problem, size_t states) {
  assert(isSimple(problem) && states >= 2);
  std::optional<Allocation> greedy = allocateGreedy(problem);
  if (!greedy)
    return std::nullopt;
  // What the units from each on cost at least.
  size_t units = problem.units.size();
  std::vector<int64_t> rest(units + 1);
  for (size_t unit = units; unit-- > 0;) {
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const Candidate &candidate : problem.units[unit])
      least = std::min(least, candidate.costs[0]);
    rest[unit] = addSaturated(rest[unit + 1], least);
  }

  std::vector<std::vector<State>> lists = {{State{0, 0, 0, 0}}};
  bool exact = true;
  for (size_t unit = 0; unit < units; ++unit) {
    std::vector<State> next;
    const std::vector<State> &last = lists.back();
    for (uint32_t c = 0; c < problem.units[unit].size(); ++c)
      for (uint32_t s = 0; s < last.size(); ++s) {
        const Candidate &candidate = problem.units[unit][c];
        if (candidate.costs[0] <= problem.budgets[0] - rest[unit + 1] - last[s].cost)
          next.push_back({last[s].cost + candidate.costs[0], last[s].error + candidate.error, s, c});
      }
    dropDominated(next);
    if (next.size() > states) {
      thin(next, states);
      exact = false;
    }
    lists.push_back(std::move(next));
  }

  std::vector<size_t> choice(units);
  size_t at = lists.back().size() - 1; // the last is the best
  for (size_t unit = units; unit-- > 0;) {
    const State &state = lists[unit + 1][at];
    choice[unit] = state.candidate;
    at = state.previous;
  }
  Allocation allocation = evaluate(problem, std::move(choice));
  if (exact)
    return allocation;
  double bound = greedy->lowerBound;
  if (greedy->error < allocation.error)
    allocation = *greedy;
  allocation.lowerBound = std::min(bound, allocation.error);
  return allocation;
}

} // namespace quanta
