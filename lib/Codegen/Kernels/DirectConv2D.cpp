//===- DirectConv2D.cpp - Convolution of floats with output channels in the lanes --------------------------------------===//
//
// Weights lie in tiles of 16 output channels, column by column, as products of rows read them. For a block of neighbouring output
// pixels, each column of a few tiles meets one input element of each pixel, broadcast: nothing is collected, whatever strides and
// dilations are, and no lane is idle because images are narrow. Inputs are read where they lie, or from a copy with a border of
// zeros, which is made for a band of rows that stays in the second-level cache. Sums are transposed when a block is finished.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "DirectConv2D.h"
#include "ChannelStore.h"
#include "ConvPixels.h"
#include "Gemm.h"

using namespace mlir;
using namespace mlir::quanta;

/// Elements of a band's copy: a quarter of a second-level cache of 1 MiB, if it can be had, and what a stack can hold.
static constexpr int64_t kBandElements = 1 << 16, kMostBandElements = 1 << 18;

PixelBlock mlir::quanta::chooseBlock(const KernelBuilder &b, int64_t rows, int64_t columns, int64_t allTiles, int64_t &tiles) {
  int64_t registers = b.level->vectorRegisters, width = kLanes * 32 / b.level->vectorBits;
  PixelBlock block;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t t = 1; t <= std::min<int64_t>(4, allTiles); ++t) {
    int64_t most = std::min(kLanes, (registers - 1 - t * width) / (t * width));
    auto consider = [&](PixelBlock candidate) {
      if (candidate.pixels() > most)
        return;
      // A cycle multiplies a register of lanes or loads a bit more than one; sums that wait for each other take four.
      double multiplies = candidate.pixels() * t * width, loads = (candidate.pixels() + t * width + 1) * 0.75;
      double blocks = llvm::divideCeil(rows, candidate.rows) * llvm::divideCeil(columns, candidate.columns) * llvm::divideCeil(allTiles, t);
      if (double cost = blocks * std::max({multiplies, loads, 4.0}); cost < least)
        least = cost, block = candidate, tiles = t;
    };
    for (int64_t part = std::min(most, columns); part >= 1; --part)
      consider({1, part});
    for (int64_t whole = 2; whole <= rows && whole * columns <= most; ++whole)
      consider({whole, columns});
  }
  return block;
}

void mlir::quanta::copyRows(KernelBuilder &b, Value rows, int64_t width, Value source, Value from, Value target, Value to, int64_t pitch) {
  b.loop(b.index(0), rows, 1, [&](Value row) {
    Value read = b.add(from, b.mul(row, width)), write = b.add(to, b.mul(row, pitch));
    b.loop(b.index(0), b.index(width), kLanes, [&](Value column) {
      Value exists = b.mask(b.sub(b.index(width), column));
      b.storeTile(b.loadMasked(source, {b.add(read, column)}, exists, b.tileOf(0.0f)), target, {b.add(write, column)});
    });
  });
}

namespace {

/// Sizes of a kernel, all known when it is emitted.
struct DirectPlan {
  DirectPlan(const KernelBuilder &b, const KernelArgs &args);

  bool fits = false;
  ArrayRef<int64_t> shape, strides, pads, dilations;
  int64_t groups, height, width, outHeight, outWidth; ///< of images
  int64_t rowsOfGroup, tilesOfGroup, tiles;           ///< output channels; tiles of them, and how many are multiplied together
  bool copies;                                        ///< whether the input is copied to get a border
  int64_t storedWidth, band, bandHeight;              ///< of the rows that are read; output rows of a band, and the input rows they read
  PixelBlock block;

  int64_t channelsOfGroup() const { return shape[1]; }
  int64_t window() const { return shape[2] * shape[3]; }
  int64_t plane() const { return (copies ? bandHeight : height) * storedWidth; } ///< elements between channels
  int64_t bands() const { return llvm::divideCeil(outHeight, band); }
  int64_t blocksOfRow() const { return llvm::divideCeil(outWidth, block.columns); }
  int64_t blocksOfBand() const { return llvm::divideCeil(band, block.rows) * blocksOfRow(); }

private:
  int64_t inputRows(int64_t rows) const { return (rows - 1) * strides[0] + (shape[2] - 1) * dilations[0] + 1; }
  bool chooseBand();
};

DirectPlan::DirectPlan(const KernelBuilder &b, const KernelArgs &args)
    : shape(args.getInts("shape")), strides(args.getInts("strides")), pads(args.getInts("pads")), dilations(args.getInts("dilations")),
      groups(args.getInt("groups")) {
  auto x = cast<MemRefType>(args.inputs[0].getType()), y = cast<MemRefType>(args.outputs[0].getType());
  height = x.getDimSize(2), width = x.getDimSize(3), outHeight = y.getDimSize(2), outWidth = y.getDimSize(3);
  if (llvm::any_of(x.getShape().drop_front(), ShapedType::isDynamic) || llvm::any_of(y.getShape().drop_front(), ShapedType::isDynamic) ||
      llvm::any_of(pads, [](int64_t pad) { return pad < 0; }) || outHeight * outWidth == 0)
    return;
  copies = llvm::any_of(pads, [](int64_t pad) { return pad > 0; });
  // Pixels in the lanes need no transposing.
  if (window() == 1 && !copies && strides[0] == 1 && strides[1] == 1)
    return;
  rowsOfGroup = shape[0] / groups, tilesOfGroup = llvm::divideCeil(rowsOfGroup, kLanes);
  if ((groups > 1 && rowsOfGroup % kLanes != 0) || 4 * rowsOfGroup < 3 * kLanes * tilesOfGroup)
    return;
  storedWidth = copies ? width + pads[1] + pads[3] : width;
  block = chooseBlock(b, outHeight, outWidth, tilesOfGroup, tiles);
  fits = chooseBand();
}

/// Bands of whole images, or of parts that stay in the cache.
bool DirectPlan::chooseBand() {
  band = outHeight;
  if (!copies)
    return true;
  int64_t ofRow = channelsOfGroup() * storedWidth;
  for (int64_t bands = 1;; ++bands) {
    band = llvm::divideCeil(outHeight, bands), bandHeight = inputRows(band);
    int64_t elements = ofRow * bandHeight;
    bool whole = block.rows > 1 || band == 1;
    if (elements <= kBandElements || whole)
      return elements <= kMostBandElements;
  }
}

class DirectConv2D {
public:
  DirectConv2D(KernelBuilder &b, const KernelArgs &args)
      : b(b), plan(b, args), results(b, args), x(args.inputs[0]), bias(results.epilogue.inputs.size() > 1 ? results.epilogue.inputs[1] : Value()),
        weight(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights) {}

  void emit() {
    input = memref::CollapseShapeOp::create(b, x, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
    shifts = emitTapOffsets(b, plan.channelsOfGroup(), plan.shape.drop_front(2), plan.dilations, b.index(plan.storedWidth), b.index(plan.plane()));
    // One image gives more than one task, too.
    int64_t passes = llvm::divideCeil(plan.tilesOfGroup, plan.tiles);
    Value images = b.dim(x, 0), fewest = b.ceilDiv(b.index(passes), std::max<int64_t>(1, passes / 4));
    Value parts = b.min(fewest, b.max(b.index(1), b.div(b.index(8), b.max(b.index(1), b.mul(images, plan.bands() * plan.groups)))));
    Value passesOfPart = b.div(b.add(b.index(passes - 1), parts), parts);
    Value tasks = b.mul(b.mul(images, plan.bands() * plan.groups), parts);
    b.parallel(tasks, [&](Value task) {
      Value part = b.rem(task, parts), rest = b.div(task, parts);
      group = b.rem(rest, plan.groups), rest = b.div(rest, plan.groups);
      firstRow = b.mul(b.rem(rest, plan.bands()), plan.band), n = b.div(rest, plan.bands());
      endRow = b.min(b.index(plan.outHeight), b.add(firstRow, plan.band));
      Value first = b.mul(part, passesOfPart);
      placeInput();
      decoded = weight.scratch(b, plan.tiles);
      sums = b.scratch({once() ? 1 : plan.blocksOfBand(), kLanes, plan.tiles * kLanes}, b.getF32Type());
      results.emitTask();
      b.loop(first, b.min(b.index(passes), b.add(first, passesOfPart)), 1, [&](Value pass) { emitPass(pass); });
    });
    memref::DeallocOp::create(b, shifts);
  }

private:
  /// Whether the contraction is one chunk, so that a block's sums are finished at once.
  bool once() const { return !weight.isEncoded() || weight.chunk() >= weight.columns(); }

  /// Where the band's first window begins; copies it with its border if it needs one.
  void placeInput() {
    Value channel = b.add(b.mul(n, b.dim(x, 1)), b.mul(group, plan.channelsOfGroup()));
    if (!plan.copies) {
      image = input;
      origin = b.add(b.mul(channel, plan.plane()), b.mul(firstRow, plan.strides[0] * plan.width));
      return;
    }
    // The last row's last tile runs past the image.
    int64_t elements = llvm::alignTo(plan.channelsOfGroup() * plan.plane(), kLanes);
    image = b.scratch({elements + kLanes}, b.getF32Type());
    origin = b.index(0);
    b.loop(b.index(0), b.index(elements), kLanes, [&](Value at) { b.storeTile(b.tileOf(0.0f), image, {at}); });
    Value top = b.sub(b.mul(firstRow, plan.strides[0]), b.index(plan.pads[0])); // input row of the band's first
    Value begin = b.max(b.index(0), top), end = b.min(b.index(plan.height), b.add(top, plan.bandHeight));
    b.loop(b.index(0), b.index(plan.channelsOfGroup()), 1, [&](Value c) {
      Value rows = b.sub(end, begin), from = b.add(b.mul(b.add(channel, c), plan.height * plan.width), b.mul(begin, plan.width));
      Value to = b.add(b.add(b.mul(c, plan.plane()), b.mul(b.sub(begin, top), plan.storedWidth)), plan.pads[1]);
      copyRows(b, rows, plan.width, input, from, image, to, plan.storedWidth);
    });
  }

  /// A few tiles of output channels, for all pixels of the band.
  void emitPass(Value pass) {
    Value last = b.index(plan.tilesOfGroup - plan.tiles);
    Value first = b.add(b.mul(group, plan.tilesOfGroup), b.min(b.mul(pass, plan.tiles), last)); // the last pass may make tiles twice
    tileIndex.clear();
    for (int64_t t = 0; t < plan.tiles; ++t)
      tileIndex.push_back(b.add(first, t));
    Value blocksOfRow = b.index(plan.blocksOfRow()), count = b.mul(b.ceilDiv(b.sub(endRow, firstRow), plan.block.rows), blocksOfRow);
    auto forBlocks = [&](function_ref<void(Value slot)> body) {
      b.loop(b.index(0), count, 1, [&](Value index) {
        // The last block of a row may make pixels twice.
        row = b.min(b.add(firstRow, b.mul(b.div(index, blocksOfRow), plan.block.rows)), b.sub(endRow, b.index(plan.block.rows)));
        column = b.min(b.mul(b.rem(index, blocksOfRow), plan.block.columns), b.index(plan.outWidth - plan.block.columns));
        body(index);
      });
    };
    if (once()) {
      decode(b.index(0), b.index(weight.columns()));
      return forBlocks([&](Value) {
        accumulate(b.index(0), b.index(0), b.index(weight.columns()), Value());
        finish(b.index(0));
      });
    }
    weight.forChunks(b, [&](Value begin, Value size, Value isFirst) {
      decode(begin, size);
      forBlocks([&](Value slot) { accumulate(slot, begin, size, isFirst); });
    });
    forBlocks([&](Value slot) { finish(slot); });
  }

  void decode(Value begin, Value size) {
    for (auto [t, tile] : llvm::enumerate(tileIndex))
      weight.decode(b, tile, begin, b.add(begin, size), decoded, t);
  }

  /// Adds columns `begin` … of the contraction to a block's sums.
  void accumulate(Value slot, Value begin, Value size, Value isFirst) {
    int64_t pixels = plan.block.pixels();
    SmallVector<Value> place;
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t t = 0; t < plan.tiles; ++t)
        place.push_back(b.index(p)), place.push_back(b.index(t * kLanes));
    auto at = [&](int64_t i) { return SmallVector<Value>{slot, place[2 * i], place[2 * i + 1]}; };
    auto fromBias = [&] {
      SmallVector<Value> initial, acc;
      for (Value tile : tileIndex) {
        Value channel = b.mul(tile, kLanes);
        initial.push_back(!bias ? b.tileOf(0.0f) : b.loadMasked(bias, {channel}, b.mask(b.sub(b.index(weight.rows()), channel)), b.tileOf(0.0f)));
      }
      for (int64_t p = 0; p < pixels; ++p)
        llvm::append_range(acc, initial);
      return acc;
    };
    auto fromMemory = [&] {
      SmallVector<Value> acc;
      for (int64_t i = 0; i < pixels * plan.tiles; ++i)
        acc.push_back(b.loadTile(sums, at(i)));
      return acc;
    };
    SmallVector<Type> types(pixels * plan.tiles, b.f32Tile());
    SmallVector<Value> acc = isFirst ? b.select(isFirst, types, fromBias, fromMemory) : fromBias();

    Value corner = b.add(origin, b.add(b.mul(b.sub(row, firstRow), plan.strides[0] * plan.storedWidth), b.mul(column, plan.strides[1])));
    acc = b.loop(b.index(0), size, 1, acc, [&](Value k, ValueRange carried) {
      Value source = b.add(corner, b.load(shifts, {weight.column(b, b.add(begin, k))}));
      SmallVector<Value> weights, next;
      for (auto [t, tile] : llvm::enumerate(tileIndex))
        weights.push_back(weight.loadColumn(b, tile, begin, k, decoded, t));
      for (int64_t p = 0; p < pixels; ++p) {
        int64_t down = p / plan.block.columns, right = p % plan.block.columns;
        Value element = b.splat(b.load(image, {b.add(source, down * plan.strides[0] * plan.storedWidth + right * plan.strides[1])}));
        for (int64_t t = 0; t < plan.tiles; ++t)
          next.push_back(b.fma(element, weights[t], carried[p * plan.tiles + t]));
      }
      return next;
    });
    for (int64_t i = 0; i < pixels * plan.tiles; ++i)
      b.storeTile(acc[i], sums, at(i));
  }

  /// A block's sums, with all that follows them, to where ONNX wants them.
  void finish(Value slot) {
    b.loop(b.index(0), b.index(plan.tiles), 1, [&](Value t) {
      SmallVector<Value> pixels;
      for (int64_t p = 0; p < plan.block.pixels(); ++p)
        pixels.push_back(b.loadTile(sums, {slot, b.index(p), b.mul(t, kLanes)}));
      results.emit(pixels, b.index(plan.block.pixels()), n, b.mul(b.add(tileIndex.front(), t), kLanes), row, column);
    });
  }

  KernelBuilder &b;
  DirectPlan plan;
  ChannelStore results;
  Value x, bias;
  WeightTiles weight;
  Value input, shifts;
  // Of a task: its image, group and band; what is read of the image, decoded tiles, sums [slot][pixel][channel].
  Value n, group, firstRow, endRow, image, origin, decoded, sums;
  SmallVector<Value> tileIndex; ///< of a pass
  Value row, column;            ///< of a block
};

} // namespace

bool mlir::quanta::hasDirectConv2D(const KernelBuilder &b, const KernelArgs &args) { return DirectPlan(b, args).fits; }

void mlir::quanta::emitDirectConv2D(KernelBuilder &b, const KernelArgs &args) { DirectConv2D(b, args).emit(); }
