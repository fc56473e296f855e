//===- Cluster.h - Channels of similar ranges side by side ------------------------------------------------------*- C++ -*-===//
//
// Z. Yuan et al., RPTQ: Reorder-based Post-training Quantization for Large Language Models, 2023.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SOLVER_CLUSTER_H
#define QUANTA_SOLVER_CLUSTER_H

#include <cstdint>
#include <vector>

namespace quanta {

struct Clustering {
  std::vector<int32_t> labels; ///< of the points
  std::vector<double> centers; ///< [clusters, dimensions]
  double inertia = 0;          ///< Σ squared distance to the centre
};

/// Lloyd's iterations on points [n, dimensions] from given centres. Ties go to the lowest label; a cluster that loses
/// all points keeps its centre; ends when labels repeat.
Clustering refineClusters(const std::vector<double> &points, int64_t dimensions, std::vector<double> centers,
                          int iterations = 100);

/// k-means++ starts from the seed, the best of `starts` (the first of equal ones). Labels of empty clusters do not
/// occur: there may be fewer than `count`.
Clustering findClusters(const std::vector<double> &points, int64_t dimensions, int64_t count, uint64_t seed,
                        int starts = 10);

/// Renumbers the labels so that clusters come in the order of `keys`, one for each point (a cluster's key is its mean).
void sortClusters(std::vector<int32_t> &labels, const std::vector<double> &keys);

/// order[p] is the point at position p: by label, then by number.
std::vector<int32_t> orderByLabel(const std::vector<int32_t> &labels);
/// Points of each label.
std::vector<int64_t> countLabels(const std::vector<int32_t> &labels);

/// Moves the ends of clusters, which follow each other in order, to multiples of `tile`: the channels in between join
/// the neighbour with the wider range, whose grid they fit. Clusters that get empty vanish.
std::vector<int64_t> alignClusters(const std::vector<int64_t> &counts, const std::vector<double> &widths, int64_t tile);

/// RPTQ's grid of the range [min, max]: value = (q − zero)·scale, q from −2^(bits−1) to 2^(bits−1) − 1.
struct ClusterGrid {
  double scale = 0, zero = 0;
};
ClusterGrid fitClusterGrid(double min, double max, unsigned bits);

} // namespace quanta

#endif // QUANTA_SOLVER_CLUSTER_H
