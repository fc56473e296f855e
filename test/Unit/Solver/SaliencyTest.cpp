//===- SaliencyTest.cpp - Scores and masks ------------------------------------------------------------------------===//
#include "quanta/Solver/Saliency.h"
#include "Oracle.h"
#include <cmath>
#include <numeric>

using namespace quanta;
using namespace quanta::test;

namespace {
TEST(Saliency, Oracles) {
  for (bool useHessian : {true, false}) {
    Oracle oracle("pbllm", useHessian ? "saliency_mask_hessian" : "saliency_mask_magnitude");
    Matrix w = oracle.input("W"), h = oracle.input("H");
    HessianFactor factor = factorHessian(h, {});
    std::vector<double> diagonal;
    for (int64_t i = 0; i < h.rows; ++i)
      diagonal.push_back(factor.upperView()(i, i));
    std::vector<float> weights = w.floats();
    MatrixView view(weights.data(), w.rows, w.columns);
    std::vector<double> saliency = useHessian ? hessianSaliency(view, diagonal) : magnitudeSaliency(view);
    expectNear(saliency, oracle.expected("saliency").data, oracle.tolerance());
    expectNear(elementMask({saliency.data(), w.rows, w.columns}, 0.75), oracle.expected("salient_mask").data, 0);
  }
  Oracle columns("pbllm", "column_mask"), groups("pbllm", "mask_group4");
  Matrix expected = columns.expected("salient_mask");
  std::vector<uint8_t> mask = columnMask(columns.input("saliency"), 0.25);
  for (int64_t row = 0; row < expected.rows; ++row)
    for (int64_t column = 0; column < expected.columns; ++column)
      EXPECT_EQ(mask[column], expected(row, column));
  expectNear(elementMask(groups.input("saliency"), 0.75, 4), groups.expected("salient_mask").data, 0);
  Oracle activations("ptq161", "mask");
  expectNear(activationMask(activations.input("act_absmax").data, 0.2), activations.expected("mask").data, 0);
}

TEST(Saliency, MasksAgreeWithSorting) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {5, 33}, {8, 128}}) {
    Matrix scores = randomWeights(rows, columns);
    for (double low : {0.0, 0.3, 0.9, 1.0})
      for (int64_t group : {0, 7, 32}) {
        std::vector<uint8_t> mask = elementMask(scores, low, group);
        int64_t width = group ? group : columns;
        for (int64_t begin = 0; begin < columns; begin += width) {
          int64_t end = std::min(begin + width, columns), size = rows * (end - begin), count = 0;
          double least = INFINITY, most = -INFINITY; // of salient, of low elements
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t column = begin; column < end; ++column) {
              bool salient = mask[row * columns + column];
              count += !salient;
              if (salient)
                least = std::min(least, scores(row, column));
              else
                most = std::max(most, scores(row, column));
            }
          EXPECT_EQ(count, std::min<int64_t>(static_cast<int64_t>(size * low) + 1, size));
          EXPECT_GT(least, most);
        }
      }
    for (int64_t tile : {4, 16, 32})
      for (int64_t kept : {0, 1, 3}) {
        std::vector<uint8_t> mask = tileMask(scores, tile, kept);
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t begin = 0; begin < columns; begin += tile) {
            int64_t end = std::min(begin + tile, columns);
            auto first = mask.begin() + row * columns;
            EXPECT_EQ(std::accumulate(first + begin, first + end, 0), std::min(kept, end - begin));
            for (int64_t a = begin; a < end; ++a)
              for (int64_t b = begin; b < end; ++b)
                if (first[a] && !first[b]) {
                  EXPECT_GE(scores(row, a), scores(row, b));
                }
          }
      }
  }
  std::vector<float> weights = {1, -2, 3, 4};
  EXPECT_EQ(columnSaliency({weights.data(), 2, 2}, {0.5, 2}), (std::vector<double>{5, 40}));
  std::vector<double> equal(6, 1.0);
  EXPECT_EQ(tileMask({equal.data(), 1, 6}, 6, 2), (std::vector<uint8_t>{1, 1, 0, 0, 0, 0}));
  EXPECT_TRUE(elementMask({nullptr, 0, 4}, 0.5).empty());
  EXPECT_TRUE(columnMask({nullptr, 3, 0}, 0.5).empty());
}

TEST(Saliency, MaskBits) {
  EXPECT_EQ(maskBits(MaskIndex::None, 4, 256, 10), 0);
  EXPECT_EQ(maskBits(MaskIndex::Bitmap, 4, 256, 10), 1024);
  EXPECT_EQ(maskBits(MaskIndex::Csr, 4, 256, 10), 160 + 5 * 32);
  EXPECT_EQ(maskBits(MaskIndex::BlockLocal, 4, 256, 10), 70 + 4 * 2 * 8);
  EXPECT_EQ(maskBits(MaskIndex::Column, 4, 256, 512), 256);
  // C(32, 3) = 4960 takes 13 bits, C(8, 3) = 56 takes 6; C(2, 1) = 2 takes 1.
  EXPECT_EQ(maskBits(MaskIndex::Tile, 2, 72, 0, 32, 3), 2 * (13 + 13 + 6));
  EXPECT_EQ(maskBits(MaskIndex::Tile, 2, 4, 4, 2, 1), 4);
}
} // namespace
