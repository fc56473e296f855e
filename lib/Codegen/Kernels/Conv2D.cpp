//===- Conv2D.cpp - Convolution as a product of weight rows and gathered pixels --------------------------------------------===//
//
// For 32 neighbouring output pixels the taps are collected into a panel [k][32] (implicit GEMM); output channels are the
// rows. Groups and depthwise convolutions are the same with fewer rows.
//
// Sixteen neighbouring pixels lie in few output rows, and with stride 1 the inputs of each row are neighbours too: one masked
// load for each row. Gathers (20 cycles and more for 16 lanes) remain for other strides and for narrow images of unknown width.
// A 1 × 1 kernel with stride 1 needs no panel at all.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "Gemm.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Panels of 32 pixels that share one pass over the weights: 4 × 32 KiB of taps stay in the second-level cache.
constexpr int64_t kPanelBlock = 1;

/// 16 output pixels and where their windows begin in the input.
struct PixelTile {
  Value row, column, offset; ///< of each lane, i32: input row, column and row · width + column of its window
  Value exists;              ///< lanes inside the image
  Value firstRow;            ///< index: input row of lane 0
  SmallVector<Value> segment;       ///< lanes in the first, second … output row
  SmallVector<Value> segmentOffset; ///< index: such that lane i of the segment reads segmentOffset + i
  Value fewRows;             ///< i1: all lanes lie in the segments; null if that is certain
};

class ConvEmitter {
public:
  ConvEmitter(KernelBuilder &b, const KernelArgs &args)
      : b(b), x(args.inputs[0]), bias(args.inputs.size() > 1 ? args.inputs[1] : Value()), y(args.outputs[0]), taps(args.weights[0]),
        weight(b, cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights.drop_front()),
        strides(args.getInts("strides")), pads(args.getInts("pads")), groups(args.getInt("groups")), shape(args.getInts("shape")) {}

  void emit();

private:
  PixelTile describe(Value first, Value valid);
  Value loadTap(const PixelTile &tile, Value base, Value dy, Value dx, Value shift);
  Value gather(const PixelTile &tile, Value base, Value dy, Value dx, Value shift);
  Value splatI32(Value index) { return b.splat(arith::IndexCastOp::create(b, b.getI32Type(), index)); }
  Value toIndex(Value value) { return arith::IndexCastOp::create(b, b.getIndexType(), value); }
  Value firstLane(Value tile) { return toIndex(vector::ExtractOp::create(b, tile, 0)); }
  /// 0 ≤ value < size in one unsigned comparison.
  Value inside(Value value, Value size) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value, size); }
  Value both(Value p, Value q) { return arith::AndIOp::create(b, p, q); }
  bool isPointwise() const {
    return shape[2] == 1 && shape[3] == 1 && strides[0] == 1 && strides[1] == 1 && llvm::all_of(pads, [](int64_t p) { return p == 0; });
  }

  KernelBuilder &b;
  Value x, bias, y, taps; // taps: [K, 3] i32, channel and row and column offset of each
  WeightTiles weight;
  ArrayRef<int64_t> strides, pads;
  int64_t groups;
  ArrayRef<int64_t> shape;
  Value input, height, width, outWidth, heights, widths, lanes;
};

/// Output rows that 16 neighbouring pixels can touch.
int64_t countSegments(int64_t outWidth) { return ShapedType::isDynamic(outWidth) ? 2 : (kLanes + outWidth - 2) / outWidth + 1; }

PixelTile ConvEmitter::describe(Value first, Value valid) {
  VectorType f64s = VectorType::get({kLanes}, b.getF64Type());
  auto toF64 = [&](Value v) { return Value(arith::SIToFPOp::create(b, f64s, v)); };
  PixelTile tile;
  // Integer division of vectors is scalar code; in f64 it is exact for any index of 31 bits.
  Value index = arith::AddIOp::create(b, splatI32(first), lanes);
  Value half = arith::ConstantOp::create(b, DenseElementsAttr::get(f64s, 0.5));
  Value quotient = arith::DivFOp::create(b, arith::AddFOp::create(b, toF64(index), half), toF64(splatI32(outWidth)));
  Value outRow = arith::FPToSIOp::create(b, b.i32Tile(), quotient);
  Value outColumn = arith::SubIOp::create(b, index, arith::MulIOp::create(b, outRow, splatI32(outWidth)));
  auto origin = [&](Value o, int64_t stride, int64_t pad) {
    return Value(arith::SubIOp::create(b, arith::MulIOp::create(b, o, b.tileOf(int32_t(stride))), b.tileOf(int32_t(pad))));
  };
  tile.row = origin(outRow, strides[0], pads[0]);
  tile.column = origin(outColumn, strides[1], pads[1]);
  tile.offset = arith::AddIOp::create(b, arith::MulIOp::create(b, tile.row, splatI32(width)), tile.column);
  tile.exists = b.mask(valid);
  tile.firstRow = firstLane(tile.row);
  if (strides[1] != 1)
    return tile;

  Value firstOutRow = firstLane(outRow), start = firstLane(tile.offset);
  int64_t segments = countSegments(cast<MemRefType>(y.getType()).getDimSize(3));
  for (int64_t s = 0; s < segments; ++s) {
    Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, outRow, splatI32(b.add(firstOutRow, s)));
    tile.segment.push_back(both(here, tile.exists));
    // One output row down: strides[0] input rows further, outWidth lanes earlier.
    tile.segmentOffset.push_back(b.add(start, b.mul(b.sub(b.mul(width, strides[0]), outWidth), s)));
  }
  if (cast<MemRefType>(y.getType()).isDynamicDim(3))
    tile.fewRows = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, outWidth, b.index(kLanes - 1));
  return tile;
}

Value ConvEmitter::gather(const PixelTile &tile, Value base, Value dy, Value dx, Value shift) {
  Value row = arith::AddIOp::create(b, tile.row, splatI32(dy)), column = arith::AddIOp::create(b, tile.column, splatI32(dx));
  Value ok = both(both(inside(row, heights), inside(column, widths)), tile.exists);
  Value offset = arith::AddIOp::create(b, tile.offset, splatI32(shift));
  offset = arith::SelectOp::create(b, ok, offset, b.tileOf(int32_t(0)));
  return vector::GatherOp::create(b, b.f32Tile(), input, ValueRange{base}, offset, ok, b.tileOf(0.0f));
}

Value ConvEmitter::loadTap(const PixelTile &tile, Value base, Value dy, Value dx, Value shift) {
  if (tile.segment.empty())
    return gather(tile, base, dy, dx, shift);
  auto fromRows = [&] {
    Value column = arith::AddIOp::create(b, tile.column, splatI32(dx)), columnOk = inside(column, widths);
    Value result = b.tileOf(0.0f), origin = b.add(base, shift), row = b.add(tile.firstRow, dy);
    for (auto [s, lanesOfRow] : llvm::enumerate(tile.segment)) {
      Value rowOk = b.splat(inside(b.add(row, s * strides[0]), height));
      Value ok = both(both(lanesOfRow, columnOk), rowOk);
      result = b.loadMasked(input, {b.add(origin, tile.segmentOffset[s])}, ok, result);
    }
    return result;
  };
  if (!tile.fewRows)
    return fromRows();
  return b.select(tile.fewRows, TypeRange{b.f32Tile()}, [&] { return SmallVector<Value>{fromRows()}; },
                  [&] { return SmallVector<Value>{gather(tile, base, dy, dx, shift)}; })[0];
}

void ConvEmitter::emit() {
  int64_t rowsPerGroup = weight.rows() / groups, channelsPerGroup = shape[1];
  height = b.dim(x, 2), width = b.dim(x, 3), outWidth = b.dim(y, 3);
  Value pixels = b.mul(b.dim(y, 2), outWidth), panels = b.ceilDiv(pixels, kPanelColumns), image = b.mul(height, width);
  auto flatten = [&](Value memref, ArrayRef<ReassociationIndices> dims) -> Value { return memref::CollapseShapeOp::create(b, memref, dims); };
  input = flatten(x, {{0, 1, 2, 3}});
  Value output = flatten(y, {{0}, {1}, {2, 3}});
  heights = splatI32(height), widths = splatI32(width);
  lanes = arith::ConstantOp::create(b, DenseElementsAttr::get(b.i32Tile(), ArrayRef<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
  APInt constant;
  bool alwaysFull = matchPattern(pixels, m_ConstantInt(&constant)) && constant.getSExtValue() % kPanelColumns == 0;

  // Several panels share one pass over the weights; a pointwise kernel reads its pixels in place and needs no sharing.
  int64_t block = isPointwise() ? 1 : kPanelBlock;
  Value blocks = b.ceilDiv(panels, block);
  b.parallel(b.mul(b.mul(b.dim(x, 0), groups), blocks), [&](Value task) {
    Value firstPanel = b.mul(b.rem(task, blocks), block), matrix = b.div(task, blocks);
    Value group = b.rem(matrix, groups), n = b.div(matrix, groups);
    Value panelCount = b.min(b.index(block), b.sub(panels, firstPanel));
    Value storage = isPointwise() ? Value() : b.scratch({block * kPanelTiles, weight.chunk(), kLanes}, b.getF32Type());
    Value scratch = weight.scratch(b, 1);
    Value plane = b.mul(b.add(b.mul(n, b.dim(x, 1)), b.mul(group, channelsPerGroup)), image);

    emitChunks(b, b.index(weight.columns()), weight.chunk(), [&](Value begin, Value count, Value first) {
      if (!isPointwise())
        b.loop(b.index(0), b.mul(panelCount, kPanelTiles), 1, [&](Value slot) {
          Value pixel = b.add(b.mul(firstPanel, kPanelColumns), b.mul(slot, kLanes));
          PixelTile window = describe(pixel, b.sub(pixels, pixel));
          b.loop(b.index(0), count, 1, [&](Value k) {
            auto tap = [&](int64_t i) { return toIndex(b.load(taps, {b.add(begin, k), b.index(i)})); };
            Value dy = tap(1), dx = tap(2);
            Value base = b.add(plane, b.mul(tap(0), image)), shift = b.add(b.mul(dy, width), dx);
            b.storeTile(loadTap(window, base, dy, dx, shift), storage, {slot, k, b.index(0)});
          });
        });

      Value rowBegin = b.mul(group, rowsPerGroup), rowEnd = b.add(rowBegin, rowsPerGroup);
      b.loop(b.div(rowBegin, kLanes), b.ceilDiv(rowEnd, kLanes), 1, [&](Value tileIndex) {
        weight.decode(b, tileIndex, begin, b.add(begin, count), scratch, 0);
        Value tileRow = b.mul(tileIndex, kLanes);
        b.loop(b.index(0), panelCount, 1, [&](Value panel) {
          Value pixel = b.mul(b.add(firstPanel, panel), kPanelColumns), valid = b.sub(pixels, pixel);
          GemmTile tile;
          tile.a = [&](Value row, Value k) { return weight.loadElement(b, tileIndex, begin, k, b.sub(row, tileRow), scratch, 0); };
          tile.b = [&](Value k, int64_t c) {
            if (!isPointwise())
              return b.loadTile(storage, {b.add(b.mul(panel, kPanelTiles), c), k, b.index(0)});
            Value at = b.add(b.add(plane, b.mul(b.add(begin, k), image)), b.add(pixel, c * kLanes));
            return alwaysFull ? b.loadTile(input, {at}) : b.loadMasked(input, {at}, b.mask(b.sub(valid, b.index(c * kLanes))), b.tileOf(0.0f));
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

void quanta::emitConv2D(KernelBuilder &b, const KernelArgs &args) { ConvEmitter(b, args).emit(); }
