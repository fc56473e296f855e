//===- SketchTest.cpp -----------------------------------------------------------------------------------------------------===//
#include "quanta/Solver/Sketch.h"
#include "Values.h"
#include "quanta/Solver/UniformGrid.h"
#include <random>

using namespace quanta;
using quanta::test::Values;
using quanta::test::expectNear;

namespace {

TEST(SketchTest, EstimatesScoresAsTheReference) {
  Values oracle("kv.json");
  std::vector<double> q = oracle("qjl.q"), k = oracle("qjl.k"), s = oracle("qjl.S");
  MatrixViewF64 projection(s.data(), 16, 8);
  KeySketch sketch = sketchKey(projection, k.data());
  EXPECT_EQ(std::vector<double>(sketch.bits.begin(), sketch.bits.end()), oracle("qjl.bits"));
  EXPECT_NEAR(sketch.norm, oracle("qjl.norm")[0], 1e-9);
  EXPECT_NEAR(estimateScore(project(projection, q.data()), sketch), oracle("qjl.score")[0], 1e-9);
}

TEST(SketchTest, HasNoBias) {
  Values oracle("kv.json");
  std::vector<double> q = oracle("qjl.q"), k = oracle("qjl.k");
  constexpr int64_t kRows = 40000;
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  std::vector<double> s(kRows * 8);
  for (double &value : s)
    value = normal(random);
  MatrixViewF64 projection(s.data(), kRows, 8);
  double exact = oracle("qjl.exact")[0], norm = 0;
  for (double x : q)
    norm += x * x;
  KeySketch sketch = sketchKey(projection, k.data());
  double deviation = std::sqrt(std::acos(-1.0) / 2 / kRows * norm) * sketch.norm;
  EXPECT_NEAR(estimateScore(project(projection, q.data()), sketch), exact, 4 * deviation);
  EXPECT_LT(4 * deviation, exact / 4); // or the test would say little
}

TEST(SketchTest, DirectionsAreOrthogonalInBlocks) {
  constexpr int64_t kChannels = 24, kCopies = 3;
  std::vector<double> s = makeSketch(kChannels, kCopies, 7);
  ASSERT_EQ(s.size(), size_t(kCopies * kChannels * kChannels));
  for (int64_t row = 0; row < kCopies * kChannels; ++row)
    for (int64_t other = row / kChannels * kChannels; other <= row; ++other) {
      double dot = 0;
      for (int64_t i = 0; i < kChannels; ++i)
        dot += s[row * kChannels + i] * s[other * kChannels + i];
      EXPECT_NEAR(dot, row == other ? kChannels : 0.0, 1e-9);
    }
  EXPECT_EQ(s, makeSketch(kChannels, kCopies, 7));
  EXPECT_NE(s, makeSketch(kChannels, kCopies, 8));
}

/// Many blocks estimate a product, up to the factor 1 + 1/(2d) that the header names.
TEST(SketchTest, OrthogonalDirectionsEstimateScores) {
  Values oracle("kv.json");
  std::vector<double> q = oracle("qjl.q"), k = oracle("qjl.k");
  constexpr int64_t kCopies = 40000;
  std::vector<double> s = makeSketch(8, kCopies, 3);
  MatrixViewF64 projection(s.data(), kCopies * 8, 8);
  double exact = oracle("qjl.exact")[0], estimate = estimateScore(project(projection, q.data()), sketchKey(projection, k.data()));
  EXPECT_GT(estimate, exact);
  EXPECT_LT(estimate, exact * (1 + 1.0 / 16));
}

TEST(SketchTest, AbsorbsLatentKeysAsTheReference) {
  Values oracle("latent.json");
  std::vector<double> a = oracle("A"), b = oracle("B"), x = oracle("x"), q = oracle("q"), latents, scores;
  for (size_t token = 0; token < 4; ++token)
    for (double z : project({b.data(), 3, 6}, &x[token * 6]))
      latents.push_back(z);
  expectNear(latents, oracle("latent"));
  std::vector<double> absorbed = absorbIntoQuery({a.data(), 6, 3}, q.data());
  expectNear(absorbed, oracle("q_absorbed"));
  for (size_t token = 0; token < 4; ++token)
    scores.push_back(absorbed[0] * latents[token * 3] + absorbed[1] * latents[token * 3 + 1] + absorbed[2] * latents[token * 3 + 2]);
  expectNear(scores, oracle("scores"));
}

/// KIVI's grids of a group are this encoding's: the least value and (greatest − least) / (2^bits − 1).
TEST(SketchTest, GroupsOfACacheAsTheReference) {
  Values oracle("kv.json");
  std::vector<float> x = oracle.floats("kivi_group_last_axis.x");
  for (unsigned bits : {2u, 4u}) {
    std::string name = "kivi_group_last_axis.b" + std::to_string(bits);
    UniformOptions options;
    options.bits = bits;
    options.zero = UniformZero::Offset;
    options.halfScale = false;
    UniformResult result = quantizeRtn({x.data(), 4, 8}, options);
    EXPECT_EQ(std::vector<double>(result.codes.begin(), result.codes.end()), oracle(name + ".q"));
    expectNear({result.scales.begin(), result.scales.end()}, oracle(name + ".s"), 1e-6);
    expectNear({result.offsets.begin(), result.offsets.end()}, oracle(name + ".mn"), 1e-6);
    std::vector<float> decoded(32);
    result.decode(decoded.data());
    expectNear({decoded.begin(), decoded.end()}, oracle(name + ".deq"), 1e-5);
  }
}

} // namespace
