//===- Ranks.h - Ranks of the factors of many layers within one budget ----------------------------------*- C++ -*-===//
#ifndef QUANTA_ALLOCATE_RANKS_H
#define QUANTA_ALLOCATE_RANKS_H

#include "quanta/Allocate/Allocation.h"

namespace quanta {

/// The rank at which two factors [rows, r], [r, columns] have about `ratio` of the matrix' parameters,
/// ⌊⌊rows·columns·ratio⌋/(rows + columns)⌋, rounded up to a multiple of `align`. 0 ≤ ratio; may exceed the full rank.
int64_t rankOfRatio(int64_t rows, int64_t columns, double ratio, int64_t align = 1);

/// Whether two factors have fewer parameters, and take fewer multiplications, than the matrix.
inline bool rankPays(int64_t rows, int64_t columns, int64_t rank) {
  return static_cast<double>(rank) * static_cast<double>(rows + columns) <
         static_cast<double>(rows) * static_cast<double>(columns);
}

/// The loss of the model (perplexity, say) if `layer` alone is factored with `ratio` of its parameters.
struct RankProbe {
  size_t layer = 0;
  double ratio = 1, loss = 0;
};

struct RankSearch {
  std::vector<double> ratios; ///< for each layer; 1: left as it is
  double achieved = 1;        ///< of all parameters
  size_t first = 0;           ///< the probes from here on, by falling loss, are applied; of a layer's the smallest ratio
};

/// STRS, the search of ASVD (2312.05821): as many of the worst probes as possible are left out. The published code applies
/// the one that its bisection looked at last, which may miss the target by one probe; this never does. None if all probes
/// together do not reach the target, a share of all parameters.
std::optional<RankSearch> searchRanks(std::vector<RankProbe> probes, const std::vector<double> &sizes, double target);

/// A layer to be factored. The singular values are those of the whitened matrix (factorLowRank in lib/Solver), whose
/// squares beyond a rank sum up to the error of the layer's output.
struct RankLayer {
  int64_t rows = 0, columns = 0;
  std::vector<double> singularValues; ///< falling, min(rows, columns) of them
  double importance = 1;              ///< of the output's squared error, 1/‖output‖² for relative ones
};

struct RankAllocation {
  std::vector<int64_t> ranks; ///< 0: not factored
  Allocation allocation;      ///< costs: parameters
};

/// The ranks, multiples of `align`, with the least sum of errors within `parameters` numbers. A layer that would not be
/// smaller as factors is left whole, with no error. None if rank `align` everywhere is too much.
std::optional<RankAllocation> allocateRanks(const std::vector<RankLayer> &layers, int64_t parameters, int64_t align = 1);

} // namespace quanta

#endif // QUANTA_ALLOCATE_RANKS_H
