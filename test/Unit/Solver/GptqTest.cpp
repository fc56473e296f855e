//===- GptqTest.cpp - GPTQ and the search of ranges against oracles and naive loops --------------------------------------===//
#include "quanta/Solver/Gptq.h"
#include "Oracle.h"
#include "quanta/Solver/UniformGrid.h"
#include "quanta/Support/Half.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
const UniformZero kKinds[] = {UniformZero::Symmetric, UniformZero::Point, UniformZero::Offset};

MatrixView view(const std::vector<float> &values, const Matrix &shape) {
  return {values.data(), shape.rows, shape.columns};
}

/// Oracles are computed with scales in double.
constexpr double kRelative = 1e-4;

double error(const Matrix &weights, const UniformResult &result, const Matrix &hessian) {
  std::vector<double> decoded = decodeF64(result);
  return hessianError(weights, {decoded.data(), weights.rows, weights.columns}, hessian);
}

TEST(Gptq, Oracles) {
  struct {
    const char *name;
    unsigned bits;
    int64_t group, block;
    bool actOrder, staticGroups, search;
  } cases[] = {{"gptq_plain_b3", 3, 0, 128, false, false, false},
               {"gptq_block4_b3", 3, 0, 4, false, false, false},
               {"gptq_actorder_b3", 3, 0, 128, true, false, false},
               {"gptq_group4_b2", 2, 4, 4, false, false, false},
               {"gptq_group4_b2", 2, 4, 3, true, false, false}, // order and block are of no consequence here
               {"gptq_group4_static_act_b2", 2, 4, 128, true, true, false},
               {"gptq_mse_b2", 2, 0, 128, false, true, true}};
  for (auto &test : cases) {
    SCOPED_TRACE(test.name);
    Oracle oracle("gptq", test.name);
    ASSERT_TRUE(oracle.valid());
    Matrix weights = oracle.input("W"), hessian = oracle.input("H");
    GptqOptions options;
    options.uniform = {test.bits, test.group, UniformZero::Point, false};
    options.blockColumns = test.block;
    options.actOrder = test.actOrder;
    options.staticGroups = test.staticGroups;
    if (test.search)
      options.uniform.range = RangeSearch::published();
    std::vector<float> floats = weights.floats();
    GptqResult result = quantizeGptq(view(floats, weights), hessian, options);
    EXPECT_EQ(result.status, FactorStatus::Damped);
    expectNear(result.uniform.codes, oracle.expected("codes").data, 0);
    expectNear(result.uniform.scales, oracle.expected("scale").data, kRelative);
    expectNear(result.uniform.zeros, oracle.expected("zero").data, 0);
    expectNear(result.order, oracle.expected("perm").data, 0);
    expectNear(decodeF64(result.uniform), oracle.expected("Q").data, kRelative);
    double loss = oracle.number("expected", "loss");
    EXPECT_NEAR(result.sweepLoss, loss, kRelative * loss);
    expectNear(result.columnLoss, oracle.expected("column_loss").data, kRelative * loss);
    Matrix zeros{weights.rows, weights.columns, std::vector<double>(weights.data.size())};
    EXPECT_NEAR(result.layerError, error(weights, result.uniform, hessian) / hessianError(weights, zeros, hessian),
                1e-9);
  }
}

TEST(Gptq, OracleDescentAfterGptq) {
  Oracle oracle("ours", "cd_polish_after_gptq_b2");
  ASSERT_TRUE(oracle.valid());
  Matrix weights = oracle.input("W"), hessian = oracle.input("H"), errors = oracle.expected("errors");
  UniformResult result = makeUniformResult(weights.rows, weights.columns, {2, 0, UniformZero::Point, false});
  Matrix codes = oracle.input("codes"), zeros = oracle.input("zero");
  result.codes.assign(codes.data.begin(), codes.data.end());
  result.scales = oracle.input("scale").floats();
  result.zeros.assign(zeros.data.begin(), zeros.data.end());
  EXPECT_NEAR(error(weights, result, hessian), errors.data[0], kRelative * errors.data[0]);
  for (size_t pass = 1; pass < errors.data.size(); ++pass) {
    descendCodes(weights, hessian, result, 1);
    EXPECT_NEAR(error(weights, result, hessian), errors.data[pass], kRelative * errors.data[pass]);
  }
  expectNear(result.codes, oracle.expected("codes").data, 0);
  expectNear(decodeF64(result), oracle.expected("Q").data, kRelative);
}

TEST(Gptq, OracleDescentFromNearest) {
  Oracle oracle("rounding", "cd_round_from_rtn");
  ASSERT_TRUE(oracle.valid());
  Matrix weights = oracle.input("W"), hessian = oracle.input("H"), errors = oracle.expected("errors");
  std::vector<float> floats = weights.floats();
  UniformResult result = quantizeRtn(view(floats, weights), {2, 0, UniformZero::Point, false});
  for (double expected : errors.data) {
    descendCodes(weights, hessian, result, 1);
    EXPECT_NEAR(error(weights, result, hessian), expected, kRelative * expected);
  }
  expectNear(result.codes, oracle.expected("codes").data, 0);
  expectNear(decodeF64(result), oracle.expected("Q").data, kRelative);
}

TEST(Gptq, OracleBinary) {
  // One bit with mean and magnitude is a code with scale 2·α and offset µ − α.
  Oracle oracle("ours", "binary_h");
  ASSERT_TRUE(oracle.valid());
  Matrix weights = oracle.input("W"), hessian = oracle.input("H"), errors = oracle.expected("errors");
  std::vector<float> floats = weights.floats();
  UniformOptions options{1, 0, UniformZero::Offset, false, RangeSearch::published()};
  UniformResult result = quantizeRtn(view(floats, weights), options); // sign(w − mean)
  for (size_t i = 0; i < errors.data.size(); ++i) {
    if (i)
      descendCodes(weights, hessian, result, 3);
    refitScales(weights, hessian, result);
    EXPECT_NEAR(error(weights, result, hessian), errors.data[i], kRelative * errors.data[i]);
  }
  Matrix signs = oracle.expected("B"), mean = oracle.expected("mu"), alpha = oracle.expected("alpha");
  for (size_t i = 0; i < signs.data.size(); ++i)
    EXPECT_EQ(result.codes[i], signs.data[i] > 0);
  for (size_t row = 0; row < mean.data.size(); ++row) {
    EXPECT_NEAR(result.scales[row] / 2, alpha.data[row], kRelative);
    EXPECT_NEAR(result.offsets[row] + result.scales[row] / 2, mean.data[row], kRelative);
  }
}

TEST(Gptq, IdentityGivesRtn) {
  Matrix weights = randomWeights(6, 50), hessian{50, 50, std::vector<double>(2500)};
  for (size_t j = 0; j < 50; ++j)
    hessian.data[51 * j] = 0.7;
  std::vector<float> floats = weights.floats();
  for (UniformZero zero : kKinds)
    for (unsigned bits : {1u, 2u, 3u, 4u, 8u})
      for (int64_t group : {-1, 0, 16})
        for (bool staticGroups : {true, false}) {
          GptqOptions options;
          options.uniform = {bits, group, zero, true};
          options.staticGroups = staticGroups;
          GptqResult result = quantizeGptq(view(floats, weights), hessian, options);
          UniformResult rtn = quantizeRtn(view(floats, weights), options.uniform);
          EXPECT_EQ(result.uniform.codes, rtn.codes);
          EXPECT_EQ(result.uniform.scales, rtn.scales);
          EXPECT_EQ(result.uniform.zeros, rtn.zeros);
          EXPECT_EQ(result.uniform.offsets, rtn.offsets);
          EXPECT_EQ(result.uniform.error, rtn.error);
          EXPECT_NEAR(result.layerError, rtn.error, 1e-12);
        }
}

TEST(Gptq, BeatsNearestAndRefinementsOnlyHelp) {
  for (unsigned seed : {1u, 2u, 3u}) {
    Matrix weights = randomWeights(16, 96, seed), inputs = randomInputs(400, 96, seed),
           hessian = moment(inputs, inputs);
    std::vector<float> floats = weights.floats();
    for (UniformZero zero : kKinds)
      for (unsigned bits : {1u, 2u, 3u, 4u})
        for (int64_t group : {-1, 0, 32}) {
          GptqOptions options;
          options.uniform = {bits, group, zero, true};
          if (bits < 3)
            options.uniform.range = RangeSearch::published();
          options.sweep = false;
          double nearest = quantizeGptq(view(floats, weights), hessian, options).layerError;
          EXPECT_NEAR(nearest,
                      error(weights, quantizeRtn(view(floats, weights), options.uniform), hessian) /
                          hessianError(weights, Matrix{16, 96, std::vector<double>(16 * 96)}, hessian),
                      1e-12);
          options.sweep = true;
          GptqResult swept = quantizeGptq(view(floats, weights), hessian, options);
          EXPECT_LE(swept.layerError, nearest) << bits << " " << group << " " << static_cast<int>(zero);

          // The refinements lower the error with the damped Hessian; measured here where there is no damping.
          options.damping = 0;
          double before = quantizeGptq(view(floats, weights), hessian, options).layerError;
          for (bool scales : {false, true}) {
            options.refitScales = scales;
            for (unsigned refinements : {1u, 4u}) {
              options.refinements = refinements;
              GptqResult refined = quantizeGptq(view(floats, weights), hessian, options);
              EXPECT_LE(refined.layerError, before * (1 + 1e-9));
              before = scales && refinements == 4 ? refined.layerError : before;
              for (float scale : refined.uniform.scales)
                EXPECT_EQ(scale, halfToFloat(floatToHalf(scale)));
            }
          }
        }
  }
}

TEST(Gptq, SearchAndRefinementPayAtTwoBits) {
  Matrix weights = randomWeights(32, 128), inputs = randomInputs(1000, 128), hessian = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  GptqOptions plain;
  plain.uniform = {2, 0, UniformZero::Offset, true};
  GptqOptions searched = plain, recommended = GptqOptions::recommended(plain.uniform);
  searched.uniform.range = RangeSearch::published();
  double first = quantizeGptq(view(floats, weights), hessian, plain).layerError;
  double second = quantizeGptq(view(floats, weights), hessian, searched).layerError;
  double third = quantizeGptq(view(floats, weights), hessian, recommended).layerError;
  EXPECT_LT(second, 0.6 * first);
  EXPECT_LT(third, 0.9 * second);
}

TEST(Gptq, RefitIsTheLeastSquaresSolution) {
  Matrix weights = randomWeights(5, 24), inputs = randomInputs(100, 24), hessian = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  for (UniformZero zero : kKinds)
    for (int64_t group : {-1, 0, 10}) {
      UniformResult result = quantizeRtn(view(floats, weights), {3, group, zero, false});
      EXPECT_GT(refitScales(weights, hessian, result), 0);
      double least = error(weights, result, hessian);
      // Any other scale or offset is worse.
      auto expectWorse = [&](float &parameter) {
        float kept = parameter;
        for (float delta : {-1e-3f, 1e-3f}) {
          parameter = kept + delta;
          EXPECT_GT(error(weights, result, hessian), least);
        }
        parameter = kept;
      };
      for (float &scale : result.scales)
        expectWorse(scale);
      for (float &offset : result.offsets)
        expectWorse(offset);
    }
}

TEST(Gptq, DescentMatchesNaiveLoop) {
  Matrix weights = randomWeights(7, 150), inputs = randomInputs(300, 150), hessian = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  UniformResult result = quantizeRtn(view(floats, weights), {2, 50, UniformZero::Offset, true});
  std::vector<uint8_t> codes = result.codes;
  std::vector<double> residual = decodeF64(result);
  for (size_t i = 0; i < residual.size(); ++i)
    residual[i] = weights.data[i] - residual[i];
  for (int pass = 0; pass < 2; ++pass)
    for (int64_t row = 0; row < 7; ++row)
      for (int64_t j = 0; j < 150; ++j) {
        double gradient = 0, scale = result.scales[static_cast<size_t>(row * 3 + j / 50)];
        double *r = &residual[static_cast<size_t>(row * 150)];
        for (int64_t k = 0; k < 150; ++k)
          gradient += r[k] * hessian(k, j);
        uint8_t &code = codes[static_cast<size_t>(row * 150 + j)];
        double next = std::clamp(code + std::nearbyint(gradient / (scale * hessian(j, j))), 0.0, 3.0);
        r[j] -= scale * (next - code);
        code = static_cast<uint8_t>(next);
      }
  descendCodes(weights, hessian, result, 2);
  EXPECT_EQ(result.codes, codes);
}

TEST(Gptq, CorrectedTargetsLowerTheErrorOfOutputs) {
  Matrix weights = randomWeights(12, 40), inputs = randomInputs(500, 40), quantized = inputs;
  for (double &value : quantized.data)
    value = 0.4 * std::nearbyint(value / 0.4 - 0.2);
  Matrix hessian = moment(quantized, quantized), cross = moment(inputs, quantized), original = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  GptqOptions options = GptqOptions::recommended({3, 0, UniformZero::Offset, true});
  // Σ (W·x − Ŵ·x̂)² = tr(W·H_x·Wᵀ) − 2·tr(W·C·Ŵᵀ) + tr(Ŵ·H·Ŵᵀ)
  auto outputError = [&](const UniformResult &result) {
    Matrix zeros{12, 40, std::vector<double>(480)}, decoded{12, 40, decodeF64(result)};
    double sum = hessianError(weights, zeros, original) + hessianError(decoded, zeros, hessian);
    for (int64_t row = 0; row < 12; ++row)
      for (int64_t i = 0; i < 40; ++i)
        for (int64_t j = 0; j < 40; ++j)
          sum -= 2 * weights(row, i) * cross(i, j) * decoded(row, j);
    return sum;
  };
  double plain = outputError(quantizeGptq(view(floats, weights), hessian, options).uniform);
  double corrected = outputError(quantizeGptq(view(floats, weights), hessian, options, cross).uniform);
  EXPECT_LT(corrected, plain);
  // Nothing to correct.
  EXPECT_EQ(quantizeGptq(view(floats, weights), hessian, options, hessian).uniform.codes,
            quantizeGptq(view(floats, weights), hessian, options).uniform.codes);
}

TEST(Gptq, RowsAreIndependent) {
  Matrix weights = randomWeights(40, 48), inputs = randomInputs(200, 48), hessian = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  for (bool staticGroups : {true, false}) {
    GptqOptions options = GptqOptions::recommended({2, 16, UniformZero::Offset, true});
    options.staticGroups = staticGroups;
    UniformResult whole = quantizeGptq(view(floats, weights), hessian, options).uniform;
    HessianFactor factor = factorHessian(hessian, gptqFactorOptions(options, 48));
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    for (int64_t row = 0; row < 40; row += 8) {
      UniformResult part = quantizeGptq(view(floats, weights).block(row, 0, 8, 48), hessian, factor, options).uniform;
      codes.insert(codes.end(), part.codes.begin(), part.codes.end());
      scales.insert(scales.end(), part.scales.begin(), part.scales.end());
    }
    EXPECT_EQ(whole.codes, codes);
    EXPECT_EQ(whole.scales, scales);
  }
}

TEST(Gptq, FallsBackAndHandlesEdges) {
  Matrix weights = randomWeights(3, 4);
  std::vector<float> floats = weights.floats();
  GptqOptions options = GptqOptions::recommended({4, 0, UniformZero::Point, true});
  Matrix indefinite{4, 4, {1, 9, 9, 9, 9, 1, 9, 9, 9, 9, 1, 9, 9, 9, 9, 1}};
  GptqResult result = quantizeGptq(view(floats, weights), indefinite, options);
  EXPECT_EQ(result.status, FactorStatus::Diagonal);
  EXPECT_LT(result.layerError, 0.05);
  Matrix infinite = indefinite;
  infinite.data[5] = INFINITY;
  result = quantizeGptq(view(floats, weights), infinite, options);
  EXPECT_EQ(result.status, FactorStatus::NonFinite);
  EXPECT_LT(result.layerError, 0.05);

  // A column that no input reaches becomes 0 and has no influence on the grid.
  Matrix dead{4, 4, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  for (int64_t row = 0; row < 3; ++row)
    floats[static_cast<size_t>(row * 4 + 2)] = 1000;
  result = quantizeGptq(view(floats, weights), dead, options);
  for (int64_t row = 0; row < 3; ++row)
    EXPECT_EQ(result.uniform.decode(row, 2), 0);
  EXPECT_LT(result.layerError, 0.05);
  EXPECT_EQ(result.order.back(), 2);

  // All dead; empty; not finite.
  Matrix none{4, 4, std::vector<double>(16)}, empty{0, 0, {}};
  result = quantizeGptq(view(floats, weights), none, options);
  EXPECT_EQ(result.layerError, 0);
  EXPECT_EQ(result.uniform.error, 1);
  EXPECT_TRUE(quantizeGptq({nullptr, 0, 4}, dead, options).uniform.codes.empty());
  EXPECT_TRUE(quantizeGptq({nullptr, 3, 0}, empty, options).uniform.codes.empty());
  floats[1] = NAN;
  EXPECT_TRUE(quantizeGptq(view(floats, weights), dead, options).uniform.nonFinite);
  // Too large for f16.
  floats.assign(12, 1e20f);
  EXPECT_TRUE(quantizeGptq(view(floats, weights), dead, options).uniform.needsF32Scale);
}

TEST(RangeSearch, IsOffByDefaultAndNeverWorse) {
  EXPECT_FALSE(UniformOptions().range.enabled());
  Matrix weights = randomWeights(8, 64);
  std::vector<float> floats = weights.floats();
  for (UniformZero zero : kKinds)
    for (bool half : {true, false})
      for (unsigned bits = 1; bits <= 8; ++bits)
        for (int64_t group : {-1, 0, 20}) {
          UniformOptions options{bits, group, zero, half};
          double plain = quantizeRtn(view(floats, weights), options).error;
          options.range = {80, 100, 2, 0};
          UniformResult searched = quantizeRtn(view(floats, weights), options);
          EXPECT_LE(searched.error, plain * (1 + 1e-12));
          options.range = {80, 100, 2, 8};
          UniformResult fitted = quantizeRtn(view(floats, weights), options);
          EXPECT_LE(fitted.error, searched.error * (1 + 1e-12));
          if (bits == 2) {
            EXPECT_LT(fitted.error, 0.8 * plain);
          }
          for (float scale : fitted.scales) {
            EXPECT_TRUE(!half || scale == halfToFloat(floatToHalf(scale)));
          }
        }
}

TEST(RangeSearch, MatchesNaiveLoop) {
  Matrix weights = randomWeights(5, 33);
  std::vector<float> floats = weights.floats();
  std::vector<double> importance;
  for (int64_t j = 0; j < 33; ++j)
    importance.push_back(1 + j % 5);
  UniformOptions options{2, 0, UniformZero::Offset, false, {38, 50, 2.4, 0}};
  for (int64_t row = 0; row < 5; ++row) {
    const double *values = &weights.data[static_cast<size_t>(row * 33)];
    UniformGrid grid = fitUniformGrid({values, 1, 33}, options, importance.data());
    double low = *std::min_element(values, values + 33), high = *std::max_element(values, values + 33);
    double least = INFINITY;
    float scale = 0;
    for (int i = 0; i < 38; ++i) {
      double p = 1 - i / 50.0;
      float s = static_cast<float>((high - low) * p / 3), o = static_cast<float>(low * p);
      double sum = 0;
      for (int64_t j = 0; j < 33; ++j) {
        double code = std::clamp(std::nearbyint((values[j] - o) / s), 0.0, 3.0);
        sum += importance[static_cast<size_t>(j)] * std::pow(std::fabs(values[j] - (s * code + o)), 2.4);
      }
      if (sum < least) {
        least = sum;
        scale = s;
      }
    }
    EXPECT_FLOAT_EQ(grid.scale, scale);
  }
}
} // namespace
