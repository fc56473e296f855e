//===- SmoothingErrorTest.cpp ---------------------------------------------------------------------------------------------===//
#include "quanta/Solver/SmoothingError.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace quanta;

namespace {

constexpr int kRows = 24, kColumns = 32, kSamples = 400;

struct Layer {
  std::vector<SmoothedReader> readers;
  SmoothedInput input;
  std::vector<double> weightMax;
  std::vector<double> x; ///< [samples, columns]
};

/// Gaussian but for channel 3, which is 50 times as large, read by weights that are as much smaller.
Layer makeLayer() {
  Layer layer;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  SmoothedReader reader;
  for (int c = 0; c < kColumns; ++c)
    reader.channels.push_back(c);
  for (int i = 0; i < kRows * kColumns; ++i)
    reader.weights.push_back(static_cast<float>(normal(random) / (i % kColumns == 3 ? 50 : 1)));
  layer.input.absMax.assign(kColumns, 0), layer.input.meanSquare.assign(kColumns, 0), layer.weightMax.assign(kColumns, 0);
  for (int i = 0; i < kSamples * kColumns; ++i) {
    int c = i % kColumns;
    double x = normal(random) * (c == 3 ? 50 : 1);
    layer.x.push_back(x);
    layer.input.absMax[c] = std::max(layer.input.absMax[c], std::abs(x));
    layer.input.meanSquare[c] += x * x / kSamples;
  }
  for (int i = 0; i < kRows * kColumns; ++i)
    layer.weightMax[i % kColumns] = std::max(layer.weightMax[i % kColumns], double(std::abs(reader.weights[i])));
  layer.readers.push_back(reader);
  return layer;
}

/// The mean squared error of the outputs, summed over rows, by rounding.
double measure(const Layer &layer, const std::vector<double> &s, unsigned bits, unsigned actBits) {
  const std::vector<float> &w = layer.readers[0].weights;
  double largest = 0, total = 0;
  for (int c = 0; c < kColumns; ++c)
    largest = std::max(largest, layer.input.absMax[c] / s[c]);
  double stepX = actBits ? 2 * largest / ((1 << actBits) - 1) : 0;
  for (int row = 0; row < kRows; ++row) {
    double low = 0, high = 0;
    for (int c = 0; c < kColumns; ++c) {
      low = std::min(low, w[row * kColumns + c] * s[c]);
      high = std::max(high, w[row * kColumns + c] * s[c]);
    }
    double step = (high - low) / ((1 << bits) - 1);
    for (int t = 0; t < kSamples; ++t) {
      double error = 0;
      for (int c = 0; c < kColumns; ++c) {
        double exact = w[row * kColumns + c] * s[c], x = layer.x[t * kColumns + c] / s[c];
        error += std::round(exact / step) * step * (stepX ? std::round(x / stepX) * stepX : x) - exact * x;
      }
      total += error * error / kSamples;
    }
  }
  return total;
}

TEST(SmoothingErrorTest, PredictsWhatRoundingLeaves) {
  Layer layer = makeLayer();
  std::vector<double> ones(kColumns, 1), some(kColumns, 1);
  some[3] = 20;
  for (auto [bits, actBits] : {std::pair<unsigned, unsigned>{4, 0}, {4, 8}, {8, 6}})
    for (const std::vector<double> &scales : {ones, some}) {
      double predicted = predictSmoothingError(layer.readers, layer.input, scales, {bits, actBits, 0});
      EXPECT_NEAR(predicted / measure(layer, scales, bits, actBits), 1, 0.35) << bits << " " << actBits << " " << scales[3];
    }
}

TEST(SmoothingErrorTest, DoesNotDependOnTheSizeOfScales) {
  Layer layer = makeLayer();
  std::vector<double> some(kColumns, 1), larger(kColumns, 4);
  some[3] = 20, larger[3] = 80;
  SmoothingFormat format{4, 4, 8};
  EXPECT_NEAR(predictSmoothingError(layer.readers, layer.input, some, format) / predictSmoothingError(layer.readers, layer.input, larger, format), 1, 1e-9);
}

TEST(SmoothingErrorTest, FindsScalesThatLeaveLess) {
  Layer layer = makeLayer();
  SmoothingFormat format{4, 4, 0};
  SmoothingChoice choice = searchSmoothing(layer.readers, layer.input, layer.weightMax, format);
  EXPECT_LT(choice.error, choice.unscaledError / 10);
  EXPECT_LT(measure(layer, choice.scales, 4, 4), measure(layer, std::vector<double>(kColumns, 1), 4, 4) / 10);
  EXPECT_GT(choice.scales[3], 5 * choice.scales[0]);
}

TEST(SmoothingErrorTest, KeepsOnesWithoutValues) {
  SmoothingChoice choice = searchSmoothing({{{1, 2}, {0, -1}}}, {{0}, {0}}, {0}, {4, 4, 0});
  EXPECT_EQ(choice.scales, std::vector<double>{1});
  EXPECT_EQ(choice.error, choice.unscaledError);
}

} // namespace
