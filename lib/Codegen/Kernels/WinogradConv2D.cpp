//===- WinogradConv2D.cpp - Convolution of 3 × 3 taps with fewer multiplications ---------------------------------------===//
//
// Winograd's F(2 × 2, 3 × 3) (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015): a square of 2 × 2 outputs of a
// channel takes 16 multiplications instead of 36,
//
//     Y = Aᵀ · [ Σ over input channels (G·g·Gᵀ) ⊙ (Bᵀ·d·B) ] · A
//
// for a filter g and a square d of 4 × 4 inputs. Each of the 16 points is a product of matrices, with output channels in the lanes as
// in DirectConv2D.cpp: a column of transformed weights meets one transformed input of each square of a block, broadcast. Weights are
// transformed when the kernel begins: objects do not grow, and it is little work beside an image.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "WinogradConv2D.h"
#include "ChannelStore.h"
#include "DirectConv2D.h"
#include "Gemm.h"

using namespace mlir;
using namespace mlir::quanta;

/// Points of a square of inputs, transformed.
static constexpr int64_t kSide = 4, kPoints = kSide * kSide;
/// Transformed inputs of a band: half a megabyte, which the second-level cache and a stack hold.
static constexpr int64_t kBandElements = 1 << 17;
/// Channels of input and output that pay for the transforms.
static constexpr int64_t kFewestChannels = 16;

namespace {

/// Sizes of a kernel, all known when it is emitted. A square is 2 × 2 outputs.
struct WinogradPlan {
  WinogradPlan(const KernelBuilder &b, const KernelArgs &args);

  bool fits = false;
  ArrayRef<int64_t> pads;
  int64_t rows, channels, height, width, outHeight, outWidth;
  int64_t squareRows, squareColumns, band; ///< squares of an image; rows of them in a band
  int64_t tilesOfRows, tiles;              ///< tiles of output channels, and how many are multiplied together
  PixelBlock block;                        ///< of squares

  int64_t bands() const { return llvm::divideCeil(squareRows, band); }
  /// Squares of a band, and room for what the last vector stores too far.
  int64_t slots() const { return squaresOf(band); }
  /// Transformed inputs of a point; an odd number of lines, so that those of all points lie in different parts of a cache.
  int64_t plane() const { return channels * slots() + kLanes; }
  /// Of an input row with its border, as far as vectors reach.
  int64_t pitch() const { return 2 * llvm::alignTo(squareColumns, kLanes) + kSide; }
  int64_t bandInputRows() const { return 2 * band + 2; }

private:
  int64_t squaresOf(int64_t rowsOfSquares) const { return llvm::alignTo(rowsOfSquares * squareColumns + kLanes, kLanes); }
};

WinogradPlan::WinogradPlan(const KernelBuilder &b, const KernelArgs &args) : pads(args.getInts("pads")) {
  ArrayRef<int64_t> shape = args.getInts("shape");
  auto x = cast<MemRefType>(args.inputs[0].getType()), y = cast<MemRefType>(args.outputs[0].getType());
  auto all = [&](StringRef name) { return llvm::all_of(args.getInts(name), [](int64_t value) { return value == 1; }); };
  if (shape[2] != 3 || shape[3] != 3 || !all("strides") || !all("dilations") || args.getInt("groups") != 1 ||
      cast<PackedAttr>(args.config.get("encoding")).getBase() || !hasDirectConv2D(b, args))
    return;
  rows = shape[0], channels = shape[1];
  height = x.getDimSize(2), width = x.getDimSize(3), outHeight = y.getDimSize(2), outWidth = y.getDimSize(3);
  if (std::min(rows, channels) < kFewestChannels || std::min(outHeight, outWidth) < kSide)
    return;
  squareRows = llvm::divideCeil(outHeight, 2), squareColumns = llvm::divideCeil(outWidth, 2);
  tilesOfRows = llvm::divideCeil(rows, kLanes);
  for (int64_t bands = 1; bands <= squareRows; ++bands) {
    band = llvm::divideCeil(squareRows, bands);
    if (kPoints * plane() <= kBandElements) {
      fits = true;
      break;
    }
  }
  block = chooseBlock(b, band, squareColumns, tilesOfRows, tiles);
  // The last band may have fewer rows than the others.
  int64_t least = squareRows - (bands() - 1) * band;
  if (block.rows > least)
    fits = false;
}

/// Row or column transforms of vectors.
static SmallVector<Value> transformInputs(KernelBuilder &b, ArrayRef<Value> d) { // Bᵀ·d
  return {b.subf(d[0], d[2]), b.addf(d[1], d[2]), b.subf(d[2], d[1]), b.subf(d[1], d[3])};
}
static SmallVector<Value> transformWeights(KernelBuilder &b, ArrayRef<Value> g) { // G·g
  Value ends = b.addf(g[0], g[2]), half = b.tileOf(0.5f);
  return {g[0], b.mulf(b.addf(ends, g[1]), half), b.mulf(b.subf(ends, g[1]), half), g[2]};
}
static SmallVector<Value> transformSums(KernelBuilder &b, ArrayRef<Value> m) { // Aᵀ·m
  return {b.addf(b.addf(m[0], m[1]), m[2]), b.subf(b.subf(m[1], m[2]), m[3])};
}

/// `transform` of each column, then of each row, of a square of `side` rows.
using Transform = SmallVector<Value> (*)(KernelBuilder &, ArrayRef<Value>);
static SmallVector<Value> transformSquare(KernelBuilder &b, ArrayRef<Value> square, int64_t side, Transform transform) {
  SmallVector<SmallVector<Value>> columns;
  for (int64_t j = 0; j < side; ++j) {
    SmallVector<Value> column;
    for (int64_t i = 0; i < side; ++i)
      column.push_back(square[i * side + j]);
    columns.push_back(transform(b, column));
  }
  SmallVector<Value> result;
  for (size_t i = 0; i < columns.front().size(); ++i) {
    SmallVector<Value> row;
    for (const SmallVector<Value> &column : columns)
      row.push_back(column[i]);
    llvm::append_range(result, transform(b, row));
  }
  return result;
}

class WinogradConv2D {
public:
  WinogradConv2D(KernelBuilder &b, const KernelArgs &args)
      : b(b), plan(b, args), results(b, args), x(args.inputs[0]), bias(results.epilogue.inputs.size() > 1 ? results.epilogue.inputs[1] : Value()),
        weight(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights) {}

  void emit() {
    input = memref::CollapseShapeOp::create(b, x, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
    emitWeights();
    int64_t passes = llvm::divideCeil(plan.tilesOfRows, plan.tiles);
    // One band of one image is two tasks, which both transform it.
    Value bands = b.mul(b.dim(x, 0), plan.bands()), parts = b.index(1);
    if (passes > 1)
      parts = arith::SelectOp::create(b, b.less(bands, b.index(2)), b.index(2), parts);
    Value passesOfPart = b.div(b.add(b.index(passes - 1), parts), parts);
    b.parallel(b.mul(bands, parts), [&](Value task) {
      Value rest = b.div(task, parts), first = b.mul(b.rem(task, parts), passesOfPart);
      firstRow = b.mul(b.rem(rest, plan.bands()), plan.band), n = b.div(rest, plan.bands());
      endRow = b.min(b.index(plan.squareRows), b.add(firstRow, plan.band));
      inputs = b.scratch({kPoints * plan.plane()}, b.getF32Type());
      sums = b.scratch({kPoints, plan.block.pixels(), plan.tiles * kLanes}, b.getF32Type());
      // Vectors of pixels are read past the last row.
      outputs = b.scratch({2 * plan.band * 2 * plan.squareColumns + kLanes, plan.tiles * kLanes}, b.getF32Type());
      results.emitTask();
      emitInputs();
      b.loop(first, b.min(b.index(passes), b.add(first, passesOfPart)), 1, [&](Value pass) { emitPass(pass); });
    });
    memref::DeallocOp::create(b, weights);
  }

private:
  /// weights[tile][point][channel][lane].
  void emitWeights() {
    weights = memref::AllocOp::create(b, MemRefType::get({plan.tilesOfRows, kPoints, plan.channels, kLanes}, b.getF32Type()), ValueRange(),
                                      b.getI64IntegerAttr(64));
    b.parallel(b.index(plan.tilesOfRows), [&](Value tile) {
      b.loop(b.index(0), b.index(plan.channels), 1, [&](Value channel) {
        SmallVector<Value> taps;
        for (int64_t tap = 0; tap < 9; ++tap)
          taps.push_back(weight.loadColumn(b, tile, b.index(0), b.add(b.mul(channel, 9), tap), Value(), 0));
        for (auto [point, value] : llvm::enumerate(transformSquare(b, taps, 3, transformWeights)))
          b.storeTile(value, weights, {tile, b.index(point), channel, b.index(0)});
      });
    });
  }

  /// inputs[point][channel][square] of the band.
  void emitInputs() {
    int64_t pitch = plan.pitch(), elements = llvm::alignTo(plan.bandInputRows() * pitch, kLanes);
    // Rows of one channel within zeros, which all channels share.
    Value lines = b.scratch({elements + 2 * kLanes}, b.getF32Type());
    b.loop(b.index(0), b.index(elements + 2 * kLanes), kLanes, [&](Value at) { b.storeTile(b.tileOf(0.0f), lines, {at}); });
    Value top = b.sub(b.mul(firstRow, 2), b.index(plan.pads[0])); // input row of the first line
    Value begin = b.max(b.index(0), top), end = b.min(b.index(plan.height), b.add(top, plan.bandInputRows()));
    b.loop(b.index(0), b.index(plan.channels), 1, [&](Value channel) {
      Value from = b.add(b.mul(b.add(b.mul(n, b.dim(x, 1)), channel), plan.height * plan.width), b.mul(begin, plan.width));
      Value to = b.add(b.mul(b.sub(begin, top), pitch), plan.pads[1]);
      copyRows(b, b.sub(end, begin), plan.width, input, from, lines, to, pitch);
      b.loop(b.index(0), b.sub(endRow, firstRow), 1, [&](Value row) {
        b.loop(b.index(0), b.index(plan.squareColumns), kLanes, [&](Value column) {
          Value corner = b.mul(b.add(b.mul(row, pitch), column), 2);
          Value to = b.add(b.mul(channel, plan.slots()), b.add(b.mul(row, plan.squareColumns), column));
          for (auto [point, value] : llvm::enumerate(transformSixteen(lines, corner)))
            b.storeTile(value, inputs, {b.add(to, point * plan.plane())});
        });
      });
    });
  }

  /// The points of 16 neighbouring squares: rows first, while their columns still lie next to each other.
  SmallVector<Value> transformSixteen(Value lines, Value corner) {
    SmallVector<SmallVector<Value>> parts; // columns from 0, 16, 2 and 18 on
    for (int64_t first : {int64_t(0), kLanes, int64_t(2), kLanes + 2}) {
      SmallVector<Value> column;
      for (int64_t i = 0; i < kSide; ++i)
        column.push_back(b.loadTile(lines, {b.add(corner, i * plan.pitch() + first)}));
      parts.push_back(transformInputs(b, column));
    }
    SmallVector<Value> result;
    for (int64_t i = 0; i < kSide; ++i) {
      SmallVector<Value> columns;
      for (int64_t pair : {0, 2})
        for (int64_t odd : {0, 1}) {
          SmallVector<int64_t> every;
          for (int64_t lane = 0; lane < kLanes; ++lane)
            every.push_back(2 * lane + odd);
          columns.push_back(b.pick(parts[pair][i], parts[pair + 1][i], every));
        }
      llvm::append_range(result, transformInputs(b, columns));
    }
    return result;
  }

  /// A few tiles of output channels, for all squares of the band.
  void emitPass(Value pass) {
    Value firstTile = b.min(b.mul(pass, plan.tiles), b.index(plan.tilesOfRows - plan.tiles)); // the last pass may make tiles twice
    int64_t columns = llvm::divideCeil(plan.squareColumns, plan.block.columns);
    b.loop(b.index(0), b.ceilDiv(b.sub(endRow, firstRow), plan.block.rows), 1, [&](Value blockRow) {
      b.loop(b.index(0), b.index(columns), 1, [&](Value blockColumn) {
        // The last block of a row or column may make squares twice.
        Value row = b.min(b.mul(blockRow, plan.block.rows), b.sub(b.sub(endRow, firstRow), b.index(plan.block.rows)));
        Value column = b.min(b.mul(blockColumn, plan.block.columns), b.index(plan.squareColumns - plan.block.columns));
        b.loop(b.index(0), b.index(kPoints), 1, [&](Value point) { multiply(firstTile, point, b.add(b.mul(row, plan.squareColumns), column)); });
        emitOutputs(firstTile, row, column);
      });
    });
    store(firstTile);
  }

  void multiply(Value firstTile, Value point, Value square) {
    int64_t squares = plan.block.pixels();
    Value corner = b.add(b.mul(point, plan.plane()), square);
    SmallVector<Value> acc(squares * plan.tiles, b.tileOf(0.0f));
    acc = b.loop(b.index(0), b.index(plan.channels), 1, acc, [&](Value channel, ValueRange carried) {
      SmallVector<Value> columns, next;
      for (int64_t t = 0; t < plan.tiles; ++t)
        columns.push_back(b.loadTile(weights, {b.add(firstTile, t), point, channel, b.index(0)}));
      Value at = b.add(corner, b.mul(channel, plan.slots()));
      for (int64_t s = 0; s < squares; ++s) {
        int64_t behind = s / plan.block.columns * plan.squareColumns + s % plan.block.columns;
        Value element = b.splat(b.load(inputs, {b.add(at, behind)}));
        for (int64_t t = 0; t < plan.tiles; ++t)
          next.push_back(b.fma(element, columns[t], carried[s * plan.tiles + t]));
      }
      return next;
    });
    for (int64_t s = 0; s < squares; ++s)
      for (int64_t t = 0; t < plan.tiles; ++t)
        b.storeTile(acc[s * plan.tiles + t], sums, {point, b.index(s), b.index(t * kLanes)});
  }

  /// outputs[pixel of the band][lane] of a block.
  void emitOutputs(Value firstTile, Value row, Value column) {
    b.loop(b.index(0), b.index(plan.tiles), 1, [&](Value t) {
      Value channel = b.mul(b.add(firstTile, t), kLanes), lane = b.mul(t, kLanes);
      Value initial = !bias ? Value() : b.loadMasked(bias, {channel}, b.mask(b.sub(b.index(plan.rows), channel)), b.tileOf(0.0f));
      b.loop(b.index(0), b.index(plan.block.pixels()), 1, [&](Value square) {
        SmallVector<Value> points;
        for (int64_t point = 0; point < kPoints; ++point)
          points.push_back(b.loadTile(sums, {b.index(point), square, lane}));
        Value down = b.add(row, b.div(square, plan.block.columns)), right = b.add(column, b.rem(square, plan.block.columns));
        Value corner = b.mul(b.add(b.mul(down, 2 * plan.squareColumns), right), 2);
        for (auto [i, value] : llvm::enumerate(transformSquare(b, points, kSide, transformSums)))
          b.storeTile(initial ? b.addf(value, initial) : value, outputs, {b.add(corner, i / 2 * 2 * plan.squareColumns + i % 2), lane});
      });
    });
  }

  void store(Value firstTile) {
    Value first = b.mul(firstRow, 2), end = b.min(b.index(plan.outHeight), b.mul(endRow, 2));
    b.loop(b.index(0), b.index(plan.tiles), 1, [&](Value t) {
      b.loop(first, end, 1, [&](Value row) {
        b.loop(b.index(0), b.index(plan.outWidth), kLanes, [&](Value column) {
          Value from = b.add(b.mul(b.sub(row, first), 2 * plan.squareColumns), column);
          SmallVector<Value> pixels;
          for (int64_t p = 0; p < kLanes; ++p)
            pixels.push_back(b.loadTile(outputs, {b.add(from, p), b.mul(t, kLanes)}));
          results.emit(pixels, b.sub(b.index(plan.outWidth), column), n, b.mul(b.add(firstTile, t), kLanes), row, column);
        });
      });
    });
  }

  KernelBuilder &b;
  WinogradPlan plan;
  ChannelStore results;
  Value x, bias;
  WeightTiles weight;
  Value input, weights;
  // Of a task: its image, rows of squares; what is made of them.
  Value n, firstRow, endRow, inputs, sums, outputs;
};

} // namespace

bool mlir::quanta::hasWinogradConv2D(const KernelBuilder &b, const KernelArgs &args) { return WinogradPlan(b, args).fits; }

void mlir::quanta::emitWinogradConv2D(KernelBuilder &b, const KernelArgs &args) { WinogradConv2D(b, args).emit(); }
