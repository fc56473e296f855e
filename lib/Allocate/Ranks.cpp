//===- Ranks.cpp - Ranks of the factors of many layers within one budget --------------------------------------------===//
#include "quanta/Allocate/Ranks.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <tuple>

namespace quanta {

int64_t rankOfRatio(int64_t rows, int64_t columns, double ratio, int64_t align) {
  assert(rows > 0 && columns > 0 && ratio >= 0 && align > 0);
  double parameters = std::floor(static_cast<double>(rows) * static_cast<double>(columns) * ratio);
  int64_t rank = static_cast<int64_t>(std::floor(parameters / static_cast<double>(rows + columns)));
  return (rank + align - 1) / align * align;
}

std::optional<RankSearch> searchRanks(std::vector<RankProbe> probes, const std::vector<double> &sizes, double target) {
  std::sort(probes.begin(), probes.end(), [](const RankProbe &a, const RankProbe &b) {
    return std::tuple(b.loss, a.layer, a.ratio) < std::tuple(a.loss, b.layer, b.ratio);
  });
  auto apply = [&](size_t first) {
    RankSearch search{std::vector<double>(sizes.size(), 1.0), 0, first};
    for (size_t i = first; i < probes.size(); ++i)
      search.ratios[probes[i].layer] = std::min(search.ratios[probes[i].layer], probes[i].ratio);
    search.achieved = std::inner_product(sizes.begin(), sizes.end(), search.ratios.begin(), 0.0) /
                      std::accumulate(sizes.begin(), sizes.end(), 0.0);
    return search;
  };
  RankSearch best = apply(0);
  if (!(best.achieved <= target))
    return std::nullopt;
  // The size only grows as probes are left out: `best` fits, everything from `end` on does not.
  for (size_t end = probes.size() + 1; end - best.first > 1;) {
    RankSearch middle = apply(best.first + (end - best.first) / 2);
    if (middle.achieved <= target)
      best = std::move(middle);
    else
      end = middle.first;
  }
  return best;
}

std::optional<RankAllocation> allocateRanks(const std::vector<RankLayer> &layers, int64_t parameters, int64_t align) {
  assert(align > 0);
  AllocationProblem problem;
  problem.budgets = {parameters};
  for (const RankLayer &layer : layers) {
    std::vector<Candidate> candidates = {{0, {layer.rows * layer.columns}}};
    // Sums from the smallest value on lose nothing to rounding.
    int64_t full = static_cast<int64_t>(layer.singularValues.size());
    std::vector<double> tail(static_cast<size_t>(full) + 1);
    for (int64_t i = full; i-- > 0;)
      tail[i] = tail[i + 1] + layer.singularValues[i] * layer.singularValues[i];
    for (int64_t rank = align; rank < full && rankPays(layer.rows, layer.columns, rank); rank += align)
      candidates.push_back({layer.importance * tail[rank], {rank * (layer.rows + layer.columns)}});
    problem.units.push_back(std::move(candidates));
  }
  std::optional<Allocation> allocation = allocateDynamic(problem);
  if (!allocation)
    return std::nullopt;
  RankAllocation result;
  for (size_t choice : allocation->choice)
    result.ranks.push_back(static_cast<int64_t>(choice) * align);
  result.allocation = std::move(*allocation);
  return result;
}

} // namespace quanta
