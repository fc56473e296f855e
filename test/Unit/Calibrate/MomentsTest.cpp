//===- MomentsTest.cpp - Moments of a layer's input -----------------------------------------------------------------------===//
#include "quanta/Calibrate/MomentSums.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace quanta;
using namespace llvm;

namespace {
struct TemporaryFile {
  SmallString<128> path;
  TemporaryFile() { EXPECT_FALSE(sys::fs::createTemporaryFile("quanta-moments", "qmom", path)); }
  ~TemporaryFile() { sys::fs::remove(path); }
};

LayerMoments makeMoments(bool cross) {
  LayerMoments moments;
  moments.channels = 2;
  moments.blocks = 2;
  moments.fitRows = 7;
  moments.heldOutRows = 1;
  moments.fit = {1, 2, 2, 5, 1.5, 0, 0, 3};
  moments.heldOut = {2, 1, 1, 4, 2.5, 1, 1, 7};
  if (cross)
    moments.cross = {1, 2, 3, 4, 5, 6, 7, 8};
  moments.absMax = {1, 2, 3, 4};
  moments.absMean = {0.5f, 0.25f, 1, 2};
  return moments;
}

TEST(Moments, RoundTrip) {
  for (bool cross : {false, true}) {
    TemporaryFile file;
    LayerMoments moments = makeMoments(cross);
    cantFail(saveMoments(moments, file.path));
    LayerMoments loaded = cantFail(loadMoments(file.path));
    EXPECT_EQ(loaded.channels, moments.channels);
    EXPECT_EQ(loaded.blocks, moments.blocks);
    EXPECT_EQ(loaded.fitRows, moments.fitRows);
    EXPECT_EQ(loaded.heldOutRows, moments.heldOutRows);
    EXPECT_EQ(loaded.fit, moments.fit);
    EXPECT_EQ(loaded.heldOut, moments.heldOut);
    EXPECT_EQ(loaded.cross, moments.cross);
    EXPECT_EQ(loaded.absMax, moments.absMax);
    EXPECT_EQ(loaded.absMean, moments.absMean);
  }
}

TEST(Moments, RefusesDamagedFiles) {
  TemporaryFile file;
  cantFail(saveMoments(makeMoments(true), file.path));
  std::string bytes = (*MemoryBuffer::getFile(file.path))->getBuffer().str();
  auto refuses = [&](StringRef text) {
    std::error_code code;
    raw_fd_ostream(file.path, code) << text;
    return errorToBool(loadMoments(file.path).takeError());
  };
  EXPECT_FALSE(refuses(bytes));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(refuses(StringRef(bytes).take_front(size))) << size;
  EXPECT_TRUE(refuses(bytes + "x"));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x40);
    EXPECT_TRUE(refuses(changed)) << at;
  }
}

std::vector<float> makeRows(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float &value : values)
    value = normal(random);
  return values;
}

TEST(MomentSums, AgreesWithPlainLoops) {
  const int64_t channels = 37, blocks = 3, width = channels * blocks, each = 150, samples = 16;
  auto rows = makeRows(samples * each, width, 1), reference = makeRows(samples * each, width, 2);
  MomentSums sums(channels, blocks, /*cross=*/true);
  std::vector<double> expected[3];
  for (auto &matrix : expected)
    matrix.resize(static_cast<size_t>(blocks * channels * channels));
  std::vector<double> absSum(width), absMax(width);
  for (int64_t s = 0; s < samples; ++s) {
    bool heldOut = s % 8 == 7;
    MatrixView x(rows.data() + s * each * width, each, width), y(reference.data() + s * each * width, each, width);
    sums.add(x, y, heldOut);
    for (int64_t r = 0; r < each; ++r)
      for (int64_t b = 0; b < blocks; ++b)
        for (int64_t i = 0; i < channels; ++i) {
          double xi = x(r, b * channels + i), yi = y(r, b * channels + i);
          absSum[static_cast<size_t>(b * channels + i)] += std::fabs(xi);
          absMax[static_cast<size_t>(b * channels + i)] = std::max(absMax[static_cast<size_t>(b * channels + i)], std::fabs(xi));
          for (int64_t j = 0; j < channels; ++j) {
            size_t at = static_cast<size_t>((b * channels + i) * channels + j);
            expected[heldOut][at] += xi * x(r, b * channels + j);
            if (!heldOut)
              expected[2][at] += yi * x(r, b * channels + j);
          }
        }
  }
  EXPECT_TRUE(sums.isFinite());
  LayerMoments moments = sums.finish();
  EXPECT_EQ(moments.fitRows, 14u * each);
  EXPECT_EQ(moments.heldOutRows, 2u * each);
  for (size_t at = 0; at < expected[0].size(); ++at) {
    EXPECT_NEAR(moments.fit[at], expected[0][at] / (14 * each), 1e-5);
    EXPECT_NEAR(moments.heldOut[at], expected[1][at] / (2 * each), 1e-5);
    EXPECT_NEAR(moments.cross[at], expected[2][at] / (14 * each), 1e-5);
  }
  for (size_t c = 0; c < width; ++c) {
    EXPECT_FLOAT_EQ(moments.absMax[c], static_cast<float>(absMax[c]));
    EXPECT_FLOAT_EQ(moments.absMean[c], static_cast<float>(absSum[c] / (samples * each)));
  }
}

TEST(MomentSums, DoesNotDependOnBatches) {
  const int64_t channels = 40, rows = 2500;
  auto values = makeRows(rows, channels, 3);
  LayerMoments expected;
  for (int64_t batch : {rows, int64_t(1), int64_t(7), int64_t(1024), int64_t(1500)}) {
    MomentSums sums(channels, 1, true);
    for (int64_t begin = 0; begin < rows; begin += batch)
      sums.add({values.data() + begin * channels, std::min(batch, rows - begin), channels}, std::nullopt, false);
    LayerMoments moments = sums.finish();
    if (batch == rows)
      expected = moments;
    EXPECT_EQ(moments.fit, expected.fit) << batch;
    EXPECT_EQ(moments.cross, expected.cross) << batch;
    EXPECT_EQ(moments.absMean, expected.absMean) << batch;
    // Without a reference the float model has the same rows.
    for (size_t at = 0; at < moments.fit.size(); ++at)
      EXPECT_NEAR(moments.cross[at], moments.fit[at], 1e-12);
  }
}

TEST(MomentSums, NoticesWhatIsNotFinite) {
  MomentSums sums(2, 1, false);
  float row[] = {1, NAN};
  sums.add({row, 1, 2}, std::nullopt, true);
  EXPECT_FALSE(sums.isFinite());
}

TEST(LayerRows, PatchesOfAConvolution) {
  // Two samples, two channels of 3 x 4; a window of 2 x 3, dilated downwards, strided to the right.
  std::vector<float> values(2 * 2 * 3 * 4);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i + 1);
  Array input = Array::copyOf<float>(DType::F32, {2, 2, 3, 4}, values);
  Window window{{2, 3}, {1, 2}, {2, 1}, {1, 1, 0, 1}};
  std::vector<float> storage;
  MatrixView rows = cantFail(getLayerRows(input, window, 1, 2, 2, storage));
  ASSERT_EQ(rows.rows(), 2 * 2);
  ASSERT_EQ(rows.columns(), 2 * 2 * 3);
  for (int64_t y = 0; y < 2; ++y)
    for (int64_t x = 0; x < 2; ++x)
      for (int64_t c = 0; c < 2; ++c)
        for (int64_t ky = 0; ky < 2; ++ky)
          for (int64_t kx = 0; kx < 3; ++kx) {
            int64_t iy = y + 2 * ky - 1, ix = 2 * x + kx - 1;
            bool inside = iy >= 0 && iy < 3 && ix >= 0 && ix < 4;
            float expected = inside ? values[static_cast<size_t>(((2 + c) * 3 + iy) * 4 + ix)] : 0;
            EXPECT_EQ(rows(y * 2 + x, (c * 2 + ky) * 3 + kx), expected);
          }
}

TEST(LayerRows, SamplesShareTheFirstDimension) {
  Array input = Array::zeros(DType::F32, {6, 5, 4});
  std::vector<float> storage;
  MatrixView rows = cantFail(getLayerRows(input, std::nullopt, 1, 2, 3, storage));
  EXPECT_EQ(rows.rows(), 10);
  EXPECT_EQ(rows.columns(), 4);
  EXPECT_EQ(rows.row(0), reinterpret_cast<const float *>(input.data()) + 40);
  EXPECT_NE(toString(getLayerRows(input, std::nullopt, 0, 1, 4, storage).takeError()).find("set the batch to 1"), std::string::npos);
}
} // namespace
