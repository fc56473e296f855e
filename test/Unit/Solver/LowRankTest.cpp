//===- LowRankTest.cpp - A matrix as a product of two thin ones -----------------------------------------------------===//
#include "quanta/Solver/LowRank.h"
#include "Oracle.h"
#include "quanta/Solver/Gptq.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
MatrixViewF64 view(const std::vector<double> &data, const Matrix &shape) { return {data.data(), shape.rows, shape.columns}; }

/// The oracles' quantizer: symmetric, codes to ±3, the row's largest weight exact.
std::vector<double> roundTo3Bits(MatrixViewF64 matrix, MatrixViewF64) {
  std::vector<double> result;
  for (int64_t row = 0; row < matrix.rows(); ++row) {
    double most = 0;
    for (int64_t column = 0; column < matrix.columns(); ++column)
      most = std::max(most, std::fabs(matrix(row, column)));
    for (int64_t column = 0; column < matrix.columns(); ++column)
      result.push_back(most > 0 ? std::nearbyint(matrix(row, column) / (most / 3)) * (most / 3) : 0);
  }
  return result;
}

TEST(LowRank, Oracles) {
  for (int rank : {1, 2, 3}) {
    Oracle oracle("lowrank", "rank_" + std::to_string(rank));
    Matrix w = oracle.input("W"), h = oracle.input("XXt"), magnitudes = oracle.input("absmean");
    LowRank plain = factorLowRank(w, whitenNothing(w.columns), rank);
    LowRank asvd = factorLowRank(w, whitenChannels(magnitudes.floats(), 0.5), rank);
    LowRank triangular = factorLowRank(w, whitenTriangular(h), rank), spectral = factorLowRank(w, whitenSpectrum(h), rank);
    expectNear(plain.product(), oracle.expected("plain_W").data, 1e-8);
    expectNear(asvd.product(), oracle.expected("asvd_W").data, 1e-6); // magnitudes are f32 here
    expectNear(triangular.product(), oracle.expected("svdllm_W").data, 1e-8);
    expectNear(spectral.product(), oracle.expected("svdllm_W").data, 1e-7);
    Matrix sigma = oracle.expected("svdllm_sigma");
    expectNear(triangular.singularValues, sigma.data, 1e-8 * sigma.data[0]);
    expectNear(spectral.singularValues, sigma.data, 1e-8 * sigma.data[0]);
    for (auto [factors, name] : {std::pair(&plain, "error_plain"), std::pair(&asvd, "error_asvd"),
                                 std::pair(&triangular, "error_svdllm"), std::pair(&spectral, "error_svdllm")}) {
      double expected = oracle.number("expected", name);
      EXPECT_NEAR(hessianError(w, view(factors->product(), w), h), expected, 1e-6 * expected) << name;
    }
    EXPECT_NEAR(triangular.error(), oracle.number("expected", "error_svdllm"), 1e-6 * triangular.error());
  }
}

TEST(LowRank, ResidualOracles) {
  for (auto [name, whitened] : {std::pair("lorc", false), std::pair("whitened_residual", true)}) {
    Oracle oracle("lowrank", name);
    Matrix w = oracle.input("W"), h = oracle.input("XXt");
    ResidualOptions options;
    options.rank = 2;
    options.base = roundTo3Bits;
    ResidualResult result = factorResidual(w, whitened ? whitenTriangular(h) : whitenNothing(w.columns), options);
    expectNear(result.base, oracle.expected("Q").data, 1e-8);
    expectNear(result.factors.product(), oracle.expected("LR").data, 1e-7);
  }
  Oracle oracle("lowrank", "alternation");
  Matrix w = oracle.input("W"), history = oracle.expected("err_history");
  ResidualOptions options;
  options.rank = 2;
  options.base = roundTo3Bits;
  options.baseFirst = false;
  options.iterations = 100;
  ResidualResult result = factorResidual(w, whitenNothing(w.columns), options);
  expectNear(result.base, oracle.expected("Q").data, 1e-8);
  expectNear(result.factors.product(), oracle.expected("L").data, 1e-8);
  ASSERT_EQ(result.errors.size(), history.data.size());
  for (size_t i = 0; i < history.data.size(); ++i)
    EXPECT_NEAR(std::sqrt(result.errors[i]), history.data[i], 1e-8);
}

/// Of all factorizations of a rank, the whitened one has the least output error; the error is the tail of the spectrum, and
/// vanishes at full rank.
TEST(LowRank, WhitenedIsBest) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{24, 16}, {12, 20}}) {
    Matrix w = randomWeights(rows, columns), x = randomInputs(64, columns), h = moment(x, x);
    std::vector<float> magnitudes(static_cast<size_t>(columns));
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t j = 0; j < columns; ++j)
        magnitudes[static_cast<size_t>(j)] += static_cast<float>(std::fabs(x(t, j)) / x.rows);
    int64_t full = std::min(rows, columns);
    double last = INFINITY;
    for (int64_t rank = 0; rank <= full; ++rank) {
      auto error = [&](const Whitening &whitening) {
        return hessianError(w, view(factorLowRank(w, whitening, rank).product(), w), h);
      };
      double best = error(whitenTriangular(h)), scale = error(whitenNothing(columns)) + 1e-12;
      EXPECT_NEAR(best, error(whitenSpectrum(h)), 1e-9 * (1 + scale));
      EXPECT_NEAR(best, factorLowRank(w, whitenTriangular(h), rank).error(), 1e-9 * (1 + scale));
      EXPECT_LE(best, error(whitenChannels(magnitudes)) + 1e-12);
      EXPECT_LE(best, scale);
      EXPECT_LE(best, last);
      last = best;
    }
    EXPECT_NEAR(last, 0, 1e-12);
  }
}

/// Fewer tokens than channels, and a channel that is always zero: the pseudoinverse, no infinities.
TEST(LowRank, SingularMoments) {
  Matrix w = randomWeights(10, 12), x = randomInputs(5, 12);
  for (int64_t t = 0; t < x.rows; ++t)
    x.data[static_cast<size_t>(t * 12 + 3)] = 0;
  Matrix h = moment(x, x);
  EXPECT_EQ(whitenTriangular(h).kind, Whitening::Kind::Spectral);
  LowRank factors = factorLowRank(w, whitenTriangular(h), 5);
  for (double value : factors.right)
    ASSERT_TRUE(std::isfinite(value));
  EXPECT_NEAR(hessianError(w, view(factors.product(), w), h), 0, 1e-9);
  Matrix none{4, 0, {}}, zero{3, 3, std::vector<double>(9)};
  EXPECT_TRUE(factorLowRank(none, whitenNothing(0), 0).left.empty());
  LowRank nothing = factorLowRank(zero, whitenSpectrum(zero), 2);
  expectNear(nothing.product(), zero.data, 0);
}

std::vector<double> gptq(MatrixViewF64 matrix, MatrixViewF64 hessian, unsigned bits) {
  std::vector<float> weights;
  for (int64_t row = 0; row < matrix.rows(); ++row)
    weights.insert(weights.end(), matrix.row(row), matrix.row(row) + matrix.columns());
  GptqOptions options;
  options.uniform.bits = bits;
  return decodeF64(quantizeGptq({weights.data(), matrix.rows(), matrix.columns()}, hessian, options).uniform);
}

/// Factors beside a quantized base help it, more with a whitening; alternating and quantized factors keep most of that.
TEST(LowRank, ResidualOfASolver) {
  Matrix w = randomWeights(48, 40), x = randomInputs(400, 40), h = moment(x, x);
  Whitening whitening = whitenTriangular(h);
  auto solve = [&](int64_t rank, bool baseFirst, int iterations, unsigned factorBits, const Whitening &used) {
    ResidualOptions options;
    options.rank = rank;
    options.base = [&](MatrixViewF64 matrix, MatrixViewF64) { return gptq(matrix, h, 2); };
    if (factorBits)
      options.factors = [=](MatrixViewF64 matrix, MatrixViewF64 hessian) { return gptq(matrix, hessian, factorBits); };
    options.baseFirst = baseFirst;
    options.iterations = iterations;
    ResidualResult result = factorResidual(w, used, options);
    EXPECT_EQ(result.error, *std::min_element(result.errors.begin(), result.errors.end()));
    std::vector<double> sum = result.factors.product();
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += result.base[i];
    double error = hessianError(w, view(sum, w), h);
    if (used.kind == Whitening::Kind::Triangular) {
      EXPECT_NEAR(result.error, error, 1e-9 * error);
    }
    return error;
  };
  double none = solve(0, true, 1, 0, whitening), lorc = solve(6, true, 1, 0, whitenNothing(40));
  double whitened = solve(6, true, 1, 0, whitening), alternating = solve(6, true, 10, 0, whitening);
  double factorsFirst = solve(6, false, 10, 0, whitening);
  double quantized = solve(6, true, 1, 6, whitening), coarse = solve(6, true, 1, 3, whitening);
  EXPECT_LT(lorc, none);
  EXPECT_LT(whitened, lorc);
  EXPECT_LE(alternating, whitened);
  EXPECT_LT(factorsFirst, none);
  EXPECT_LT(quantized, none);
  EXPECT_LT(quantized, 1.1 * whitened);
  EXPECT_GT(coarse, quantized);
}

/// A is refitted to the B that is stored, so it makes up for what B lost; without rounding nothing changes.
TEST(LowRank, QuantizedFactors) {
  Matrix w = randomWeights(30, 24), x = randomInputs(200, 24), h = moment(x, x);
  LowRank exact = factorLowRank(w, whitenTriangular(h), 8), same = exact, refitted = exact;
  quantizeFactors(w, h, [](MatrixViewF64 matrix, MatrixViewF64) {
    return std::vector<double>(matrix.row(0), matrix.row(0) + matrix.rows() * matrix.columns());
  }, same);
  expectNear(same.product(), exact.product(), 1e-8);
  std::vector<int64_t> sizes;
  quantizeFactors(w, h, [&](MatrixViewF64 matrix, MatrixViewF64 moments) {
    sizes.push_back(moments.rows());
    return sizes.size() == 1 ? roundTo3Bits(matrix, moments)
                             : std::vector<double>(matrix.row(0), matrix.row(0) + matrix.rows() * matrix.columns());
  }, refitted);
  EXPECT_EQ(sizes, std::vector<int64_t>({24, 8})); // H, B·H·Bᵀ
  LowRank rounded = exact;
  rounded.right = refitted.right;
  EXPECT_LT(hessianError(w, view(refitted.product(), w), h), hessianError(w, view(rounded.product(), w), h));
}

TEST(LowRank, SecondMoments) {
  Matrix x = randomInputs(64, 9), h = moment(x, x);
  expectNear(secondMoments(whitenTriangular(h)), h.data, 1e-12);
  expectNear(secondMoments(whitenSpectrum(h)), h.data, 1e-12);
  std::vector<double> diagonal = secondMoments(whitenChannels({4, 9}, 0.5));
  expectNear(diagonal, std::vector<double>{4, 0, 0, 9}, 1e-5);
}
} // namespace
