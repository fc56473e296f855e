//===- IntegerTiles.h - Weights as small integers -----------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_INTEGERTILES_H
#define QUANTA_LIB_CODEGEN_KERNELS_INTEGERTILES_H

#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Format/TileLayout.h"

namespace mlir::quanta {

/// A uniform weight in tiles of 16 rows, for kernels that multiply its codes by bytes: y = Σ_groups scale · (Σ q·x − zero · Σ x)
/// (+ offset · Σ x). What stands for zero may be 1/2: then everything integer is doubled and the scale halved.
///
/// Groups whose scales are multiples of the row's are, once it is told to `multiplyCodes`, decoded to bytes multiple · (q − zero) (+ 128
/// where the target multiplies unsigned bytes), which have the scale of the row and no groups any more.
class IntegerTiles {
public:
  IntegerTiles(UniformAttr uniform, ArrayRef<int64_t> shape, ValueRange components);

  UniformAttr uniform() const { return encoding; }
  int64_t rows() const { return shape.rows; }
  int64_t tiles() const { return shape.tiles; }
  int64_t groups() const { return shape.groups; }
  int64_t groupColumns() const { return shape.groupColumns; }
  int64_t columns() const { return shape.columns; }
  int64_t blockColumns() const { return shape.blockColumns; }
  /// Words of four codes in a decoded block: columns 4i to 4i + 3 in the i-th, rounded up.
  int64_t blockWords() const { return shape.blockColumns / 4; }
  /// Lines of 16 words in a stored block.
  int64_t blockLines() const { return shape.blockBytes / (4 * ::quanta::kTileRows); }
  int64_t tileBlocks() const { return shape.tileBlocks; }
  int64_t groupBlocks() const { return shape.getFirstBlock(1); }
  /// Blocks of a group; only the last may have fewer than the others.
  Value groupBlocks(KernelBuilder &b, Value group) const;
  /// Columns of a group.
  Value groupColumns(KernelBuilder &b, Value group) const;

  /// How many sums of a row of lanes grow while a group goes by.
  int64_t sums(KernelBuilder &b) const;
  /// After how many blocks sums must be finished, before they overflow.
  int64_t mostBlocks(KernelBuilder &b) const;
  /// Multiplies one block without decoding it. x(j): the activations of the block's columns j to j + 3 in every lane.
  void accumulate(KernelBuilder &b, Value tile, Value block, MutableArrayRef<Value> sums, function_ref<Value(int64_t)> x) const;
  /// Σ q·x of what was accumulated.
  Value finish(KernelBuilder &b, ValueRange sums) const;
  /// The block's codes, a byte each; they use codeBits() bits. `centred`: less middle(), signed bytes (with multiples, less the zero). `factors`: of the block's
  /// group, if they are at hand.
  struct Factors {
    Value multiples, constants; ///< of the codes, twice a lane in 16 bits; then added to each byte
  };
  SmallVector<Value> decode(KernelBuilder &b, Value tile, Value block, bool centred = false, std::optional<Factors> factors = {}) const;
  unsigned codeBits() const { return !isMultiplied() ? shape.bits + isDoubled() : byteZero ? 8 : 7; }

  /// From now on, if groups have multiples and the target gains by it, codes are what decode makes of them and their multiples. Nothing
  /// that multiplies without decoding may be called then.
  void multiplyCodes(const ::quanta::TargetLevel &level);
  bool isMultiplied() const { return multiplied; }
  bool hasMultiples() const { return encoding.getMultiples(); }
  Factors factors(KernelBuilder &b, Value tile, Value group, bool centred = false) const;

  /// A group of a tile: what is subtracted from Σ q·x for each unit of Σ x, null if nothing is; then what the difference is
  /// multiplied by; then what is added for each unit of Σ x, null if nothing is.
  struct Affine {
    Value zero, scale, offset;
    Value multiple = Value(); ///< null unless apart
  };
  /// `apart`: of multiples of the row's scale that scale, and the integer that the difference is multiplied by before.
  Affine affine(KernelBuilder &b, Value tile, Value group, bool apart = false) const;
  /// Half of the range of codes, rounded up.
  int32_t middle() const { return isDoubled() || isTernary() ? 1 : 1 << (shape.bits - 1); }
  /// Zero if it is the same for all groups.
  std::optional<int32_t> constantZero() const;

  bool isDoubled() const { return encoding.getZero() == ZeroKind::Symmetric && shape.bits == 1 && !shape.levels; }
  bool hasOffset() const { return encoding.getZero() == ZeroKind::Offset; }
  bool isTernary() const { return shape.levels == 3; }
  ArrayRef<::quanta::TileField> fields() const { return ArrayRef(shape.fields, shape.fieldCount); }
  Value codes() const { return components[0]; }
  /// One word of each of the block's 16 rows.
  Value line(KernelBuilder &b, Value tile, Value block, int64_t word) const;

  /// Where a thread that walks `streams` adjacent tiles, a block of each in turn, is a few KiB later: the line of a tile, counted
  /// on into the tiles behind it, that is `prefetch`ed while the block is read.
  Value lineAhead(KernelBuilder &b, Value block, int64_t streams) const;
  /// Asks for the lines of a block from there on.
  void prefetch(KernelBuilder &b, Value tile, Value lineAhead) const;
  /// Asks for the first lines of the `count` tiles that follow on as many from `tile` on.
  void prefetchTiles(KernelBuilder &b, Value tile, int64_t count) const;
  /// Asks for the scales, offsets or zero points of the group that the walk comes to `streams` tiles later.
  void prefetchAffine(KernelBuilder &b, Value tile, Value group, int64_t streams) const;

private:
  SmallVector<Value> decodeCodes(KernelBuilder &b, Value tile, Value block, bool centred) const;
  SmallVector<Value> decodeTernary(KernelBuilder &b, Value tile, Value block, bool centred) const;
  /// Powers of two by which sums are too small: of fields multiplied where they lie in their bytes, or shifted down.
  SmallVector<int> exponents(KernelBuilder &b) const;
  int exponent(KernelBuilder &b, const ::quanta::TileField &field, int64_t slot) const;
  /// Where in its byte a field is multiplied, of which the slot is a multiple of its width.
  unsigned position(KernelBuilder &b, const ::quanta::TileField &field, int64_t slot) const;
  /// Whether sums are two of 16 bits a lane, until they are finished.
  bool sumsHalves(KernelBuilder &b) const;

  std::optional<int32_t> codeZero() const;

  UniformAttr encoding;
  ::quanta::TileShape shape;
  bool multiplied = false;
  int32_t byteZero = 0; ///< what stands for zero in multiplied codes
  SmallVector<Value> components;
};

} // namespace mlir::quanta
#endif
