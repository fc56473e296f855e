//===- DataTest.cpp - Calibration data ------------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Data.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "gtest/gtest.h"
#include <cmath>
#include <set>

using namespace quanta;
using namespace llvm;

namespace {
struct TemporaryFolder {
  SmallString<128> path;
  TemporaryFolder() { EXPECT_FALSE(sys::fs::createUniqueDirectory("quanta-calibrate", path)); }
  ~TemporaryFolder() { sys::fs::remove_directories(path); }
  std::string operator/(StringRef name) const { return (path + "/" + name).str(); }
};

Array floats(std::vector<int64_t> shape, float first = 0) {
  Array array = Array::zeros(DType::F32, shape);
  for (int64_t i = 0; i < array.getElementCount(); ++i)
    reinterpret_cast<float *>(array.mutableData())[i] = first + static_cast<float>(i);
  return array;
}

Array tokens(int64_t count) {
  Array array = Array::zeros(DType::I32, {count});
  for (int64_t i = 0; i < count; ++i)
    reinterpret_cast<int32_t *>(array.mutableData())[i] = static_cast<int32_t>(i);
  return array;
}

std::string failure(CalibrationData &data) {
  for (;;) {
    auto batch = data.next();
    if (!batch)
      return toString(batch.takeError());
    if (!*batch)
      return "no error";
  }
}

std::string failureOf(StringRef path, const CalibrationOptions &options, ArrayRef<Port> inputs) {
  auto data = CalibrationData::open(path, options, inputs);
  return data ? failure(*data) : toString(data.takeError());
}

CalibrationOptions withBatch(int64_t batch, int64_t samples = 128) {
  CalibrationOptions options;
  options.batch = batch;
  options.samples = samples;
  return options;
}

const Port kImage = {"x", QUANTA_F32, {-1, 3}};

TEST(CalibrationData, FilesCasesAndRowsInOrder) {
  TemporaryFolder folder;
  cantFail(writeNpz(folder / "b.npz", {{"x", floats({3, 3}, 100)}, {"label", tokens(3)}}));
  cantFail(writeNpz(folder / "a.npz", {{"one.x", floats({2, 3})}, {"two.x", floats({1, 3}, 50)}}));
  auto data = cantFail(CalibrationData::open(folder.path, withBatch(2, 5), kImage));
  for (int round = 0; round < 2; ++round) {
    std::vector<std::pair<int64_t, float>> seen; // samples and the first element of each batch
    int64_t number = 0, sample = 0;
    while (auto batch = cantFail(data.next())) {
      EXPECT_EQ(batch->number, number++);
      EXPECT_EQ(batch->firstSample, sample);
      sample += batch->samples;
      EXPECT_EQ(batch->arrays.at("x").getShape()[0], batch->samples);
      seen.emplace_back(batch->samples, batch->arrays.at("x").as<float>()[0]);
    }
    EXPECT_EQ(seen, (std::vector<std::pair<int64_t, float>>{{2, 0}, {1, 50}, {2, 100}}));
    data.seek(0);
  }
  data.seek(2);
  EXPECT_EQ(cantFail(data.next())->arrays.at("x").as<float>()[0], 100);
  EXPECT_EQ(cantFail(data.getFingerprint()),
            cantFail(cantFail(CalibrationData::open(folder.path, withBatch(2, 5), kImage)).getFingerprint()));
  EXPECT_NE(cantFail(data.getFingerprint()),
            cantFail(cantFail(CalibrationData::open(folder.path, withBatch(2, 4), kImage)).getFingerprint()));
}

TEST(CalibrationData, FixedBatch) {
  TemporaryFolder folder;
  cantFail(writeNpz(folder / "a.npz", {{"x", floats({5, 3})}}));
  auto data = cantFail(CalibrationData::open(folder / "a.npz", withBatch(1), Port{"x", QUANTA_F32, {2, 3}}));
  int batches = 0;
  for (; auto batch = cantFail(data.next()); ++batches)
    EXPECT_EQ(batch->samples, 2);
  EXPECT_EQ(batches, 2);
  EXPECT_NE(failureOf(folder / "a.npz", withBatch(1), Port{"x", QUANTA_F32, {8, 3}})
                .find("batch 0: input 'x' is 5x3xf32, but the model takes 8x3xf32"),
            std::string::npos);
}

TEST(CalibrationData, RefusesWithTheBatchNumber) {
  TemporaryFolder folder;
  for (float bad : {std::nanf(""), INFINITY}) {
    Array array = floats({6, 3});
    reinterpret_cast<float *>(array.mutableData())[13] = bad;
    cantFail(writeNpz(folder / "bad.npz", {{"x", array}}));
    EXPECT_EQ(failureOf(folder / "bad.npz", withBatch(2), kImage),
              "'" + folder / "bad.npz" + "', batch 2: input 'x' holds " +
                  (std::isnan(bad) ? "NaN" : "an infinite value") +
                  " at element 1; remove the sample or repair the data");
  }
  auto refuses = [&](const NpzEntries &entries, const Port &port, const std::string &message) {
    cantFail(writeNpz(folder / "a.npz", entries));
    std::string found = failureOf(folder / "a.npz", withBatch(2, 300), port);
    EXPECT_NE(found.find(message), std::string::npos) << found;
  };
  refuses({{"x", floats({6, 4})}}, kImage, "batch 0: input 'x' is 2x4xf32, but the model takes ?x3xf32");
  refuses({{"x", floats({6, 3, 1})}}, kImage, "batch 0: input 'x' is 2x3x1xf32");
  refuses({{"x", floats({6, 3})}}, {"x", QUANTA_I64, {-1, 3}},
          "batch 0: input 'x' is 2x3xf32, but the model takes ?x3xi64");
  refuses({{"y", floats({6, 3})}}, kImage, "holds none of the model's inputs: x");
  refuses({{"x", floats({0, 3})}}, kImage, "hold no samples");
  refuses({{"x", floats({1, 1}, 1e6f)}}, {"x", QUANTA_F16, {-1, -1}},
          "batch 0: input 'x' as f16 holds an infinite value");
  refuses({{"x", tokens(300).reshaped({300, 1})}}, {"x", QUANTA_I8, {-1, 1}}, "batch 64: input 'x' does not fit");
  EXPECT_NE(failureOf(folder / "none.npz", {}, kImage).find("does not exist"), std::string::npos);
  EXPECT_NE(failureOf(folder / "a.npz", withBatch(1, 0), kImage).find("--calib-samples"), std::string::npos);
}

TEST(CalibrationData, MissingInputNamesTheCase) {
  TemporaryFolder folder;
  cantFail(writeNpz(folder / "a.npz", {{"c.x", floats({2, 3})}, {"c.y", floats({2, 3})}, {"d.x", floats({2, 3})}}));
  std::string found = failureOf(folder / "a.npz", withBatch(2), {kImage, Port{"y", QUANTA_F32, {-1, 3}}});
  EXPECT_NE(found.find("case 'd', batch 1: input 'y' (?x3xf32) is missing"), std::string::npos) << found;
}

TEST(CalibrationData, TokenWindows) {
  TemporaryFolder folder;
  cantFail(writeNpy(folder / "t.npy", tokens(1003)));
  CalibrationOptions options = withBatch(3, 10);
  options.window = 16;
  options.seed = 7;
  std::vector<Port> ports = {{"input_ids", QUANTA_I64, {-1, -1}},
                             {"attention_mask", QUANTA_BOOL, {-1, -1}},
                             {"position_ids", QUANTA_I32, {-1, -1}}};
  auto data = cantFail(CalibrationData::open(folder / "t.npy", options, ports));
  std::vector<int64_t> offsets = chooseWindows(1003, 16, 10, 7);
  int64_t sample = 0;
  while (auto batch = cantFail(data.next())) {
    EXPECT_EQ(batch->samples, std::min<int64_t>(3, 10 - sample));
    const Array &ids = batch->arrays.at("input_ids"), &mask = batch->arrays.at("attention_mask"),
                &positions = batch->arrays.at("position_ids");
    for (int64_t i = 0; i < ids.getElementCount(); ++i) {
      EXPECT_EQ(ids.getInt(i), offsets[static_cast<size_t>(sample + i / 16)] + i % 16);
      EXPECT_EQ(mask.getInt(i), 1);
      EXPECT_EQ(positions.getInt(i), i % 16);
    }
    sample += batch->samples;
  }
  EXPECT_EQ(sample, 10);
  ports[0].shape = {4, 8};
  EXPECT_NE(failureOf(folder / "t.npy", options, ports[0]).find("set --window to 8"), std::string::npos);
  options.window = 2000;
  EXPECT_NE(failureOf(folder / "t.npy", options, ports[1]).find("is a token stream, but input"), std::string::npos);
  ports[0].shape = {-1, -1};
  EXPECT_NE(failureOf(folder / "t.npy", options, ports[0]).find("choose a smaller --window"), std::string::npos);
}

TEST(CalibrationData, WindowsAreDeterministicAndDisjointWhileTheyLast) {
  for (auto [total, window] : {std::pair<int64_t, int64_t>{1000, 16}, {16, 16}, {17, 16}, {100, 1}}) {
    int64_t each = total / window;
    std::vector<int64_t> offsets = chooseWindows(total, window, 2 * each + 1, 3);
    EXPECT_EQ(offsets, chooseWindows(total, window, 2 * each + 1, 3));
    EXPECT_EQ(static_cast<int64_t>(offsets.size()), 2 * each + 1);
    for (int round = 0; round < 2; ++round) {
      std::set<int64_t> sorted(offsets.begin() + round * each, offsets.begin() + (round + 1) * each);
      ASSERT_EQ(static_cast<int64_t>(sorted.size()), each);
      EXPECT_GE(*sorted.begin(), 0);
      EXPECT_LE(*sorted.rbegin() + window, total);
      for (int64_t offset : sorted)
        EXPECT_EQ((offset - *sorted.begin()) % window, 0);
    }
  }
  EXPECT_NE(chooseWindows(1000, 16, 20, 1), chooseWindows(1000, 16, 20, 2));
  // Computed independently of this code; a change would change every calibrated model.
  EXPECT_EQ(chooseWindows(1005, 10, 6, 7), (std::vector<int64_t>{503, 433, 603, 483, 163, 843}));
}
} // namespace
