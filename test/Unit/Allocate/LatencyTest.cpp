//===- LatencyTest.cpp - Time of a kernel as a function of its size -------------------------------------------------------===//
#include "quanta/Allocate/Latency.h"
#include "gtest/gtest.h"

using quanta::fitLatency;

TEST(Latency, LineIsFound) {
  auto fit = fitLatency({{1000, 700}, {4000, 2200}, {16000, 8200}});
  ASSERT_TRUE(fit);
  EXPECT_NEAR(fit->overhead, 200, 1e-6);
  EXPECT_NEAR(fit->perWeight, 0.5, 1e-9);
  EXPECT_NEAR(fit->worst, 0, 1e-9);
  EXPECT_NEAR(fit->predict(8000), 4200, 1e-6);
}

TEST(Latency, RelativeErrorsCountAndAreReported) {
  // Of one size with 900 and 1100 and another that is exact on the line through 1000: relative errors pull below the mean.
  auto fit = fitLatency({{1000, 900}, {1000, 1100}, {2000, 2000}});
  ASSERT_TRUE(fit);
  EXPECT_LT(fit->predict(1000), 1000);
  EXPECT_GT(fit->predict(1000), 900);
  EXPECT_NEAR(fit->worst, 1 - fit->predict(1000) / 1100, 1e-12);
}

TEST(Latency, NothingIsNegative) {
  auto steep = fitLatency({{1000, 500}, {2000, 2000}});
  ASSERT_TRUE(steep);
  EXPECT_EQ(steep->overhead, 0);
  EXPECT_GT(steep->perWeight, 0);
  auto falling = fitLatency({{1000, 2000}, {2000, 500}});
  ASSERT_TRUE(falling);
  EXPECT_EQ(falling->perWeight, 0);
  EXPECT_GT(falling->overhead, 500);
}

TEST(Latency, OneSizeTellsNothing) {
  EXPECT_FALSE(fitLatency({{1000, 500}, {1000, 600}}));
  EXPECT_FALSE(fitLatency({}));
}
