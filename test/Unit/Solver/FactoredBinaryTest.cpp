//===- FactoredBinaryTest.cpp - Weights as products of signs --------------------------------------------------------===//
#include "quanta/Solver/FactoredBinary.h"
#include "Oracle.h"
#include "quanta/Solver/UniformGrid.h"
#include <cmath>

using namespace quanta;
using namespace quanta::test;

namespace {
std::vector<uint8_t> signs(const Matrix &matrix) {
  std::vector<uint8_t> result;
  for (double value : matrix.data)
    result.push_back(value >= 0);
  return result;
}

TEST(FactoredBinary, MagnitudeOracles) {
  Oracle one("lowrank_binary", "svid_rank1"), stack("lowrank_binary", "bitstack_3x_k2");
  SignMagnitude single = factorMagnitudes(one.input("W"));
  EXPECT_EQ(single.signs, signs(one.expected("sign")));
  expectNear(single.decode(), one.expected("Q").data, 1e-9);
  EXPECT_EQ(single.storedBits(), 6 * 8 + 16 * (6 + 8));

  Matrix rest = stack.input("W");
  std::vector<SignMagnitude> blocks = stackMagnitudes(rest, 3, 2);
  ASSERT_EQ(blocks.size(), 3u);
  std::vector<double> norms = stack.expected("residual_norms").data;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(blocks[i].signs, signs(stack.expected("signs_" + std::to_string(i))));
    std::vector<double> values = blocks[i].decode();
    expectNear(values, stack.expected("block_products_" + std::to_string(i)).data, 1e-8);
    double squares = 0;
    for (size_t k = 0; k < values.size(); ++k) {
      rest.data[k] -= values[k];
      squares += rest.data[k] * rest.data[k];
    }
    EXPECT_NEAR(std::sqrt(squares), norms[i + 1], 1e-8);
    EXPECT_LT(norms[i + 1], norms[i]);
  }
}

TEST(FactoredBinary, StoredBitsOracles) {
  auto perWeight = [](const Oracle &oracle, auto product) {
    product.rows = static_cast<int64_t>(oracle.number("params", "n"));
    product.columns = static_cast<int64_t>(oracle.number("params", "m"));
    double rank = oracle.number("params", "r");
    product.rank = std::isnan(rank) ? 1 : static_cast<int64_t>(rank);
    return static_cast<double>(product.storedBits()) / (double(product.rows) * double(product.columns));
  };
  Oracle one("lowrank_binary", "bpw_4096_onebit"), block("lowrank_binary", "bpw_4096_bitstack_block");
  Oracle factored("lowrank_binary", "bpw_4096_nanoquant");
  EXPECT_EQ(perWeight(one, SignMagnitude()), one.number("expected", "bpw"));
  EXPECT_EQ(perWeight(block, SignMagnitude()), block.number("expected", "bpw"));
  EXPECT_EQ(perWeight(factored, FactoredBinary()), factored.number("expected", "bpw"));
}

/// FDB's two planes of 0 and 1 with scales 2s and −s are the bits of a code of two bits with an offset, the lower one inverted.
TEST(FactoredBinary, TwoPlanesAreTwoBits) {
  Oracle oracle("lowrank_binary", "fdb_from_2bit");
  auto scale = static_cast<float>(oracle.number("params", "s"));
  UniformOptions format;
  format.bits = 2;
  format.zero = UniformZero::Offset;
  UniformGrid grid;
  grid.scale = scale;
  grid.offset = -scale;
  std::vector<double> levels = oracle.input("codes").data, first, second, values;
  for (double level : levels) {
    auto code = static_cast<uint8_t>(level + 1);
    first.push_back(code >> 1);
    second.push_back(1 - (code & 1));
    values.push_back(decodeUniform(code, grid, format));
  }
  expectNear(first, oracle.expected("b1").data, 0);
  expectNear(second, oracle.expected("b2").data, 0);
  expectNear(values, oracle.expected("Q").data, 0);
}

TEST(FactoredBinary, FactorOracle) {
  Oracle oracle("lowrank_binary", "lb_admm_rank4_20it");
  FactoredBinaryOptions options;
  options.rank = 4;
  options.iterations = 20;
  options.left = oracle.input("A0").data;
  options.right = oracle.input("B0").data;
  FactoredBinary result = factorBinary(oracle.input("W"), oracle.input("d_in").data, options);
  EXPECT_EQ(result.left, signs(oracle.expected("SA")));
  EXPECT_EQ(result.right, signs(oracle.expected("SB")));
  expectNear(result.rowScales, oracle.expected("s1").data, 1e-7);
  expectNear(result.columnScales, oracle.expected("s2").data, 1e-7);
  expectNear(result.decode(), oracle.expected("Q").data, 1e-7);
  EXPECT_NEAR(result.error, oracle.expected("errors").data.back(), 1e-7);
}

TEST(FactoredBinary, RefinementOracle) {
  Oracle oracle("lowrank_binary", "factor_scales_and_sign_cd");
  Matrix w = oracle.input("W"), h = oracle.input("H"), a = oracle.input("SA"), b = oracle.input("SB");
  FactoredBinary result{w.rows, w.columns, a.columns, signs(a), signs(b), {}, {}, 0};
  result.rowScales.assign(static_cast<size_t>(w.rows), 1);
  result.columnScales.assign(static_cast<size_t>(w.columns), 1);
  std::vector<double> errors = refineFactoredBinary(w, h, result, 2, 1);
  std::vector<double> expected = oracle.expected("errors").data;
  expected.push_back(oracle.number("expected", "error_after"));
  expectNear(errors, expected, 1e-6);
  EXPECT_EQ(result.left, signs(oracle.expected("SA_after")));
  expectNear(result.rowScales, oracle.expected("s1").data, 1e-6);
  expectNear(result.columnScales, oracle.expected("s2").data, 1e-6);
}

TEST(FactoredBinary, RefinementIsMonotoneAndRanksFit) {
  for (double bits : {1.0, 2.0}) {
    Matrix w = randomWeights(48, 64), x = randomInputs(256, 64), h = moment(x, x);
    std::vector<double> diagonal;
    for (int64_t j = 0; j < 64; ++j)
      diagonal.push_back(h(j, j));
    FactoredBinaryOptions options;
    options.rank = factoredBinaryRank(48, 64, bits);
    FactoredBinary result = factorBinary(w, diagonal, options);
    EXPECT_LE(result.storedBits(), std::max(bits * 48 * 64, 48.0 * (48 + 64)));
    std::vector<double> values = result.decode();
    double last = hessianError(w, {values.data(), 48, 64}, h);
    for (double error : refineFactoredBinary(w, h, result, 2, 2)) {
      EXPECT_LE(error, last * (1 + 1e-9));
      last = error;
    }
    std::vector<double> zero(values.size());
    EXPECT_LT(last, (bits > 1 ? 0.2 : 0.4) * hessianError(w, {zero.data(), 48, 64}, h));
    EXPECT_EQ(factorBinary(w, diagonal, options).left, factorBinary(w, diagonal, options).left);
  }
  EXPECT_EQ(factoredBinaryRank(4096, 4096, 1), 2016);
  EXPECT_EQ(factoredBinaryRank(8, 8, 1), 32);
}
} // namespace
