//===- SparseLayout.h - Single weights that replace those of a dense matrix --------------------------------------*- C++ -*-===//
//
// Of a matrix [rows, columns] some weights are salient (a mask of bytes, 1 = salient). Kernels decode the dense matrix, 16
// rows in the lanes of a vector, and overwrite these. The columns are cut into blocks of L ≤ 128; of each tile of 16 rows and
// each block there is a list of entries. An entry has 16 lanes of 16 bits, one salient weight of each row: the column in
// the block in the low byte, the weight's code in the high byte. A list has as many entries as the row with the most salient
// weights in the block; rows with fewer end in lanes whose column is 255. Order:
//
//   entries: [tile][block][entry][16 rows] of little-endian 16-bit words
//   offsets: [tile · blocks + block] of 32-bit words, the first entry of each list, and the number of all entries at the end
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_FORMAT_SPARSELAYOUT_H
#define QUANTA_FORMAT_SPARSELAYOUT_H

#include <cstdint>
#include <optional>
#include <vector>

namespace quanta {

constexpr int64_t kMostSparseColumns = 128;
constexpr uint8_t kNoColumn = 255;

struct SparseShape {
  int64_t rows = 0, columns = 0;
  int64_t blockColumns = 0; ///< L, 1 to 128

  int64_t getTiles() const;
  int64_t getBlocks() const; ///< of a tile
  int64_t getOffsetCount() const { return getTiles() * getBlocks() + 1; }
};

/// The offsets of all lists; nothing if there are 2^31 entries or more. `mask` is row major, a byte a weight.
std::optional<std::vector<int32_t>> getSparseOffsets(const uint8_t *mask, const SparseShape &shape);

/// The lists of one tile, as many words as the offsets say. `codes` is row major, a byte a weight.
void packSparseTile(const uint8_t *mask, const uint8_t *codes, const SparseShape &shape, int64_t tile,
                    std::vector<uint16_t> &out);

/// ⌈log2 C(n, k)⌉: the bits that say which k of n were chosen.
int64_t choiceBits(int64_t n, int64_t k);

} // namespace quanta

#endif // QUANTA_FORMAT_SPARSELAYOUT_H
