//===- TernaryTest.cpp - Weights of −α, 0 and α -------------------------------------------------------------------===//
#include "quanta/Solver/Ternary.h"
#include "Oracle.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
TEST(Ternary, Oracles) {
  for (auto [name, rule, scale] :
       {std::tuple<const char *, TernaryRule, const char *>{"absmean", TernaryRule::AbsMean, "gamma"},
        {"absmedian", TernaryRule::AbsMedian, "gamma"},
        {"twn", TernaryRule::Twn, "alpha"},
        {"optimal_ternary", TernaryRule::Optimal, "alpha"}}) {
    Oracle oracle("ternary", name);
    Matrix w = oracle.input("w"), codes = oracle.expected("codes");
    std::vector<float> weights = w.floats();
    MatrixView view(weights.data(), w.rows, w.columns);
    TernaryResult result = quantizeTernary(view, {rule, 0, false, false});
    for (double &code : codes.data)
      code += 1;
    expectNear(result.codes, codes.data, 0);
    EXPECT_NEAR(result.scales[0], oracle.number("expected", scale), 1e-7);
    if (rule == TernaryRule::AbsMean) {
      TernaryResult squares = quantizeTernary(view, {rule, -1, true, false});
      EXPECT_NEAR(squares.scales[0], oracle.number("expected", "ls_scale"), 1e-7);
    }
    if (rule == TernaryRule::Optimal) {
      double norm = 0;
      for (double value : w.data)
        norm += value * value;
      EXPECT_NEAR(result.error * norm, oracle.number("expected", "error"), 1e-6);
    }
  }
  Oracle pack("ternary", "pack");
  std::vector<uint8_t> codes;
  for (double trit : pack.input("trits").data)
    codes.push_back(static_cast<uint8_t>(trit + 1));
  expectNear(packTernary2(codes), pack.expected("pack2").data, 0);
  expectNear(packTernary243(codes), pack.expected("pack243").data, 0);

  Oracle powers("ternary", "pow2_round");
  Matrix w = powers.input("w"), rounded = powers.expected("Q"), exponents = powers.expected("exponent");
  for (size_t i = 0; i < w.data.size(); ++i) {
    double value = w.data[i];
    EXPECT_EQ(roundToPowerOfTwo(value, -6, 0), exponents.data[i]);
    EXPECT_EQ(value, rounded.data[i]);
  }
}

TEST(Ternary, PackingIsLossless) {
  std::vector<uint8_t> codes;
  for (int number = 0; number < 243; ++number)
    for (int digit = 0, rest = number; digit < 5; ++digit, rest /= 3)
      codes.push_back(static_cast<uint8_t>(rest % 3));
  for (int64_t count : {1215, 1214, 1213, 1212, 1211, 1, 0}) {
    codes.resize(static_cast<size_t>(count));
    EXPECT_EQ(unpackTernary243(packTernary243(codes), count), codes);
    EXPECT_EQ(unpackTernary2(packTernary2(codes), count), codes);
  }
}

/// All 3^n codes with their best scales.
double exhaustive(const std::vector<double> &w) {
  double best = INFINITY;
  int64_t count = 1;
  for (size_t i = 0; i < w.size(); ++i)
    count *= 3;
  for (int64_t number = 0; number < count; ++number) {
    double product = 0, kept = 0, error = 0;
    int64_t rest = number;
    for (double value : w) {
      int64_t code = rest % 3 - 1;
      product += value * code;
      kept += code * code;
      error += value * value;
      rest /= 3;
    }
    best = std::min(best, error - (kept > 0 ? product * product / kept : 0));
  }
  return best;
}

TEST(Ternary, OptimalIsOptimal) {
  for (unsigned seed = 1; seed < 20; ++seed) {
    Matrix w = randomWeights(1, 8, seed);
    std::vector<float> weights = w.floats();
    double norm = 0;
    for (double value : w.data)
      norm += value * value;
    TernaryResult result = quantizeTernary({weights.data(), 1, 8}, {TernaryRule::Optimal, 0, false, false});
    EXPECT_NEAR(result.error * norm, exhaustive(w.data), 1e-7);
    for (TernaryRule rule : {TernaryRule::AbsMean, TernaryRule::AbsMedian, TernaryRule::Twn})
      EXPECT_LE(result.error, quantizeTernary({weights.data(), 1, 8}, {rule, 0, true, false}).error + 1e-7);
  }
}

TEST(Ternary, GroupsAndBits) {
  Matrix w = randomWeights(4, 21);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 4, 21);
  for (int64_t group : {-1, 0, 8}) {
    TernaryResult result = quantizeTernary(view, {TernaryRule::Optimal, group, false, true});
    int64_t scales = group < 0 ? 1 : group ? 12 : 4;
    EXPECT_EQ(result.storedBits(), 4 * 5 * 8 + 16 * scales);
    EXPECT_LT(result.error, 0.5);
  }
  TernaryResult grouped = quantizeTernary(view, {TernaryRule::Optimal, 8, false, true});
  TernaryResult part = quantizeTernary(view.block(1, 8, 1, 8), {TernaryRule::Optimal, 0, false, true});
  EXPECT_EQ(grouped.scales[1 * 3 + 1], part.scales[0]);
  std::vector<float> zeros(5, 0.0f), bad = {1, NAN};
  for (TernaryRule rule : {TernaryRule::AbsMean, TernaryRule::AbsMedian, TernaryRule::Twn, TernaryRule::Optimal}) {
    TernaryResult zero = quantizeTernary({zeros.data(), 1, 5}, {rule, 0, true, true});
    EXPECT_EQ(zero.codes, std::vector<uint8_t>(5, 1));
    EXPECT_EQ(zero.error, 0);
    EXPECT_TRUE(quantizeTernary({bad.data(), 1, 2}, {rule, 0, false, true}).nonFinite);
    EXPECT_TRUE(quantizeTernary({nullptr, 3, 0}, {rule, 0, false, true}).codes.empty());
  }
}

TEST(Ternary, RefinementLowersTheLoss) {
  Matrix w = randomWeights(6, 24), x = randomInputs(96, 24), h = moment(x, x);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 6, 24);
  for (TernaryRule rule : {TernaryRule::AbsMean, TernaryRule::Optimal}) {
    TernaryResult result = quantizeTernary(view, {rule, 0, false, false});
    auto loss = [&] {
      Matrix decoded{6, 24, {}};
      for (int64_t i = 0; i < 6 * 24; ++i)
        decoded.data.push_back(result.decode(i / 24, i % 24));
      return hessianError(w, decoded, h);
    };
    double before = loss();
    for (int i = 0; i < 4; ++i) {
      double after = refineTernary(view, h, result, 1);
      EXPECT_NEAR(after, loss(), 1e-9);
      EXPECT_LE(after, before * (1 + 1e-6));
      before = after;
    }
  }
}
} // namespace
