//===- TileLayout.cpp - How weights lie in memory for kernels -------------------------------------------------------------===//
#include "quanta/Format/TileLayout.h"
#include "quanta/Support/Half.h"
#include <algorithm>

namespace quanta {

/// Of a word: five to a byte.
constexpr int64_t kTernaryColumns = 20;

static int64_t ceilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0); }

static bool multiply(int64_t a, int64_t b, int64_t &result) { return !__builtin_mul_overflow(a, b, &result); }

std::optional<TileShape> TileShape::get(const TileSpec &spec) {
  // Rounding up to whole blocks adds less than 32 columns a group; the limit keeps that from overflowing.
  constexpr int64_t kMost = INT64_MAX / 64;
  bool ternary = spec.levels == 3 && spec.bits == 2;
  if (spec.bits < 1 || spec.bits > 8 || (spec.levels && !ternary) || spec.rows < 0 || spec.columns < 0 || spec.group < -1 || spec.rows > kMost ||
      spec.columns > kMost)
    return std::nullopt;
  TileShape shape = {};
  shape.rows = spec.rows;
  shape.columns = spec.columns;
  shape.bits = spec.bits;
  shape.levels = spec.levels;
  shape.tiles = ceilDiv(spec.rows, kTileRows);
  shape.groupColumns = spec.group > 0 ? std::min(spec.group, spec.columns) : spec.columns;
  shape.groups = shape.groupColumns ? ceilDiv(spec.columns, shape.groupColumns) : 0;

  int64_t word = ternary;
  shape.blockColumns = ternary ? kTernaryColumns : 32 / (spec.bits & -spec.bits);
  unsigned shift = 0;
  for (unsigned width : {8u, 4u, 2u, 1u}) {
    if (ternary || !(spec.bits & width))
      continue;
    shape.fields[shape.fieldCount++] = {width, shift, word};
    shift += width;
    word += shape.blockColumns * width / 32;
  }
  shape.blockBytes = word * 4 * kTileRows;
  if (shape.groups)
    shape.tileBlocks = shape.getFirstBlock(shape.groups - 1) + shape.getGroupBlocks(shape.groups - 1);
  int64_t scales;
  if (!multiply(shape.tileBlocks, shape.blockBytes, shape.tileBytes) ||
      !multiply(shape.tileBytes, shape.tiles, shape.totalBytes) ||
      !multiply(shape.tiles * kTileRows, shape.groups * 4, scales))
    return std::nullopt;
  return shape;
}

//===- Codes --------------------------------------------------------------------------------------------------------------===//

// Calls fn(first column, number of columns, offset in the tile) for each block of a tile.
template <typename Fn> static void forEachBlock(const TileShape &shape, Fn fn) {
  int64_t offset = 0;
  for (int64_t group = 0; group < shape.groups; ++group) {
    int64_t begin = group * shape.groupColumns, end = begin + shape.getGroupColumns(group);
    for (int64_t column = begin; column < end; column += shape.blockColumns, offset += shape.blockBytes)
      fn(column, std::min(shape.blockColumns, end - column), offset);
  }
}

// `block` below points to the row's first word of a block; the words of a row are 16 words apart.
static constexpr int64_t kWordStride = 4 * kTileRows;

static void packFields(const uint8_t *codes, int64_t count, const TileShape &shape, uint8_t *block) {
  for (unsigned f = 0; f < shape.fieldCount; ++f) {
    auto [width, shift, firstWord] = shape.fields[f];
    int64_t perWord = 32 / width;
    for (int64_t j = 0; j < count; ++j) {
      unsigned part = codes[j] >> shift & ((1u << width) - 1);
      block[(firstWord + j / perWord) * kWordStride + j % 4] |= static_cast<uint8_t>(part << width * (j % perWord / 4));
    }
  }
}

static uint8_t unpackFields(const uint8_t *block, int64_t j, const TileShape &shape) {
  unsigned code = 0;
  for (unsigned f = 0; f < shape.fieldCount; ++f) {
    auto [width, shift, firstWord] = shape.fields[f];
    int64_t perWord = 32 / width;
    unsigned part = block[(firstWord + j / perWord) * kWordStride + j % 4] >> width * (j % perWord / 4);
    code |= (part & ((1u << width) - 1)) << shift;
  }
  return static_cast<uint8_t>(code);
}

static void packTernary(const uint8_t *codes, int64_t count, uint8_t *block) {
  for (int64_t byte = 0; byte < 4; ++byte) {
    unsigned value = 0;
    for (int64_t j = byte; j < kTernaryColumns; j += 4)
      value = value * 3 + (j < count ? codes[j] : 0);
    block[byte] = static_cast<uint8_t>((value * 256 + 242) / 243);
  }
}

static uint8_t unpackTernary(const uint8_t *block, int64_t j) {
  unsigned byte = block[j % 4];
  for (; j >= 4; j -= 4)
    byte = byte * 3 & 255;
  return static_cast<uint8_t>(byte * 3 >> 8);
}

void packUniformTile(const uint8_t *codes, const TileShape &shape, int64_t tile, uint8_t *out) {
  int64_t lanes = std::min(kTileRows, shape.rows - tile * kTileRows);
  std::fill_n(out, shape.tileBytes, 0);
  forEachBlock(shape, [&](int64_t column, int64_t count, int64_t offset) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const uint8_t *from = codes + (tile * kTileRows + lane) * shape.columns + column;
      uint8_t *block = out + offset + lane * 4;
      shape.levels ? packTernary(from, count, block) : packFields(from, count, shape, block);
    }
  });
}

void packUniform(const uint8_t *codes, const TileShape &shape, uint8_t *out) {
  for (int64_t tile = 0; tile < shape.tiles; ++tile)
    packUniformTile(codes, shape, tile, out + tile * shape.tileBytes);
}

void unpackUniform(const uint8_t *packed, const TileShape &shape, uint8_t *codes) {
  for (int64_t row = 0; row < shape.rows; ++row) {
    const uint8_t *tile = packed + row / kTileRows * shape.tileBytes;
    forEachBlock(shape, [&](int64_t column, int64_t count, int64_t offset) {
      const uint8_t *block = tile + offset + row % kTileRows * 4;
      for (int64_t j = 0; j < count; ++j)
        codes[row * shape.columns + column + j] = shape.levels ? unpackTernary(block, j) : unpackFields(block, j, shape);
    });
  }
}

//===- Scales and zero points ---------------------------------------------------------------------------------------------===//

// Calls fn(row, group, packed index); row is -1 where there is none.
template <typename Fn> static void forEachScale(const TileShape &shape, Fn fn) {
  int64_t index = 0;
  for (int64_t tile = 0; tile < shape.tiles; ++tile)
    for (int64_t group = 0; group < shape.groups; ++group)
      for (int64_t row = tile * kTileRows; row < (tile + 1) * kTileRows; ++row)
        fn(row < shape.rows ? row : -1, group, index++);
}

void packScales(const float *scales, int64_t scaleRows, const TileShape &shape, ScaleType type, void *out) {
  forEachScale(shape, [&](int64_t row, int64_t group, int64_t index) {
    float scale = row < 0 ? 0 : scales[(scaleRows == 1 ? 0 : row) * shape.groups + group];
    if (type == ScaleType::F32)
      static_cast<float *>(out)[index] = scale;
    else
      static_cast<uint16_t *>(out)[index] = floatToHalf(scale);
  });
}

void unpackScales(const void *packed, const TileShape &shape, ScaleType type, float *scales) {
  forEachScale(shape, [&](int64_t row, int64_t group, int64_t index) {
    if (row >= 0)
      scales[row * shape.groups + group] = type == ScaleType::F32
                                               ? static_cast<const float *>(packed)[index]
                                               : halfToFloat(static_cast<const uint16_t *>(packed)[index]);
  });
}

void packZeros(const uint8_t *zeros, int64_t zeroRows, const TileShape &shape, uint8_t *out) {
  forEachScale(shape, [&](int64_t row, int64_t group, int64_t index) {
    out[index] = row < 0 ? 0 : zeros[(zeroRows == 1 ? 0 : row) * shape.groups + group];
  });
}

void unpackZeros(const uint8_t *packed, const TileShape &shape, uint8_t *zeros) {
  forEachScale(shape, [&](int64_t row, int64_t group, int64_t index) {
    if (row >= 0)
      zeros[row * shape.groups + group] = packed[index];
  });
}

//===- Plain floats -------------------------------------------------------------------------------------------------------===//

std::optional<int64_t> getDenseBytes(int64_t rows, int64_t columns) {
  int64_t bytes;
  if (rows < 0 || columns < 0 || !multiply(columns, kTileRows * 4, bytes) ||
      !multiply(bytes, ceilDiv(rows, kTileRows), bytes))
    return std::nullopt;
  return bytes;
}

void packDenseTile(const float *matrix, int64_t rows, int64_t columns, int64_t tile, float *out) {
  int64_t lanes = std::min(kTileRows, rows - tile * kTileRows);
  const float *from = matrix + tile * kTileRows * columns;
  for (int64_t column = 0; column < columns; ++column)
    for (int64_t lane = 0; lane < kTileRows; ++lane)
      *out++ = lane < lanes ? from[lane * columns + column] : 0.0f;
}

void packDense(const float *matrix, int64_t rows, int64_t columns, float *out) {
  for (int64_t tile = 0; tile < ceilDiv(rows, kTileRows); ++tile)
    packDenseTile(matrix, rows, columns, tile, out + tile * kTileRows * columns);
}

void unpackDense(const float *packed, int64_t rows, int64_t columns, float *matrix) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      matrix[row * columns + column] =
          packed[(row / kTileRows * columns + column) * kTileRows + row % kTileRows];
}

} // namespace quanta
