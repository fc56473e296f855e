//===- Gemm.h - The register-tiled core of every dense kernel -------------------------------------------*- C++ -*-===//
//
// C[row][column] += Σₖ A[row][k] · B[k][column]: a few rows by a panel of one or two tiles of 16 columns stay in registers
// while k runs (KernelBuilder::registers).
// Linear layers put weights in the columns, convolutions put them in the rows; what A, B and C are is given by closures.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_GEMM_H
#define QUANTA_LIB_CODEGEN_KERNELS_GEMM_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// Most columns of the contraction per pass: a panel of 512 × 32 floats (64 KiB) streams from the second-level cache, which a
/// block of 8 rows hides; shorter passes would reload and store the sums more often.
constexpr int64_t kChunk = 512;
/// Rows that share one pass over a panel; 128 × 512 floats of A stay in the second-level cache.
constexpr int64_t kRowBlock = 128;

struct GemmTile {
  std::function<Value(Value row, Value k)> a;            ///< scalar f32
  std::function<Value(Value k, int64_t tile)> b;         ///< 16 lanes
  std::function<Value(Value row, int64_t tile)> initial; ///< value to start from in the first chunk (bias or 0)
  std::function<SmallVector<Value>(Value row, int64_t tile)> c; ///< indices of the tile in `result`
  Value result;                                          ///< memref of f32
  Value chunk;                                           ///< number of k of this pass
  Value first;                                           ///< i1: this is the first chunk; null if there is only one
  Value valid;                                           ///< columns of the panel that exist
  bool alwaysFull = false;                               ///< `valid` is known to be at least a whole panel
};

/// Emits the loops over rows `begin` to `end`: blocks of the most rows that registers hold, then 4, 2 and 1.
void emitGemmRows(KernelBuilder &b, const GemmTile &tile, Value begin, Value end);

/// Runs `body(row, count)` for blocks of `most` of the rows `begin` to `end`, then of 4, 2 and 1.
void forRowBlocks(KernelBuilder &b, Value begin, Value end, int64_t most, function_ref<void(Value row, int64_t count)> body);

/// Transposes 16 tiles of 16 lanes, in place.
void transposeTiles(KernelBuilder &b, SmallVectorImpl<Value> &rows);

/// Batch and head of an operand [B, H, M, N] of a product of `heads` heads, which may broadcast or share heads among groups.
std::pair<Value, Value> matrixOf(KernelBuilder &b, Value operand, Value batch, Value head, Value heads);

/// Runs `body(k0, count, first)` for chunks of at most `chunk` of the `total` contraction columns; `first` is null when one
/// chunk is certain.
void emitChunks(KernelBuilder &b, Value total, int64_t chunk, function_ref<void(Value, Value, Value)> body);

/// A constant weight as kernels see it: its tiles in memory, decoded a chunk at a time unless they are plain floats.
class WeightTiles {
public:
  WeightTiles(PackedAttr encoding, ArrayRef<int64_t> shape, ValueRange components);
  int64_t rows() const { return matrix.first; }
  int64_t columns() const { return matrix.second; }
  int64_t tiles() const { return llvm::divideCeil(matrix.first, kLanes); }
  bool isEncoded() const { return encoding.getBase() != nullptr; }
  /// The most columns of a chunk, near kChunk.
  int64_t chunk() const;
  /// Runs `body(begin, count, first)` for all chunks of stored columns at whose starts decoding may begin, as emitChunks.
  void forChunks(KernelBuilder &b, function_ref<void(Value, Value, Value)> body) const;
  /// Whether the stored columns have another order than the logical ones.
  bool isReordered() const { return order != nullptr; }
  /// The logical column that is stored as column `stored`.
  Value column(KernelBuilder &b, Value stored) const;
  /// Room for `count` decoded tiles of one chunk (null if plain floats).
  Value scratch(KernelBuilder &b, int64_t count) const;
  /// Decodes one tile's chunk into scratch slot `slot`.
  void decode(KernelBuilder &b, Value tile, Value begin, Value end, Value scratch, int64_t slot) const;
  /// 16 rows of stored column begin + k.
  Value loadColumn(KernelBuilder &b, Value tile, Value begin, Value k, Value scratch, int64_t slot) const;
  /// One element.
  Value loadElement(KernelBuilder &b, Value tile, Value begin, Value k, Value lane, Value scratch, int64_t slot) const;

private:
  /// Columns that follow each other, and the length of their chunks.
  struct Segment {
    int64_t columns, chunk;
  };
  SmallVector<Segment> getSegments() const;

  PackedAttr encoding;
  SmallVector<int64_t> shape;
  std::pair<int64_t, int64_t> matrix;
  SmallVector<Value> components;
  Value order;
};

} // namespace mlir::quanta
#endif
