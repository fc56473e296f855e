//===- SignProducts.cpp - Signs times weights of one bit --------------------------------------------------------------------===//
//
// Bits that differ are counted (Signs.h): three instructions for 512 products where lanes can be counted, and where only bytes can, four
// and more, their counts added up as bytes as long as they have room.
//
// Linear layers hold 16 rows of weights in the lanes, convolutions 16 pixels; what differs is given by a closure. A matrix unit
// multiplies many rows of linear layers as bytes −1, 0 and 1, to which both sides are decoded.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "ConvPixels.h"
#include "Gemm.h"
#include "IntegerMatrix.h"
#include "quanta/Codegen/IntegerDot.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// A word of bits that differ, for a row and a tile of 16 lanes.
using Differ = function_ref<Value(Value word, int64_t row, int64_t tile)>;

class SignProducts {
public:
  explicit SignProducts(KernelBuilder &b, const KernelArgs &args)
      : b(b), weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("matrix"), args.weights),
        words(weight.columns() / 32), bias(args.inputs.size() > 1 ? args.inputs[1] : Value()) {}

  /// Bits set in lanes of 32.
  Value count(Value bits) { return math::CtPopOp::create(b, bits); }

  /// Numbers of bits that differ, for each row and tile.
  SmallVector<Value> countDifferent(int64_t rows, int64_t tiles, Differ differ) {
    SmallVector<Value> none(rows * tiles, b.tileOf(int32_t(0)));
    auto forEach = [&](ValueRange sums, function_ref<Value(Value sum, int64_t r, int64_t c)> body) {
      SmallVector<Value> next;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < tiles; ++c)
          next.push_back(body(sums[r * tiles + c], r, c));
      return next;
    };
    if (b.level->countsWords)
      return b.loop(b.index(0), b.index(words), 1, none, [&](Value word, ValueRange sums) {
        return forEach(sums, [&](Value sum, int64_t r, int64_t c) { return b.add(sum, count(differ(word, r, c))); });
      });
    // A byte counts up to 8 of each word.
    constexpr int64_t kWordsOfByte = 31;
    auto i8s = VectorType::get({4 * kLanes}, b.getI8Type());
    SmallVector<Value> zeros(rows * tiles, arith::ConstantOp::create(b, DenseElementsAttr::get(i8s, int8_t(0))));
    return b.loop(b.index(0), b.index(words), kWordsOfByte, none, [&](Value first, ValueRange sums) {
      Value end = b.min(b.index(words), b.add(first, kWordsOfByte));
      SmallVector<Value> bytes = b.loop(first, end, 1, zeros, [&](Value word, ValueRange counts) {
        return forEach(counts, [&](Value sum, int64_t r, int64_t c) {
          return b.add(sum, count(vector::BitCastOp::create(b, i8s, differ(word, r, c))));
        });
      });
      return forEach(sums, [&](Value sum, int64_t r, int64_t c) {
        return emitIntegerDot(b, sum, vector::BitCastOp::create(b, b.i32Tile(), bytes[r * tiles + c]), b.tileOf(0x01010101), 8);
      });
    });
  }

  Value toFloat(Value nonzero, Value different) {
    return arith::SIToFPOp::create(b, b.f32Tile(), b.sub(nonzero, b.add(different, different)));
  }

  KernelBuilder &b;
  IntegerTiles weight;
  int64_t words; ///< of 32 bits that a row has
  Value bias;
};

} // namespace

/// Fewest rows that are worth a matrix unit. By reasoning, not measured: the unit multiplies 16 rows in the time that it needs for
/// one, 1024 products a cycle, while three instructions on two ports count 512 products in a cycle and a half. So the unit needs 6
/// rows; but with few rows it waits for weights to be decoded, and takes twice as long.
constexpr int64_t kFewestMatrixRows = 12;

/// How many columns of each row are not zero.
static Value emitNonzero(SignProducts &products, Value planes) {
  KernelBuilder &b = products.b;
  Value rows = b.dim(planes, 0), none = b.tileOf(int32_t(0));
  SmallVector<Value> sizes;
  auto type = MemRefType::get({cast<MemRefType>(planes.getType()).getDimSize(0)}, b.getI32Type());
  if (type.isDynamicDim(0))
    sizes.push_back(rows);
  Value nonzero = memref::AllocOp::create(b, type, sizes, b.getI64IntegerAttr(64));
  b.loop(b.index(0), rows, 1, [&](Value row) {
    Value sum = b.loop(b.index(0), b.index(products.words), kLanes, ValueRange{none}, [&](Value word, ValueRange carried) {
      Value bits = b.loadMasked(planes, {row, b.index(1), word}, b.mask(b.sub(b.index(products.words), word)), none);
      return SmallVector<Value>{b.add(carried[0], products.count(bits))};
    })[0];
    memref::StoreOp::create(b, b.reduceAdd(sum), nonzero, ValueRange{row});
  });
  return nonzero;
}

static void emitCountedLinear(KernelBuilder &b, const KernelArgs &args) {
  SignProducts products(b, args);
  IntegerTiles &weight = products.weight;
  Value planes = args.inputs[0], bias = products.bias, y = args.outputs[0], rows = b.dim(planes, 0);
  int64_t width = b.registers.tiles, panels = llvm::divideCeil(weight.tiles(), width);

  bool zeros = cast<MemRefType>(planes.getType()).getDimSize(1) == 2;
  Value nonzero = zeros ? emitNonzero(products, planes) : Value(), all = b.tileOf(static_cast<int32_t>(args.getInt("columns")));

  b.parallel(b.mul(b.ceilDiv(rows, kRowBlock), panels), [&](Value task) {
    Value panel = b.rem(task, panels), begin = b.mul(b.div(task, panels), kRowBlock), end = b.min(rows, b.add(begin, kRowBlock));
    SmallVector<Value> tiles, scales, masks, biases;
    for (int64_t t = 0; t < width; ++t) { // the last panel may make its last tile twice
      tiles.push_back(b.min(b.add(b.mul(panel, width), t), b.index(weight.tiles() - 1)));
      scales.push_back(weight.affine(b, tiles[t], b.index(0)).scale);
      masks.push_back(b.mask(b.sub(b.index(weight.rows()), b.mul(tiles[t], kLanes))));
      biases.push_back(bias ? b.loadMasked(bias, {b.mul(tiles[t], kLanes)}, masks[t], b.tileOf(0.0f)) : b.tileOf(0.0f));
    }
    forRowBlocks(b, begin, end, b.registers.rows, [&](Value row, int64_t count) {
      auto differ = [&](Value word, int64_t r, int64_t t) {
        auto plane = [&](int64_t which) { return b.splat(b.load(planes, {b.add(row, r), b.index(which), word})); };
        Value different = arith::XOrIOp::create(b, plane(0), weight.line(b, tiles[t], word, 0));
        return zeros ? b.andi(plane(1), different) : different;
      };
      SmallVector<Value> different = products.countDifferent(count, width, differ);
      for (int64_t r = 0; r < count; ++r)
        for (int64_t t = 0; t < width; ++t) {
          Value sum = products.toFloat(zeros ? b.splat(b.load(nonzero, {b.add(row, r)})) : all, different[r * width + t]);
          // Rounded as IntegerOperands does, so that a result does not depend on the number of rows.
          b.storeMasked(b.addf(b.mulf(sum, scales[t]), biases[t]), y, {b.add(row, r), b.mul(tiles[t], kLanes)}, masks[t]);
        }
    });
  });
  if (zeros)
    memref::DeallocOp::create(b, nonzero);
}

void mlir::quanta::emitSignLinear(KernelBuilder &b, const KernelArgs &args) {
  if (b.level->matrix == ::quanta::MatrixUnit::None)
    return emitCountedLinear(b, args);
  IntegerOperands operands(b, args);
  operands.ifRows(kFewestMatrixRows, [&] { emitIntegerMatrix(operands); }, [&] { emitCountedLinear(b, args); });
}

void mlir::quanta::emitSignConv2D(KernelBuilder &b, const KernelArgs &args) {
  SignProducts products(b, args);
  IntegerTiles &weight = products.weight;
  PixelCollector collector(b, args);
  Value planes = args.inputs[0], y = args.outputs[0];
  int64_t words = products.words, width = b.registers.tiles;
  collector.emitSizes();
  Value output = memref::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  Value pixels = b.dim(output, 2), panels = b.ceilDiv(pixels, b.registers.columns());
  b.parallel(b.mul(b.dim(planes, 0), panels), [&](Value task) {
    Value pixel = b.mul(b.rem(task, panels), b.registers.columns()), n = b.div(task, panels), valid = b.sub(pixels, pixel);
    Value plane = b.mul(b.mul(n, b.dim(planes, 1)), collector.image);
    // First the words of positive taps, then those of taps that are not zero.
    Value panel = b.scratch({width, 2 * words, kLanes}, b.getI32Type()), scales = b.scratch({kLanes}, b.getF32Type());
    collector.emitTask(width);
    SmallVector<Value> nonzero, masks;
    for (int64_t t = 0; t < width; ++t) {
      Value slot = b.index(t), tileValid = b.sub(valid, b.index(t * kLanes));
      masks.push_back(b.mask(tileValid));
      collector.collect(collector.describe(b.add(pixel, t * kLanes), tileValid, slot), panel, slot, plane, b.index(0), b.index(2 * words));
      nonzero.push_back(b.loop(b.index(words), b.index(2 * words), 1, ValueRange{b.tileOf(int32_t(0))}, [&](Value word, ValueRange carried) {
        return SmallVector<Value>{b.add(carried[0], products.count(b.loadTile(panel, {slot, word, b.index(0)})))};
      })[0]);
    }
    b.loop(b.index(0), b.index(weight.tiles()), 1, [&](Value tile) {
      Value firstRow = b.mul(tile, kLanes);
      b.storeTile(weight.affine(b, tile, b.index(0)).scale, scales, {b.index(0)});
      forRowBlocks(b, firstRow, b.min(b.index(weight.rows()), b.add(firstRow, kLanes)), b.registers.rows, [&](Value row, int64_t count) {
        Value lane = b.sub(row, firstRow);
        auto differ = [&](Value word, int64_t r, int64_t t) {
          auto bits = [&](Value at) { return b.loadTile(panel, {b.index(t), at, b.index(0)}); };
          Value weights = b.splat(b.load(weight.codes(), {tile, word, b.add(lane, r)}));
          return b.andi(bits(b.add(word, words)), Value(arith::XOrIOp::create(b, bits(word), weights)));
        };
        SmallVector<Value> different = products.countDifferent(count, width, differ);
        for (int64_t r = 0; r < count; ++r) {
          Value scale = b.splat(b.load(scales, {b.add(lane, r)}));
          Value initial = products.bias ? b.splat(b.load(products.bias, {b.add(row, r)})) : b.tileOf(0.0f);
          for (int64_t t = 0; t < width; ++t)
            b.storeMasked(b.fma(products.toFloat(nonzero[t], different[r * width + t]), scale, initial), output,
                          {n, b.add(row, r), b.add(pixel, t * kLanes)}, masks[t]);
        }
      });
    });
  });
}
