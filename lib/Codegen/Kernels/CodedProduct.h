//===- CodedProduct.h - Products of two activations that are codes ---------------------------------------*- C++ -*-===//
//
// Neither operand is known before the model runs, so kernels encode both: the rows of the left one as they come, and the columns of the
// right one, first, in tiles of 16, four codes of a column to a word.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_CODEDPRODUCT_H
#define QUANTA_LIB_CODEGEN_KERNELS_CODEDPRODUCT_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// An activation as signed bytes: x = Σ over regions of scale · (code − zero). Of several regions, which have no zero point, at most one
/// has a code other than 0.
struct CodeGrid {
  Attribute encoding;
  SmallVector<float> scales; ///< of the regions; 1 for rows with scales of their own
  int32_t zero = 0;
  unsigned bits = 8;
  bool dynamic = false; ///< rows have scales of their own, found while the model runs

  /// None for what bytes do not hold: segments, offsets of rows, logarithmic grids of more exponents than three regions hold.
  static std::optional<CodeGrid> get(Attribute encoding);

  /// A tile's code in each region, as f32 that need not be rounded; `factor`: 1 / scale of dynamic rows, a tile.
  SmallVector<Value> encode(KernelBuilder &b, Value x, Value factor) const;
  /// 1 / scale and the scale of rows whose largest magnitude is `width`, an f32 or a tile of it.
  std::pair<Value, Value> scaleRow(KernelBuilder &b, Value width) const;
  /// Of the number 0.
  int32_t codeOfZero() const;
};

/// The grids of a product's operands.
struct ProductOfCodes {
  CodeGrid left, right; ///< rows with scales of their own are columns of the right operand
  float scale = 1;      ///< of the product

  /// None where kernels multiply floats.
  static std::optional<ProductOfCodes> get(Attribute lhs, Attribute rhs);

  /// The most products whose sum surely fits 32 bits, a multiple of 64.
  int64_t chunk() const;
  /// What is added to codes of the right operand, for instructions that multiply unsigned bytes by signed ones.
  int32_t offset(const ::quanta::TargetLevel &level) const;
};

/// Codes of the left operand: rows of `depth` columns.
class CodedRows {
public:
  CodedRows(KernelBuilder &b, const ProductOfCodes &product, Value count, Value depth);
  void free();

  /// `load(column, mask)`: a tile of the row; the mask, if any, is of columns that exist.
  void encode(Value row, function_ref<Value(Value column, Value mask)> load);
  /// Codes of four columns from `column` on in every lane.
  Value word(Value row, size_t region, Value column);
  /// What is to subtract from the products of a chunk; null if nothing is.
  Value excess(Value row, size_t region, Value chunk);
  Value scale(Value row) { return scales ? b.load(scales, {row}) : Value(); }

private:
  KernelBuilder &b;
  const ProductOfCodes &product;
  Value depth, stride, codes, scales, sums;
  int32_t factor;
};

/// Codes of the right operand, [B, G, K, N] or its transpose: a matrix for each b and g.
class CodedColumns {
public:
  CodedColumns(KernelBuilder &b, const ProductOfCodes &product, Value operand, bool transposed);
  void free();

  /// Encodes all of them, in parallel.
  void encode();
  Value count() { return columns; }
  Value depth() { return rows; }
  Value word(Value matrix, Value tile, Value word) { return b.loadTile(words, {matrix, tile, word, b.index(0)}); }
  Value excess(Value matrix, Value tile, Value chunk) {
    return sums ? b.loadTile(sums, {matrix, tile, chunk, b.index(0)}) : Value();
  }
  Value scale(Value matrix, Value tile) { return scales ? b.loadTile(scales, {matrix, tile, b.index(0)}) : Value(); }

private:
  void encodeRows(Value tile);    ///< of the transposed operand: sixteen rows become a tile
  void encodeColumns(Value tile); ///< four rows at a time
  /// Stores scales of a tile's columns; returns 1 / scale, or null if they have none of their own.
  Value scaleColumns(Value tile, function_ref<Value()> width);
  void storeWord(ArrayRef<Value> tiles, Value tile, Value word, Value factor);
  void emitSums(Value tile);

  KernelBuilder &b;
  const ProductOfCodes &product;
  Value operand;
  bool transposed;
  Value rows, columns, words, scales, sums;
  int32_t offset;
  Value batch, group, matrix; ///< of the task
};

/// Multiplies rows begin to end by all columns of a matrix: `store(row, column, tile)` gets 16 results from `column` on.
void emitCodedProduct(KernelBuilder &b, const ProductOfCodes &product, CodedRows &rows, CodedColumns &columns, Value matrix, Value begin,
                      Value end, function_ref<void(Value row, Value column, Value tile)> store);

} // namespace mlir::quanta
#endif
