//===- HistogramTest.cpp - Counts and grids ---------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Histogram.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace quanta;

namespace {
std::vector<float> randomValues(size_t count, unsigned seed, float deviation = 1, float mean = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

double errorOf(const std::vector<float> &values, double low, double high, int64_t levels) {
  double step = (high - low) / double(levels - 1), zero = std::nearbyint(-low / step), sum = 0;
  for (float value : values) {
    double code = std::clamp(std::nearbyint(value / step) + zero, 0.0, double(levels - 1));
    sum += std::pow(value - (code - zero) * step, 2);
  }
  return sum / double(values.size());
}

TEST(Histogram, OrderDoesNotMatter) {
  std::vector<float> small = randomValues(500, 1, 1e-3f), large = randomValues(500, 2, 100);
  large.insert(large.end(), {0.0f, -0.0f, 1e-40f, -1e-40f, 128, -128, 3e38f});
  Histogram a(64), b(64);
  a.add(small);
  a.add(large);
  b.add(large);
  b.add(small);
  EXPECT_EQ(a.getTotal(), 1007u);
  EXPECT_EQ(a.getMax(), 3e38f);
  EXPECT_EQ(a.getMin(), b.getMin());
  EXPECT_EQ(a.bestGrid(16, true).meanSquaredError, b.bestGrid(16, true).meanSquaredError);
  EXPECT_EQ(a.wholeGrid(16, false).zero, b.wholeGrid(16, false).zero);
}

/// No worse than any range that is shrunk to both sides alike, and as good as it says.
TEST(Histogram, BestGrids) {
  for (auto [levels, mean] : {std::pair(16, 0.0f), {255, 0.0f}, {4, 0.0f}, {16, 3.0f}, {16, -9.0f}})
    for (bool throughZero : {true, false}) {
      std::vector<float> values = randomValues(20000, 3, 1, mean);
      Histogram histogram;
      histogram.add(values);
      double low = histogram.getMin(), high = histogram.getMax(), middle = throughZero ? 0 : (low + high) / 2, best = 1e9;
      if (throughZero)
        low = std::min(low, 0.0), high = std::max(high, 0.0);
      for (int percent = 1; percent <= 100; ++percent)
        best = std::min(best, errorOf(values, middle + (low - middle) * percent / 100, middle + (high - middle) * percent / 100, levels));
      Histogram::Grid grid = histogram.bestGrid(levels, throughZero);
      double from = -double(grid.zero) * grid.step;
      double error = errorOf(values, from, from + double(levels - 1) * grid.step, levels);
      EXPECT_LE(error, 1.01 * best) << levels << " levels around " << mean;
      EXPECT_NEAR(grid.meanSquaredError, error, 0.01 * error + 1e-7);
      EXPECT_GE(histogram.wholeGrid(levels, throughZero).meanSquaredError, grid.meanSquaredError);
      if (throughZero) {
        EXPECT_GE(grid.zero, 0);
        EXPECT_LE(grid.zero, levels - 1);
      }
    }
}

TEST(Histogram, Degenerate) {
  Histogram none, zeros, one, far;
  zeros.add(std::vector<float>(5));
  one.add(std::vector<float>(3, 2.5f));
  far.add(std::vector<float>{1000, 1000.001f});
  for (const Histogram *histogram : {&none, &zeros, &one, &far})
    for (bool throughZero : {true, false})
      for (Histogram::Grid grid : {histogram->bestGrid(16, throughZero), histogram->wholeGrid(16, throughZero)}) {
        EXPECT_GT(grid.step, 0);
        EXPECT_LE(std::abs(grid.zero), 1 << 20);
      }
  EXPECT_LT(one.bestGrid(16, false).meanSquaredError, 1e-9);
}
} // namespace
