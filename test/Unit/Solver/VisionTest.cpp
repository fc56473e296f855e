//===- VisionTest.cpp - Quantizers of vision transformers -----------------------------------------------------------------===//
#include "Values.h"
#include "quanta/Solver/ActivationGrid.h"
#include "quanta/Solver/ProductSearch.h"
#include "quanta/Solver/Reparameterize.h"

using namespace quanta;
using quanta::test::Values;
using quanta::test::expectNear;

namespace {

void expectCodes(const ActivationGrid &grid, const std::vector<double> &values, const std::vector<double> &codes,
                 const std::vector<double> &decoded) {
  std::vector<double> actual, back;
  for (double value : values) {
    actual.push_back(grid.encode(value));
    back.push_back(grid.round(value));
  }
  EXPECT_EQ(actual, codes);
  expectNear(back, decoded);
}

/// Σ integer(code) · weight over the inner dimension.
std::vector<double> multiply(const ActivationGrid &grid, const std::vector<double> &values, const std::vector<double> &weights,
                             size_t inner, size_t rowStride, size_t innerStride, size_t columns) {
  std::vector<double> result;
  for (size_t row = 0; row < values.size() / inner; ++row)
    for (size_t column = 0; column < columns; ++column) {
      int64_t sum = 0;
      for (size_t k = 0; k < inner; ++k)
        sum += grid.getInteger(grid.encode(values[row * inner + k])) *
               static_cast<int64_t>(weights[column * rowStride + k * innerStride]);
      result.push_back(static_cast<double>(sum));
    }
  return result;
}

TEST(VisionTest, TwinCodesOfProbabilitiesAsTheReference) {
  Values oracle("vit_twin_uniform.json");
  for (auto [name, bits, shift] : {std::tuple("softmax_k8_m5", 8u, 5), std::tuple("softmax_k4_m4", 4u, 4)}) {
    ActivationGrid grid = fitGrid(ActivationFormat::Twin, bits, {0, 1}, std::ldexp(1.0, -shift));
    EXPECT_EQ(grid.shift, static_cast<unsigned>(shift));
    expectCodes(grid, oracle("p"), oracle(std::string(name) + ".code"), oracle(std::string(name) + ".deq"));
  }
  // Integer products with shifts: [4, 6] · [6, 3] in units of the fine step.
  ActivationGrid grid = fitGrid(ActivationFormat::Twin, 8, {0, 1}, 0x1p-5);
  EXPECT_EQ(std::log2(grid.scale), oracle("int_gemm.unit_log2")[0]);
  EXPECT_EQ(multiply(grid, oracle("int_gemm.P"), oracle("int_gemm.V"), 6, 1, 3, 3), oracle("int_gemm.acc"));
}

TEST(VisionTest, TwinCodesBehindGeluAsTheReference) {
  Values oracle("vit_twin_uniform.json");
  ActivationGrid grid{ActivationFormat::TwinSigned, 8, oracle("gelu.d1")[0], 0, static_cast<unsigned>(oracle("gelu.m")[0])};
  expectCodes(grid, oracle("gelu.gelu"), oracle("gelu.code"), oracle("gelu.deq"));
  EXPECT_EQ(multiply(grid, oracle("gelu.gelu"), oracle("gelu.W"), 25, 25, 1, 3), oracle("gelu.acc"));
  // A grid that was fitted covers both ends, and its fine steps are as fine as that allows.
  ActivationGrid fitted = fitGrid(ActivationFormat::TwinSigned, 8, {-0.17, 9});
  double steps = 128;
  EXPECT_GE(std::ldexp(fitted.scale, fitted.shift) * (steps - 0.5), 9 - 1e-12);
  EXPECT_GE(fitted.scale * (steps - 0.5), 0.17);
  EXPECT_LT(fitted.scale * (steps - 0.5), 2 * 0.17);
}

TEST(VisionTest, LogarithmsAsTheReference) {
  Values oracle("vit_twin_uniform.json");
  std::vector<double> values = oracle("p");
  values.erase(values.begin());
  for (auto [name, root, bits] : {std::tuple("log2_on_p1.k4", false, 4u), std::tuple("log2_on_p1.k3", false, 3u),
                                  std::tuple("logsqrt2_on_p1.k4", true, 4u), std::tuple("logsqrt2_on_p1.k8", true, 8u)}) {
    double levels = std::exp2(bits);
    std::vector<double> exponents, decoded;
    for (double value : values) {
      double exponent = roundExponent(value, 1, root);
      exponents.push_back(root ? std::min(exponent, levels - 1) : exponent);
      decoded.push_back(decodeExponent(exponent, 1, root, levels));
    }
    expectNear(exponents, oracle(std::string(name) + ".code"));
    expectNear(decoded, oracle(std::string(name) + ".deq"));
    // As it is stored the highest code is zero; all others are the reference's.
    ActivationGrid grid{root ? ActivationFormat::LogRoot2 : ActivationFormat::Log2, bits, 1};
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(grid.round(values[i]), exponents[i] >= levels - 1 ? 0 : decoded[i], 1e-12);
    EXPECT_EQ(grid.round(0), 0);
  }
}

TEST(VisionTest, SearchesAsTheReference) {
  Values oracle("vit_hessian_search.json");
  std::vector<float> x = oracle.floats("X"), w = oracle.floats("W"), g = oracle.floats("G");
  std::vector<Product> products{{{x.data(), 16, 8}, {w.data(), 5, 8}, {g.data(), 16, 5}}};
  unsigned bits = static_cast<unsigned>(oracle("k")[0]);
  CandidateOptions options{oracle("alpha")[0], oracle("beta")[0], static_cast<unsigned>(oracle("n")[0])};
  auto fit = [&](MatrixView values) { return fitGrid(ActivationFormat::Uniform, bits, findRange(values)); };
  auto candidates = [&](MatrixView values) {
    return makeCandidates(ActivationFormat::Uniform, false, bits, findRange(values), options);
  };
  ProductGrids initial{fit(products[0].left), {fit(products[0].right)}};
  EXPECT_NEAR(measureGrids(products, initial), oracle("metric_minmax_init")[0], 1e-6);
  ProductCandidates choice{candidates(products[0].left), {}};
  for (const ActivationGrid &grid : candidates(products[0].right))
    choice.right.push_back({grid});
  std::vector<double> trace = oracle("trace_dW_dX_metric");
  for (unsigned rounds = 1; rounds <= oracle("rounds")[0]; ++rounds) {
    ProductGrids found = searchGrids(products, initial, choice, rounds);
    EXPECT_NEAR(found.right[0].scale, trace[(rounds - 1) * 3], 1e-6);
    EXPECT_NEAR(found.left->scale, trace[(rounds - 1) * 3 + 1], 1e-6);
    EXPECT_NEAR(found.error, trace[(rounds - 1) * 3 + 2], 1e-6);
    EXPECT_NEAR(measureGrids(products, found), found.error, 1e-6);
  }
  // A grid for each row of the right operand is at least as good.
  ProductCandidates byRow = choice;
  for (std::vector<ActivationGrid> &grids : byRow.right)
    grids.assign(5, grids[0]);
  EXPECT_LE(searchGrids(products, initial, byRow, 3).error, searchGrids(products, initial, choice, 3).error);
}

TEST(VisionTest, ReparameterizesAsTheReference) {
  Values oracle("vit_repq.json");
  std::vector<double> gamma = oracle("gamma"), beta = oracle("beta"), weights = oracle("W"), bias = oracle("bias");
  Reparameterization change = reparameterize(oracle("s"), oracle("z"), false);
  applyToNorm(change, gamma.data(), beta.data());
  applyToReader(change, {weights.data(), 3, 4}, bias.data());
  expectNear(gamma, oracle("gamma_new"));
  expectNear(beta, oracle("beta_new"));
  expectNear(weights, oracle("W_new"));
  expectNear(bias, oracle("bias_new"));
  expectNear({change.scale, change.zero}, {oracle("s_new")[0], oracle("z_new")[0]});
  // The outputs are the reference's with any zero.
  for (bool integerZero : {false, true}) {
    std::vector<double> x = oracle("x"), y;
    gamma = oracle("gamma"), beta = oracle("beta"), weights = oracle("W"), bias = oracle("bias");
    change = reparameterize(oracle("s"), oracle("z"), integerZero);
    applyToNorm(change, gamma.data(), beta.data());
    applyToReader(change, {weights.data(), 3, 4}, bias.data());
    for (size_t row = 0; row < 6; ++row) {
      double mean = 0, variance = 0;
      for (size_t j = 0; j < 4; ++j)
        mean += x[row * 4 + j] / 4;
      for (size_t j = 0; j < 4; ++j)
        variance += (x[row * 4 + j] - mean) * (x[row * 4 + j] - mean) / 4;
      for (size_t n = 0; n < 3; ++n) {
        double sum = bias[n];
        for (size_t j = 0; j < 4; ++j)
          sum += weights[n * 4 + j] * ((x[row * 4 + j] - mean) / std::sqrt(variance + 1e-5) * gamma[j] + beta[j]);
        y.push_back(sum);
      }
    }
    expectNear(y, oracle("y"), 1e-6);
  }
}

TEST(VisionTest, FitsWhatItCovers) {
  for (unsigned bits : {2u, 4u, 8u}) {
    ActivationGrid affine = fitAffineGrid(bits, {-1, 3});
    EXPECT_EQ(affine.round(0), 0);
    EXPECT_NEAR(affine.round(3), 3, affine.scale / 2 + 1e-12);
    EXPECT_NEAR(affine.round(-1), -1, affine.scale / 2 + 1e-12);
    for (ActivationFormat format : {ActivationFormat::Uniform, ActivationFormat::Twin, ActivationFormat::TwinSigned,
                                    ActivationFormat::Log2, ActivationFormat::LogRoot2}) {
      // Every value of a grid is its own nearest one, and nothing leaves the codes.
      ActivationGrid grid = fitGrid(format, bits, {-0.5, 1}, 0.5);
      for (int code = format == ActivationFormat::Uniform ? grid.lowestCode() : 0; code <= grid.highestCode(); ++code)
        EXPECT_EQ(grid.round(grid.decode(static_cast<uint8_t>(code))), grid.decode(static_cast<uint8_t>(code)));
      for (double value : {-1e30, -1.0, 0.0, 1e-30, 0.3, 1e30})
        EXPECT_LE(grid.encode(value), grid.highestCode());
    }
  }
}

} // namespace
