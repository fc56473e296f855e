//===- FloatRow.cpp - One row of floats times a uniform weight ------------------------------------------------------------===//
//
// The weights pass through once, so they are not decoded into memory. A code is masked where it lies in its word and converted to
// a float there, too large by a power of two that depends on its column alone: the activations are divided by it beforehand, which
// is exact. So 16 weights cost a mask, the subtraction of the zero point, a conversion and a multiplication; scales wait for the end of
// the group. Zero points do not: a weight of zero must add nothing, or rounding the sums of many would be seen.
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
    scaled = memref::AllocOp::create(
        b, MemRefType::get({static_cast<int64_t>(weight.fields().size()), weight.groups() * stride}, b.getF32Type()), b.getI64IntegerAttr(64));
    columnSums = memref::AllocOp::create(b, MemRefType::get({weight.groups()}, b.getF32Type()), b.getI64IntegerAttr(64));
    emitScaling();
    emitProducts();
    memref::DeallocOp::create(b, columnSums);
    memref::DeallocOp::create(b, scaled);
  }

private:
  /// What activations of 16 columns are multiplied by: undoes a field's places in its words.
  Value factors(const TileField &field, int64_t firstColumn) {
    SmallVector<float> values;
    for (int64_t j = 0; j < kLanes; ++j)
      values.push_back(std::ldexp(1.0f, static_cast<int>(field.shift) + weight.isDoubled() -
                                            static_cast<int>(Place::get(field, (firstColumn + j) % (32 / field.width)).position)));
    return arith::ConstantOp::create(b, DenseElementsAttr::get(b.f32Tile(), ArrayRef<float>(values)));
  }

  void emitScaling() {
    Value row = b.index(0), none = b.tileOf(0.0f);
    b.loop(b.index(0), b.index(weight.groups()), 1, [&](Value group) {
      Value begin = b.mul(group, weight.groupColumns()), columns = weight.groupColumns(b, group), to = b.mul(group, stride);
      Value sum = b.loop(b.index(0), b.index(stride), 32, ValueRange{none}, [&](Value column, ValueRange carried) {
        Value running = carried[0];
        for (int64_t half : {int64_t(0), kLanes}) {
          Value at = b.add(column, half);
          Value values = b.loadMasked(x, {row, b.add(begin, at)}, b.mask(b.sub(columns, at)), none);
          running = b.addf(running, values);
          for (auto [i, field] : llvm::enumerate(weight.fields()))
            b.storeTile(b.mulf(values, factors(field, half)), scaled, {b.index(i), b.add(to, at)});
        }
        return SmallVector<Value>{running};
      })[0];
      memref::StoreOp::create(b, b.reduceAdd(sum), columnSums, ValueRange{group});
    });
  }

  int64_t streams() {
    int64_t most = std::max<int64_t>(1, b.level->vectorRegisters * b.level->vectorBits / 512 / 4);
    return std::min<int64_t>(weight.fields().size() > 1 || weight.fields()[0].width < 4 ? std::min<int64_t>(most, 4) : most, weight.tiles());
  }

  void emitProducts() {
    int64_t count = streams();
    b.parallel(b.index(llvm::divideCeil(weight.tiles(), count)), [&](Value task) {
      SmallVector<Value> tiles;
      for (int64_t s = 0; s < count; ++s) // the last task may make a tile several times
        tiles.push_back(b.min(b.add(b.mul(task, count), s), b.index(weight.tiles() - 1)));
      SmallVector<Value> none(count, b.tileOf(0.0f));
      SmallVector<Value> totals = b.loop(b.index(0), b.index(weight.groups()), 1, none, [&](Value group, ValueRange carried) {
        Value firstBlock = b.mul(group, weight.groupBlocks()), from = b.mul(group, stride);
        SmallVector<Value> zeros;
        if (!weight.isDoubled())
          for (Value tile : tiles)
            zeros.push_back(weight.affine(b, tile, group).zero);
        SmallVector<Value> products = b.loop(b.index(0), weight.groupBlocks(b, group), 1, none, [&](Value block, ValueRange running) {
          SmallVector<Value> next(running);
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
    for (auto [i, field] : llvm::enumerate(weight.fields())) {
      int64_t perWord = 32 / field.width;
      int32_t mask = (1 << field.width) - 1;
      for (int64_t word = 0; word < weight.blockColumns() / perWord; ++word) {
        SmallVector<Value> lines;
        for (Value tile : tiles)
          lines.push_back(weight.line(b, tile, block, field.firstWord + word));
        for (int64_t j = 0; j < perWord; ++j) {
          Place place = Place::get(field, j);
          Value factor = b.splat(b.load(scaled, {b.index(i), b.add(column, word * perWord + j)}));
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

  /// scale · Σ (q − zero)·x + offset · Σ x, added to the sum over groups. Of doubled codes 2·q − 1, the 1 is still to be subtracted.
  Value addGroup(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
    if (weight.isDoubled())
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
  Value x, bias, y, scaled, columnSums;
  int64_t stride; ///< columns of a group in `scaled`
};

} // namespace

bool mlir::quanta::hasFloatRow(Attribute weight, ArrayRef<int64_t> shape) {
  auto uniform = dyn_cast_or_null<UniformAttr>(weight);
  auto [rows, columns] = getMatrixShape(shape);
  return uniform && !uniform.getLevels() && rows > 0 && columns > 0;
}

void mlir::quanta::emitFloatRow(KernelBuilder &b, const KernelArgs &args) { FloatRow(b, args).emit(); }
