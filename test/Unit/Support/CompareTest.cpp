//===- CompareTest.cpp - Whether two arrays agree -------------------------------------------------------------------------===//
#include "quanta/Support/Compare.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace quanta;

namespace {
Array floats(std::vector<float> values) {
  int64_t size = static_cast<int64_t>(values.size());
  return Array::copyOf<float>(DType::F32, {size}, values);
}
Array ints(std::vector<int64_t> values) {
  int64_t size = static_cast<int64_t>(values.size());
  return Array::copyOf<int64_t>(DType::I64, {size}, values);
}

TEST(Compare, ToleranceIsRelativeToTheLargestReference) {
  EXPECT_TRUE(compare(floats({100, 0.005f}), floats({100, 0}), 1e-4, 0).passed);
  Comparison worse = compare(floats({100, 0.02f}), floats({100, 0}), 1e-4, 0);
  EXPECT_FALSE(worse.passed);
  EXPECT_NE(worse.problem.find("[1]"), std::string::npos);
  EXPECT_TRUE(compare(floats({100, 0.02f}), floats({100, 0}), 1e-4, 0.011).passed);
  EXPECT_TRUE(compare(floats({}), floats({}), 0, 0).passed);
  EXPECT_TRUE(compare(floats({1}), floats({1}), -1, -1).passed);
}

TEST(Compare, NonFinite) {
  EXPECT_TRUE(compare(floats({NAN, INFINITY, 1}), floats({NAN, INFINITY, 1}), 1e-4, 0).passed);
  EXPECT_FALSE(compare(floats({NAN, 1}), floats({1, 1}), 1e9, 1e9).passed);
  EXPECT_FALSE(compare(floats({1, 1}), floats({NAN, 1}), 1e9, 1e9).passed);
  EXPECT_FALSE(compare(floats({INFINITY}), floats({-INFINITY}), 1, 1).passed);
  // An infinity in the reference does not make the tolerance infinite.
  EXPECT_FALSE(compare(floats({INFINITY, 2}), floats({INFINITY, 1}), 1e-4, 0).passed);
}

TEST(Compare, IntegersAndShapes) {
  EXPECT_TRUE(compare(ints({1, 2}), ints({1, 2}), 0, 0).passed);
  EXPECT_FALSE(compare(ints({1, 2}), ints({1, 3}), 10, 10).passed);
  EXPECT_FALSE(compare(ints({INT64_MAX}), ints({INT64_MAX - 1}), 10, 10).passed);
  EXPECT_FALSE(compare(ints({1}), floats({1}), 10, 10).passed);
  EXPECT_FALSE(compare(ints({1}), ints({1, 2}), 10, 10).passed);
  EXPECT_FALSE(compare(ints({1}), ints({1}).reshaped({1, 1}), 10, 10).passed);
}
} // namespace
