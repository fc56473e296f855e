//===- Cluster.cpp - Channels of similar ranges side by side --------------------------------------------------------------===//
#include "quanta/Solver/Cluster.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace quanta;

static double squaredDistance(const double *a, const double *b, int64_t dimensions) {
  double sum = 0;
  for (int64_t d = 0; d < dimensions; ++d)
    sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

Clustering quanta::refineClusters(const std::vector<double> &points, int64_t dimensions, std::vector<double> centers,
                                  int iterations) {
  int64_t n = static_cast<int64_t>(points.size()) / dimensions,
          count = static_cast<int64_t>(centers.size()) / dimensions;
  Clustering result{std::vector<int32_t>(n, -1), std::move(centers), 0};
  for (int iteration = 0; iteration < iterations; ++iteration) {
    bool changed = false;
    result.inertia = 0;
    for (int64_t i = 0; i < n; ++i) {
      int32_t best = 0;
      double bestDistance = INFINITY;
      for (int64_t c = 0; c < count; ++c)
        if (double distance = squaredDistance(&points[i * dimensions], &result.centers[c * dimensions], dimensions);
            distance < bestDistance) {
          bestDistance = distance;
          best = static_cast<int32_t>(c);
        }
      changed |= result.labels[i] != best;
      result.labels[i] = best;
      result.inertia += bestDistance;
    }
    if (!changed)
      break;
    std::vector<double> sums(result.centers.size());
    std::vector<int64_t> members(count);
    for (int64_t i = 0; i < n; ++i) {
      ++members[result.labels[i]];
      for (int64_t d = 0; d < dimensions; ++d)
        sums[result.labels[i] * dimensions + d] += points[i * dimensions + d];
    }
    for (int64_t c = 0; c < count; ++c)
      for (int64_t d = 0; d < dimensions && members[c]; ++d)
        result.centers[c * dimensions + d] = sums[c * dimensions + d] / static_cast<double>(members[c]);
  }
  return result;
}

Clustering quanta::findClusters(const std::vector<double> &points, int64_t dimensions, int64_t count, uint64_t seed,
                                int starts) {
  int64_t n = static_cast<int64_t>(points.size()) / dimensions;
  count = std::max<int64_t>(1, std::min(count, n));
  std::mt19937_64 random(seed);
  auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  Clustering best;
  best.inertia = INFINITY;
  for (int start = 0; start < starts; ++start) {
    // k-means++: a point is the next centre with a probability proportional to its squared distance from those before.
    std::vector<double> centers, distances(n, INFINITY);
    int64_t next = static_cast<int64_t>(uniform() * static_cast<double>(n));
    for (int64_t c = 0; c < count; ++c) {
      centers.insert(centers.end(), &points[next * dimensions], &points[next * dimensions] + dimensions);
      double total = 0;
      for (int64_t i = 0; i < n; ++i) {
        distances[i] =
            std::min(distances[i], squaredDistance(&points[i * dimensions], &centers[c * dimensions], dimensions));
        total += distances[i];
      }
      double aim = uniform() * total;
      next = 0;
      for (int64_t i = 0; i < n; ++i)
        if (distances[i] > 0) {
          next = i;
          if ((aim -= distances[i]) <= 0)
            break;
        }
    }
    Clustering found = refineClusters(points, dimensions, std::move(centers));
    if (found.inertia < best.inertia)
      best = std::move(found);
  }
  // Without gaps.
  std::vector<int32_t> numbers(count, -1);
  for (int32_t label : best.labels)
    numbers[label] = 0;
  std::vector<double> centers;
  int32_t used = 0;
  for (int64_t c = 0; c < count; ++c)
    if (numbers[c] == 0) {
      numbers[c] = used++;
      centers.insert(centers.end(), best.centers.begin() + c * dimensions, best.centers.begin() + (c + 1) * dimensions);
    }
  for (int32_t &label : best.labels)
    label = numbers[label];
  best.centers = std::move(centers);
  return best;
}

std::vector<int64_t> quanta::countLabels(const std::vector<int32_t> &labels) {
  std::vector<int64_t> counts;
  for (int32_t label : labels) {
    counts.resize(std::max<size_t>(counts.size(), static_cast<size_t>(label) + 1));
    ++counts[label];
  }
  return counts;
}

void quanta::sortClusters(std::vector<int32_t> &labels, const std::vector<double> &keys) {
  std::vector<int64_t> counts = countLabels(labels);
  std::vector<double> sums(counts.size());
  for (size_t i = 0; i < labels.size(); ++i)
    sums[labels[i]] += keys[i];
  std::vector<int32_t> order(counts.size()), rank(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return sums[a] * static_cast<double>(counts[b]) < sums[b] * static_cast<double>(counts[a]);
  });
  for (size_t i = 0; i < order.size(); ++i)
    rank[order[i]] = static_cast<int32_t>(i);
  for (int32_t &label : labels)
    label = rank[label];
}

std::vector<int32_t> quanta::orderByLabel(const std::vector<int32_t> &labels) {
  std::vector<int32_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return labels[a] < labels[b]; });
  return order;
}

std::vector<int64_t> quanta::alignClusters(const std::vector<int64_t> &counts, const std::vector<double> &widths,
                                           int64_t tile) {
  std::vector<int64_t> result;
  int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t(0)), end = 0, aligned = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    end += counts[i];
    int64_t moved = end;
    if (i + 1 == counts.size())
      moved = total;
    else if (tile > 1)
      moved = std::min(total, widths[i] > widths[i + 1] ? (end + tile - 1) / tile * tile : end / tile * tile);
    if (moved <= aligned)
      continue;
    result.push_back(moved - aligned);
    aligned = moved;
  }
  return result;
}

ClusterGrid quanta::fitClusterGrid(double min, double max, unsigned bits) {
  ClusterGrid grid;
  grid.scale = std::clamp((max - min) * std::ldexp(1.0, -static_cast<int>(bits)), 1e-4, 1e4);
  grid.zero = std::nearbyint(std::clamp((max + min) * (-0.5 / grid.scale), -1e4, 1e4)) + 0.0;
  return grid;
}
