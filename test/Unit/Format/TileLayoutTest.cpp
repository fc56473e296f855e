//===- TileLayoutTest.cpp - The layout against its definition -------------------------------------------------------------===//
#include "quanta/Format/TileLayout.h"
#include "quanta/Support/Half.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>
#include <vector>

using namespace quanta;

namespace {
const TileSpec kShapes[] = {{1, 1, 0, 0},    {16, 32, 0, 0},   {17, 33, 0, 32},  {20, 70, 0, 64}, {5, 7, 0, -1},
                            {33, 100, 0, 7}, {48, 129, 0, 128}, {15, 31, 0, 100}, {3, 64, 0, 16},  {0, 5, 0, 0},
                            {4, 0, 0, 0}};

std::vector<uint8_t> randomCodes(const TileSpec &spec) {
  std::mt19937 random(spec.bits * 1000 + static_cast<unsigned>(spec.columns));
  std::vector<uint8_t> codes(static_cast<size_t>(spec.rows * spec.columns));
  for (uint8_t &code : codes)
    code = static_cast<uint8_t>(random() & ((1u << spec.bits) - 1));
  return codes;
}

// One bit of a code where the header says that it lies.
unsigned naiveBit(const std::vector<uint8_t> &packed, const TileSpec &spec, int64_t row, int64_t column, unsigned bit) {
  int64_t group = spec.group > 0 ? spec.group : spec.columns;
  std::vector<unsigned> widths;
  for (unsigned width : {8u, 4u, 2u, 1u})
    if (spec.bits & width)
      widths.push_back(width);
  int64_t kt = 32 / widths.back(), words = kt * spec.bits / 32;
  auto blocksOf = [&](int64_t columns) { return (columns + kt - 1) / kt; };
  int64_t tileBlocks = 0, firstBlock = 0;
  for (int64_t begin = 0; begin < spec.columns; begin += group) {
    if (begin == column / group * group)
      firstBlock = tileBlocks;
    tileBlocks += blocksOf(std::min(group, spec.columns - begin));
  }
  int64_t block = firstBlock + column % group / kt, j = column % group % kt, word = 0;
  for (unsigned width : widths) {
    if (bit < width) {
      word += j * width / 32;
      int64_t index = ((row / 16 * tileBlocks + block) * words + word) * 16 + row % 16;
      uint32_t value = 0;
      for (int i = 3; i >= 0; --i)
        value = value << 8 | packed[static_cast<size_t>(index * 4 + i)];
      int64_t inWord = j % (32 / width);
      return value >> (8 * (inWord % 4) + width * (inWord / 4) + bit) & 1;
    }
    bit -= width;
    word += kt * width / 32;
  }
  return 99;
}

TEST(TileLayout, CodesLieWhereTheHeaderSays) {
  for (TileSpec spec : kShapes)
    for (spec.bits = 1; spec.bits <= 8; ++spec.bits) {
      auto shape = TileShape::get(spec);
      ASSERT_TRUE(shape);
      std::vector<uint8_t> codes = randomCodes(spec), packed(static_cast<size_t>(shape->totalBytes), 0xcc);
      packUniform(codes.data(), *shape, packed.data());
      size_t ones = 0, onesExpected = 0;
      for (int64_t row = 0; row < spec.rows; ++row)
        for (int64_t column = 0; column < spec.columns; ++column)
          for (unsigned bit = 0; bit < spec.bits; ++bit) {
            unsigned expected = codes[static_cast<size_t>(row * spec.columns + column)] >> bit & 1;
            ASSERT_EQ(naiveBit(packed, spec, row, column, bit), expected) << spec.bits << " bits at " << row << ", " << column;
            onesExpected += expected;
          }
      for (uint8_t byte : packed)
        ones += static_cast<size_t>(__builtin_popcount(byte));
      EXPECT_EQ(ones, onesExpected) << "padding is not zero";

      std::vector<uint8_t> unpacked(codes.size(), 0xcc);
      unpackUniform(packed.data(), *shape, unpacked.data());
      EXPECT_EQ(unpacked, codes);
    }
}

TEST(TileLayout, ExampleOfTheHeader) {
  TileSpec spec{20, 70, 5, 64};
  auto shape = TileShape::get(spec);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->blockColumns, 32);
  EXPECT_EQ(shape->blockBytes, 320);
  EXPECT_EQ(shape->tileBlocks, 3);
  EXPECT_EQ(shape->tileBytes, 960);
  EXPECT_EQ(shape->totalBytes, 1920);
  EXPECT_EQ(shape->getFirstBlock(1), 2);
  std::vector<uint8_t> codes(20 * 70, 0), packed(1920);
  codes[17 * 70 + 69] = 0b11001;
  packUniform(codes.data(), *shape, packed.data());
  for (size_t i = 0; i < packed.size(); ++i) {
    unsigned expected = i == 960 + 2 * 320 + 4 + 1 ? 0b1001 << 4 : i == 960 + 2 * 320 + 4 * 64 + 4 + 1 ? 1 << 1 : 0;
    EXPECT_EQ(packed[i], expected) << i;
  }
}

TEST(TileLayout, FiveCodesOfThreeLevelsToAByte) {
  for (TileSpec spec : kShapes) {
    spec.bits = 2;
    spec.levels = 3;
    auto shape = TileShape::get(spec);
    ASSERT_TRUE(shape);
    EXPECT_EQ(shape->blockColumns, 20);
    EXPECT_EQ(shape->blockBytes, 64);
    std::vector<uint8_t> codes = randomCodes(spec), packed(static_cast<size_t>(shape->totalBytes), 0xcc);
    for (uint8_t &code : codes)
      code %= 3;
    packUniform(codes.data(), *shape, packed.data());
    for (int64_t row = 0; row < spec.rows; ++row)
      for (int64_t column = 0; column < spec.columns; ++column) {
        // Digits come out by multiplying, as the header says; in real numbers, digit k of byte/256 in base 3.
        int64_t group = column / shape->groupColumns, inGroup = column % shape->groupColumns, j = inGroup % 20;
        int64_t block = group * ((shape->groupColumns + 19) / 20) + inGroup / 20;
        int64_t byte = (row / 16 * shape->tileBlocks + block) * 64 + row % 16 * 4 + j % 4;
        double fraction = packed[static_cast<size_t>(byte)] / 256.0 * std::pow(3.0, static_cast<double>(j / 4));
        EXPECT_EQ(std::floor((fraction - std::floor(fraction)) * 3), codes[static_cast<size_t>(row * spec.columns + column)]);
      }
    std::vector<uint8_t> unpacked(codes.size(), 0xcc);
    unpackUniform(packed.data(), *shape, unpacked.data());
    EXPECT_EQ(unpacked, codes);
  }
  EXPECT_FALSE(TileShape::get({1, 1, 3, 0, 3}));
  EXPECT_FALSE(TileShape::get({1, 1, 2, 0, 5}));
}

TEST(TileLayout, ScalesAndZeros) {
  for (TileSpec spec : kShapes) {
    spec.bits = 4;
    auto shape = TileShape::get(spec);
    for (int64_t rows : {spec.rows, int64_t(1)}) {
      if (spec.rows == 0)
        continue;
      std::vector<float> scales(static_cast<size_t>(rows * shape->groups)), out(static_cast<size_t>(spec.rows * shape->groups));
      std::vector<uint8_t> zeros(scales.size()), outZeros(out.size()), packedZeros(static_cast<size_t>(shape->getScaleCount()));
      for (size_t i = 0; i < scales.size(); ++i) {
        scales[i] = static_cast<float>(i) + 0.5f;
        zeros[i] = static_cast<uint8_t>(i);
      }
      std::vector<float> packed(packedZeros.size());
      for (ScaleType type : {ScaleType::F16, ScaleType::F32}) {
        packScales(scales.data(), rows, *shape, type, packed.data());
        unpackScales(packed.data(), *shape, type, out.data());
        for (size_t i = 0; i < out.size(); ++i)
          EXPECT_EQ(out[i], scales[i % scales.size()]);
      }
      packZeros(zeros.data(), rows, *shape, packedZeros.data());
      unpackZeros(packedZeros.data(), *shape, outZeros.data());
      for (size_t i = 0; i < out.size(); ++i)
        EXPECT_EQ(outZeros[i], zeros[i % scales.size()]);
      // [tile][group][16]
      for (int64_t row = 0; row < spec.rows; ++row)
        for (int64_t group = 0; group < shape->groups; ++group)
          EXPECT_EQ(packed[static_cast<size_t>((row / 16 * shape->groups + group) * 16 + row % 16)],
                    out[static_cast<size_t>(row * shape->groups + group)]);
    }
  }
}

TEST(TileLayout, Dense) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {16, 5}, {17, 3}, {50, 33}, {3, 0}}) {
    std::vector<float> matrix(static_cast<size_t>(rows * columns)), packed(static_cast<size_t>(*getDenseBytes(rows, columns) / 4), 9);
    for (size_t i = 0; i < matrix.size(); ++i)
      matrix[i] = static_cast<float>(i) - 7;
    packDense(matrix.data(), rows, columns, packed.data());
    ASSERT_EQ(packed.size(), static_cast<size_t>((rows + 15) / 16 * 16 * columns));
    for (int64_t row = 0; row < (rows + 15) / 16 * 16; ++row)
      for (int64_t column = 0; column < columns; ++column)
        EXPECT_EQ(packed[static_cast<size_t>((row / 16 * columns + column) * 16 + row % 16)],
                  row < rows ? matrix[static_cast<size_t>(row * columns + column)] : 0);
    std::vector<float> out(matrix.size());
    unpackDense(packed.data(), rows, columns, out.data());
    EXPECT_EQ(out, matrix);
  }
}

TEST(TileLayout, NonsenseIsRefused) {
  for (TileSpec spec : {TileSpec{1, 1, 0, 0}, TileSpec{1, 1, 9, 0}, TileSpec{-1, 1, 4, 0}, TileSpec{1, -1, 4, 0},
                        TileSpec{1, 1, 4, -2}, TileSpec{INT64_MAX, 1, 4, 0}, TileSpec{1, INT64_MAX, 4, 0},
                        TileSpec{INT64_MAX / 64, INT64_MAX / 64, 1, 1}, TileSpec{1 << 30, int64_t(1) << 34, 8, 1}})
    EXPECT_FALSE(TileShape::get(spec));
  EXPECT_FALSE(getDenseBytes(INT64_MAX, INT64_MAX));
}

TEST(Half, RoundTripsAndRounds) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    float value = halfToFloat(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      EXPECT_EQ(floatToHalf(value), bits);
    }
    float wide = bfloatToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(wide))
      EXPECT_TRUE(std::isnan(bfloatToFloat(floatToBfloat(wide))));
    else
      EXPECT_EQ(floatToBfloat(wide), bits);
  }
  EXPECT_EQ(halfToFloat(floatToHalf(1.0f + 0x1p-11f)), 1.0f);           // a tie goes to even
  EXPECT_EQ(halfToFloat(floatToHalf(1.0f + 3 * 0x1p-11f)), 1.0f + 0x1p-9f);
  EXPECT_TRUE(std::isinf(halfToFloat(floatToHalf(65520.0f))));
  EXPECT_EQ(bfloatToFloat(floatToBfloat(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(bfloatToFloat(floatToBfloat(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
}
} // namespace
