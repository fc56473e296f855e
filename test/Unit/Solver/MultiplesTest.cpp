//===- MultiplesTest.cpp - Scales of groups as multiples of a row's against a search of all -------------------------------===//
#include "quanta/Solver/Multiples.h"
#include "Oracle.h"
#include "quanta/Solver/Gptq.h"
#include "quanta/Solver/RowGrids.h"
#include "quanta/Support/Half.h"

using namespace quanta;
using namespace quanta::test;

namespace {
double distance(const std::vector<double> &scales, const Matrix &errors, double scale, const std::vector<uint8_t> &multiples) {
  double sum = 0;
  for (size_t i = 0; i < scales.size(); ++i)
    for (size_t j = 0; j < scales.size(); ++j)
      sum += (scales[i] - scale * multiples[i]) * errors(i, j) * (scales[j] - scale * multiples[j]);
  return sum;
}

/// The least distance of all multiples, each with its best scale.
double searchAll(const std::vector<double> &scales, const Matrix &errors, int most) {
  double least = INFINITY;
  std::vector<uint8_t> m(scales.size(), 1);
  for (size_t next = 0; next < m.size();) {
    double square = 0, product = 0;
    for (size_t i = 0; i < m.size(); ++i)
      for (size_t j = 0; j < m.size(); ++j) {
        square += m[i] * errors(i, j) * m[j];
        product += m[i] * errors(i, j) * scales[j];
      }
    least = std::min(least, distance(scales, errors, product / square, m));
    for (next = 0; next < m.size() && m[next] == most; ++next)
      m[next] = 1;
    if (next < m.size())
      ++m[next];
  }
  return least;
}

UniformOptions multiplesOf(unsigned bits, int64_t group, UniformZero zero, unsigned multiples, bool half = true) {
  return {bits, group, zero, half, {}, 0, multiples};
}

TEST(Multiples, AreAboutTheBest) {
  for (unsigned bits : {2u, 3u, 4u})
    for (unsigned seed = 0; seed < 12; ++seed) {
      Matrix inputs = randomInputs(40, 4, seed), errors = moment(inputs, inputs), random = randomWeights(1, 4, seed);
      std::vector<double> scales;
      for (int j = 0; j < 4; ++j)
        scales.push_back(0.02 + 0.1 * std::fabs(random(0, j)));
      RowMultiples found = fitMultiples(scales, errors, multiplesOf(4, 8, UniformZero::Symmetric, bits));
      EXPECT_EQ(found.scale, halfToFloat(floatToHalf(found.scale)));
      for (uint8_t m : found.multiples) {
        EXPECT_GE(m, 1);
        EXPECT_LT(m, 1 << bits);
      }
      double whole = distance(scales, errors, 0, found.multiples), best = searchAll(scales, errors, (1 << bits) - 1);
      EXPECT_LE(distance(scales, errors, found.scale, found.multiples), 1.5 * best + 1e-3 * whole) << bits << " bits, seed " << seed;
    }
}

TEST(Multiples, ExactOnesAreFound) {
  Matrix errors{3, 3, {1, 0, 0, 0, 2, 0, 0, 0, 3}};
  UniformOptions options = multiplesOf(4, 8, UniformZero::Symmetric, 4);
  RowMultiples found = fitMultiples({15 * 0.125, 4 * 0.125, 7 * 0.125}, errors, options);
  EXPECT_EQ(found.scale, 0.125f);
  EXPECT_EQ(found.multiples, (std::vector<uint8_t>{15, 4, 7}));
  EXPECT_EQ(fitMultiples({0, 0, 0}, errors, options).scale, 0);
  // Too small for f16.
  EXPECT_TRUE(fitMultiples({1e-9, 2e-9, 1e-9}, errors, options).needsF32Scale || fitMultiples({1e-9, 2e-9, 1e-9}, errors, options).scale == 0);
  options.halfScale = false;
  RowMultiples single = fitMultiples({1e-9, 2e-9, 0.7e-9}, errors, options);
  for (uint8_t m : single.multiples)
    EXPECT_EQ(single.scale * static_cast<float>(m), static_cast<double>(single.scale) * m);
}

TEST(Multiples, EveryCodeIsTheNearest) {
  Matrix weights = randomWeights(7, 100);
  std::vector<float> floats = weights.floats();
  for (UniformZero zero : {UniformZero::Symmetric, UniformZero::Point})
    for (bool half : {true, false}) {
      UniformOptions options = multiplesOf(4, 32, zero, 3, half);
      UniformResult result = quantizeRtn({floats.data(), 7, 100}, options);
      ASSERT_EQ(result.scales.size(), 7u);
      ASSERT_EQ(result.multiples.size(), 28u);
      for (int64_t row = 0; row < 7; ++row)
        for (int64_t j = 0; j < 100; ++j) {
          int64_t group = row * 4 + j / 32;
          double scale = double(result.scales[row]) * result.multiples[group];
          double zeroCode = zero == UniformZero::Point ? result.zeros[group] : 8;
          EXPECT_EQ(result.decode(row, j), scale * (result.codes[row * 100 + j] - zeroCode));
          double error = std::fabs(floats[row * 100 + j] - result.decode(row, j));
          for (int code = zero == UniformZero::Point ? 0 : 1; code < 16; ++code)
            EXPECT_LE(error, std::fabs(floats[row * 100 + j] - scale * (code - zeroCode)) + 1e-7);
        }
    }
}

TEST(Multiples, SmallerGroupsLeaveLess) {
  // Groups of very different sizes: with a scale a row the small ones are lost.
  Matrix weights = randomWeights(6, 96), inputs = randomInputs(300, 96), hessian = moment(inputs, inputs);
  for (int64_t row = 0; row < 6; ++row)
    for (int64_t j = 0; j < 96; ++j)
      weights.data[row * 96 + j] *= 1 + j / 16 % 3;
  std::vector<float> floats = weights.floats();
  HessianFactor factor = factorHessian(hessian, {});
  auto solve = [&](UniformOptions options) {
    RowGrids grids = toRowGrids(makeUniformResult(6, 96, options));
    solveGrids(weights, factor, grids);
    std::vector<double> decoded = decodeF64(toUniform(grids, options.group));
    EXPECT_EQ(decoded, decodeF64(grids));
    return hessianError(weights, {decoded.data(), 6, 96}, hessian);
  };
  double row = solve({3, 0, UniformZero::Symmetric}), groups = solve({3, 16, UniformZero::Symmetric});
  double multiples = solve(multiplesOf(3, 16, UniformZero::Symmetric, 5));
  EXPECT_LT(multiples, 0.9 * row);
  EXPECT_LT(multiples, 1.1 * groups);
}

TEST(Multiples, RefiningNeverRaisesTheError) {
  Matrix weights = randomWeights(5, 64), inputs = randomInputs(200, 64), hessian = moment(inputs, inputs);
  RowGrids grids = toRowGrids(makeUniformResult(5, 64, multiplesOf(2, 8, UniformZero::Point, 3)));
  fitGrids(weights, nullptr, grids);
  auto error = [&] {
    std::vector<double> decoded = decodeF64(grids);
    return hessianError(weights, {decoded.data(), 5, 64}, hessian);
  };
  double before = error();
  for (int round = 0; round < 4; ++round) {
    refitGrids(weights, hessian, grids);
    double refitted = error();
    EXPECT_LE(refitted, before * (1 + 1e-9));
    descendCodes(weights, hessian, grids, 1);
    before = error();
    EXPECT_LE(before, refitted * (1 + 1e-9));
  }
}
} // namespace
