//===- RecognizeTest.cpp - Weights that are quantized already -----------------------------------------------------===//
#include "quanta/Solver/Recognize.h"
#include "Oracle.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
void expectExact(const RecognizedWeights &result, const std::vector<float> &weights) {
  for (int64_t i = 0; i < result.rows * result.columns; ++i)
    ASSERT_EQ(result.decode(i / result.columns, i % result.columns), weights[static_cast<size_t>(i)]);
  for (uint8_t code : result.codes)
    ASSERT_LT(code, 1 << result.bits);
}

TEST(Recognize, Oracles) {
  for (auto [name, kind] : {std::pair<const char *, RecognizedKind>{"detect_ternary", RecognizedKind::Ternary},
                            {"detect_binary", RecognizedKind::Binary},
                            {"detect_pow2", RecognizedKind::PowerOfTwo},
                            {"detect_uniform", RecognizedKind::Uniform}}) {
    Matrix w = Oracle("ternary", name).input("w");
    std::vector<float> weights = w.floats();
    auto result = recognizeWeights({weights.data(), w.rows, w.columns});
    ASSERT_TRUE(result) << name;
    EXPECT_EQ(result->kind, kind) << name;
    expectExact(*result, weights);
  }
}

/// Random codes of `kind` with a scale for each `scaleRows` × groups.
std::vector<float> makeWeights(RecognizedKind kind, unsigned bits, int64_t rows, int64_t columns, bool scalePerRow,
                               int64_t groupColumns, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> scale(1e-3f, 0.3f);
  std::vector<float> scales(static_cast<size_t>(rows * columns)), weights;
  for (float &value : scales)
    value = scale(random);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      float step = scales[static_cast<size_t>((scalePerRow ? row : 0) * columns + column / groupColumns)];
      int code = static_cast<int>(random() % (1u << bits));
      switch (kind) {
      case RecognizedKind::Binary:
        weights.push_back(code % 2 ? step : -step);
        break;
      case RecognizedKind::Ternary:
        weights.push_back(step * static_cast<float>(code % 3 - 1));
        break;
      case RecognizedKind::PowerOfTwo:
        weights.push_back(code == 0 ? 0 : std::ldexp(code % 2 ? step : -step, code / 2));
        break;
      case RecognizedKind::Uniform:
        weights.push_back(step * static_cast<float>(code - (1 << (bits - 1))));
        break;
      }
    }
  return weights;
}

TEST(Recognize, FindsTheScalesOfEveryLayout) {
  struct Layout {
    bool scalePerRow;
    int64_t groupColumns;
  };
  for (RecognizedKind kind :
       {RecognizedKind::Binary, RecognizedKind::Ternary, RecognizedKind::PowerOfTwo, RecognizedKind::Uniform})
    for (Layout layout : {Layout{false, 768}, {false, 256}, {true, 768}, {true, 128}, {true, 32}})
      for (unsigned seed = 1; seed < 4; ++seed) {
        unsigned bits = kind == RecognizedKind::Binary ? 1 : kind == RecognizedKind::Ternary ? 2 : 4;
        std::vector<float> weights = makeWeights(kind, bits, 5, 768, layout.scalePerRow, layout.groupColumns, seed);
        auto result = recognizeWeights({weights.data(), 5, 768});
        ASSERT_TRUE(result);
        EXPECT_EQ(result->kind, kind);
        EXPECT_EQ(result->scaleRows, layout.scalePerRow ? 5 : 1);
        EXPECT_EQ(result->groupColumns, layout.groupColumns);
        EXPECT_LE(result->bits, bits + (kind == RecognizedKind::PowerOfTwo));
        expectExact(*result, weights);
      }
}

TEST(Recognize, UniformOfEveryWidth) {
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (unsigned seed = 1; seed < 10; ++seed) {
      std::vector<float> weights = makeWeights(RecognizedKind::Uniform, bits, 8, 300, true, 300, seed);
      auto result = recognizeWeights({weights.data(), 8, 300});
      ASSERT_TRUE(result) << bits;
      EXPECT_LE(result->bits, bits);
      expectExact(*result, weights);
    }
  // Without zero among the levels: 5, 6 and 7 steps.
  std::vector<float> high = {0.5f, 0.6f, 0.7f, 0.6f};
  for (float &value : high)
    value = 0.1f * std::nearbyint(value * 10);
  auto result = recognizeWeights({high.data(), 1, 4});
  ASSERT_TRUE(result);
  expectExact(*result, high);
}

TEST(Recognize, AcceptsOnlyExactWeights) {
  std::vector<float> weights = makeWeights(RecognizedKind::Ternary, 2, 4, 64, false, 64, 1);
  for (size_t i : {size_t(0), weights.size() / 2, weights.size() - 1}) {
    std::vector<float> changed = weights;
    changed[i] = std::nextafter(0.3f, 1.0f);
    EXPECT_FALSE(recognizeWeights({changed.data(), 4, 64}, {8, 64}));
    changed[i] = NAN;
    EXPECT_FALSE(recognizeWeights({changed.data(), 4, 64}));
  }
  std::vector<float> random = randomWeights(16, 512).floats();
  EXPECT_FALSE(recognizeWeights({random.data(), 16, 512}));
  std::vector<float> wide = makeWeights(RecognizedKind::Uniform, 6, 4, 512, false, 512, 2);
  EXPECT_FALSE(recognizeWeights({wide.data(), 4, 512}, {4, 16}));
  EXPECT_FALSE(recognizeWeights({nullptr, 0, 4}));
  EXPECT_FALSE(recognizeWeights({nullptr, 4, 0}));
}

TEST(Recognize, ConstantsAndStrides) {
  for (float value : {0.0f, 0.75f, -3.0f, 1e-42f, 3e38f}) {
    std::vector<float> weights(12, value);
    auto result = recognizeWeights({weights.data(), 3, 4});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->bits, 1u);
    EXPECT_EQ(result->storedBits(), 12 + 32);
    expectExact(*result, weights);
  }
  std::vector<float> matrix = randomWeights(6, 20).floats();
  for (int64_t row = 1; row < 5; ++row)
    for (int64_t column = 3; column < 14; ++column)
      matrix[static_cast<size_t>(row * 20 + column)] = (row + column) % 3 ? 0.3f : -0.3f;
  auto result = recognizeWeights(MatrixView(matrix.data(), 6, 20).block(1, 3, 4, 11));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->kind, RecognizedKind::Binary);
}
} // namespace
