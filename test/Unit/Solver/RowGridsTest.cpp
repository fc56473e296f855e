//===- RowGridsTest.cpp - Codes on several grids of a row against naive loops ---------------------------------------------===//
#include "quanta/Solver/RowGrids.h"
#include "Oracle.h"
#include "quanta/Solver/Gptq.h"
#include "quanta/Solver/Saliency.h"

using namespace quanta;
using namespace quanta::test;

namespace {
UniformOptions offsetFormat(unsigned bits, unsigned levels = 0) {
  UniformOptions options{bits, 0, UniformZero::Offset, false, {}};
  options.levels = levels;
  return options;
}

/// Binary weights and a tenth of 4 bits: by columns, or by elements.
RowGrids makeSplit(int64_t rows, int64_t columns, bool byColumn) {
  std::vector<uint16_t> grid;
  for (int64_t i = 0; i < (byColumn ? columns : rows * columns); ++i)
    grid.push_back(byColumn ? i % 5 == 2 : i * 7 % 11 == 3);
  return RowGrids::create(rows, columns, {offsetFormat(1), offsetFormat(4)}, std::move(grid));
}

double error(const Matrix &targets, const RowGrids &result, const Matrix &hessian) {
  std::vector<double> decoded = decodeF64(result);
  return hessianError(targets, {decoded.data(), targets.rows, targets.columns}, hessian);
}

TEST(RowGrids, UniformFormatsAreGptq) {
  Matrix weights = randomWeights(9, 70), inputs = randomInputs(300, 70), hessian = moment(inputs, inputs);
  std::vector<float> floats = weights.floats();
  struct {
    unsigned bits, levels;
    int64_t group;
    UniformZero zero;
    unsigned multiples = 0;
  } cases[] = {{2, 0, 0, UniformZero::Offset}, {3, 0, 16, UniformZero::Symmetric},    {4, 0, 32, UniformZero::Point},
               {1, 0, 0, UniformZero::Offset}, {2, 3, 0, UniformZero::Offset},        {2, 3, 20, UniformZero::Symmetric},
               {4, 0, 8, UniformZero::Point, 3}, {3, 0, 16, UniformZero::Symmetric, 5}, {2, 3, 20, UniformZero::Symmetric, 7}};
  for (auto &test : cases) {
    UniformOptions uniform{test.bits, test.group, test.zero, true, {}, test.levels, test.multiples};
    GptqOptions options = GptqOptions::recommended(uniform);
    GptqResult expected = quantizeGptq({floats.data(), 9, 70}, hessian, options);
    RowGrids grids = toRowGrids(makeUniformResult(9, 70, uniform));
    HessianFactor factor = factorHessian(hessian, gptqFactorOptions(options, 70));
    solveGrids(weights, factor, grids);
    UniformResult result = toUniform(grids, test.group);
    EXPECT_EQ(result.codes, expected.uniform.codes);
    EXPECT_EQ(result.scales, expected.uniform.scales);
    EXPECT_EQ(result.multiples, expected.uniform.multiples);
    EXPECT_EQ(result.zeros, expected.uniform.zeros);
    EXPECT_EQ(result.offsets, expected.uniform.offsets);
    for (uint8_t code : result.codes)
      ASSERT_LE(code, test.levels ? 2 : (1 << test.bits) - 1);
  }
}

TEST(RowGrids, TernaryDecodesToThreeValues) {
  Matrix weights = randomWeights(3, 40);
  std::vector<float> floats = weights.floats();
  UniformOptions options{2, 0, UniformZero::Symmetric, false, RangeSearch::leastSquares(), 3};
  UniformResult result = quantizeRtn({floats.data(), 3, 40}, options);
  for (int64_t row = 0; row < 3; ++row)
    for (int64_t j = 0; j < 40; ++j) {
      float scale = result.scales[row], value = result.decode(row, j), w = floats[row * 40 + j];
      EXPECT_TRUE(value == 0 || std::fabs(value) == scale);
      for (float other : {-scale, 0.0f, scale})
        EXPECT_LE(std::fabs(w - value), std::fabs(w - other) + 1e-7f);
    }
}

TEST(RowGrids, RefitSolvesTheNormalEquations) {
  Matrix weights = randomWeights(5, 30), inputs = randomInputs(200, 30), hessian = moment(inputs, inputs);
  for (bool byColumn : {true, false}) {
    RowGrids result = makeSplit(5, 30, byColumn);
    fitGrids(weights, nullptr, result);
    for (int64_t row = 0; row < 5; ++row)
      for (int64_t j = 0; j < 30; ++j) {
        int64_t g = result.gridOf(row, j);
        result.codes[row * 30 + j] = encodeUniform(weights(row, j), result.parameter(row, g), result.formats[g]);
      }
    double before = error(weights, result, hessian);
    EXPECT_EQ(refitGrids(weights, hessian, result), 5);
    double best = error(weights, result, hessian);
    EXPECT_LT(best, before);
    // The error is quadratic in the parameters: at the minimum every step to the side is up.
    for (int64_t row = 0; row < 5; ++row)
      for (int64_t g = 0; g < 2; ++g)
        for (float step : {-1e-3f, 1e-3f}) {
          RowGrids moved = result;
          moved.parameter(row, g).scale += step;
          EXPECT_GT(error(weights, moved, hessian), best);
          moved = result;
          moved.parameter(row, g).offset += step;
          EXPECT_GT(error(weights, moved, hessian), best);
        }
    refitGrids(weights, hessian, result);
    EXPECT_NEAR(error(weights, result, hessian), best, 1e-5 * best);
  }
}

TEST(RowGrids, DescentIsTheNaiveLoop) {
  // More columns than a block, more rows than are worked on together.
  Matrix weights = randomWeights(35, 150), inputs = randomInputs(300, 150), hessian = moment(inputs, inputs);
  for (bool byColumn : {true, false}) {
    RowGrids result = makeSplit(35, 150, byColumn);
    fitGrids(weights, nullptr, result);
    RowGrids naive = result;
    descendCodes(weights, hessian, result, 2);
    for (int64_t row = 0; row < 35; ++row)
      for (int pass = 0; pass < 2; ++pass)
        for (int64_t j = 0; j < 150; ++j) {
          int64_t g = naive.gridOf(row, j);
          uint8_t best = naive.codes[row * 150 + j];
          double least = INFINITY;
          for (int code = 0; code <= highestCode(naive.formats[g]); ++code) {
            double value = decodeUniform(code, naive.parameter(row, g), naive.formats[g]), loss = 0;
            double d = weights(row, j) - value;
            for (int64_t k = 0; k < 150; ++k)
              if (k != j)
                loss += 2 * d * (weights(row, k) - naive.decode(row, k)) * hessian(k, j);
            loss += d * d * hessian(j, j);
            if (loss < least - 1e-15) {
              least = loss;
              best = static_cast<uint8_t>(code);
            }
          }
          naive.codes[row * 150 + j] = best;
        }
    EXPECT_EQ(result.codes, naive.codes);
  }
}

/// The least error over all codes with the parameters that are best for them.
double searchAll(const Matrix &weights, const Matrix &hessian, RowGrids result) {
  double least = INFINITY;
  for (int codes = 0; codes < 1 << 7; ++codes) {
    for (int64_t j = 0, shift = 0; j < 6; ++j) {
      int bits = j == 2 ? 2 : 1;
      result.codes[j] = codes >> shift & ((1 << bits) - 1);
      shift += bits;
    }
    result.parameters = {{0.1f, 0, 0, false}, {0.1f, 0, 0, false}};
    refitGrids(weights, hessian, result);
    least = std::min(least, error(weights, result, hessian));
  }
  return least;
}

TEST(RowGrids, TinyCasesComeCloseToTheBestOfAllCodes) {
  double sum = 0, best = 0;
  for (unsigned seed = 1; seed <= 10; ++seed) {
    Matrix weights = randomWeights(1, 6, seed), inputs = randomInputs(60, 6, seed), hessian = moment(inputs, inputs);
    RowGrids result = RowGrids::create(1, 6, {offsetFormat(1), offsetFormat(2)}, {0, 0, 1, 0, 0, 0});
    FactorOptions options;
    options.damping = 0;
    solveGrids(weights, factorHessian(hessian, options), result);
    double found = error(weights, result, hessian), least = searchAll(weights, hessian, result);
    EXPECT_GE(found, least * (1 - 1e-6) - 1e-12);
    sum += found;
    best += least;
  }
  EXPECT_LT(sum, 2 * best);
}

TEST(RowGrids, RefinementNeverHurtsAndBeatsTheSweep) {
  for (unsigned seed : {1u, 2u, 3u})
    for (bool byColumn : {true, false}) {
      Matrix weights = randomWeights(20, 96, seed), inputs = randomInputs(400, 96, seed),
             hessian = moment(inputs, inputs);
      HessianFactor factor = factorHessian(hessian, {});
      Matrix damped{96, 96, factor.hessian};
      RowGrids result = makeSplit(20, 96, byColumn);
      fitGrids(weights, nullptr, result);
      double loss = sweepGrids(weights, factor, result), last = error(weights, result, damped);
      EXPECT_NEAR(2 * loss, last, 1e-6 * last);
      double swept = last;
      for (int round = 0; round < 4; ++round) {
        refineGrids(weights, damped, result, 1);
        double now = error(weights, result, damped);
        EXPECT_LE(now, last * (1 + 1e-9));
        last = now;
      }
      EXPECT_LT(last, 0.9 * swept);
    }
}

TEST(RowGrids, RowsAreIndependent) {
  Matrix weights = randomWeights(50, 40), inputs = randomInputs(200, 40), hessian = moment(inputs, inputs);
  HessianFactor factor = factorHessian(hessian, {});
  for (bool byColumn : {true, false}) {
    RowGrids whole = makeSplit(50, 40, byColumn);
    std::vector<uint16_t> grid = whole.grid;
    solveGrids(weights, factor, whole);
    RowGrids part = RowGrids::create(7, 40, whole.formats,
                                     byColumn ? grid : std::vector<uint16_t>(grid.begin() + 13 * 40, grid.begin() + 20 * 40));
    solveGrids({weights.data.data() + 13 * 40, 7, 40}, factor, part);
    EXPECT_EQ(part.codes, std::vector<uint8_t>(whole.codes.begin() + 13 * 40, whole.codes.begin() + 20 * 40));
    for (int64_t row = 0; row < 7; ++row)
      for (int64_t g = 0; g < 2; ++g) {
        EXPECT_FLOAT_EQ(part.parameter(row, g).scale, whole.parameter(13 + row, g).scale);
        EXPECT_FLOAT_EQ(part.parameter(row, g).offset, whole.parameter(13 + row, g).offset);
      }
  }
}

/// A scale and an offset for each row, as wide as they must be.
TEST(RowGrids, SolvesRows) {
  Matrix weights = randomWeights(9, 16), inputs = randomInputs(60, 16), hessian = moment(inputs, inputs);
  HessianFactor factor = factorHessian(hessian, {});
  UniformOptions format = offsetFormat(3);
  format.halfScale = true;
  UniformResult result = solveRows(weights, factor, format);
  RowGrids grids = RowGrids::create(9, 16, {format}, std::vector<uint16_t>(16, 0));
  solveGrids(weights, factor, grids);
  EXPECT_EQ(result.codes, grids.codes);
  EXPECT_EQ(result.groups, 1);
  EXPECT_TRUE(result.options.halfScale);
  for (double &value : weights.data)
    value *= 1e6;
  UniformResult large = solveRows(weights, factor, format);
  EXPECT_FALSE(large.options.halfScale);
  EXPECT_LT(std::fabs(large.decode(4, 7) / 1e6 - weights(4, 7) / 1e6), 2);
}

TEST(RowGrids, RowsWithoutWeightsOnAGrid) {
  Matrix weights = randomWeights(2, 8), inputs = randomInputs(50, 8), hessian = moment(inputs, inputs);
  // The second row has no weights of more bits.
  std::vector<uint16_t> grid = {0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  RowGrids result = RowGrids::create(2, 8, {offsetFormat(1), offsetFormat(8)}, grid);
  solveGrids(weights, factorHessian(hessian, {}), result);
  for (double value : decodeF64(result))
    EXPECT_TRUE(std::isfinite(value));
  EXPECT_EQ(result.parameter(1, 1).scale, 0);
}
} // namespace
