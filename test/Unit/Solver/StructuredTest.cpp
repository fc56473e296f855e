//===- StructuredTest.cpp - A few columns of more bits, the others binary -----------------------------------------===//
#include "quanta/Solver/Structured.h"
#include "Oracle.h"
#include "quanta/Solver/Saliency.h"
#include <algorithm>
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
Matrix decode(const StructuredResult &result) {
  Matrix decoded{result.rows, result.columns, {}};
  for (int64_t i = 0; i < result.rows * result.columns; ++i)
    decoded.data.push_back(result.decode(i / result.columns, i % result.columns));
  return decoded;
}

std::vector<uint8_t> largestDiagonal(const Matrix &h, double fraction) {
  std::vector<double> diagonal;
  for (int64_t i = 0; i < h.rows; ++i)
    diagonal.push_back(h(i, i));
  return columnMask({diagonal.data(), 1, h.rows}, fraction);
}

TEST(Structured, Oracles) {
  for (auto [name, order] : {std::pair<const char *, StructuredOrder>{"last", StructuredOrder::SalientLast},
                             {"first", StructuredOrder::SalientFirst}}) {
    Oracle oracle("structured", std::string("structured_salient_") + name);
    Matrix w = oracle.input("W"), h = oracle.input("H");
    std::vector<float> weights = w.floats();
    StructuredOptions options;
    options.order = order;
    options.rounds = 0;
    options.halfScale = false;
    StructuredResult result =
        quantizeStructured({weights.data(), w.rows, w.columns}, h, largestDiagonal(h, 0.25), options);
    expectNear(decode(result).data, oracle.expected("Q").data, 1e-6);
    EXPECT_NEAR(result.loss, oracle.number("expected", "error"), 1e-4);
  }
  Oracle oracle("structured", "structured_refine");
  Matrix w = oracle.input("W"), h = oracle.input("H");
  std::vector<float> weights = w.floats();
  std::vector<double> errors = oracle.expected("errors_monotone").data;
  for (int rounds = 0; rounds <= 3; ++rounds) {
    StructuredOptions options;
    options.rounds = rounds;
    options.halfScale = false;
    StructuredResult result =
        quantizeStructured({weights.data(), w.rows, w.columns}, h, largestDiagonal(h, 0.25), options);
    EXPECT_NEAR(result.loss, errors[2 * rounds], 1e-4);
  }
}

/// PTQ1.61's initial parameters and signs; r1 and r2 are its learned factors of rows and columns.
TEST(Structured, PublishedInitialization) {
  Oracle oracle("ptq161", "init_dequant_grad");
  Matrix w = oracle.input("W"), h = oracle.input("H"), rows = oracle.input("r1"), columns = oracle.input("r2");
  Matrix mask = oracle.input("mask"), signs = oracle.expected("signs");
  std::vector<float> weights = w.floats();
  StructuredOptions options;
  options.scale = BinaryScale::Uncentred;
  options.fullRowRange = true;
  options.compensate = false;
  options.rounds = 0;
  options.halfScale = false;
  StructuredResult result =
      quantizeStructured({weights.data(), w.rows, w.columns}, h, {mask.data.begin(), mask.data.end()}, options);
  expectNear(result.means, oracle.expected("mu").data, 1e-6);
  expectNear(result.scales, oracle.expected("alpha").data, 1e-6);
  expectNear(result.highScales, oracle.expected("hi_scale").data, 1e-6);
  expectNear(result.highZeros, oracle.expected("hi_zero").data, 0);
  Matrix decoded = decode(result);
  for (int64_t row = 0; row < w.rows; ++row)
    for (int64_t column = 0; column < w.columns; ++column)
      if (!mask.data[column]) {
        EXPECT_EQ(result.codes[row * w.columns + column], signs(row, column) > 0);
        decoded.data[row * w.columns + column] *= rows.data[row] * columns.data[column];
      }
  expectNear(decoded.data, oracle.expected("Q").data, 1e-6);
  EXPECT_NEAR(hessianError(w, decoded, h), oracle.number("expected", "loss"), 1e-4);
}

TEST(Structured, RefinementIsMonotone) {
  Matrix w = randomWeights(16, 60), x = randomInputs(300, 60), h = moment(x, x);
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 16, 60);
  std::vector<uint8_t> salient = largestDiagonal(h, 0.2);
  StructuredOptions options;
  options.halfScale = false;
  for (StructuredOrder order : {StructuredOrder::SalientLast, StructuredOrder::SalientFirst, StructuredOrder::Natural})
    for (bool compensate : {true, false}) {
      options.order = order;
      options.compensate = compensate;
      double before = INFINITY, nearest = 0;
      for (int rounds = 0; rounds <= 5; ++rounds) {
        options.rounds = rounds;
        StructuredResult result = quantizeStructured(view, h, salient, options);
        EXPECT_NEAR(result.loss, hessianError(w, decode(result), h), 1e-9);
        EXPECT_LE(result.loss, before * (1 + 1e-6));
        before = result.loss;
        nearest = rounds == 0 ? result.loss : nearest;
      }
      EXPECT_LT(before, nearest);
    }
}

/// No single code of the salient part and no single sign can be changed for the better after enough rounds.
TEST(Structured, RefinementEndsInALocalMinimum) {
  Matrix w = randomWeights(5, 24), x = randomInputs(120, 24), h = moment(x, x);
  std::vector<float> weights = w.floats();
  StructuredOptions options;
  options.rounds = 30;
  options.halfScale = false;
  options.highBits = 3;
  StructuredResult result = quantizeStructured({weights.data(), 5, 24}, h, largestDiagonal(h, 0.3), options);
  for (int64_t i = 0; i < 5 * 24; ++i) {
    uint8_t kept = result.codes[i];
    for (int code = 0; code < (result.salient[i % 24] ? 8 : 2); ++code) {
      result.codes[i] = static_cast<uint8_t>(code);
      EXPECT_GE(hessianError(w, decode(result), h), result.loss * (1 - 1e-6));
    }
    result.codes[i] = kept;
  }
}

TEST(Structured, BitsAndEdges) {
  StructuredResult shape;
  shape.rows = shape.columns = 4096;
  shape.salient.assign(4096, 0);
  std::fill_n(shape.salient.begin(), 820, 1); // ⌊0.2·4096⌋ + 1
  // PTQ1.61 adds 16 bits a row and column for r1 and r2.
  double bits = static_cast<double>(shape.storedBits() + 2 * 16 * 4096) / 4096 / 4096;
  EXPECT_NEAR(bits, Oracle("ptq161", "bits_4096").number("expected", "exact"), 1e-12);

  Matrix w = randomWeights(3, 8), x = randomInputs(40, 8), h = moment(x, x);
  for (int64_t i = 0; i < 8; ++i)
    h.data[3 * 8 + i] = h.data[i * 8 + 3] = 0; // a dead column
  std::vector<float> weights = w.floats();
  MatrixView view(weights.data(), 3, 8);
  for (uint8_t all : {0, 1}) {
    StructuredResult result = quantizeStructured(view, h, std::vector<uint8_t>(8, all), {});
    EXPECT_LT(result.loss, 0.7 * hessianError(w, Matrix{3, 8, std::vector<double>(24)}, h));
    EXPECT_FALSE(result.needsF32Scale);
  }
  std::vector<float> zeros(24, 0.0f), bad(24, NAN);
  StructuredResult zero = quantizeStructured({zeros.data(), 3, 8}, h, largestDiagonal(h, 0.25), {});
  EXPECT_EQ(zero.error, 0);
  EXPECT_EQ(decode(zero).data, std::vector<double>(24, 0.0));
  EXPECT_TRUE(quantizeStructured({bad.data(), 3, 8}, h, largestDiagonal(h, 0.25), {}).nonFinite);
  EXPECT_TRUE(quantizeStructured({nullptr, 0, 8}, h, largestDiagonal(h, 0.25), {}).codes.empty());
}
} // namespace
