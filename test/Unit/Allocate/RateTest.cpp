//===- RateTest.cpp - Bits by closed formulas, and scores of layers -------------------------------------------------===//
#include "quanta/Allocate/Rate.h"
#include "../Solver/Oracle.h"
#include "quanta/Allocate/Sensitivity.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
double meanBits(const std::vector<int64_t> &levels) {
  double sum = 0;
  for (int64_t level : levels)
    sum += std::log2(static_cast<double>(level));
  return sum / static_cast<double>(levels.size());
}

TEST(Rate, BaqOracles) {
  Oracle published("alloc", "baq_columns"), within("alloc", "baq_budget");
  std::vector<double> losses = published.input("column_loss").data;
  std::vector<int64_t> levels = baqLevels(losses, 2);
  expectNear(levels, published.expected("levels").data, 0);
  EXPECT_NEAR(meanBits(levels), published.number("expected", "mean_bits"), 1e-9);
  EXPECT_NEAR(equalLossGain(losses), published.number("expected", "geo_over_arith"), 1e-9);
  expectNear(baqLevelsWithin(losses, 2), within.expected("levels").data, 0);
  expectNear(baqLevelsWithin(losses, 2, {1, 2, 4, 8, 16}), within.expected("levels_pow2").data, 0);
}

TEST(Rate, BaqStaysWithinTheMean) {
  std::mt19937 random(3);
  std::lognormal_distribution<double> loss(0, 3);
  for (double mean : {1.0, 1.5, 2.0, 3.0, 4.0}) {
    std::vector<double> losses(64);
    for (double &value : losses)
      value = loss(random);
    losses[5] = 0;
    for (const std::vector<int64_t> &allowed : {std::vector<int64_t>{}, {1, 2, 4, 8, 16}}) {
      std::vector<int64_t> levels = baqLevelsWithin(losses, mean, allowed);
      EXPECT_LE(meanBits(levels), mean);
      EXPECT_GT(meanBits(levels), mean - 0.1);
      for (size_t i = 1; i < levels.size(); ++i)
        EXPECT_EQ(losses[i] < losses[i - 1] && levels[i] > levels[i - 1], false);
    }
  }
}

TEST(Rate, WaterFillingOracles) {
  Oracle oracle("alloc", "reverse_waterfill"), rounding("alloc", "waterfill_rounding");
  std::vector<double> a = oracle.input("a").data, n = oracle.input("n").data;
  std::vector<double> rates = fillRates(a, n, 2000, 0, 8);
  expectNear(rates, oracle.expected("R").data, 1e-8);
  auto bits = roundRates(rates, a, n, 2000, {0, 1, 2, 3, 4, 8});
  ASSERT_TRUE(bits);
  expectNear(*bits, rounding.expected("bits").data, 0);
  EXPECT_FALSE(roundRates(rates, a, n, 1999, {2, 3}));
}

/// No exchange of a little rate between two units lowers the damage.
TEST(Rate, WaterFillingIsOptimal) {
  std::mt19937 random(4);
  std::lognormal_distribution<double> coefficient(0, 2);
  std::uniform_real_distribution<double> count(10, 100);
  std::vector<double> a(12), n(12);
  double all = 0;
  for (size_t u = 0; u < a.size(); ++u) {
    a[u] = coefficient(random);
    n[u] = count(random);
    all += n[u];
  }
  for (double mean : {0.5, 2.0, 7.5}) {
    std::vector<double> rates = fillRates(a, n, mean * all, 0, 8);
    double used = 0;
    for (size_t u = 0; u < a.size(); ++u)
      used += n[u] * rates[u];
    EXPECT_LE(used, mean * all);
    EXPECT_NEAR(used, mean * all, 1e-6);
    auto damage = [&](size_t u, double rate) { return n[u] * a[u] * std::pow(4, -rate); };
    for (size_t u = 0; u < a.size(); ++u)
      for (size_t v = 0; v < a.size(); ++v) {
        double up = rates[u] + 1e-4 / n[u], down = rates[v] - 1e-4 / n[v];
        if (u != v && up <= 8 && down >= 0) {
          EXPECT_GE(damage(u, up) + damage(v, down), damage(u, rates[u]) + damage(v, rates[v]) - 1e-12);
        }
      }
  }
  EXPECT_EQ(fillRates(a, n, 9 * all, 0, 8), std::vector<double>(12, 8.0));
  EXPECT_EQ(fillRates(a, n, 1 * all, 2, 8), std::vector<double>(12, 2.0));
}

TEST(Rate, GaussianOracle) {
  Oracle oracle("alloc", "gaussian_distortion");
  EXPECT_NEAR(gaussianError(1), 1, 1e-12);
  for (int levels : {2, 3, 4, 8, 16})
    EXPECT_NEAR(gaussianError(levels), oracle.number("expected", "mse_" + std::to_string(levels)), 1e-5);
}

TEST(Sensitivity, Oracles) {
  Oracle lim("alloc", "lim"), zd("alloc", "zd"), pairs("alloc", "pair_interaction");
  EXPECT_NEAR(layerModification(lim.input("layer_in"), lim.input("layer_out")), lim.number("expected", "lim"), 1e-9);
  std::vector<float> weights = zd.input("w").floats();
  EXPECT_NEAR(zScoreShare({weights.data(), 1, static_cast<int64_t>(weights.size())}), zd.number("expected", "zd"), 1e-9);
  Matrix single = pairs.input("single"), both = pairs.input("pair");
  expectNear(pairInteractions(pairs.number("input", "base"), single.data, both), pairs.expected("I").data, 1e-9);
  Matrix hessian{2, 2, {3, 1, 1, 4}};
  EXPECT_EQ(weightTrace(hessian, 5), 35);
}
} // namespace
