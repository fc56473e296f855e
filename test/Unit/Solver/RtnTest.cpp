//===- RtnTest.cpp - Round to nearest against its definition --------------------------------------------------------------===//
#include "quanta/Solver/Rtn.h"
#include "quanta/Support/Half.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>
#include <random>

using namespace quanta;

namespace {
std::vector<float> randomMatrix(int64_t rows, int64_t columns, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> matrix(static_cast<size_t>(rows * columns));
  for (float &value : matrix)
    value = normal(random);
  return matrix;
}

const UniformZero kKinds[] = {UniformZero::Symmetric, UniformZero::Point, UniformZero::Offset};

TEST(Rtn, EveryCodeIsTheNearest) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {5, 33}, {17, 128}})
    for (int64_t group : {-1, 0, 7, 32, 1000})
      for (UniformZero zero : kKinds)
        for (bool half : {true, false})
          for (unsigned bits = 1; bits <= 8; ++bits) {
            std::vector<float> matrix = randomMatrix(rows, columns);
            UniformResult result = quantizeRtn({matrix.data(), rows, columns}, {bits, group, zero, half});
            ASSERT_FALSE(result.nonFinite || result.needsF32Scale);
            int lowest = zero == UniformZero::Symmetric && bits > 1 ? 1 : 0, highest = (1 << bits) - 1;
            double squares = 0, errors = 0;
            for (int64_t r = 0; r < rows; ++r)
              for (int64_t c = 0; c < columns; ++c) {
                double value = matrix[static_cast<size_t>(r * columns + c)];
                uint8_t &code = result.codes[static_cast<size_t>(r * columns + c)];
                double error = std::fabs(value - result.decode(r, c));
                squares += value * value;
                errors += error * error;
                ASSERT_GE(code, lowest);
                ASSERT_LE(code, highest);
                uint8_t kept = code;
                for (int other = lowest; other <= highest; ++other) {
                  code = static_cast<uint8_t>(other);
                  ASSERT_LE(error, std::fabs(value - result.decode(r, c)) + 1e-7);
                }
                code = kept;
              }
            EXPECT_NEAR(result.error, errors / squares, 1e-12);
            for (float scale : result.scales) {
              EXPECT_GE(scale, 0);
              if (half) {
                EXPECT_EQ(scale, halfToFloat(floatToHalf(scale)));
              }
            }
          }
}

TEST(Rtn, ScalesFollowTheDefinitions) {
  std::vector<float> row = {-0.5f, 0.25f, 1.0f, 0.0f};
  MatrixView view(row.data(), 1, 4);
  UniformResult point = quantizeRtn(view, {2, 0, UniformZero::Point, false});
  EXPECT_EQ(point.scales[0], 0.5f);
  EXPECT_EQ(point.zeros[0], 1);
  EXPECT_EQ(point.codes, (std::vector<uint8_t>{0, 1, 3, 1})); // 0.25 is a tie that goes to even, 0
  UniformResult symmetric = quantizeRtn(view, {4, 0, UniformZero::Symmetric, false});
  EXPECT_EQ(symmetric.scales[0], 1.0f / 7);
  EXPECT_EQ(symmetric.codes, (std::vector<uint8_t>{5, 10, 15, 8})); // -0.5 is just above -3.5 of the rounded scale
  UniformResult sign = quantizeRtn(view, {1, 0, UniformZero::Symmetric, false});
  EXPECT_EQ(sign.scales[0], 2 * 1.75f / 4);
  EXPECT_EQ(sign.codes, (std::vector<uint8_t>{0, 1, 1, 1}));
  EXPECT_EQ(sign.decode(0, 0), -1.75f / 4);
  UniformResult offset = quantizeRtn(view, {2, 0, UniformZero::Offset, false});
  EXPECT_EQ(offset.scales[0], 0.5f);
  EXPECT_EQ(offset.offsets[0], -0.5f);

  // A range without zero: a zero point must extend it, an offset need not.
  std::vector<float> high = {2.0f, 3.0f};
  UniformResult extended = quantizeRtn({high.data(), 1, 2}, {2, 0, UniformZero::Point, false});
  EXPECT_EQ(extended.scales[0], 1.0f);
  EXPECT_EQ(extended.zeros[0], 0);
  EXPECT_EQ(quantizeRtn({high.data(), 1, 2}, {1, 0, UniformZero::Offset, false}).error, 0);
}

TEST(Rtn, ZeroStaysZero) {
  std::vector<float> zeros(3 * 10, 0.0f), decoded(30, 1.0f);
  for (UniformZero zero : kKinds)
    for (unsigned bits = 1; bits <= 8; ++bits) {
      UniformResult result = quantizeRtn({zeros.data(), 3, 10}, {bits, 4, zero, true});
      EXPECT_FALSE(result.needsF32Scale);
      EXPECT_EQ(result.error, 0);
      result.decode(decoded.data());
      for (float value : decoded)
        EXPECT_EQ(value, 0);
    }
  // Point stores zero exactly in any group.
  std::vector<float> matrix = randomMatrix(4, 64);
  for (size_t i = 0; i < matrix.size(); i += 5)
    matrix[i] = 0;
  UniformResult result = quantizeRtn({matrix.data(), 4, 64}, {3, 16, UniformZero::Point, true});
  for (int64_t i = 0; i < 4 * 64; i += 5)
    EXPECT_EQ(result.decode(i / 64, i % 64), 0);
}

TEST(Rtn, StridesAndEmptyMatrices) {
  std::vector<float> matrix = randomMatrix(6, 20), part;
  for (int64_t r = 1; r < 5; ++r)
    part.insert(part.end(), matrix.begin() + r * 20 + 3, matrix.begin() + r * 20 + 14);
  MatrixView view(matrix.data(), 6, 20);
  UniformOptions options{4, 5, UniformZero::Point, true};
  EXPECT_EQ(quantizeRtn(view.block(1, 3, 4, 11), options).codes, quantizeRtn({part.data(), 4, 11}, options).codes);
  for (int64_t group : {-1, 0, 3}) {
    options.group = group;
    EXPECT_EQ(quantizeRtn({nullptr, 0, 5}, options).codes.size(), 0u);
    EXPECT_EQ(quantizeRtn({nullptr, 5, 0}, options).scales.size(), 0u);
  }
}

TEST(Rtn, ExtremeWeights) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (UniformZero zero : kKinds)
    for (unsigned bits = 1; bits <= 8; ++bits) {
      for (float bad : {inf, -inf, nan}) {
        std::vector<float> row = {1, bad, 2};
        EXPECT_TRUE(quantizeRtn({row.data(), 1, 3}, {bits, 0, zero, true}).nonFinite);
      }
      std::vector<float> large = {1.5e38f, -1.5e38f, 1}, small = {1e-20f, -1e-20f, 0};
      for (auto &row : {large, small}) {
        EXPECT_TRUE(quantizeRtn({row.data(), 1, 3}, {bits, 0, zero, true}).needsF32Scale);
        UniformResult wide = quantizeRtn({row.data(), 1, 3}, {bits, 0, zero, false});
        EXPECT_FALSE(wide.needsF32Scale);
        if (bits == 8) {
          EXPECT_LT(wide.error, 1e-4);
        }
      }
    }
}
} // namespace
