//===- SignProducts.cpp - Signs times weights of one bit --------------------------------------------------------------------===//
//
// Bits that differ are counted (Signs.h): three instructions for 512 products where lanes can be counted, and where only bytes can, four
// and more, their counts added up as bytes as long as they have room.
//
// Linear layers hold 16 rows of weights in the lanes, convolutions 16 pixels; what differs is given by a closure. A matrix unit
// multiplies many rows of linear layers as bytes −1, 0 and 1, to which both sides are decoded.
//
// Where the next layer reads signs of the results, they are compared with zero in registers: 32 channels of a pixel are made by one task, and two
// tiles of rows by one panel, which is a word of each plane.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "ConvPixels.h"
#include "Epilogue.h"
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
      : b(b), epilogue(b, args),
        weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("matrix"), args.weights),
        words(weight.columns() / kSignBits), bias(epilogue.inputs.size() > 1 ? epilogue.inputs[1] : Value()) {}

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
  Epilogue epilogue;
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
  const Epilogue &epilogue = products.epilogue;
  Value planes = args.inputs[0], bias = products.bias, rows = b.dim(planes, 0);
  // Words of signs are two tiles.
  int64_t width = epilogue.codes ? 2 : b.registers.tiles, panels = llvm::divideCeil(weight.tiles(), width);
  int64_t mostRows = std::max<int64_t>(1, b.registers.rows * b.registers.tiles / width);

  bool zeros = cast<MemRefType>(planes.getType()).getDimSize(1) == 2;
  Value nonzero = zeros ? emitNonzero(products, planes) : Value(), all = b.tileOf(static_cast<int32_t>(args.getInt("columns")));

  b.parallel(b.mul(b.ceilDiv(rows, kRowBlock), panels), [&](Value task) {
    Value panel = b.rem(task, panels), begin = b.mul(b.div(task, panels), kRowBlock), end = b.min(rows, b.add(begin, kRowBlock));
    SmallVector<Value> tiles, scales, masks, biases;
    for (int64_t t = 0; t < width; ++t) {
      Value tile = b.add(b.mul(panel, width), t);
      tiles.push_back(b.min(tile, b.index(weight.tiles() - 1))); // of the last panel the last tile may not exist
      scales.push_back(weight.affine(b, tiles[t], b.index(0)).scale);
      masks.push_back(b.mask(b.sub(b.index(weight.rows()), b.mul(tile, kLanes))));
      biases.push_back(bias ? b.loadMasked(bias, {b.mul(tiles[t], kLanes)}, masks[t], b.tileOf(0.0f)) : b.tileOf(0.0f));
    }
    /// What the epilogue makes of a tile of a row.
    auto finish = [&](Value sum, Value row, int64_t t) {
      Value column = b.mul(tiles[t], kLanes);
      auto load = [&](Value operand, EpilogueOperand kind) {
        SmallVector<Value> place{row, column};
        return b.loadMasked(operand, ArrayRef(place).take_back(kind == EpilogueOperand::Channel ? 1 : 2), masks[t], b.tileOf(0.0f));
      };
      Value result = epilogue.apply(sum, load);
      if (epilogue.floats)
        b.storeMasked(result, epilogue.floats, {row, column}, masks[t]);
      return result;
    };
    forRowBlocks(b, begin, end, mostRows, [&](Value row, int64_t count) {
      auto differ = [&](Value word, int64_t r, int64_t t) {
        auto plane = [&](int64_t which) { return b.splat(b.load(planes, {b.add(row, r), b.index(which), word})); };
        Value different = arith::XOrIOp::create(b, plane(0), weight.line(b, tiles[t], word, 0));
        return zeros ? b.andi(plane(1), different) : different;
      };
      SmallVector<Value> different = products.countDifferent(count, width, differ);
      for (int64_t r = 0; r < count; ++r) {
        Value at = b.add(row, r), bits[2] = {};
        for (int64_t t = 0; t < width; ++t) {
          Value sum = products.toFloat(zeros ? b.splat(b.load(nonzero, {at})) : all, different[r * width + t]);
          // Rounded as IntegerOperands does, so that a result does not depend on the number of rows.
          Value result = finish(b.addf(b.mulf(sum, scales[t]), biases[t]), at, t);
          if (!epilogue.codes)
            continue;
          SignLanes signs = epilogue.signs(result);
          for (auto [plane, lanes] : llvm::enumerate(ArrayRef{signs.positive, signs.nonzero}))
            bits[plane] = joinBits(b, bits[plane], b.andi(lanes, masks[t]));
        }
        for (int64_t plane = 0; epilogue.codes && plane < cast<MemRefType>(epilogue.codes.getType()).getDimSize(1); ++plane)
          memref::StoreOp::create(b, bits[plane], epilogue.codes, ValueRange{at, b.index(plane), panel});
      }
    });
  });
  if (zeros)
    memref::DeallocOp::create(b, nonzero);
}

void mlir::quanta::emitSignLinear(KernelBuilder &b, const KernelArgs &args) {
  if (b.level->matrix == ::quanta::MatrixUnit::None || args.has("result_signs")) // planes of signs are made where bits are counted
    return emitCountedLinear(b, args);
  IntegerOperands operands(b, args);
  operands.ifRows(kFewestMatrixRows, [&] { emitIntegerMatrix(operands); }, [&] { emitCountedLinear(b, args); });
}

namespace {

class SignConv2D {
public:
  SignConv2D(KernelBuilder &b, const KernelArgs &args)
      : b(b), products(b, args), weight(products.weight), epilogue(products.epilogue), collector(b, args), planes(args.inputs[0]),
        words(products.words), width(b.registers.tiles) {}

  void emit() {
    collector.emitSizes();
    auto withPixels = [&](Value image) {
      return image ? Value(memref::CollapseShapeOp::create(b, image, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}})) : Value();
    };
    output = withPixels(epilogue.floats), results = withPixels(epilogue.codes);
    Value pixels = b.dim(output ? output : results, 2), panels = b.ceilDiv(pixels, b.registers.columns());
    b.parallel(b.mul(b.dim(planes, 0), panels), [&](Value task) {
      pixel = b.mul(b.rem(task, panels), b.registers.columns()), n = b.div(task, panels);
      scales = b.scratch({kLanes}, b.getF32Type());
      collect(b.sub(pixels, pixel));
      if (!results)
        return emitTiles(b.index(0), b.index(weight.tiles()));
      signs = b.scratch({width, 2, kLanes}, b.getI32Type());
      b.loop(b.index(0), b.index(llvm::divideCeil(weight.rows(), kSignBits)), 1, [&](Value word) { emitSigns(word); });
    });
  }

private:
  static constexpr int64_t kWordTiles = kSignBits / kLanes;

  /// First the words of positive taps, then those of taps that are not zero.
  void collect(Value valid) {
    panel = b.scratch({width, 2 * words, kLanes}, b.getI32Type());
    collector.emitTask(width);
    Value plane = b.mul(b.mul(n, b.dim(planes, 1)), collector.image);
    nonzero.clear(), exists.clear();
    for (int64_t t = 0; t < width; ++t) {
      Value slot = b.index(t), tileValid = b.sub(valid, b.index(t * kLanes));
      exists.push_back(b.mask(tileValid));
      collector.collect(collector.describe(b.add(pixel, t * kLanes), tileValid, slot), panel, slot, plane, b.index(0), b.index(2 * words));
      nonzero.push_back(b.loop(b.index(words), b.index(2 * words), 1, ValueRange{b.tileOf(int32_t(0))}, [&](Value word, ValueRange carried) {
        return SmallVector<Value>{b.add(carried[0], products.count(b.loadTile(panel, {slot, word, b.index(0)})))};
      })[0]);
    }
  }

  /// The signs of 32 channels.
  void emitSigns(Value word) {
    auto forPlanes = [&](function_ref<void(int64_t t, int64_t plane)> body) {
      for (int64_t t = 0; t < width; ++t)
        for (int64_t plane : {0, 1})
          body(t, plane);
    };
    forPlanes([&](int64_t t, int64_t plane) { b.storeTile(b.tileOf(int32_t(0)), signs, {b.index(t), b.index(plane), b.index(0)}); });
    Value first = b.mul(word, kWordTiles);
    emitTiles(first, b.min(b.index(weight.tiles()), b.add(first, kWordTiles)));
    int64_t planeWords = cast<MemRefType>(results.getType()).getDimSize(1) / 2;
    forPlanes([&](int64_t t, int64_t plane) {
      b.storeMasked(b.loadTile(signs, {b.index(t), b.index(plane), b.index(0)}), results,
                    {n, b.add(word, plane * planeWords), b.add(pixel, t * kLanes)}, exists[t]);
    });
  }

  void emitTiles(Value first, Value end) {
    b.loop(first, end, 1, [&](Value tile) {
      Value firstRow = b.mul(tile, kLanes);
      b.storeTile(weight.affine(b, tile, b.index(0)).scale, scales, {b.index(0)});
      forRowBlocks(b, firstRow, b.min(b.index(weight.rows()), b.add(firstRow, kLanes)), b.registers.rows,
                   [&](Value row, int64_t count) { emitBlock(tile, row, b.sub(row, firstRow), count); });
    });
  }

  void emitBlock(Value tile, Value row, Value lane, int64_t count) {
    auto differ = [&](Value word, int64_t r, int64_t t) {
      auto bits = [&](Value at) { return b.loadTile(panel, {b.index(t), at, b.index(0)}); };
      Value weights = b.splat(b.load(weight.codes(), {tile, word, b.add(lane, r)}));
      return b.andi(bits(b.add(word, words)), Value(arith::XOrIOp::create(b, bits(word), weights)));
    };
    // Planes of channels are far from each other: nothing else asks for what the epilogue reads and writes.
    for (int64_t r = 0; r < count; ++r)
      for (int64_t t = 0; t < width; ++t)
        epilogue.prefetchPixels({n, b.add(row, r), b.add(pixel, t * kLanes)});
    SmallVector<Value> different = products.countDifferent(count, width, differ);
    for (int64_t t = 0; t < width; ++t) {
      SmallVector<Value> found;
      for (int64_t plane : {0, 1})
        found.push_back(results ? b.loadTile(signs, {b.index(t), b.index(plane), b.index(0)}) : Value());
      for (int64_t r = 0; r < count; ++r) {
        Value scale = b.splat(b.load(scales, {b.add(lane, r)})), channel = b.add(row, r);
        Value initial = products.bias ? b.splat(b.load(products.bias, {channel})) : b.tileOf(0.0f);
        Value result = finish(b.fma(products.toFloat(nonzero[t], different[r * width + t]), scale, initial), channel, t);
        if (results)
          addSigns(epilogue.signs(result), channel, found);
      }
      for (int64_t plane = 0; results && plane < 2; ++plane)
        b.storeTile(found[plane], signs, {b.index(t), b.index(plane), b.index(0)});
    }
  }

  /// What the epilogue makes of 16 pixels.
  Value finish(Value sum, Value channel, int64_t t) {
    SmallVector<Value> place{n, channel, b.add(pixel, t * kLanes)};
    Value result = epilogue.apply(sum, [&](Value operand, EpilogueOperand kind) { return epilogue.loadPixels(operand, kind, place, exists[t]); });
    if (output)
      b.storeMasked(result, output, place, exists[t]);
    return result;
  }

  /// Sets the channel's bit in the words of each plane.
  void addSigns(SignLanes lanes, Value channel, MutableArrayRef<Value> planes) {
    auto i32 = [&](Value index) { return Value(arith::IndexCastOp::create(b, b.getI32Type(), index)); };
    Value one = arith::ConstantIntOp::create(b, b.getI32Type(), 1);
    Value bit = b.splat(Value(arith::ShLIOp::create(b, one, i32(b.rem(channel, kSignBits)))));
    for (auto [plane, where] : llvm::zip_equal(planes, ArrayRef{lanes.positive, lanes.nonzero}))
      plane = arith::OrIOp::create(b, plane, Value(arith::SelectOp::create(b, where, bit, b.tileOf(int32_t(0)))));
  }

  KernelBuilder &b;
  SignProducts products;
  IntegerTiles &weight;
  const Epilogue &epilogue;
  PixelCollector collector;
  Value planes;
  int64_t words, width; ///< words of a plane; tiles of pixels
  Value output, results; ///< floats and signs [N, channels, pixels]; null if they are not stored
  Value n, pixel, panel, scales, signs; ///< of a task
  SmallVector<Value> nonzero, exists;   ///< of each tile of pixels: how many taps are not zero
};

} // namespace

void mlir::quanta::emitSignConv2D(KernelBuilder &b, const KernelArgs &args) { SignConv2D(b, args).emit(); }
