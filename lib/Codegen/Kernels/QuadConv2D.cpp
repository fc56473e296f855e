//===- QuadConv2D.cpp - Encoded images in words of four channels -----------------------------------------------------------===//
//
// As DirectConv2D.cpp, with words of four codes in place of floats: output channels are the lanes, and a word of each pixel of a block is
// broadcast from where it lies. Nothing is collected and nothing is interleaved but once, when codes are stored.
//
// Pixels are the unsigned operand of a dot product and weights the signed one: half of their range is subtracted as they are decoded,
// when the kernel begins, which is all there is to do if it is their zero. That 128 was added to codes of pixels is subtracted as an integer
// from what sums begin with. Zero points and offsets of rows are multiplied by the sums of windows, Σ x: sixteen of them are made at once from
// neighbouring words, which costs as much as one more output channel.
//
//===------------------------------------------------------------------------------------------------------------------------===//
#include "QuadConv2D.h"
#include "ChannelStore.h"
#include "ConvPixels.h"
#include "DirectConv2D.h"
#include "IntegerTiles.h"
#include "JoinChannels.h"
#include "Quantize.h"
#include "quanta/Codegen/IntegerDot.h"

using namespace mlir;
using namespace mlir::quanta;

/// Pixels of a task: fewer would make more of it than the task is worth.
static constexpr int64_t kTaskPixels = 196;

bool mlir::quanta::hasQuadConv2D(Attribute weight, ArrayRef<int64_t> shape, int64_t groups, RankedTensorType x, RankedTensorType y) {
  auto uniform = dyn_cast_or_null<UniformAttr>(weight);
  auto known = [](RankedTensorType type) { return llvm::none_of(type.getShape().drop_front(), ShapedType::isDynamic); };
  if (!uniform || groups != 1 || uniform.getGroup() < 0 || !known(x) || !known(y) || y.getDimSize(2) <= 0 || y.getDimSize(3) <= 0)
    return false;
  // A row's group must hold channels that fill up words, too.
  int64_t channels = x.getDimSize(1), columns = getMatrixShape(shape).second;
  return channels > 0 && uniform.getGroupCount(columns / channels * llvm::alignTo(channels, kQuad)) == 1;
}

/// What is stored for a weight of zero; a single bit has nothing for it.
static uint8_t codeOfZero(UniformAttr encoding) { return encoding.getLevels() ? encoding.getLevels() / 2 : 1u << (encoding.getBits() - 1); }

DictionaryAttr mlir::quanta::reorderForQuads(DictionaryAttr weight, UniformAttr encoding, int64_t rows, int64_t channels, int64_t taps,
                                             int64_t &columns) {
  // What channels that do not exist are multiplied by does not matter: their sums are subtracted whole.
  auto none = encoding.getBits() > 1 ? static_cast<char>(codeOfZero(encoding)) : 0;
  return joinChannels(weight, rows, channels, taps, kQuad, none, [](int64_t channel) { return channel; }, columns);
}

/// All bytes of a word that stand for this signed code.
static int32_t wordOfCode(int8_t code) { return static_cast<int32_t>((static_cast<uint8_t>(code) ^ 0x80u) * 0x01010101u); }

Value mlir::quanta::emitQuad(KernelBuilder &b, ArrayRef<Value> channels) {
  return arith::XOrIOp::create(b, b.joinBytes(channels), b.tileOf(wordOfCode(0)));
}

/// Words of the code of zero in a plane, the `quad`-th of an image.
static void fillPlane(KernelBuilder &b, Value words, Value plane, Value quad, int64_t channels, int8_t zero) {
  auto type = cast<MemRefType>(words.getType());
  int32_t word = wordOfCode(zero), last = word;
  if (int64_t rest = channels % kQuad)
    last = static_cast<int32_t>((static_cast<uint32_t>(word) & ((1u << 8 * rest) - 1)) |
                                (static_cast<uint32_t>(wordOfCode(0)) & ~((1u << 8 * rest) - 1)));
  Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, quad, b.index(type.getDimSize(1) - 1));
  Value fill = arith::SelectOp::create(b, isLast, b.tileOf(last), b.tileOf(word));
  Value flat = memref::CollapseShapeOp::create(b, words, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
  int64_t size = type.getDimSize(2) * type.getDimSize(3);
  Value begin = b.mul(plane, size);
  b.loop(b.index(0), b.index(size), kLanes, [&](Value at) { b.storeMasked(fill, flat, {b.add(begin, at)}, b.mask(b.sub(b.index(size), at))); });
}

/// Runs `body(plane, image, quad)` for all planes of words, a few in a task.
static void forPlanes(KernelBuilder &b, Value words, function_ref<void(Value, Value, Value)> body) {
  auto type = cast<MemRefType>(words.getType());
  int64_t perTask = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, type.getDimSize(2) * type.getDimSize(3)));
  Value quads = b.index(type.getDimSize(1)), count = b.mul(b.dim(words, 0), quads);
  b.parallel(b.ceilDiv(count, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(count, b.add(first, perTask)), 1, [&](Value plane) { body(plane, b.div(plane, quads), b.rem(plane, quads)); });
  });
}

void mlir::quanta::fillQuads(KernelBuilder &b, Value words, int64_t channels, int8_t zero) {
  forPlanes(b, words, [&](Value plane, Value, Value quad) { fillPlane(b, words, plane, quad, channels, zero); });
}

void mlir::quanta::emitQuantizeQuads(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.inputs[0], words = args.outputs[0];
  auto affine = cast<AffineAttr>(args.config.get("activation"));
  auto type = cast<MemRefType>(x.getType());
  int64_t channels = type.getDimSize(1), height = type.getDimSize(2), width = type.getDimSize(3), zeroPoint = affine.getZeros()[0];
  Value inverse = b.tileOf(1 / affine.getScales()[0]), zero = b.tileOf(static_cast<float>(zeroPoint)), none = b.index(0);
  forPlanes(b, words, [&](Value plane, Value image, Value quad) {
    fillPlane(b, words, plane, quad, channels, static_cast<int8_t>(zeroPoint));
    b.loop(none, b.index(height), 1, [&](Value row) {
      b.loop(none, b.index(width), kLanes, [&](Value column) {
        Value exist = b.mask(b.sub(b.index(width), column));
        SmallVector<Value> four;
        for (int64_t c = 0; c < kQuad; ++c) {
          Value channel = b.add(b.mul(quad, kQuad), c), there = b.less(channel, b.index(channels));
          Value pixels = b.loadMasked(x, {image, b.min(channel, b.index(channels - 1)), row, column}, exist, b.tileOf(0.0f));
          Value code = emitAffineCode(b, pixels, inverse, zero, affine.getBits());
          four.push_back(emitByte(b, arith::SelectOp::create(b, there, code, b.tileOf(0.0f))));
        }
        b.storeMasked(emitQuad(b, four), words,
                      {image, quad, b.add(row, args.getInt("top")), b.add(column, args.getInt("left"))}, exist);
      });
    });
  });
}

namespace {

class QuadConv2D {
public:
  QuadConv2D(KernelBuilder &b, const KernelArgs &args)
      : b(b), args(args), results(b, args), words(args.inputs[0]), bias(results.epilogue.inputs.size() > 1 ? results.epilogue.inputs[1] : Value()),
        weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("matrix"), args.weights),
        shape(args.getInts("shape")), strides(args.getInts("strides")), dilations(args.getInts("dilations")) {
    auto type = cast<MemRefType>(words.getType());
    stored = type.getDimSize(3), plane = type.getDimSize(2) * stored;
    std::tie(outHeight, outWidth) = results.size();
    // Rows of codes have borders between them, so that blocks end where rows do.
    block = chooseBlock(b, 1, outWidth, weight.tiles(), tiles);
    band = std::min<int64_t>(outHeight, llvm::divideCeil(kTaskPixels, outWidth));
  }

  void emit() {
    if (results.epilogue.codes)
      results.emitBorders();
    image = memref::CollapseShapeOp::create(b, words, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
    int64_t quads = columnWords() / (shape[2] * shape[3]);
    shifts = emitTapOffsets(b, quads, shape.drop_front(2), dilations, b.index(stored), b.index(plane));
    emitWeights();
    int64_t passes = llvm::divideCeil(weight.tiles(), tiles), bands = llvm::divideCeil(outHeight, band);
    // One image gives more than one task, too.
    Value all = b.mul(b.dim(words, 0), bands), parts = b.index(1);
    if (int64_t most = std::min<int64_t>(passes, 4); most > 1)
      parts = arith::SelectOp::create(b, b.less(all, b.index(4)), b.index(most), parts);
    Value passesOfPart = b.div(b.add(b.index(passes - 1), parts), parts);
    b.parallel(b.mul(all, parts), [&](Value task) {
      Value rest = b.div(task, parts), first = b.mul(b.rem(task, parts), passesOfPart);
      Value firstRow = b.mul(b.rem(rest, bands), band), endRow = b.min(b.index(outHeight), b.add(firstRow, band));
      n = b.div(rest, bands);
      sums = b.scratch({block.pixels(), tiles * kLanes}, b.getF32Type());
      results.emitTask();
      if (!weight.constantZero())
        emitWindowSums(firstRow, endRow);
      b.loop(first, b.min(b.index(passes), b.add(first, passesOfPart)), 1, [&](Value pass) {
        firstTile = b.min(b.mul(pass, tiles), b.index(weight.tiles() - tiles)); // the last pass may make tiles twice
        b.loop(firstRow, endRow, 1, [&](Value row) {
          b.loop(b.index(0), b.index(outWidth), block.columns, [&](Value column) {
            emitBlock(row, b.min(column, b.index(outWidth - block.columns))); // the last may make pixels twice
          });
        });
      });
    });
    for (Value made : {shifts, weights, initial})
      memref::DeallocOp::create(b, made);
  }

private:
  int64_t columnWords() const { return weight.columns() / kQuad; }

  /// weights[tile][word][lane], signed bytes, and what sums of a tile begin with: −128 · Σ w.
  void emitWeights() {
    int64_t decodedWords = weight.tileBlocks() * weight.blockWords();
    weights = memref::AllocOp::create(b, MemRefType::get({weight.tiles(), decodedWords, kLanes}, b.getI32Type()), ValueRange(), b.getI64IntegerAttr(64));
    initial = memref::AllocOp::create(b, MemRefType::get({weight.tiles(), kLanes}, b.getI32Type()), ValueRange(), b.getI64IntegerAttr(64));
    b.parallel(b.index(weight.tiles()), [&](Value tile) {
      b.loop(b.index(0), b.index(weight.tileBlocks()), 1, [&](Value blockIndex) {
        for (auto [i, word] : llvm::enumerate(weight.decode(b, tile, blockIndex, /*centred=*/true)))
          b.storeTile(word, weights, {tile, b.add(b.mul(blockIndex, weight.blockWords()), i), b.index(0)});
      });
      Value total = b.loop(b.index(0), b.index(columnWords()), 1, ValueRange{b.tileOf(0)}, [&](Value word, ValueRange carried) {
        return SmallVector<Value>{emitIntegerDot(b, carried[0], b.tileOf(wordOfCode(0)), b.loadTile(weights, {tile, word, b.index(0)}), 8, weight.codeBits())};
      })[0];
      b.storeTile(b.sub(b.tileOf(0), total), initial, {tile, b.index(0)});
    });
  }

  /// Where the words of an output pixel's window begin, at the first column of the image.
  Value cornerOf(Value row) {
    ArrayRef<int64_t> pads = args.getInts("pads");
    Value down = b.add(b.mul(row, strides[0]), args.getInt("top") - pads[0]);
    return b.add(b.mul(n, cast<MemRefType>(words.getType()).getDimSize(1) * plane), b.add(b.mul(down, stored), b.index(args.getInt("left") - pads[1])));
  }

  /// Σ x of windows: windowSums[output row of the task, input column], of which every stride-th column is read. First words of a pixel are
  /// added up, then pixels of a window.
  void emitWindowSums(Value firstRow, Value endRow) {
    int64_t down = (shape[2] - 1) * dilations[0], right = (shape[3] - 1) * dilations[1], columns = (outWidth - 1) * strides[1] + 1;
    int64_t width = llvm::alignTo(columns, kLanes), quads = cast<MemRefType>(words.getType()).getDimSize(1);
    sumsOrigin = firstRow;
    windowSums = b.scratch({band, width}, b.getI32Type());
    Value pixelSums = b.scratch({(band - 1) * strides[0] + down + 1, width + static_cast<int64_t>(llvm::alignTo(right, kLanes))}, b.getI32Type());
    Value corner = cornerOf(firstRow), ones = b.tileOf(0x01010101), rows = b.sub(endRow, firstRow);
    b.loop(b.index(0), b.add(b.mul(b.sub(rows, b.index(1)), strides[0]), down + 1), 1, [&](Value row) {
      b.loop(b.index(0), b.index(columns + right), kLanes, [&](Value column) {
        Value begin = b.add(corner, b.add(b.mul(row, stored), column)), exist = b.mask(b.sub(b.index(columns + right), column));
        Value total = b.loop(b.index(0), b.index(quads), 1, ValueRange{b.tileOf(-128 * static_cast<int32_t>(kQuad * quads))}, [&](Value quad, ValueRange sum) {
          Value fours = b.loadMasked(image, {b.add(begin, b.mul(quad, plane))}, exist, b.tileOf(0));
          return SmallVector<Value>{emitIntegerDot(b, sum[0], fours, ones, 8, 2)};
        })[0];
        b.storeTile(total, pixelSums, {row, column});
      });
    });
    b.loop(b.index(0), rows, 1, [&](Value row) {
      b.loop(b.index(0), b.index(columns), kLanes, [&](Value column) {
        Value total = b.loop(b.index(0), b.index(shape[2]), 1, ValueRange{b.tileOf(0)}, [&](Value i, ValueRange sum) {
          Value from = b.add(b.mul(row, strides[0]), b.mul(i, dilations[0]));
          return b.loop(b.index(0), b.index(shape[3]), 1, ValueRange{sum[0]}, [&](Value j, ValueRange inner) {
            return SmallVector<Value>{b.add(inner[0], b.loadTile(pixelSums, {from, b.add(column, b.mul(j, dilations[1]))}))};
          });
        })[0];
        b.storeTile(total, windowSums, {row, column});
      });
    });
  }

  /// scale · Σ (q − zero) · x + offset · Σ x, where `products` is Σ (q − middle) · x.
  Value scaled(const IntegerTiles::Affine &affine, Value products, Value windowSum) {
    auto toFloat = [&](Value integers) { return Value(arith::SIToFPOp::create(b, b.f32Tile(), integers)); };
    if (weight.constantZero())
      return b.mulf(toFloat(products), affine.scale);
    Value sum = b.splat(windowSum);
    if (!affine.offset)
      return b.mulf(toFloat(b.sub(products, b.mul(b.sub(affine.zero, b.tileOf(weight.middle())), sum))), affine.scale);
    products = b.add(products, b.mul(sum, b.tileOf(weight.middle())));
    return b.fma(toFloat(sum), affine.offset, b.mulf(toFloat(products), affine.scale));
  }

  void emitBlock(Value row, Value column) {
    int64_t pixels = block.pixels();
    SmallVector<Value> acc;
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t t = 0; t < tiles; ++t)
        acc.push_back(b.loadTile(initial, {b.add(firstTile, t), b.index(0)}));
    Value right = b.mul(column, strides[1]), corner = b.add(cornerOf(row), right);
    acc = b.loop(b.index(0), b.index(columnWords()), 1, acc, [&](Value word, ValueRange carried) {
      Value source = b.add(corner, b.load(shifts, {word}));
      SmallVector<Value> fours, next;
      for (int64_t t = 0; t < tiles; ++t)
        fours.push_back(b.loadTile(weights, {b.add(firstTile, t), word, b.index(0)}));
      for (int64_t p = 0; p < pixels; ++p) {
        Value four = b.splat(b.load(image, {b.add(source, p * strides[1])}));
        for (int64_t t = 0; t < tiles; ++t)
          next.push_back(emitIntegerDot(b, carried[p * tiles + t], four, fours[t], 8, weight.codeBits()));
      }
      return next;
    });
    float activationScale = cast<AffineAttr>(args.config.get("activation")).getScales()[0];
    for (int64_t t = 0; t < tiles; ++t) {
      Value tile = b.add(firstTile, t), channel = b.mul(tile, kLanes);
      IntegerTiles::Affine affine = weight.affine(b, tile, b.index(0));
      Value start = bias ? b.loadMasked(bias, {channel}, b.mask(b.sub(b.index(weight.rows()), channel)), b.tileOf(0.0f)) : b.tileOf(0.0f);
      for (int64_t p = 0; p < pixels; ++p) {
        Value windowSum = windowSums ? b.load(windowSums, {b.sub(row, sumsOrigin), b.add(right, p * strides[1])}) : Value();
        b.storeTile(b.fma(scaled(affine, acc[p * tiles + t], windowSum), b.tileOf(activationScale), start), sums, {b.index(p), b.index(t * kLanes)});
      }
    }
    b.loop(b.index(0), b.index(tiles), 1, [&](Value t) {
      SmallVector<Value> lanes;
      for (int64_t p = 0; p < pixels; ++p)
        lanes.push_back(b.loadTile(sums, {b.index(p), b.mul(t, kLanes)}));
      results.emit(lanes, b.index(pixels), n, b.mul(b.add(firstTile, t), kLanes), row, column);
    });
  }

  KernelBuilder &b;
  const KernelArgs &args;
  ChannelStore results;
  Value words, bias;
  IntegerTiles weight;
  ArrayRef<int64_t> shape, strides, dilations;
  int64_t stored, plane, outHeight, outWidth, band, tiles;
  PixelBlock block;
  Value image, shifts, weights, initial;
  Value n, sums, firstTile, windowSums, sumsOrigin; ///< of a task; sumsOrigin: the first row of windowSums
};

} // namespace

void mlir::quanta::emitQuadConv2D(KernelBuilder &b, const KernelArgs &args) { QuadConv2D(b, args).emit(); }
