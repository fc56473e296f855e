//===- ClusterTest.cpp ----------------------------------------------------------------------------------------------------===//
#include "quanta/Solver/Cluster.h"
#include "quanta/Solver/Hadamard.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <cmath>
#include <numeric>
#include <random>

using namespace quanta;

namespace {

llvm::json::Value readOracle(const char *name) {
  auto buffer = llvm::MemoryBuffer::getFile(std::string(QUANTA_ORACLES "/") + name);
  if (!buffer)
    return nullptr;
  auto parsed = llvm::json::parse((*buffer)->getBuffer());
  return parsed ? std::move(*parsed) : llvm::json::Value(nullptr);
}

std::vector<double> numbers(const llvm::json::Value &value) {
  std::vector<double> result;
  if (const llvm::json::Array *array = value.getAsArray())
    for (const llvm::json::Value &element : *array) {
      std::vector<double> inner = numbers(element);
      result.insert(result.end(), inner.begin(), inner.end());
    }
  else
    result.push_back(value.getAsNumber().value_or(NAN));
  return result;
}

TEST(ClusterTest, OrdersChannelsByRangeAsTheReference) {
  llvm::json::Value root = readOracle("reorder.json");
  ASSERT_TRUE(root.getAsObject());
  const llvm::json::Object &oracle = *root.getAsObject();
  std::vector<double> max = numbers(*oracle.get("xmax")), min = numbers(*oracle.get("xmin")), points;
  for (size_t c = 0; c < max.size(); ++c)
    points.insert(points.end(), {max[c], min[c]});
  Clustering found = refineClusters(points, 2, numbers(*oracle.get("kmeans_init")));
  std::vector<double> labels(found.labels.begin(), found.labels.end());
  EXPECT_EQ(labels, numbers(*oracle.get("labels")));
  std::vector<double> centers = numbers(*oracle.get("centroids"));
  for (size_t i = 0; i < centers.size(); ++i)
    EXPECT_NEAR(found.centers[i], centers[i], 1e-9);
  std::vector<int32_t> order = orderByLabel(found.labels);
  EXPECT_EQ(std::vector<double>(order.begin(), order.end()), numbers(*oracle.get("perm")));
  std::vector<int64_t> counts = countLabels(found.labels);
  EXPECT_EQ(std::vector<double>(counts.begin(), counts.end()), numbers(*oracle.get("counts")));
  for (unsigned bits : {8u, 4u, 3u}) {
    const llvm::json::Object &grid = *oracle.getObject("quant")->getObject("a" + std::to_string(bits));
    std::vector<double> scales = numbers(*grid.get("scale")), zeros = numbers(*grid.get("zero"));
    size_t place = 0;
    for (int64_t count : counts) {
      double low = INFINITY, high = -INFINITY;
      for (int64_t i = 0; i < count; ++i) {
        low = std::min(low, min[order[place + i]]);
        high = std::max(high, max[order[place + i]]);
      }
      ClusterGrid fitted = fitClusterGrid(low, high, bits);
      for (int64_t i = 0; i < count; ++i, ++place) {
        EXPECT_NEAR(fitted.scale, scales[place], 1e-12);
        EXPECT_EQ(fitted.zero, zeros[place]);
      }
    }
  }
}

TEST(ClusterTest, FindsSeparatedClustersWhateverTheSeed) {
  std::vector<double> points;
  for (double center : {0.0, 10.0, 100.0})
    for (double offset : {-0.1, 0.0, 0.1})
      points.push_back(center + offset);
  for (uint64_t seed : {0u, 1u, 7u}) {
    std::vector<int32_t> labels = findClusters(points, 1, 3, seed).labels;
    sortClusters(labels, points);
    EXPECT_EQ(labels, (std::vector<int32_t>{0, 0, 0, 1, 1, 1, 2, 2, 2}));
  }
  // Fewer different points than clusters: no empty ones.
  std::vector<int32_t> same = findClusters({1, 1, 1, 2}, 1, 4, 0).labels;
  EXPECT_EQ(countLabels(same).size(), 2u);
}

TEST(ClusterTest, AlignsInFavourOfTheWider) {
  // 10 | 22 | 32 with tiles of 8: ends at 10 and 32; the second is wider than the first.
  EXPECT_EQ(alignClusters({10, 22, 32}, {1, 2, 3}, 8), (std::vector<int64_t>{8, 24, 32}));
  EXPECT_EQ(alignClusters({10, 22, 32}, {2, 1, 3}, 8), (std::vector<int64_t>{16, 16, 32}));
  // A cluster that is smaller than a tile joins the wider one behind it.
  EXPECT_EQ(alignClusters({3, 61}, {1, 2}, 8), (std::vector<int64_t>{64}));
  EXPECT_EQ(alignClusters({3, 5}, {1, 2}, 1), (std::vector<int64_t>{3, 5}));
}

TEST(HadamardTest, IsOrthogonal) {
  for (int64_t n : {1, 2, 4, 12, 20, 28, 36, 64, 108, 192, 344, 384, 768, 1536}) {
    auto matrix = Hadamard::create(n);
    ASSERT_TRUE(matrix) << n;
    int64_t base = matrix->getBaseSize();
    const std::vector<int8_t> &entries = matrix->getBase();
    for (int64_t i = 0; i < base; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        int64_t sum = 0;
        for (int64_t k = 0; k < base; ++k)
          sum += entries[i * base + k] * entries[j * base + k];
        ASSERT_EQ(sum, i == j ? base : 0) << n << ": " << i << ", " << j;
      }
    std::mt19937_64 random(1);
    std::vector<double> x(n);
    double squares = 0;
    for (double &value : x) {
      value = static_cast<double>(random() >> 40) / (1 << 20) - 8;
      squares += value * value;
    }
    std::vector<double> y = x;
    matrix->apply(y.data());
    double turned = std::inner_product(y.begin(), y.end(), y.begin(), 0.0);
    EXPECT_NEAR(turned, squares, 1e-9 * squares) << n;
    matrix->applyTransposed(y.data());
    for (int64_t i = 0; i < n; ++i)
      ASSERT_NEAR(y[i], x[i], 1e-9) << n;
  }
  EXPECT_EQ(Hadamard::create(11008)->getBaseSize(), 344); // q = 7³
  for (int64_t n : {0, 3, 6, 10, 92})
    EXPECT_FALSE(Hadamard::create(n)) << n;
}

TEST(HadamardTest, TransformsAsTheReference) {
  llvm::json::Value root = readOracle("hadamard.json");
  ASSERT_TRUE(root.getAsObject());
  const llvm::json::Object &oracle = *root.getAsObject();
  std::vector<double> x = numbers(*oracle.get("x")), expected = numbers(*oracle.get("fwht"));
  Hadamard::create(static_cast<int64_t>(x.size()))->apply(x.data());
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(x[i], expected[i], 1e-9);
}

} // namespace
