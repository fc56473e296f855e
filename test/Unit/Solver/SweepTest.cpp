//===- SweepTest.cpp - Factor and sweep against oracles and naive loops --------------------------------------------------===//
#include "Oracle.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace quanta;
using namespace quanta::test;

namespace {
/// Rounds to multiples of a step.
struct RoundQuantizer : SweepQuantizer {
  RoundQuantizer(int64_t rows, double step, bool whole = false) : rows(rows), step(step), whole(whole) {}
  bool quantizeBlock(int64_t begin, int64_t end, const double *weights, double *quantized) override {
    if (whole)
      for (int64_t i = 0; i < (end - begin) * rows; ++i)
        quantized[i] = step * std::nearbyint(weights[begin * rows + i] / step);
    return whole;
  }
  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    for (int64_t row = 0; row < rows; ++row)
      quantized[row] = step * std::nearbyint(column[row] / step);
  }
  int64_t rows;
  double step;
  bool whole;
};

/// The published affine grid of a row: a range that contains 0 (lo ≤ 0 ≤ hi), or symmetric with zero 2^(bits−1).
struct Grid {
  double scale, zero;
  int top;
  double round(double value) const {
    return scale * (std::clamp<double>(std::nearbyint(value / scale) + zero, 0, top) - zero);
  }
};
Grid fit(const std::vector<double> &values, int bits, bool symmetric = false) {
  double low = std::min(0.0, *std::min_element(values.begin(), values.end()));
  double high = std::max(0.0, *std::max_element(values.begin(), values.end()));
  if (symmetric) {
    high = std::max(-low, high);
    low = low < 0 ? -high : low;
  }
  int top = (1 << bits) - 1;
  double scale = (high - low) / top;
  return {scale, symmetric ? (top + 1) / 2 : std::nearbyint(-low / scale), top};
}

TEST(Factor, OraclesDampingAndDeadColumns) {
  Oracle dead("gptq", "dead_column_then_damp"), upper("gptq", "inv_chol_upper");
  ASSERT_TRUE(dead.valid() && upper.valid());
  FactorOptions options;
  options.deadDiagonal = 1;
  Matrix hessian = dead.input("H"), weights = dead.input("W");
  HessianFactor factor = factorHessian(hessian, options);
  EXPECT_EQ(factor.status, FactorStatus::Damped);
  expectNear(factor.hessian, dead.expected("H").data, dead.tolerance());
  expectNear(factor.dead, dead.expected("dead").data, 0);
  zeroDeadColumns({weights.data.data(), weights.rows, weights.columns}, factor);
  expectNear(weights.data, dead.expected("W").data, 0);
  expectNear(factorHessian(upper.input("H"), {}).upper, upper.expected("U").data, upper.tolerance());
}

TEST(Factor, InverseIsTheProduct) {
  Matrix inputs = randomInputs(100, 23), hessian = moment(inputs, inputs);
  FactorOptions options;
  options.actOrder = true;
  HessianFactor factor = factorHessian(hessian, options);
  std::vector<int64_t> sorted = factor.order;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t j = 0; j < 23; ++j)
    EXPECT_EQ(sorted[static_cast<size_t>(j)], j);
  for (size_t p = 1; p < 23; ++p)
    EXPECT_GE(hessian(factor.order[p - 1], factor.order[p - 1]), hessian(factor.order[p], factor.order[p]));
  MatrixViewF64 upper = factor.upperView(), damped = factor.hessianView();
  for (int64_t i = 0; i < 23; ++i)
    for (int64_t j = 0; j < 23; ++j) { // (UᵀU)·H = I
      double sum = 0;
      for (int64_t k = 0; k < 23; ++k) {
        double inverse = 0;
        for (int64_t l = 0; l <= std::min(i, k); ++l)
          inverse += upper(l, i) * upper(l, k);
        sum += inverse * damped(factor.order[static_cast<size_t>(k)], factor.order[static_cast<size_t>(j)]);
      }
      EXPECT_NEAR(sum, i == j, 1e-9);
      if (i > j) {
        EXPECT_EQ(upper(i, j), 0);
      }
    }
}

TEST(Factor, FallsBack) {
  // Indefinite by a little: ten times the damping is enough. By a lot: only the diagonal remains.
  for (auto [correlation, status] : {std::pair{1.05, FactorStatus::MoreDamping}, {9.0, FactorStatus::Diagonal}}) {
    Matrix hessian{2, 2, {1, correlation, correlation, 1}};
    HessianFactor factor = factorHessian(hessian, {});
    EXPECT_EQ(factor.status, status);
    EXPECT_GT(factor.damping, 0.01);
    if (status == FactorStatus::Diagonal) {
      EXPECT_EQ(factor.upper[1], 0);
      EXPECT_DOUBLE_EQ(factor.upper[0], 1 / std::sqrt(1 + factor.damping));
    }
  }
  EXPECT_EQ(factorHessian(Matrix{2, 2, {NAN, 0, 0, 1}}, {}).status, FactorStatus::NonFinite);
  EXPECT_EQ(factorHessian(Matrix{2, 2, {0, 0, 0, 0}}, {}).status, FactorStatus::Damped);
  EXPECT_EQ(factorHessian(Matrix{0, 0, {}}, {}).status, FactorStatus::Damped);
  // A dead column neither changes the damping nor comes before a live one.
  FactorOptions options;
  options.actOrder = true;
  HessianFactor factor = factorHessian(Matrix{3, 3, {0, 0, 0, 0, 1e-9, 0, 0, 0, 3e-9}}, options);
  EXPECT_EQ(factor.order, (std::vector<int64_t>{2, 1, 0}));
  EXPECT_DOUBLE_EQ(factor.damping, 2e-11);
  EXPECT_EQ(factor.dead, (std::vector<uint8_t>{1, 0, 0}));
}

TEST(Sweep, IdentityRoundsToNearest) {
  Matrix weights = randomWeights(5, 40), hessian{40, 40, std::vector<double>(1600)};
  for (size_t j = 0; j < 40; ++j)
    hessian.data[41 * j] = 1;
  RoundQuantizer quantizer(5, 0.03);
  SweepResult result = sweepColumns(weights, factorHessian(hessian, {}), {}, quantizer);
  for (size_t i = 0; i < weights.data.size(); ++i)
    EXPECT_EQ(result.quantized[i], 0.03 * std::nearbyint(weights.data[i] / 0.03));
}

TEST(Sweep, EliminatesOneColumnAfterTheOther) {
  // OBS with the inverse of what remains of the Hessian: δ = −(w − q)/[H⁻¹]_00 · [H⁻¹]_0:
  Matrix weights = randomWeights(4, 17), inputs = randomInputs(60, 17), hessian = moment(inputs, inputs);
  HessianFactor factor = factorHessian(hessian, {});
  RoundQuantizer quantizer(4, 0.05);
  SweepResult result = sweepColumns(weights, factor, {5, {3, 4}}, quantizer);
  Matrix current = weights;
  for (int64_t j = 0; j < 17; ++j) {
    int64_t left = 17 - j;
    Matrix rest{left, left, {}};
    for (int64_t a = j; a < 17; ++a)
      for (int64_t b = j; b < 17; ++b)
        rest.data.push_back(factor.hessianView()(a, b));
    FactorOptions none;
    none.damping = 0;
    HessianFactor part = factorHessian(rest, none);
    for (int64_t row = 0; row < 4; ++row) {
      double value = current(row, j), rounded = 0.05 * std::nearbyint(value / 0.05);
      ASSERT_NEAR(result.quantized[static_cast<size_t>(row * 17 + j)], rounded, 1e-12);
      for (int64_t k = 0; k < left; ++k) // row 0 of UᵀU is U_00·U_0:
        current.data[static_cast<size_t>(row * 17 + j + k)] -=
            (value - rounded) * part.upper[static_cast<size_t>(k)] / part.upper[0];
    }
  }
  // The errors of the sweep sum up to the error of the layer.
  Matrix quantized{4, 17, result.quantized};
  EXPECT_NEAR(2 * result.loss, hessianError(weights, quantized, factor.hessianView()), 1e-9);
}

TEST(Sweep, BlocksDoNotChangeTheResult) {
  Matrix weights = randomWeights(9, 61), inputs = randomInputs(200, 61), hessian = moment(inputs, inputs);
  for (bool actOrder : {false, true}) {
    FactorOptions options;
    options.actOrder = actOrder;
    HessianFactor factor = factorHessian(hessian, options);
    RoundQuantizer quantizer(9, 0.04);
    SweepResult reference = sweepColumns(weights, factor, {1, {}}, quantizer);
    for (int64_t block : {2, 7, 32, 61, 1000})
      expectNear(sweepColumns(weights, factor, {block, {}}, quantizer).quantized, reference.quantized, 1e-9);
    expectNear(sweepColumns(weights, factor, {16, {0, 5, 5, 20, 60, 61}}, quantizer).quantized, reference.quantized,
               1e-9);
    // Whole blocks of one column are columns.
    RoundQuantizer whole(9, 0.04, true);
    expectNear(sweepColumns(weights, factor, {1, {}}, whole).quantized, reference.quantized, 1e-9);
  }
}

TEST(Sweep, OracleSymmetricGrid) {
  Oracle oracle("gptq", "gptq_sym_b4");
  ASSERT_TRUE(oracle.valid());
  Matrix weights = oracle.input("W"), expected = oracle.expected("Q"), scale = oracle.expected("scale");
  struct Quantizer : SweepQuantizer {
    void quantizeColumn(int64_t position, const double *column, double *quantized) override {
      for (size_t row = 0; row < grids.size(); ++row)
        quantized[row] = grids[row].round(column[row]);
    }
    std::vector<Grid> grids;
  } quantizer;
  for (int64_t row = 0; row < weights.rows; ++row) {
    auto begin = weights.data.begin() + row * weights.columns;
    quantizer.grids.push_back(fit({begin, begin + weights.columns}, 4, true));
    EXPECT_NEAR(quantizer.grids.back().scale, scale(row, 0), oracle.tolerance());
  }
  SweepResult result = sweepColumns(weights, factorHessian(oracle.input("H"), {}), {}, quantizer);
  expectNear(result.quantized, expected.data, oracle.tolerance());
  expectNear(result.columnLoss, oracle.expected("column_loss").data, oracle.tolerance());
  EXPECT_NEAR(result.loss, oracle.number("expected", "loss"), oracle.tolerance());
}

TEST(Sweep, OracleStructured) {
  // A quarter of the columns has 4 bits on a grid fitted to them when their turn comes, the others a sign.
  for (bool last : {true, false}) {
    Oracle oracle("ours", last ? "structured_salient_last" : "structured_salient_first");
    ASSERT_TRUE(oracle.valid());
    Matrix weights = oracle.input("W"), hessian = oracle.input("H");
    int64_t rows = weights.rows, columns = weights.columns, count = columns / 4;
    std::vector<int64_t> order(static_cast<size_t>(columns));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return hessian(a, a) > hessian(b, b); });
    std::sort(order.begin(), order.begin() + count);
    std::sort(order.begin() + count, order.end());
    struct Quantizer : SweepQuantizer {
      void beginBlock(int64_t begin, int64_t, const double *current) override {
        for (int64_t row = 0; begin == salient && row < rows; ++row) {
          std::vector<double> values;
          for (int64_t j = begin; j < begin + count; ++j)
            values.push_back(current[j * rows + row]);
          grids.push_back(fit(values, 4));
        }
      }
      void quantizeColumn(int64_t position, const double *column, double *quantized) override {
        for (int64_t row = 0; row < rows; ++row) {
          size_t r = static_cast<size_t>(row);
          bool high = position >= salient && position < salient + count;
          quantized[row] = high ? grids[r].round(column[row]) : mean[r] + (column[row] >= mean[r] ? 1 : -1) * alpha[r];
        }
      }
      int64_t rows, count, salient;
      std::vector<Grid> grids;
      std::vector<double> mean, alpha;
    } quantizer;
    quantizer.rows = rows;
    quantizer.count = count;
    for (int64_t row = 0; row < rows; ++row) {
      double mean = 0, alpha = 0;
      for (auto j = order.begin() + count; j != order.end(); ++j)
        mean += weights(row, *j) / static_cast<double>(columns - count);
      for (auto j = order.begin() + count; j != order.end(); ++j)
        alpha += std::fabs(weights(row, *j) - mean) / static_cast<double>(columns - count);
      quantizer.mean.push_back(mean);
      quantizer.alpha.push_back(alpha);
    }
    if (last)
      std::rotate(order.begin(), order.begin() + count, order.end());
    quantizer.salient = last ? columns - count : 0;
    SweepResult result =
        sweepColumns(weights, factorHessian(hessian, {}, order), {128, {quantizer.salient}}, quantizer);
    expectNear(result.quantized, oracle.expected("Q").data, oracle.tolerance());
    Matrix quantized{rows, columns, result.quantized};
    EXPECT_NEAR(hessianError(weights, quantized, hessian), oracle.number("expected", "error"), oracle.tolerance());
  }
}

TEST(Targets, AreTheLeastSquaresMap) {
  Matrix weights = randomWeights(6, 12), inputs = randomInputs(80, 12), quantized = inputs;
  for (size_t i = 0; i < quantized.data.size(); ++i)
    quantized.data[i] = 0.5 * std::nearbyint(quantized.data[i] / 0.5) + 0.1 * std::sin(static_cast<double>(i));
  Matrix hessian = moment(quantized, quantized), cross = moment(inputs, quantized);
  FactorOptions options;
  options.damping = 0;
  options.actOrder = true;
  HessianFactor factor = factorHessian(hessian, options);
  Matrix targets{6, 12, correctTargets(weights, hessian, cross, factor)};
  // Without damping: (W'·x̂ − W·x) is orthogonal to x̂, that is W'·H = W·C.
  for (int64_t row = 0; row < 6; ++row)
    for (int64_t j = 0; j < 12; ++j) {
      double left = 0, right = 0;
      for (int64_t k = 0; k < 12; ++k) {
        left += targets(row, k) * hessian(k, j);
        right += weights(row, k) * cross(k, j);
      }
      EXPECT_NEAR(left, right, 1e-9);
    }
  // Inputs that did not change need no correction.
  expectNear(correctTargets(weights, hessian, hessian, factorHessian(hessian, {})), weights.data, 1e-12);
}
} // namespace
