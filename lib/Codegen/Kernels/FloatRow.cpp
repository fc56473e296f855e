//===- FloatRow.cpp - One row of floats times a uniform weight ------------------------------------------------------------===//
//
// The weights pass through once, so they are not decoded into memory. A code is masked where it lies in its word and converted to
// a float there, too large by a power of two that depends on its column alone: the activations are divided by it beforehand, which
// is exact. So 16 weights cost a mask, the subtraction of the zero point, a conversion and a multiplication; scales wait for the end of
// the group. Zero points do not: a weight of zero must add nothing, or rounding the sums of many would be seen.
//
// Where an instruction picks one of 16 floats for every lane, four bits of a word at a time are looked up instead, the codes of one,
// two or four columns: in what they stand for, or in a table of their sums of products, made once for all rows of weights.
//
// Tiles are walked in turn as for integers (IntegerLinear.cpp).
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "FloatRow.h"
#include "IntegerTiles.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::TileField;

namespace {

/// Where column j of a field's word is multiplied: conversions are of signed integers, so the highest bit is moved down.
struct Place {
  int64_t position; ///< of the lowest bit when it is masked
  int64_t shift;    ///< to the right, before
  static Place get(const TileField &field, int64_t j) {
    int64_t width = field.width, position = 8 * (j % 4) + width * (j / 4);
    return position + width == 32 ? Place{position - width, width} : Place{position, 0};
  }
};

class FloatRow {
public:
  FloatRow(KernelBuilder &b, const KernelArgs &args)
      : b(b), weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("shape"),
                     args.weights),
        x(args.inputs[0]), bias(args.inputs.size() > 1 ? args.inputs[1] : Value()), y(args.outputs[0]),
        stride(llvm::alignTo(weight.groupBlocks() * weight.blockColumns(), 32)) {}

  void emit() {
    padded = allocate({weight.groups() * stride});
    columnSums = allocate({weight.groups()});
    for (const TileField &field : weight.fields())
      if (looksUp(field))
        prepared.push_back(field.width == 4 ? Value() : allocate({weight.groups() * stride * field.width / 4, kLanes}));
      else
        prepared.push_back(allocate({weight.groups() * stride}));
    emitPreparation();
    emitProducts();
    for (Value array : prepared)
      if (array)
        memref::DeallocOp::create(b, array);
    memref::DeallocOp::create(b, columnSums);
    memref::DeallocOp::create(b, padded);
  }

private:
  Value allocate(ArrayRef<int64_t> shape) {
    return memref::AllocOp::create(b, MemRefType::get(shape, b.getF32Type()), b.getI64IntegerAttr(64));
  }

  //===- Four bits at a time ----------------------------------------------------------------------------------------------===//

  /// Zero points that differ from row to row cannot be in a table for all rows.
  bool looksUp(const TileField &field) const { return b.level->looksUp16 && field.width <= 4 && (weight.constantZero() || weight.hasOffset()); }

  /// What a field's bits stand for in a weight, its part of the zero point subtracted.
  float valueOf(const TileField &field, int32_t bits) const {
    if (weight.isDoubled())
      return static_cast<float>(2 * bits - 1);
    int32_t zero = weight.constantZero().value_or(0) >> field.shift & ((1 << field.width) - 1);
    return std::ldexp(static_cast<float>(bits - zero), static_cast<int>(field.shift));
  }

  /// For each value of four bits what the i-th code among them stands for.
  Value valuesOf(const TileField &field, int64_t i) {
    SmallVector<float> values;
    for (int32_t four = 0; four < 16; ++four)
      values.push_back(valueOf(field, four >> field.width * i & ((1 << field.width) - 1)));
    return arith::ConstantOp::create(b, DenseElementsAttr::get(b.f32Tile(), ArrayRef<float>(values)));
  }

  /// The word's column of the i-th code of its n-th four bits.
  static int64_t columnOf(const TileField &field, int64_t n, int64_t i) { return n / 2 + 4 * (n % 2 * 4 / field.width + i); }

  /// Sums of products for each value of the four bits of 32 columns, which begin at `column`.
  void emitTables(const TileField &field, Value tables, Value column) {
    int64_t perWord = 32 / field.width;
    for (int64_t word = 0; word < static_cast<int64_t>(field.width); ++word)
      for (int64_t n = 0; n < 8; ++n) {
        Value sums;
        for (int64_t i = 0; i < 4 / field.width; ++i) {
          Value factor = b.splat(b.load(padded, {b.add(column, word * perWord + columnOf(field, n, i))}));
          sums = sums ? b.fma(valuesOf(field, i), factor, sums) : b.mulf(valuesOf(field, i), factor);
        }
        b.storeTile(sums, tables, {b.add(tableOf(field, column), word * 8 + n), b.index(0)});
      }
  }

  /// The first table of the word that begins at `column`.
  Value tableOf(const TileField &field, Value column) { return b.div(b.mul(column, field.width), 4); }

  void addLookups(const TileField &field, Value tables, ArrayRef<Value> tiles, Value block, Value column, MutableArrayRef<Value> sums) {
    int64_t perWord = 32 / field.width;
    for (int64_t word = 0; word < weight.blockColumns() / perWord; ++word) {
      SmallVector<Value> lines;
      for (Value tile : tiles)
        lines.push_back(weight.line(b, tile, block, field.firstWord + word));
      for (int64_t n = 0; n < 8; ++n) {
        Value table, factor;
        if (field.width == 4) {
          table = valuesOf(field, 0);
          factor = b.splat(b.load(padded, {b.add(column, word * perWord + columnOf(field, n, 0))}));
        } else {
          table = b.loadTile(tables, {b.add(tableOf(field, column), word * 8 + n), b.index(0)});
        }
        for (auto [line, sum] : llvm::zip_equal(lines, sums)) {
          Value found = b.lookUp(table, b.shiftRight(line, 4 * n));
          sum = factor ? b.fma(found, factor, sum) : b.addf(sum, found);
        }
      }
    }
  }

  //===- Converted in place -----------------------------------------------------------------------------------------------===//

  /// What activations of 16 columns are multiplied by: undoes a field's places in its words.
  Value factors(const TileField &field, int64_t firstColumn) {
    SmallVector<float> values;
    for (int64_t j = 0; j < kLanes; ++j)
      values.push_back(std::ldexp(1.0f, static_cast<int>(field.shift) + weight.isDoubled() -
                                            static_cast<int>(Place::get(field, (firstColumn + j) % (32 / field.width)).position)));
    return arith::ConstantOp::create(b, DenseElementsAttr::get(b.f32Tile(), ArrayRef<float>(values)));
  }

  void emitPreparation() {
    Value row = b.index(0), none = b.tileOf(0.0f);
    b.loop(b.index(0), b.index(weight.groups()), 1, [&](Value group) {
      Value begin = b.mul(group, weight.groupColumns()), columns = weight.groupColumns(b, group), to = b.mul(group, stride);
      Value sum = b.loop(b.index(0), b.index(stride), 32, ValueRange{none}, [&](Value column, ValueRange carried) {
        Value running = carried[0];
        for (int64_t half : {int64_t(0), kLanes}) {
          Value at = b.add(column, half);
          Value values = b.loadMasked(x, {row, b.add(begin, at)}, b.mask(b.sub(columns, at)), none);
          running = b.addf(running, values);
          b.storeTile(values, padded, {b.add(to, at)});
          for (auto [field, array] : llvm::zip_equal(weight.fields(), prepared))
            if (!looksUp(field))
              b.storeTile(b.mulf(values, factors(field, half)), array, {b.add(to, at)});
        }
        for (auto [field, array] : llvm::zip_equal(weight.fields(), prepared))
          if (looksUp(field) && array)
            emitTables(field, array, b.add(to, column));
        return SmallVector<Value>{running};
      })[0];
      memref::StoreOp::create(b, b.reduceAdd(sum), columnSums, ValueRange{group});
    });
  }

  //===- Products ---------------------------------------------------------------------------------------------------------===//

  int64_t streams() {
    int64_t most = std::max<int64_t>(1, b.level->vectorRegisters * b.level->vectorBits / 512 / 4);
    const TileField &first = weight.fields()[0];
    if (!looksUp(first) && (weight.fields().size() > 1 || first.width < 4))
      most = std::min<int64_t>(most, 4);
    return std::min<int64_t>(most, weight.tiles());
  }

  void emitProducts() {
    int64_t count = streams();
    b.parallel(b.index(llvm::divideCeil(weight.tiles(), count)), [&](Value task) {
      Value firstTile = b.min(b.mul(task, count), b.index(weight.tiles() - count));
      SmallVector<Value> tiles;
      for (int64_t s = 0; s < count; ++s)
        tiles.push_back(b.add(firstTile, s));
      SmallVector<Value> none(count, b.tileOf(0.0f));
      SmallVector<Value> totals = b.loop(b.index(0), b.index(weight.groups()), 1, none, [&](Value group, ValueRange carried) {
        Value firstBlock = b.mul(group, weight.groupBlocks()), from = b.mul(group, stride);
        SmallVector<Value> zeros;
        if (!weight.isDoubled())
          for (Value tile : tiles)
            zeros.push_back(weight.affine(b, tile, group).zero);
        for (Value tile : tiles)
          weight.prefetchAffine(b, tile, group, count);
        SmallVector<Value> products = b.loop(b.index(0), weight.groupBlocks(b, group), 1, none, [&](Value block, ValueRange running) {
          SmallVector<Value> next(running);
          Value ahead = weight.lineAhead(b, b.add(firstBlock, block), count);
          for (Value tile : tiles)
            weight.prefetch(b, tile, ahead);
          addBlock(tiles, zeros, b.add(firstBlock, block), b.add(from, b.mul(block, weight.blockColumns())), next);
          return next;
        });
        Value columnSum = b.splat(b.load(columnSums, {group}));
        SmallVector<Value> next;
        for (int64_t s = 0; s < count; ++s)
          next.push_back(addGroup(weight.affine(b, tiles[s], group), products[s], columnSum, carried[s]));
        return next;
      });
      for (int64_t s = 0; s < count; ++s)
        store(totals[s], tiles[s]);
    });
  }

  /// The zero point's part in a field, where the field's column j is multiplied; null if it is nothing.
  Value zeroAt(Value zero, const TileField &field, const Place &place) {
    int32_t mask = (1 << field.width) - 1;
    if (std::optional<int32_t> constant = weight.constantZero()) {
      int32_t part = (*constant >> field.shift & mask) << place.position;
      return part ? b.tileOf(part) : Value();
    }
    return arith::ShLIOp::create(b, b.andi(b.shiftRight(zero, field.shift), b.tileOf(mask)), b.tileOf(static_cast<int32_t>(place.position)));
  }

  void addBlock(ArrayRef<Value> tiles, ArrayRef<Value> zeros, Value block, Value column, MutableArrayRef<Value> sums) {
    for (auto [field, array] : llvm::zip_equal(weight.fields(), prepared)) {
      if (looksUp(field)) {
        addLookups(field, array, tiles, block, column, sums);
        continue;
      }
      int64_t perWord = 32 / field.width;
      int32_t mask = (1 << field.width) - 1;
      for (int64_t word = 0; word < weight.blockColumns() / perWord; ++word) {
        SmallVector<Value> lines;
        for (Value tile : tiles)
          lines.push_back(weight.line(b, tile, block, field.firstWord + word));
        for (int64_t j = 0; j < perWord; ++j) {
          Place place = Place::get(field, j);
          Value factor = b.splat(b.load(array, {b.add(column, word * perWord + j)}));
          for (size_t s = 0; s < lines.size(); ++s) {
            Value code = b.andi(b.shiftRight(lines[s], place.shift), b.tileOf(static_cast<int32_t>(mask << place.position)));
            Value zero = !zeros.empty() && zeros[s] ? zeroAt(zeros[s], field, place) : Value();
            if (zero)
              code = b.sub(code, zero);
            Value &sum = sums[s];
            sum = b.fma(arith::SIToFPOp::create(b, b.f32Tile(), code), factor, sum);
          }
        }
      }
    }
  }

  /// scale · Σ (q − zero)·x + offset · Σ x, added to the sum over groups. Of doubled codes 2·q − 1 that were not
  /// looked up, the 1 is still to be subtracted.
  Value addGroup(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
    if (weight.isDoubled() && !looksUp(weight.fields()[0]))
      products = b.subf(products, columnSum);
    sum = b.fma(products, affine.scale, sum);
    return affine.offset ? b.fma(columnSum, affine.offset, sum) : sum;
  }

  void store(Value sum, Value tile) {
    Value row = b.index(0), column = b.mul(tile, kLanes), mask;
    if (weight.rows() % kLanes)
      mask = b.mask(b.sub(b.index(weight.rows()), column));
    if (bias)
      sum = b.addf(sum, mask ? b.loadMasked(bias, {column}, mask, b.tileOf(0.0f)) : b.loadTile(bias, {column}));
    mask ? b.storeMasked(sum, y, {row, column}, mask) : b.storeTile(sum, y, {row, column});
  }

  KernelBuilder &b;
  IntegerTiles weight;
  Value x, bias, y;
  int64_t stride;             ///< columns of a group in what is prepared
  Value padded, columnSums;   ///< the activations, groups filled up with zeros, and their sum in each group
  SmallVector<Value> prepared; ///< for each field: tables, activations divided by the places of its codes, or nothing
};

} // namespace

bool mlir::quanta::hasFloatRow(Attribute weight, ArrayRef<int64_t> shape) {
  auto uniform = dyn_cast_or_null<UniformAttr>(weight);
  auto [rows, columns] = getMatrixShape(shape);
  return uniform && !uniform.getLevels() && rows > 0 && columns > 0;
}

void mlir::quanta::emitFloatRow(KernelBuilder &b, const KernelArgs &args) { FloatRow(b, args).emit(); }
