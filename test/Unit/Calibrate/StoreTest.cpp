//===- StoreTest.cpp - Statistics on disk ---------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Store.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"

using namespace quanta;
using namespace llvm;

namespace {
struct TemporaryFolder {
  SmallString<128> path;
  TemporaryFolder() { EXPECT_FALSE(sys::fs::createUniqueDirectory("quanta-store", path)); }
  ~TemporaryFolder() { sys::fs::remove_directories(path); }
  std::string operator/(StringRef name) const { return (path + "/" + name).str(); }
};

std::string contentsOf(StringRef path) { return (*MemoryBuffer::getFile(path))->getBuffer().str(); }

Statistics make(const StoreKey &key, std::vector<int64_t> samples) {
  StatisticsOptions options;
  options.channels = 2;
  options.samplesPerUnit = 1;
  options.bins = 8;
  options.moments = MomentPrecision::F32;
  Statistics result = cantFail(Statistics::create(options, key.getFingerprint()));
  for (int64_t s : samples) {
    float row[] = {1.0f / float(s + 3), float(s * s) + 0.1f};
    cantFail(result.add(s, {row, 1, 2}));
  }
  return result;
}

const StoreKey kKey = {"/model/layer.0/MatMul", 5};

TEST(Store, Fingerprints) {
  EXPECT_NE(fingerprintOf({"ab", "c"}), fingerprintOf({"a", "bc"}));
  EXPECT_NE(kKey.getFingerprint(), (StoreKey{kKey.layer, 6}.getFingerprint()));
  EXPECT_NE(kKey.getFingerprint(), (StoreKey{"/model/layer/0/MatMul", 5}.getFingerprint()));
}

TEST(Store, ResumesAfterTruncation) {
  TemporaryFolder folder;
  auto store = cantFail(StatisticsStore::open(folder / "a/b"));
  EXPECT_FALSE(store.has(kKey));
  EXPECT_TRUE(errorToBool(store.load(kKey).takeError()));
  cantFail(store.save(kKey, make(kKey, {0, 1})));
  EXPECT_TRUE(store.has(kKey));
  EXPECT_FALSE(store.has({kKey.layer, 6}));
  EXPECT_EQ(cantFail(store.load(kKey)).getPrefix(), 2);

  std::string path = store.getPath(kKey), bytes = contentsOf(path);
  auto put = [&](StringRef text) {
    std::error_code code;
    raw_fd_ostream os(path, code);
    os << text;
  };
  put(StringRef(bytes).drop_back(9));
  EXPECT_FALSE(store.has(kKey));
  EXPECT_TRUE(errorToBool(store.load(kKey).takeError()));
  StoreKey other = {"other", 5};
  cantFail(store.save(other, make(other, {0})));
  put(contentsOf(store.getPath(other))); // whole, but of another layer
  EXPECT_FALSE(store.has(kKey));
  EXPECT_TRUE(errorToBool(store.load(kKey).takeError()));
  cantFail(store.save(kKey, make(kKey, {0, 1})));
  EXPECT_EQ(contentsOf(path), bytes);
}

TEST(Store, MergedPartsAreOneRun) {
  TemporaryFolder folder;
  auto whole = cantFail(StatisticsStore::open(folder / "whole")), a = cantFail(StatisticsStore::open(folder / "a")),
       b = cantFail(StatisticsStore::open(folder / "b")), into = cantFail(StatisticsStore::open(folder / "into"));
  StoreKey second = {"second", 5};
  cantFail(whole.save(kKey, make(kKey, {0, 1, 2, 3, 4, 5})));
  cantFail(a.save(kKey, make(kKey, {0, 2, 4})));
  cantFail(b.save(kKey, make(kKey, {1, 3, 5})));
  cantFail(b.save(second, make(second, {0})));
  for (const StatisticsStore *part : {&b, &a, &b}) // the last changes nothing
    cantFail(into.mergeFrom(*part));
  EXPECT_EQ(contentsOf(into.getPath(kKey)), contentsOf(whole.getPath(kKey)));
  EXPECT_TRUE(into.has(second));

  cantFail(a.save(kKey, make(kKey, {5, 6})));
  std::string message = toString(into.mergeFrom(a));
  EXPECT_NE(message.find("samples from 5 on are in both"), std::string::npos) << message;
}
} // namespace
