//===- IntegerOperands.h - What every way to multiply integers works on ---------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGEROPERANDS_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGEROPERANDS_H

#include "Epilogue.h"
#include "IntegerLinear.h"
#include "IntegerTiles.h"

namespace mlir::quanta {

/// The operands of a linear layer of integers, of signs (Signs.h) or of bf16 times integers, and what happens to sums of products: they
/// differ between kernels only in how the sums come about.
class IntegerOperands {
public:
  IntegerOperands(KernelBuilder &b, const KernelArgs &args);

  /// Columns that share the scales of weights and activations: a group of the weight, or what lies of one in a segment.
  struct Part {
    Value firstBlock, blocks, firstColumn, columns, group;
    Value factor; ///< of the activations, where segments differ
  };
  /// Where the scales of weights are multiples of their row's: parts are rows, unless segments cut them, and codes are multiplied when they
  /// are decoded. What is computed of parts before does not serve any more.
  void multiplyCodes();
  int64_t partCount() const { return partTable ? static_cast<int64_t>(parts.size()) : weight.isMultiplied() ? 1 : weight.groups(); }
  Part part(Value index);
  /// Whether all parts are whole multiples of so many columns.
  bool partsAreMultiplesOf(int64_t width) const;
  /// Of the widest part.
  int64_t mostPartColumns() const;

  /// One body for so many rows or more, and another for fewer, which is emitted first.
  void ifRows(int64_t fewest, function_ref<void()> many, function_ref<void()> few);
  /// 64 activations of a row from a column on, bytes (32 of bf16), in the order in which weights are decoded: `count` of them, then zeros.
  Value loadColumns(Value row, Value column, Value count);

  /// Σ x of each row and part, which zero points are multiplied by: columnSums [rows, parts]; of bf16 only if offsets are.
  void emitColumnSums();
  void freeColumnSums();
  /// The words that are multiplied in a block of so many columns, and the columns of a word.
  int64_t blockWords() const { return weight.blockColumns() / wordColumns(); }
  int64_t wordColumns() const { return isBFloat ? 2 : 4; }
  /// The words of a block of a group as pairs of bf16, less zero points.
  SmallVector<Value> decodeBFloats(Value tile, Value block, Value group);
  /// The weight's, times the activations'.
  IntegerTiles::Affine affine(Value tile, const Part &one);
  /// scale · (Σ q·x − zero · Σ x) + offset · Σ x, added to the sum over parts.
  Value addGroup(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum);
  /// The same of products from which zero · Σ x has been subtracted; both sums may be floats.
  Value addScaled(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum);
  /// What is stored: floats, or else codes.
  Value getResult() const { return epilogue.floats ? epilogue.floats : epilogue.codes; }
  /// Scales the sum over all parts, adds the bias and stores 16 columns of what the epilogue makes of it; if `exists` is given, only where
  /// that is true.
  void store(Value sum, Value row, Value tile, Value exists = Value());
  /// `mask`: of columns that exist, null if all do; others become zeros.
  void storeCodes(Value bytes, Value row, Value tile, Value mask, Value exists);

  KernelBuilder &b;
  bool isBFloat; ///< codes are bf16; products, then, and sums are floats
  Epilogue epilogue;
  IntegerTiles weight;
  std::vector<IntegerPart> parts;
  Value codes, partTable, factors, bias, rows, columnSums; ///< factors: of parts; codes: of signs, their planes
  Value scales, offsets, weightSums;                          ///< scales, offsets: of rows
  float constantScale = 1; ///< of all activations, without scales and factors
  std::optional<int64_t> signColumns; ///< of activations that are signs

private:
  Value loadSigns(Value row, Value column, Value count);
  /// Of columns of a row, in lanes.
  Value sumBytes(Value row, const Part &one);
  Value sumBFloats(Value row, const Part &one);
};

} // namespace mlir::quanta
#endif
