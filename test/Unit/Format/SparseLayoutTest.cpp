//===- SparseLayoutTest.cpp - Lists of salient weights against their definition -------------------------------------------===//
#include "quanta/Format/SparseLayout.h"
#include "quanta/Format/TileLayout.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <random>

using namespace quanta;

namespace {
TEST(SparseLayout, ListsHoldEverySalientWeightOnce) {
  for (SparseShape shape : {SparseShape{1, 1, 128}, {16, 128, 128}, {17, 300, 128}, {40, 75, 25}, {5, 130, 1}, {0, 9, 4}, {3, 0, 8}})
    for (double share : {0.0, 0.1, 0.6, 1.0}) {
      std::mt19937 random(7);
      auto size = static_cast<size_t>(shape.rows * shape.columns);
      std::vector<uint8_t> mask(size), codes(size), seen(size);
      for (size_t i = 0; i < size; ++i) {
        mask[i] = std::uniform_real_distribution<>()(random) < share;
        codes[i] = static_cast<uint8_t>(random());
      }
      auto offsets = getSparseOffsets(mask.data(), shape);
      ASSERT_TRUE(offsets);
      ASSERT_EQ(offsets->size(), static_cast<size_t>(shape.getOffsetCount()));
      for (int64_t tile = 0; tile < shape.getTiles(); ++tile) {
        std::vector<uint16_t> words;
        packSparseTile(mask.data(), codes.data(), shape, tile, words);
        const int32_t *list = offsets->data() + tile * shape.getBlocks();
        ASSERT_EQ(words.size(), static_cast<size_t>(list[shape.getBlocks()] - list[0]) * 16);
        for (int64_t block = 0; block < shape.getBlocks(); ++block) {
          bool full = list[block] == list[block + 1];
          for (int32_t entry = list[block]; entry < list[block + 1]; ++entry)
            for (int64_t lane = 0; lane < kTileRows; ++lane) {
              uint16_t word = words[static_cast<size_t>((entry - list[0]) * 16 + lane)];
              full |= entry + 1 == list[block + 1] && (word & 255) != kNoColumn;
              if ((word & 255) == kNoColumn)
                continue;
              auto at = static_cast<size_t>((tile * 16 + lane) * shape.columns + block * shape.blockColumns + (word & 255));
              ASSERT_LT(at, size);
              EXPECT_EQ(mask[at], 1);
              EXPECT_EQ(codes[at], word >> 8);
              ++seen[at];
            }
          EXPECT_TRUE(full) << "a list is longer than its longest row";
        }
      }
      EXPECT_EQ(seen, mask);
    }
}

TEST(SparseLayout, ChoiceBits) {
  EXPECT_EQ(choiceBits(32, 0), 0);
  EXPECT_EQ(choiceBits(32, 1), 5);
  EXPECT_EQ(choiceBits(4, 2), 3);   // 6 choices
  EXPECT_EQ(choiceBits(16, 2), 7);  // 120
  EXPECT_EQ(choiceBits(16, 16), 0);
}
} // namespace
