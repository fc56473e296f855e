//===- Conv2D.cpp - Convolution as a product of weight rows and collected pixels -------------------------------------------===//
//
// For 16 or 32 neighbouring output pixels the taps are collected into a panel [k][16 or 32] (implicit GEMM); output channels are the
// rows. Groups and depthwise convolutions are the same with fewer rows.
//
// Sixteen neighbouring pixels lie in few output rows, and with stride 1 the inputs of each row are neighbours too: one masked
// load for each row. Gathers (20 cycles and more for 16 lanes) remain for other strides and for narrow images of unknown width.
// Which lanes a tap reads depends on its place in the window and not on the channel, so the masks are computed once for a
// tile of pixels and kept on the stack. A 1 × 1 kernel with stride 1 needs no panel at all.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "Gemm.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Groups that share the masks of a task's pixels.
constexpr int64_t kGroupBlock = 16;

/// 16 output pixels: where their windows begin in an input channel, and which lanes each tap may read.
struct PixelTile {
  Value offset;                     ///< of each lane, i32: row · width + column of its window's first tap
  SmallVector<Value> segmentOffset; ///< index, for each output row that the lanes touch: lane i reads segmentOffset + i
  Value fewRows;                    ///< i1: all lanes lie in those rows; null if that is certain
};

class ConvEmitter {
public:
  ConvEmitter(KernelBuilder &b, const KernelArgs &args)
      : b(b), x(args.inputs[0]), bias(args.inputs.size() > 1 ? args.inputs[1] : Value()), y(args.outputs[0]),
        weight(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights),
        strides(args.getInts("strides")), pads(args.getInts("pads")), dilations(args.getInts("dilations")),
        groups(args.getInt("groups")), shape(args.getInts("shape")), window(shape[2] * shape[3]) {
    // Output rows that 16 neighbouring pixels can touch; in an image of unknown width, rows of 15 pixels or more.
    int64_t outWidth = cast<MemRefType>(y.getType()).getDimSize(3);
    anyWidth = ShapedType::isDynamic(outWidth);
    if (strides[1] == 1)
      segments = anyWidth ? 2 : (kLanes + outWidth - 2) / outWidth + 1;
  }

  void emit();

private:
  PixelTile describe(Value first, Value valid, Value masks, Value slot);
  void collect(const PixelTile &tile, Value masks, Value panel, Value slot, Value plane, Value begin, Value count);

  Value splatI32(Value index) { return b.splat(arith::IndexCastOp::create(b, b.getI32Type(), index)); }
  Value firstLane(Value tile) { return arith::IndexCastOp::create(b, b.getIndexType(), Value(vector::ExtractOp::create(b, tile, 0))); }
  /// 0 ≤ value < size in one unsigned comparison.
  Value inside(Value value, Value size) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value, size); }
  Value both(Value p, Value q) { return arith::AndIOp::create(b, p, q); }
  /// Masks lie in memory as the 16 bits that they are.
  void storeMask(Value mask, Value masks, ValueRange indices) {
    Value word = vector::BitCastOp::create(b, VectorType::get({1}, b.getI16Type()), mask);
    memref::StoreOp::create(b, Value(vector::ExtractOp::create(b, word, 0)), masks, indices);
  }
  Value loadMask(Value masks, ValueRange indices) {
    Value word = vector::BroadcastOp::create(b, VectorType::get({1}, b.getI16Type()), b.load(masks, indices));
    return vector::BitCastOp::create(b, VectorType::get({kLanes}, b.getI1Type()), word);
  }
  /// Gathers use one mask for all lanes, kept behind those of the segments.
  bool gathers() const { return segments == 0 || anyWidth; }
  int64_t masksPerTap() const { return segments + gathers(); }
  bool isPointwise() const {
    return window == 1 && strides[0] == 1 && strides[1] == 1 && llvm::all_of(pads, [](int64_t p) { return p == 0; });
  }

  KernelBuilder &b;
  Value x, bias, y;
  WeightTiles weight;
  ArrayRef<int64_t> strides, pads, dilations;
  int64_t groups;
  ArrayRef<int64_t> shape;
  int64_t window, segments = 0;
  bool anyWidth;
  Value input, height, width, outWidth, image, lanes;
  Value shifts; ///< [window] distance of each tap from the first, in elements
};

PixelTile ConvEmitter::describe(Value first, Value valid, Value masks, Value slot) {
  VectorType f64s = VectorType::get({kLanes}, b.getF64Type());
  auto toF64 = [&](Value v) { return Value(arith::SIToFPOp::create(b, f64s, v)); };
  // Integer division of vectors is scalar code; in f64 it is exact for any index of 31 bits.
  Value index = arith::AddIOp::create(b, splatI32(first), lanes);
  Value half = arith::ConstantOp::create(b, DenseElementsAttr::get(f64s, 0.5));
  Value quotient = arith::DivFOp::create(b, arith::AddFOp::create(b, toF64(index), half), toF64(splatI32(outWidth)));
  Value outRow = arith::FPToSIOp::create(b, b.i32Tile(), quotient);
  Value outColumn = arith::SubIOp::create(b, index, arith::MulIOp::create(b, outRow, splatI32(outWidth)));
  auto origin = [&](Value o, int64_t stride, int64_t pad) {
    return Value(arith::SubIOp::create(b, arith::MulIOp::create(b, o, b.tileOf(int32_t(stride))), b.tileOf(int32_t(pad))));
  };
  Value row = origin(outRow, strides[0], pads[0]), column = origin(outColumn, strides[1], pads[1]);
  Value exists = b.mask(valid), heights = splatI32(height), widths = splatI32(width);
  PixelTile tile;
  tile.offset = arith::AddIOp::create(b, arith::MulIOp::create(b, row, splatI32(width)), column);

  SmallVector<Value> lanesOfRow;
  Value firstOutRow = firstLane(outRow), start = firstLane(tile.offset);
  for (int64_t s = 0; s < segments; ++s) {
    Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, outRow, splatI32(b.add(firstOutRow, s)));
    lanesOfRow.push_back(both(here, exists));
    // One output row down: strides[0] input rows further, outWidth lanes earlier.
    tile.segmentOffset.push_back(b.add(start, b.mul(b.sub(b.mul(width, strides[0]), outWidth), s)));
  }
  if (anyWidth && segments)
    tile.fewRows = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, outWidth, b.index(kLanes - 1));

  b.loop(b.index(0), b.index(window), 1, [&](Value t) {
    Value tapRow = arith::AddIOp::create(b, row, splatI32(b.mul(b.div(t, shape[3]), dilations[0])));
    Value tapColumn = arith::AddIOp::create(b, column, splatI32(b.mul(b.rem(t, shape[3]), dilations[1])));
    Value ok = both(both(inside(tapRow, heights), inside(tapColumn, widths)), exists);
    for (auto [s, here] : llvm::enumerate(lanesOfRow))
      storeMask(both(ok, here), masks, {slot, t, b.index(s)});
    if (gathers())
      storeMask(ok, masks, {slot, t, b.index(segments)});
  });
  return tile;
}

/// Fills panel[slot][0 … count) with columns `begin` … of the contraction, channel by channel and tap by tap.
void ConvEmitter::collect(const PixelTile &tile, Value masks, Value panel, Value slot, Value plane, Value begin, Value count) {
  Value zero = b.tileOf(0.0f);
  auto run = [&](bool gather) {
    Value channel = b.add(plane, b.mul(b.div(begin, window), image));
    b.loop(b.index(0), count, 1, ValueRange{channel, b.rem(begin, window)}, [&](Value k, ValueRange carried) {
      Value base = carried[0], t = carried[1];
      if (weight.isReordered()) {
        Value column = weight.column(b, b.add(begin, k));
        base = b.add(plane, b.mul(b.div(column, window), image));
        t = b.rem(column, window);
      }
      Value origin = b.add(base, b.load(shifts, {t})), result = zero;
      if (gather)
        result = vector::GatherOp::create(b, b.f32Tile(), input, ValueRange{origin}, tile.offset, loadMask(masks, {slot, t, b.index(segments)}), zero);
      else
        for (int64_t s = 0; s < segments; ++s)
          result = b.loadMasked(input, {b.add(origin, tile.segmentOffset[s])}, loadMask(masks, {slot, t, b.index(s)}), result);
      b.storeTile(result, panel, {slot, k, b.index(0)});
      Value next = b.add(t, 1), wraps = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, next, b.index(window));
      return SmallVector<Value>{arith::SelectOp::create(b, wraps, b.add(base, image), base),
                                arith::SelectOp::create(b, wraps, b.index(0), next)};
    });
  };
  if (tile.fewRows)
    b.ifThen(tile.fewRows, [&] { run(false); }, [&] { run(true); });
  else
    run(segments == 0);
}

void ConvEmitter::emit() {
  int64_t rowsPerGroup = weight.rows() / groups, channelsPerGroup = shape[1];
  height = b.dim(x, 2), width = b.dim(x, 3), outWidth = b.dim(y, 3), image = b.mul(height, width);
  Value pixels = b.mul(b.dim(y, 2), outWidth), panels = b.ceilDiv(pixels, b.registers.columns());
  auto flatten = [&](Value memref, ArrayRef<ReassociationIndices> dims) -> Value { return memref::CollapseShapeOp::create(b, memref, dims); };
  input = flatten(x, {{0, 1, 2, 3}});
  Value output = flatten(y, {{0}, {1}, {2, 3}});
  lanes = arith::ConstantOp::create(b, DenseElementsAttr::get(b.i32Tile(), ArrayRef<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
  APInt constant;
  bool alwaysFull = matchPattern(pixels, m_ConstantInt(&constant)) && constant.getSExtValue() % b.registers.columns() == 0;

  int64_t groupBlocks = llvm::divideCeil(groups, kGroupBlock);
  b.parallel(b.mul(b.mul(b.dim(x, 0), groupBlocks), panels), [&](Value task) {
    Value pixel = b.mul(b.rem(task, panels), b.registers.columns()), matrix = b.div(task, panels), valid = b.sub(pixels, pixel);
    Value firstGroup = b.mul(b.rem(matrix, groupBlocks), kGroupBlock), n = b.div(matrix, groupBlocks);
    Value panel, masks, scratch = weight.scratch(b, 1);
    SmallVector<PixelTile> tiles;
    SmallVector<Value> exists;
    if (!isPointwise()) {
      panel = b.scratch({b.registers.tiles, weight.chunk(), kLanes}, b.getF32Type());
      masks = b.scratch({b.registers.tiles, window, masksPerTap()}, b.getI16Type());
      shifts = b.scratch({window}, b.getIndexType());
      b.loop(b.index(0), b.index(window), 1, [&](Value t) {
        Value down = b.mul(b.mul(b.div(t, shape[3]), dilations[0]), width), right = b.mul(b.rem(t, shape[3]), dilations[1]);
        memref::StoreOp::create(b, b.add(down, right), shifts, ValueRange{t});
      });
    }
    for (int64_t c = 0; c < b.registers.tiles; ++c) {
      Value tileValid = b.sub(valid, b.index(c * kLanes));
      if (isPointwise())
        exists.push_back(b.mask(tileValid));
      else
        tiles.push_back(describe(b.add(pixel, c * kLanes), tileValid, masks, b.index(c)));
    }

    b.loop(firstGroup, b.min(b.index(groups), b.add(firstGroup, kGroupBlock)), 1, [&](Value group) {
      Value plane = b.mul(b.add(b.mul(n, b.dim(x, 1)), b.mul(group, channelsPerGroup)), image);
      weight.forChunks(b, [&](Value begin, Value count, Value first) {
        for (auto [c, tile] : llvm::enumerate(tiles))
          collect(tile, masks, panel, b.index(c), plane, begin, count);

        Value rowBegin = b.mul(group, rowsPerGroup), rowEnd = b.add(rowBegin, rowsPerGroup);
        b.loop(b.div(rowBegin, kLanes), b.ceilDiv(rowEnd, kLanes), 1, [&](Value tileIndex) {
          weight.decode(b, tileIndex, begin, b.add(begin, count), scratch, 0);
          Value tileRow = b.mul(tileIndex, kLanes);
          GemmTile tile;
          tile.a = [&](Value row, Value k) { return weight.loadElement(b, tileIndex, begin, k, b.sub(row, tileRow), scratch, 0); };
          tile.b = [&](Value k, int64_t c) {
            if (!isPointwise())
              return b.loadTile(panel, {b.index(c), k, b.index(0)});
            Value at = b.add(b.add(plane, b.mul(weight.column(b, b.add(begin, k)), image)), b.add(pixel, c * kLanes));
            return alwaysFull ? b.loadTile(input, {at}) : b.loadMasked(input, {at}, exists[c], b.tileOf(0.0f));
          };
          tile.initial = [&](Value row, int64_t) { return bias ? b.splat(b.load(bias, {row})) : b.tileOf(0.0f); };
          tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{n, row, b.add(pixel, c * kLanes)}; };
          tile.result = output;
          tile.chunk = count;
          tile.first = first;
          tile.valid = valid;
          tile.alwaysFull = alwaysFull;
          emitGemmRows(b, tile, b.max(rowBegin, tileRow), b.min(rowEnd, b.add(tileRow, kLanes)));
        });
      });
    });
  });
}

} // namespace

void mlir::quanta::emitConv2D(KernelBuilder &b, const KernelArgs &args) { ConvEmitter(b, args).emit(); }
