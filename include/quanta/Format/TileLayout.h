//===- TileLayout.h - How weights lie in memory for kernels ---------------------------------------------------*- C++ -*-===//
//
// Kernels hold 16 rows of a weight matrix in the lanes of a vector and walk along the columns, so a matrix [rows, columns]
// is stored tile by tile, 16 rows a tile. Missing rows of the last tile are zero.
//
// Uniform codes of `bits` bits. The columns are cut into groups of G (the columns that share a scale; the last group may be
// short), each group into blocks of KT columns; the last block of a group is filled up with zero codes. The bits of a code
// are split into fields of 8, 4, 2 and 1 bits, widest first (3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1): the widest
// field holds the code's lowest bits, the next field the bits above, and so on. KT = 32 / (width of the narrowest field),
// so that a row's part of a block is a whole number of 32-bit words in every field: KT·w/32 words for width w. Order:
//
//   [tile][group][block][field, widest first][word][16 rows]  of little-endian 32-bit words
//
// A word of a field of width w holds 32/w consecutive columns. Its column j is in byte j mod 4 at bit w·(j div 4) of the
// byte, so `word >> w·s`, masked to w bits in each byte, has the columns 4s to 4s + 3 in its bytes, in order: what
// instructions that multiply four bytes of a lane at once read.
//
// Example: 5 bits, 20 rows, 70 columns in groups of 64. Fields 4 + 1, so KT = 32: group 0 has two blocks, group 1 (6
// columns) has one; two tiles. A block is 4 words of the 4-bit field and 1 word of the 1-bit field, times 16 rows: 5·64 =
// 320 bytes. A tile has three blocks, 960 bytes; the matrix has 1920. The code of row 17, column 69 lies in tile 1 (row
// 17 − 16 = lane 1), group 1, block 2 of the tile, j = 69 − 64 = 5. Its low 4 bits: word 0 of the field, byte 960 + 2·320 +
// 0·64 + 1·4 + 1, at bit 4. Its high bit: byte 960 + 2·320 + 4·64 + 1·4 + 1, at bit 1.
//
// Codes of 3 levels (0, 1, 2) lie five to a byte: KT = 20, a block is one word a row. Byte b of a word holds the columns b,
// 4 + b, …, 16 + b as ⌈256·v/243⌉, where v has their codes as base-3 digits, column b the most significant. Multiplying the
// byte by 3 shifts out a digit above its eight bits, first that of column b; the low eight bits hold the others.
//
// Scales, offsets and zero points: [tile][group][16 rows], with zeros for missing rows. A matrix with one scale for the
// whole tensor is stored as if each row had it. Plain floats: [tile][column][16 rows].
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_FORMAT_TILELAYOUT_H
#define QUANTA_FORMAT_TILELAYOUT_H

#include <cstdint>
#include <optional>

namespace quanta {

constexpr int64_t kTileRows = 16;

enum class ScaleType : uint8_t { F16, F32 };

/// What to pack. `group` > 0: columns that share a scale; 0: a scale a row; -1: one for the tensor. `levels`: 3 packs five
/// codes 0 to 2 to a byte (bits must be 2); 0 gives each code its bits.
struct TileSpec {
  int64_t rows = 0, columns = 0;
  unsigned bits = 0;
  int64_t group = 0;
  unsigned levels = 0;
};

/// Part of the bits of a code: `width` of them above the lowest `shift`.
struct TileField {
  unsigned width, shift;
  int64_t firstWord; ///< in a row's part of a block
};

/// The sizes of a packed matrix.
struct TileShape {
  int64_t rows, columns;
  unsigned bits;
  int64_t groupColumns; ///< of all groups but the last
  int64_t groups;       ///< 0 for a matrix without columns
  int64_t tiles;
  unsigned levels;
  unsigned fieldCount; ///< 0 with 3 levels
  TileField fields[4];
  int64_t blockColumns; ///< KT
  int64_t blockBytes;   ///< of 16 rows
  int64_t tileBlocks;
  int64_t tileBytes, totalBytes;

  /// Nothing if `spec` makes no sense (bits not 1 to 8, levels not 0 or 3 with 2 bits, negative sizes, group < -1) or
  /// sizes overflow.
  static std::optional<TileShape> get(const TileSpec &spec);

  int64_t getGroupColumns(int64_t group) const {
    int64_t begin = group * groupColumns;
    return columns - begin < groupColumns ? columns - begin : groupColumns;
  }
  int64_t getGroupBlocks(int64_t group) const {
    return (getGroupColumns(group) + blockColumns - 1) / blockColumns;
  }
  /// Index in a tile of a group's first block.
  int64_t getFirstBlock(int64_t group) const { return group * ((groupColumns + blockColumns - 1) / blockColumns); }
  /// Scales, offsets or zero points of the matrix.
  int64_t getScaleCount() const { return tiles * groups * kTileRows; }
};

/// Packs the rows of one tile. `codes` is the whole matrix, a byte a code, row major; `out` takes shape.tileBytes bytes.
void packUniformTile(const uint8_t *codes, const TileShape &shape, int64_t tile, uint8_t *out);
/// All tiles; `out` takes shape.totalBytes bytes.
void packUniform(const uint8_t *codes, const TileShape &shape, uint8_t *out);
void unpackUniform(const uint8_t *packed, const TileShape &shape, uint8_t *codes);

/// Scales or offsets [scaleRows, groups], where scaleRows is the number of rows or 1. `out` takes getScaleCount() elements.
void packScales(const float *scales, int64_t scaleRows, const TileShape &shape, ScaleType type, void *out);
/// To [rows, groups].
void unpackScales(const void *packed, const TileShape &shape, ScaleType type, float *scales);
void packZeros(const uint8_t *zeros, int64_t zeroRows, const TileShape &shape, uint8_t *out);
void unpackZeros(const uint8_t *packed, const TileShape &shape, uint8_t *zeros);

/// Plain floats: bytes of a tile are 64 times the columns. Nothing on negative sizes or overflow.
std::optional<int64_t> getDenseBytes(int64_t rows, int64_t columns);
void packDenseTile(const float *matrix, int64_t rows, int64_t columns, int64_t tile, float *out);
void packDense(const float *matrix, int64_t rows, int64_t columns, float *out);
void unpackDense(const float *packed, int64_t rows, int64_t columns, float *matrix);

} // namespace quanta

#endif // QUANTA_FORMAT_TILELAYOUT_H
