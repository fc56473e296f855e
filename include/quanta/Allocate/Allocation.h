//===- Allocation.h - Choosing a format for every layer within budgets ----------------------------------*- C++ -*-===//
#ifndef QUANTA_ALLOCATE_ALLOCATION_H
#define QUANTA_ALLOCATE_ALLOCATION_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace quanta {

/// One way to store a unit: what it costs in each of the problem's budgets (bits, bytes, nanoseconds: whole numbers ≥ 0)
/// and the damage it does. Damages add up over units; they are finite, and may be negative if they were measured.
struct Candidate {
  double error = 0;
  std::vector<int64_t> costs;
};

/// What two units cost beyond the sum of their errors if both have these candidates.
struct Interaction {
  size_t firstUnit = 0, firstCandidate = 0, secondUnit = 0, secondCandidate = 0;
  double error = 0;
};

/// Which candidate shall each unit have so that the sum of errors is least and no sum of costs exceeds its budget? A unit
/// is what must be stored alike: a layer, or several that share a weight.
struct AllocationProblem {
  std::vector<std::vector<Candidate>> units; ///< at least one candidate each, all with as many costs as there are budgets
  std::vector<int64_t> budgets;              ///< at least one
  std::vector<Interaction> interactions;     ///< only allocateInteger knows them
};

struct Allocation {
  std::vector<size_t> choice; ///< a candidate for each unit
  double error = 0;           ///< of the choice, summed in the order of the units, then of the interactions
  std::vector<int64_t> costs; ///< summed exactly; never above the budgets
  double lowerBound = 0;      ///< no allocation within the budgets has a smaller error; at most `error`

  /// How far from the optimum the error may be: (error − lowerBound)/|lowerBound|.
  double gap() const;
};

/// The multiple-choice knapsack by steps along the lower convex hull of each unit's (cost, error), best gain per cost
/// first; a unit whose next step does not fit any more stays where it is. lowerBound is the optimum of the linear
/// relaxation. One budget, no interactions. None if not even the cheapest candidates fit. Time n·log n.
std::optional<Allocation> allocateGreedy(const AllocationProblem &problem);

/// The same problem solved exactly: unit by unit, the list of all pairs (cost, error) that no other one dominates. If a list
/// grows beyond `states`, only the best of each of so many intervals of cost is kept; then lowerBound is that of the linear
/// relaxation, otherwise the error itself. Time and memory units · candidates · states.
std::optional<Allocation> allocateDynamic(const AllocationProblem &problem, size_t states = size_t(1) << 16);

/// Any number of budgets and interactions, by branch and bound (GLPK) on a binary variable for each candidate and each
/// interaction. After `nodes` nodes the best allocation so far is returned, with the bound so far.
std::optional<Allocation> allocateInteger(const AllocationProblem &problem, int64_t nodes = 200000);

/// The allocations of allocateGreedy's steps from the cheapest candidates to the best: what each cost can at least be
/// exchanged for. Each is the optimum for a budget of just its cost.
std::vector<Allocation> convexFrontier(const AllocationProblem &problem);

/// Sums up a choice. lowerBound becomes the error.
Allocation evaluate(const AllocationProblem &problem, std::vector<size_t> choice);
bool fits(const AllocationProblem &problem, const Allocation &allocation);

} // namespace quanta

#endif // QUANTA_ALLOCATE_ALLOCATION_H
