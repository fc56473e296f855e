//===- StatisticsTest.cpp - Streaming statistics against naive sums -------------------------------------------------------===//
#include "quanta/Calibrate/Statistics.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace quanta;
using namespace llvm;

namespace {
std::vector<float> randomRows(int64_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.1f, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values)
    value = normal(random);
  return values;
}

StatisticsOptions makeOptions(int64_t channels, MomentPrecision moments = MomentPrecision::F64, int64_t block = 0) {
  StatisticsOptions options;
  options.channels = channels;
  options.samplesPerUnit = 2;
  options.bins = 64;
  options.moments = moments;
  options.momentBlock = block;
  return options;
}

std::string bytesOf(const Statistics &statistics) {
  std::string bytes;
  raw_string_ostream os(bytes);
  statistics.serialize(os);
  return bytes;
}

/// Samples [begin, end), each of its own scale, so that sums depend on their order.
void addSamples(Statistics &statistics, int64_t begin, int64_t end, int64_t rows) {
  int64_t channels = statistics.getOptions().channels;
  for (int64_t s = begin; s < end; ++s) {
    std::vector<float> values =
        randomRows(rows * channels, static_cast<unsigned>(s), std::ldexp(1.0f, int(s % 5) * 3 - 6));
    cantFail(statistics.add(s, {values.data(), rows, channels}));
  }
}

TEST(Statistics, NaiveSums) {
  for (std::pair<int64_t, int64_t> shape :
       {std::pair<int64_t, int64_t>{1, 1}, {1, 9}, {300, 1}, {7, 3}, {600, 75}, {40, 150}})
    for (MomentPrecision precision : {MomentPrecision::F32, MomentPrecision::F64})
      for (int64_t block : {0, 4})
        for (bool weighted : {false, true}) {
          int64_t rows = shape.first, channels = shape.second;
          StatisticsOptions options = makeOptions(channels, precision, block);
          auto statistics = cantFail(Statistics::create(options, 1));
          std::vector<float> values = randomRows(3 * rows * channels, 5), weights;
          if (weighted)
            for (float w : randomRows(3 * rows, 6))
              weights.push_back(std::fabs(w));
          cantFail(statistics.addBatch(0, 3, {values.data(), 3 * rows, channels}, weights));
          Totals totals = statistics.getTotals();
          EXPECT_EQ(totals.rows, static_cast<uint64_t>(3 * rows));
          auto at = [&](int64_t r, int64_t c) -> double { return values[static_cast<size_t>(r * channels + c)]; };
          for (int64_t c = 0; c < channels; ++c) {
            double low = 1e9, high = -1e9, absSum = 0, sum = 0;
            for (int64_t r = 0; r < 3 * rows; ++r) {
              low = std::min(low, at(r, c));
              high = std::max(high, at(r, c));
              absSum += std::fabs(at(r, c));
              sum += at(r, c);
            }
            size_t i = static_cast<size_t>(c);
            EXPECT_EQ(totals.min[i], low);
            EXPECT_EQ(totals.max[i], high);
            EXPECT_NEAR(totals.getAbsMean(c), absSum / double(3 * rows), 1e-12);
            EXPECT_NEAR(totals.sum[i], sum, 1e-9);
          }
          int64_t size = block ? block : channels;
          for (int64_t b = 0; b * size < channels; ++b)
            for (int half : {-1, 0, 1}) {
              int64_t n = std::min(size, channels - b * size);
              std::vector<double> matrix(static_cast<size_t>(n * n));
              expandMoment(totals, options, half, b, matrix);
              for (int64_t i = 0; i < n; ++i)
                for (int64_t j = 0; j < n; ++j) {
                  double sum = 0, size2 = 0;
                  for (int64_t r = 0; r < 3 * rows; ++r)
                    if (half < 0 || r / rows % 2 == half) {
                      double product = at(r, b * size + i) * at(r, b * size + j) *
                                       (weighted ? static_cast<double>(weights[static_cast<size_t>(r)]) : 1.0);
                      sum += product;
                      size2 += std::fabs(product);
                    }
                  // n·ε of the absolute sum bounds the error.
                  double bound =
                      size2 * double(3 * rows + 4) * (precision == MomentPrecision::F32 ? 6e-8 : 1.2e-16) + 1e-30;
                  ASSERT_NEAR(matrix[static_cast<size_t>(i * n + j)], sum, bound);
                }
            }
        }
}

TEST(Statistics, PartsGiveTheBytesOfOneRun) {
  for (MomentPrecision precision : {MomentPrecision::None, MomentPrecision::F32, MomentPrecision::F64}) {
    StatisticsOptions options = makeOptions(21, precision);
    auto make = [&](std::vector<std::pair<int64_t, int64_t>> ranges) {
      auto statistics = cantFail(Statistics::create(options, 1));
      for (auto [begin, end] : ranges)
        addSamples(statistics, begin, end, 5);
      return statistics;
    };
    std::string whole = bytesOf(make({{0, 11}}));
    Statistics a = make({{0, 2}, {6, 8}}), b = make({{2, 6}}), c = make({{10, 11}, {8, 10}});
    Statistics left = a, right = b, back = c;
    cantFail(left.merge(b));
    cantFail(left.merge(c)); // (a b) c
    cantFail(right.merge(c));
    Statistics first = a;
    cantFail(first.merge(right)); // a (b c)
    cantFail(back.merge(a));
    cantFail(back.merge(b));
    EXPECT_EQ(bytesOf(left), whole);
    EXPECT_EQ(bytesOf(first), whole);
    EXPECT_EQ(bytesOf(back), whole);
    EXPECT_EQ(left.getPrefix(), 11);
    EXPECT_EQ(a.getPrefix(), -1);
    EXPECT_TRUE(left.covers(a) && left.covers(c) && !a.covers(left) && !a.covers(b));

    std::string before = bytesOf(left);
    EXPECT_TRUE(errorToBool(left.merge(b))); // twice the same samples
    EXPECT_EQ(bytesOf(left), before);
    EXPECT_TRUE(errorToBool(left.merge(cantFail(Statistics::create(options, 2)))));
  }
}

TEST(Statistics, BatchesDoNotMatter) {
  auto one = cantFail(Statistics::create(makeOptions(6), 1)), many = one;
  std::vector<float> values = randomRows(8 * 5 * 6, 1);
  cantFail(one.addBatch(0, 8, {values.data(), 40, 6}));
  for (int64_t s = 0; s < 8; s += 4)
    cantFail(many.addBatch(s, 4, {values.data() + s * 30, 20, 6}));
  EXPECT_EQ(bytesOf(one), bytesOf(many));
}

TEST(Statistics, ResumesWithinAUnit) {
  auto whole = cantFail(Statistics::create(makeOptions(4), 1)), part = whole;
  addSamples(whole, 0, 7, 3);
  addSamples(part, 0, 3, 3);
  part = cantFail(Statistics::parse(bytesOf(part), "part"));
  EXPECT_EQ(part.getPrefix(), 3);
  addSamples(part, 3, 7, 3);
  EXPECT_EQ(bytesOf(part), bytesOf(whole));
}

TEST(Statistics, RefusesAndStaysAsItWas) {
  auto statistics = cantFail(Statistics::create(makeOptions(3), 1));
  addSamples(statistics, 0, 1, 2);
  std::string before = bytesOf(statistics);
  std::vector<float> values = randomRows(6, 1), weights = {1, -1};
  MatrixView rows(values.data(), 2, 3);
  EXPECT_TRUE(errorToBool(statistics.add(0, rows)));
  EXPECT_TRUE(errorToBool(statistics.add(3, rows))); // 2 comes first
  EXPECT_TRUE(errorToBool(statistics.add(-1, rows)));
  EXPECT_TRUE(errorToBool(statistics.add(1, rows, weights)));
  EXPECT_TRUE(errorToBool(statistics.add(1, {values.data(), 3, 2})));
  values[4] = std::nanf("");
  EXPECT_EQ(toString(statistics.add(1, rows)), "sample 1: channel 1 of row 1 is NaN");
  EXPECT_EQ(bytesOf(statistics), before);
  EXPECT_TRUE(errorToBool(Statistics::create(makeOptions(0), 1).takeError()));
}

TEST(Statistics, DamagedBytesAreErrors) {
  auto statistics = cantFail(Statistics::create(makeOptions(3), 77));
  addSamples(statistics, 0, 5, 2);
  std::string bytes = bytesOf(statistics);
  EXPECT_EQ(bytesOf(cantFail(Statistics::parse(bytes, "f"))), bytes);
  EXPECT_EQ(cantFail(Statistics::parseHeader(bytes, "f")), 77u);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_TRUE(errorToBool(Statistics::parse(StringRef(bytes).take_front(size), "f").takeError())) << size;
    std::string changed = bytes;
    changed[size] = static_cast<char>(changed[size] ^ 0x41);
    ASSERT_TRUE(errorToBool(Statistics::parse(changed, "f").takeError())) << size;
  }
  EXPECT_EQ(toString(Statistics::parse("PK..", "f").takeError()),
            "'f' is not a file of statistics; remove it to take the statistics again");
}

TEST(Histogram, OrderDoesNotMatter) {
  std::vector<float> small = randomRows(500, 1, 1e-3f), large = randomRows(500, 2, 100);
  large.insert(large.end(), {0.0f, -0.0f, 1e-40f, -1e-40f, 128, -128, 3e38f});
  Histogram a(64), b(64), c(64), empty(64);
  a.add(small);
  a.add(large);
  b.add(large);
  b.add(small);
  c.add(large);
  Histogram d(64);
  d.add(small);
  d.merge(c);
  d.merge(empty);
  empty.merge(d);
  for (double q : {0.0, 0.01, 0.3, 0.5, 0.99, 1.0})
    for (const Histogram *other : {&b, &d, &empty})
      EXPECT_EQ(a.quantile(q), other->quantile(q));
  EXPECT_EQ(a.getTotal(), 1007u);
  EXPECT_EQ(a.quantile(1), static_cast<double>(a.getMax()));
}

TEST(Histogram, QuantilesAndRanges) {
  std::vector<float> values = randomRows(20000, 3);
  Histogram histogram(8192);
  histogram.add(values);
  std::vector<float> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (double q : {0.01, 0.25, 0.5, 0.9, 0.999})
    EXPECT_NEAR(histogram.quantile(q), sorted[static_cast<size_t>(q * 20000)], 0.02);

  for (bool symmetric : {true, false}) {
    Histogram::Range range = histogram.bestRange(4, symmetric);
    auto errorOf = [&](double low, double high) {
      double step = (high - low) / (symmetric ? 14 : 15), zero = std::nearbyint(-low / step), sum = 0;
      for (float value : values) {
        double code = std::clamp(std::nearbyint(value / step) + zero, 0.0, symmetric ? 14.0 : 15.0);
        sum += std::pow(value - (code - zero) * step, 2);
      }
      return sum / 20000;
    };
    double low = histogram.getMin(), high = histogram.getMax(), best = 1e9;
    if (symmetric)
      low = -(high = std::max(-low, high));
    for (int percent = 1; percent <= 100; ++percent)
      best = std::min(best, errorOf(low * percent / 100, high * percent / 100));
    // Half a bin is 1/2000 of the deviation.
    EXPECT_NEAR(errorOf(range.low, range.high), best, 0.01 * best);
    EXPECT_NEAR(range.meanSquaredError, best, 0.01 * best);
  }
  Histogram zeros(8), none(8);
  zeros.add(std::vector<float>(5));
  EXPECT_EQ(zeros.quantile(0.5), 0);
  EXPECT_EQ(zeros.bestRange(8, true).high, 0);
  EXPECT_EQ(none.quantile(0.5), 0);
}
} // namespace
