//===- RanksTest.cpp - Ranks of the factors of many layers within one budget ---------------------------------------===//
#include "quanta/Allocate/Ranks.h"
#include "../Solver/Oracle.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
TEST(Ranks, OfRatioOracles) {
  for (const char *shape : {"4096_4096_0.9", "4096_4096_0.5", "11008_4096_0.8", "4096_11008_0.8", "1024_4096_0.9",
                            "4096_4096_2", "512_2048_1.6"}) {
    Oracle oracle("ranks", std::string("rank_") + shape);
    auto rows = static_cast<int64_t>(oracle.number("input", "m")), columns = static_cast<int64_t>(oracle.number("input", "n"));
    double ratio = oracle.number("input", "ratio"), limit = oracle.number("expected", "break_even");
    EXPECT_EQ(rankOfRatio(rows, columns, ratio), oracle.number("expected", "rank"));
    EXPECT_EQ(rankOfRatio(rows, columns, ratio, 32), oracle.number("expected", "rank_align32"));
    EXPECT_TRUE(rankPays(rows, columns, static_cast<int64_t>(std::ceil(limit)) - 1));
    EXPECT_FALSE(rankPays(rows, columns, static_cast<int64_t>(std::ceil(limit))));
  }
}

TEST(Ranks, SearchOracles) {
  bool publishedMissed = false;
  for (const char *target : {"0.95", "0.85", "0.78", "0.7", "0.6"}) {
    Oracle oracle("ranks", std::string("strs_") + target);
    Matrix layers = oracle.input("layers"), ratios = oracle.input("ratios"), losses = oracle.input("losses");
    std::vector<RankProbe> probes;
    for (size_t i = 0; i < layers.data.size(); ++i)
      probes.push_back({static_cast<size_t>(layers.data[i]), ratios.data[i], losses.data[i]});
    double limit = oracle.number("input", "target");
    auto search = searchRanks(probes, oracle.input("sizes").data, limit);
    ASSERT_TRUE(search);
    EXPECT_EQ(search->first, oracle.number("expected", "first"));
    expectNear(search->ratios, oracle.expected("ratios").data, 0);
    EXPECT_NEAR(search->achieved, oracle.number("expected", "achieved"), 1e-12);
    EXPECT_LE(search->achieved, limit);
    publishedMissed |= oracle.number("expected", "published_achieved") > limit;
  }
  EXPECT_TRUE(publishedMissed);
  EXPECT_FALSE(searchRanks({{0, 0.5, 1}}, {1, 1}, 0.7));
  EXPECT_FALSE(searchRanks({}, {1, 1}, 0.9));
  EXPECT_EQ(searchRanks({{0, 0.5, 1}}, {1, 1}, 1)->ratios, std::vector<double>(2, 1.0));
}

TEST(Ranks, KnapsackIsOptimal) {
  std::vector<RankLayer> layers = {{8, 6, {9, 4, 2, 1, 0.5, 0.1}, 1}, {6, 6, {5, 4, 3, 2, 1, 0.5}, 2}, {1, 4, {3}, 1}};
  auto cost = [&](size_t layer, int64_t rank) {
    const RankLayer &l = layers[layer];
    return rank ? rank * (l.rows + l.columns) : l.rows * l.columns;
  };
  auto error = [&](size_t layer, int64_t rank) {
    double sum = 0;
    for (size_t i = static_cast<size_t>(rank); rank && i < layers[layer].singularValues.size(); ++i)
      sum += layers[layer].singularValues[i] * layers[layer].singularValues[i];
    return layers[layer].importance * sum;
  };
  for (int64_t budget = 0; budget <= 90; ++budget) {
    double best = INFINITY; // 0: whole; 3 · 14 < 48, 2 · 12 < 36
    for (int64_t first : {0, 1, 2, 3})
      for (int64_t second : {0, 1, 2})
        if (cost(0, first) + cost(1, second) + cost(2, 0) <= budget)
          best = std::min(best, error(0, first) + error(1, second));
    auto result = allocateRanks(layers, budget);
    ASSERT_EQ(result.has_value(), std::isfinite(best));
    if (!result)
      continue;
    EXPECT_LE(result->allocation.costs[0], budget);
    EXPECT_NEAR(result->allocation.error, best, 1e-12);
    EXPECT_NEAR(error(0, result->ranks[0]) + error(1, result->ranks[1]), best, 1e-12);
    EXPECT_EQ(result->ranks[2], 0);
  }
  EXPECT_EQ(allocateRanks(layers, 88)->ranks, std::vector<int64_t>({0, 0, 0}));
  EXPECT_EQ(allocateRanks(layers, 87, 2)->ranks[0] % 2, 0);
}
} // namespace
