//===- BitLookups.h - Sums of bytes picked by bits, four at a time ------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_BITLOOKUPS_H
#define QUANTA_LIB_CODEGEN_KERNELS_BITLOOKUPS_H

#include "IntegerOperands.h"

namespace mlir::quanta {

/// One row of bytes times weights of one bit, where an instruction looks up 32 bytes in tables of 16 (T-MAC, arXiv:2407.00088):
/// for every four columns a table of their 16 sums, made once for all rows of weights.
///
/// A byte x is 16·h + l with l in 0 … 15 and h in −8 … 7, and the sums of l and h are looked up apart, as bytes. Those of l are stored less
/// 32 and those of h plus 2, which cancels out; so four lookups add up in signed bytes, and 16 times one plus the other in 16 bits.
class BitLookups {
public:
  /// Whether this pays, and works: an even number of tiles is multiplied at a time.
  static bool serves(const ::quanta::TargetLevel &level, const IntegerTiles &weight);
  /// Makes the tables.
  explicit BitLookups(IntegerOperands &operands);
  void free();

  /// Nothing in Σ bit·x of 16 rows, of 16 bits in an order of their own.
  Value zero() { return arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes / 2}, b.getI32Type()), int32_t(0))); }
  /// Blocks after which sums must be finished, before they overflow.
  static constexpr int64_t kMostBlocks = 32767 / (32 * 127);
  /// Adds a block of each tile; `block` counts from the beginning of the part, `stored` from that of the tile.
  void accumulate(ArrayRef<Value> tiles, Value part, Value block, Value stored, MutableArrayRef<Value> sums);
  /// Σ q·x of rows in order.
  Value finish(Value sum);

private:
  /// Bytes 0 and 1 (or 2 and 3) of the words of two tiles, a register each: rows 0 to 3 and 8 to 11 of both, then 4 to 7 and 12 to 15.
  std::array<Value, 2> gatherBytes(Value order, Value first, Value second, bool upper);
  Value loadTable(Value row);
  Value table(Value part, Value block, int64_t n);
  /// `halves`: room for h and l of 32 columns.
  void emitTables(Value part, Value halves);

  IntegerOperands &operands;
  KernelBuilder &b;
  int64_t blocks; ///< of a part
  Value tables, byteOrder; ///< [parts · blocks · 8 · 2 tables and the row of an order of bytes, 16]
};

} // namespace mlir::quanta
#endif
