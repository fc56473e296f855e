//===- MomentsTest.cpp - Moments of a layer's input -----------------------------------------------------------------------===//
#include "quanta/Calibrate/Moments.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"

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
} // namespace
