//===- BinaryTest.cpp - Weights of two values ---------------------------------------------------------------------===//
#include "quanta/Solver/Binary.h"
#include "Oracle.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
std::vector<uint8_t> asMask(const Matrix &matrix) { return {matrix.data.begin(), matrix.data.end()}; }

/// The signs of an oracle are 1 and -1.
std::vector<uint8_t> asSigns(const Matrix &matrix) {
  std::vector<uint8_t> signs;
  for (double value : matrix.data)
    signs.push_back(value > 0);
  return signs;
}

Matrix product(const Matrix &a, const Matrix &b) {
  Matrix result{a.rows, b.columns, std::vector<double>(static_cast<size_t>(a.rows * b.columns))};
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.columns; ++k)
      for (int64_t j = 0; j < b.columns; ++j)
        result.data[static_cast<size_t>(i * b.columns + j)] += a(i, k) * b(k, j);
  return result;
}

Matrix decode(const BinaryResult &result) {
  Matrix decoded{result.rows, result.columns, {}};
  for (int64_t i = 0; i < result.rows * result.columns; ++i)
    decoded.data.push_back(result.decode(i / result.columns, i % result.columns));
  return decoded;
}

TEST(Binary, FitOracles) {
  for (auto [name, rule, mean] :
       {std::tuple<const char *, BinaryScale, bool>{"fit_binary_exact", BinaryScale::Exact, true},
        {"fit_binary_repo", BinaryScale::PbLlmCode, true},
        {"fit_binary_l1", BinaryScale::Exact, false}}) {
    Oracle oracle("pbllm", name);
    Matrix w = oracle.input("W"), means = oracle.expected("mu"), scales = oracle.expected("alpha");
    std::vector<uint8_t> low = asMask(oracle.input("salient_mask"));
    for (uint8_t &value : low)
      value ^= 1;
    for (int64_t row = 0; row < w.rows; ++row) {
      int64_t begin = row * w.columns;
      BinaryParameters fit = fitBinary(w.data.data() + begin, low.data() + begin, w.columns, rule, mean);
      EXPECT_NEAR(fit.mean, means.data[row], oracle.tolerance());
      EXPECT_NEAR(fit.scale, scales.data[row], oracle.tolerance());
    }
  }
  // Of order 2: the residual once more.
  for (int order : {1, 2}) {
    Oracle oracle("binary", order == 1 ? "residual_bin_order1" : "residual_bin_order2");
    Matrix residual = oracle.input("W"), expected = oracle.expected("Q"), sum{4, 16, std::vector<double>(4 * 16)};
    std::vector<uint8_t> mask = asMask(oracle.input("mask"));
    for (int plane = 0; plane < order; ++plane)
      for (int64_t row = 0; row < residual.rows; ++row) {
        BinaryParameters fit =
            fitBinary(residual.data.data() + 16 * row, mask.data() + 16 * row, 16, BinaryScale::Exact);
        for (int64_t i = 16 * row; i < 16 * row + 16; ++i)
          if (mask[i]) {
            double value = fit.mean + (residual.data[i] >= fit.mean ? fit.scale : -fit.scale);
            sum.data[i] += value;
            residual.data[i] -= value;
          }
      }
    expectNear(sum.data, expected.data, oracle.tolerance());
  }
}

TEST(Binary, AlternationOracles) {
  for (const char *name : {"arb_T5", "arb_masked_T5"}) {
    Oracle oracle("binary", name);
    Matrix w = oracle.input("W"), means = oracle.expected("mu"), scales = oracle.expected("alpha");
    bool masked = std::string(name) != "arb_T5";
    std::vector<uint8_t> mask = masked ? asMask(oracle.input("mask")) : std::vector<uint8_t>(w.data.size(), 1);
    std::vector<double> errors = oracle.expected("errors").data, actual(6);
    for (int64_t row = 0; row < w.rows; ++row)
      for (int iterations = 0; iterations <= 5; ++iterations) {
        const double *values = w.data.data() + row * w.columns;
        const uint8_t *kept = mask.data() + row * w.columns;
        BinaryParameters fit = fitBinary(values, kept, w.columns, BinaryScale::Exact);
        alternateBinary(values, kept, w.columns, iterations, fit);
        for (int64_t i = 0; i < w.columns; ++i)
          if (kept[i])
            actual[iterations] += std::pow(values[i] - fit.mean - (values[i] >= fit.mean ? fit.scale : -fit.scale), 2);
        if (iterations == 5) {
          EXPECT_NEAR(fit.mean, means.data[row], oracle.tolerance());
          EXPECT_NEAR(fit.scale, scales.data[row], oracle.tolerance());
        }
      }
    expectNear(actual, errors, oracle.tolerance());
  }
}

TEST(Binary, HessianOracles) {
  Oracle joint("binary", "joint_mu_alpha_solve");
  Matrix w = joint.input("W"), h = joint.input("S");
  std::vector<uint8_t> signs = asSigns(joint.input("B"));
  std::vector<BinaryParameters> parameters;
  fitBinaryHessian(product(w, h), h, w.columns, true, signs, parameters);
  Matrix means = joint.expected("mu"), scales = joint.expected("alpha");
  for (int64_t row = 0; row < w.rows; ++row) {
    EXPECT_NEAR(parameters[row].mean, means.data[row], joint.tolerance());
    EXPECT_NEAR(parameters[row].scale, scales.data[row], joint.tolerance());
  }
  // ARB-X approaches this from above.
  Oracle sequential("binary", "arb_x_T5");
  EXPECT_GE(sequential.expected("errors").data.back(), joint.number("expected", "error") - 1e-9);
  EXPECT_NEAR(sequential.expected("errors").data.back(), joint.number("expected", "error"), 1e-4);

  Oracle refined("binary", "binary_h");
  w = refined.input("W"), h = refined.input("H");
  std::vector<float> weights = w.floats();
  BinaryOptions options;
  options.halfScale = false;
  BinaryResult result = quantizeBinary({weights.data(), w.rows, w.columns}, options);
  std::vector<double> errors = refined.expected("errors").data;
  for (int iterations : {0, 1, 2}) {
    BinaryResult copy = result;
    refineBinary({weights.data(), w.rows, w.columns}, h, copy, iterations);
    EXPECT_NEAR(copy.loss, errors[iterations], 1e-4);
    if (iterations == 2) {
      EXPECT_EQ(copy.signs, asSigns(refined.expected("B")));
      expectNear(copy.means, refined.expected("mu").data, 1e-5);
      expectNear(copy.scales, refined.expected("alpha").data, 1e-5);
      expectNear(decode(copy).data, refined.expected("Q").data, 1e-5);
    }
  }
}

TEST(Binary, OptimalIsOptimal) {
  for (unsigned seed = 1; seed < 30; ++seed) {
    Matrix w = randomWeights(1, 10, seed);
    double best = INFINITY;
    for (int subset = 1; subset < 1023; ++subset) {
      double sum[2] = {}, count[2] = {}, error = 0;
      for (int i = 0; i < 10; ++i) {
        sum[subset >> i & 1] += w.data[i];
        count[subset >> i & 1] += 1;
        error += w.data[i] * w.data[i];
      }
      best = std::min(best, error - sum[0] * sum[0] / count[0] - sum[1] * sum[1] / count[1]);
    }
    auto error = [&](BinaryParameters fit) {
      double sum = 0;
      for (double value : w.data)
        sum += std::pow(value - fit.mean - (value >= fit.mean ? fit.scale : -fit.scale), 2);
      return sum;
    };
    EXPECT_NEAR(error(fitBinary(w.data.data(), nullptr, 10, BinaryScale::Optimal)), best, 1e-12);
    BinaryParameters fit = fitBinary(w.data.data(), nullptr, 10, BinaryScale::Exact);
    double before = error(fit);
    for (int iteration = 0; iteration < 5; ++iteration) {
      alternateBinary(w.data.data(), nullptr, 10, 1, fit);
      EXPECT_LE(error(fit), before + 1e-12);
      before = error(fit);
    }
    EXPECT_GE(before, best - 1e-12);
  }
}

/// Any change of one μ, one α or one sign must not help after refinement has converged.
TEST(Binary, RefinementEndsInALocalMinimum) {
  Matrix w = randomWeights(5, 21), x = randomInputs(84, 21), h = moment(x, x);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 5, 21);
  for (int64_t group : {0, 7, 8})
    for (bool mean : {true, false}) {
      BinaryOptions options;
      options.group = group;
      options.mean = mean;
      options.halfScale = false;
      BinaryResult result = quantizeBinary(view, options);
      double before = hessianError(w, decode(result), h);
      for (int iteration = 0; iteration < 20; ++iteration) {
        refineBinary(view, h, result, 1);
        EXPECT_NEAR(result.loss, hessianError(w, decode(result), h), 1e-9);
        EXPECT_LE(result.loss, before * (1 + 1e-6));
        before = result.loss;
      }
      double slack = 1e-6 * result.loss;
      for (uint8_t &sign : result.signs) {
        sign ^= 1;
        EXPECT_GE(hessianError(w, decode(result), h), result.loss - slack);
        sign ^= 1;
      }
      for (std::vector<float> *values : {&result.scales, &result.means})
        for (float &value : *values)
          for (float change : {0.999f, 1.001f}) {
            float kept = value;
            value *= change;
            EXPECT_GE(hessianError(w, decode(result), h), result.loss - slack);
            value = kept;
          }
    }
}

TEST(Binary, SweepAgainstItsDefinition) {
  Matrix w = randomWeights(4, 20), x = randomInputs(60, 20), h = moment(x, x);
  std::vector<float> weights = w.floats();
  for (bool actOrder : {false, true})
    for (int64_t group : {0, 8}) {
      FactorOptions damping;
      damping.actOrder = actOrder;
      HessianFactor factor = factorHessian(h, damping);
      BinaryOptions options;
      options.group = group;
      BinaryResult result = sweepBinary({weights.data(), 4, 20}, factor, options);
      EXPECT_NEAR(result.loss, hessianError(w, decode(result), factor.hessianView()), 1e-4 * result.loss);
      EXPECT_EQ(result.storedBits(), 80 + 2 * 16 * 4 * (group ? 3 : 1));
      Matrix current = w;
      for (int64_t p = 0; p < 20; ++p)
        for (int64_t row = 0, j = factor.order[p]; row < 4; ++row) {
          double *values = current.data.data() + row * 20;
          EXPECT_EQ(result.signs[row * 20 + j],
                    values[j] >= result.means[row * result.groups + j / result.groupColumns]);
          double e = (values[j] - result.decode(row, j)) / factor.upperView()(p, p);
          for (int64_t k = p; k < 20; ++k)
            values[factor.order[k]] -= e * factor.upperView()(p, k);
        }
      BinaryResult nearest = quantizeBinary({weights.data(), 4, 20}, options);
      EXPECT_EQ(nearest.scales, result.scales);
      EXPECT_LT(result.loss, hessianError(w, decode(nearest), factor.hessianView()));
    }
}

TEST(Binary, EdgesAndStrides) {
  std::vector<float> zeros(6, 0.0f), bad = {1, INFINITY};
  for (BinaryScale scale : {BinaryScale::Exact, BinaryScale::Optimal, BinaryScale::PbLlmCode, BinaryScale::Uncentred}) {
    BinaryOptions options;
    options.scale = scale;
    BinaryResult result = quantizeBinary({zeros.data(), 2, 3}, options);
    EXPECT_EQ(result.error, 0);
    EXPECT_EQ(result.decode(1, 2), 0);
    EXPECT_EQ(result.signs, std::vector<uint8_t>(6, 1));
    EXPECT_TRUE(quantizeBinary({bad.data(), 1, 2}, options).nonFinite);
    EXPECT_TRUE(quantizeBinary({nullptr, 0, 5}, options).signs.empty());
    EXPECT_TRUE(quantizeBinary({nullptr, 5, 0}, options).signs.empty());
  }
  std::vector<float> matrix = randomWeights(4, 9).floats(), part;
  for (int64_t row = 1; row < 3; ++row)
    part.insert(part.end(), matrix.begin() + row * 9 + 2, matrix.begin() + row * 9 + 7);
  EXPECT_EQ(quantizeBinary(MatrixView(matrix.data(), 4, 9).block(1, 2, 2, 5), {}).scales,
            quantizeBinary({part.data(), 2, 5}, {}).scales);
}
} // namespace
