//===- SparseLayout.cpp - Single weights that replace those of a dense matrix ---------------------------------------------===//
#include "quanta/Format/SparseLayout.h"
#include "quanta/Format/TileLayout.h"
#include <algorithm>
#include <cmath>

namespace quanta {

int64_t SparseShape::getTiles() const { return rows / kTileRows + (rows % kTileRows != 0); }
int64_t SparseShape::getBlocks() const { return columns / blockColumns + (columns % blockColumns != 0); }

// Calls fn(block, row of the tile, first column, columns) for the blocks of a tile.
template <typename Fn> static void forEachBlockRow(const SparseShape &shape, int64_t tile, Fn fn) {
  int64_t first = tile * kTileRows, count = std::min(kTileRows, shape.rows - first);
  for (int64_t block = 0; block < shape.getBlocks(); ++block) {
    int64_t begin = block * shape.blockColumns;
    for (int64_t lane = 0; lane < count; ++lane)
      fn(block, lane, (first + lane) * shape.columns + begin, std::min(shape.blockColumns, shape.columns - begin));
  }
}

std::optional<std::vector<int32_t>> getSparseOffsets(const uint8_t *mask, const SparseShape &shape) {
  std::vector<int32_t> offsets(static_cast<size_t>(shape.getOffsetCount()));
  int64_t total = 0;
  for (int64_t tile = 0; tile < shape.getTiles(); ++tile) {
    std::vector<int64_t> longest(static_cast<size_t>(shape.getBlocks()));
    forEachBlockRow(shape, tile, [&](int64_t block, int64_t, int64_t at, int64_t columns) {
      int64_t &most = longest[static_cast<size_t>(block)];
      most = std::max<int64_t>(most, std::count_if(mask + at, mask + at + columns, [](uint8_t bit) { return bit != 0; }));
    });
    for (int64_t block = 0; block < shape.getBlocks(); ++block) {
      total += longest[static_cast<size_t>(block)];
      if (total > INT32_MAX)
        return std::nullopt;
      offsets[static_cast<size_t>(tile * shape.getBlocks() + block + 1)] = static_cast<int32_t>(total);
    }
  }
  return offsets;
}

void packSparseTile(const uint8_t *mask, const uint8_t *codes, const SparseShape &shape, int64_t tile,
                    std::vector<uint16_t> &out) {
  out.clear();
  size_t list = 0;
  forEachBlockRow(shape, tile, [&](int64_t, int64_t lane, int64_t at, int64_t columns) {
    if (lane == 0)
      list = out.size();
    size_t word = list + static_cast<size_t>(lane);
    for (int64_t column = 0; column < columns; ++column) {
      if (!mask[at + column])
        continue;
      if (word >= out.size())
        out.resize(out.size() + kTileRows, kNoColumn);
      out[word] = static_cast<uint16_t>(codes[at + column] << 8 | column);
      word += kTileRows;
    }
  });
}

int64_t choiceBits(int64_t n, int64_t k) {
  k = std::min(k, n - k);
  double log = 0;
  for (int64_t i = 1; i <= k; ++i)
    log += std::log2(static_cast<double>(n - k + i) / static_cast<double>(i));
  // C is an integer: the logarithm of a power of two may come out slightly above its exponent.
  return static_cast<int64_t>(std::ceil(log - 1e-9));
}

} // namespace quanta
