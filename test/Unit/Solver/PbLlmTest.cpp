//===- PbLlmTest.cpp - Partially binarized weights ----------------------------------------------------------------===//
#include "quanta/Solver/PbLlm.h"
#include "Oracle.h"
#include <algorithm>
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
Matrix decode(const PbLlmResult &result) {
  Matrix decoded{result.rows, result.columns, {}};
  for (int64_t i = 0; i < result.rows * result.columns; ++i)
    decoded.data.push_back(result.decode(i / result.columns, i % result.columns));
  return decoded;
}

TEST(PbLlm, Oracles) {
  for (std::string name : {"exact", "repo", "magnitude", "group4", "rtn", "l1"}) {
    SCOPED_TRACE(name);
    Oracle oracle("pbllm", "pb_gptq_" + name);
    Matrix w = oracle.input("W");
    std::vector<float> weights = w.floats();
    PbLlmOptions options;
    options.lowFraction = 0.75;
    options.multipliers = {1.0};
    options.halfScale = false;
    options.hessianSaliency = name != "magnitude";
    options.scale = name == "repo" ? BinaryScale::PbLlmCode : BinaryScale::Exact;
    options.mean = name != "l1";
    options.group = name == "group4" ? 4 : 0;
    options.compensate = name != "rtn";
    PbLlmResult result =
        quantizePbLlm({weights.data(), w.rows, w.columns}, factorHessian(oracle.input("H"), {}), options);
    expectNear(result.salient, oracle.expected("salient").data, 0);
    expectNear(result.codes, oracle.expected("codes").data, 0);
    expectNear(result.scales, oracle.expected("alpha").data, 1e-6);
    if (options.mean)
      expectNear(result.means, oracle.expected("mu").data, 1e-6);
    expectNear(result.highScales, oracle.expected("hi_scale").data, 1e-6);
    expectNear(result.highZeros, oracle.expected("hi_zero").data, 0);
    expectNear(decode(result).data, oracle.expected("Q").data, 1e-6);
    // The reference reports half of it, and none without a sweep.
    if (options.compensate) {
      EXPECT_NEAR(result.loss, 2 * oracle.number("expected", "loss"), 1e-4);
    }
  }
  for (auto [name, index] : {std::pair<const char *, MaskIndex>{"none", MaskIndex::None},
                             {"bitmap", MaskIndex::Bitmap},
                             {"csr", MaskIndex::Csr},
                             {"column", MaskIndex::Column}}) {
    int64_t n = 4096, salient = n * n / 10;
    int64_t bits = pbLlmBits(n, n, salient, 8, 1, true, 16, maskBits(index, n, n, salient));
    double expected =
        Oracle("pbllm", std::string("bits_4096x4096_10pct_") + name).number("expected", "bits_per_weight");
    EXPECT_NEAR(static_cast<double>(bits) / static_cast<double>(n * n), expected, 24.0 / (n * n)); // 0.6 of a weight
  }
}

TEST(PbLlm, SearchesTheMultiplier) {
  Matrix w = randomWeights(12, 48), x = randomInputs(200, 48), h = moment(x, x);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 12, 48);
  HessianFactor factor = factorHessian(h, {});
  PbLlmOptions options;
  PbLlmResult searched = quantizePbLlm(view, factor, options);
  EXPECT_NEAR(searched.loss, hessianError(w, decode(searched), factor.hessianView()), 1e-4 * searched.loss);
  for (double multiplier : PbLlmOptions().multipliers) {
    options.multipliers = {multiplier};
    PbLlmResult result = quantizePbLlm(view, factor, options);
    EXPECT_GE(result.loss, searched.loss);
    if (multiplier == searched.multiplier) {
      EXPECT_EQ(result.codes, searched.codes);
    }
  }
}

TEST(PbLlm, Trends) {
  Matrix w = randomWeights(24, 64), x = randomInputs(256, 64), h = moment(x, x);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 24, 64);
  FactorOptions damping;
  for (bool actOrder : {false, true}) {
    damping.actOrder = actOrder;
    HessianFactor factor = factorHessian(h, damping);
    double before = INFINITY;
    for (double low : {0.95, 0.9, 0.8, 0.5}) {
      PbLlmOptions options;
      options.lowFraction = low;
      PbLlmResult swept = quantizePbLlm(view, factor, options);
      EXPECT_FALSE(swept.needsF32Scale);
      EXPECT_LT(swept.loss, before);
      before = swept.loss;
      EXPECT_EQ(std::count(swept.salient.begin(), swept.salient.end(), 0), static_cast<int64_t>(24 * 64 * low) + 1);
      options.compensate = false;
      EXPECT_LT(swept.loss, quantizePbLlm(view, factor, options).loss);
      options.compensate = true;
      options.hessianSaliency = false;
      if (low >= 0.8) {
        EXPECT_LT(swept.loss, quantizePbLlm(view, factor, options).loss);
      }
    }
  }
}

TEST(PbLlm, TilesAndBits) {
  Matrix w = randomWeights(6, 80), x = randomInputs(160, 80), h = moment(x, x);
  std::vector<float> weights = w.floats();
  PbLlmOptions options;
  options.tile = 32;
  options.kept = 3;
  options.index = MaskIndex::Tile;
  options.group = 40;
  options.highMargin = 0.1;
  options.highBits = 6;
  PbLlmResult result = quantizePbLlm({weights.data(), 6, 80}, factorHessian(h, {}), options);
  EXPECT_EQ(std::count(result.salient.begin(), result.salient.end(), 1), 6 * 9);
  // C(32, 3) = 4960 in 13 bits, C(16, 3) = 560 in 10.
  EXPECT_EQ(result.storedBits(), 6 * 71 + 6 * 9 * 6 + 6 * (13 + 13 + 10) + 6 * 2 * 2 * 16 + 6 * 2 * 16);
  for (size_t i = 0; i < result.codes.size(); ++i)
    EXPECT_LT(result.codes[i], result.salient[i] ? 64 : 2);
  double squares = 0, errors = 0;
  Matrix decoded = decode(result);
  for (size_t i = 0; i < w.data.size(); ++i) {
    squares += w.data[i] * w.data[i];
    errors += std::pow(w.data[i] - decoded.data[i], 2);
  }
  EXPECT_NEAR(result.error, errors / squares, 1e-12);
}

TEST(PbLlm, Edges) {
  Matrix x = randomInputs(20, 4), h = moment(x, x);
  HessianFactor factor = factorHessian(h, {});
  std::vector<float> zeros(8, 0.0f), bad = {1, NAN, 0, 0};
  PbLlmResult zero = quantizePbLlm({zeros.data(), 2, 4}, factor, {});
  EXPECT_EQ(zero.loss, 0);
  EXPECT_EQ(decode(zero).data, std::vector<double>(8, 0.0));
  EXPECT_TRUE(quantizePbLlm({bad.data(), 1, 4}, factor, {}).nonFinite);
  EXPECT_TRUE(quantizePbLlm({nullptr, 0, 4}, factor, {}).codes.empty());
}
} // namespace
