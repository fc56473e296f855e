//===- ConvPixels.cpp - Taps of neighbouring output pixels, collected for a product ------------------------------------===//
#include "ConvPixels.h"

using namespace mlir;
using namespace mlir::quanta;

Value mlir::quanta::emitTapOffsets(KernelBuilder &b, int64_t channels, ArrayRef<int64_t> window, ArrayRef<int64_t> dilations, Value stored,
                                   Value plane) {
  int64_t taps = window[0] * window[1];
  Value offsets = memref::AllocOp::create(b, MemRefType::get({channels * taps}, b.getIndexType()), ValueRange(), b.getI64IntegerAttr(64));
  b.loop(b.index(0), b.index(channels), 1, [&](Value channel) {
    b.loop(b.index(0), b.index(taps), 1, [&](Value tap) {
      Value down = b.mul(b.mul(b.div(tap, window[1]), dilations[0]), stored), right = b.mul(b.rem(tap, window[1]), dilations[1]);
      memref::StoreOp::create(b, b.add(b.mul(channel, plane), b.add(down, right)), offsets, ValueRange{b.add(b.mul(channel, taps), tap)});
    });
  });
  return offsets;
}

PixelCollector::PixelCollector(KernelBuilder &b, const KernelArgs &args)
    : b(b), x(args.inputs[0]), y(args.outputs[0]), shape(args.getInts("shape").take_back(2)), strides(args.getInts("strides")),
      pads(args.getInts("pads")), dilations(args.getInts("dilations")), taps(shape[0] * shape[1]) {
  // Output rows that 16 neighbouring pixels can touch; in an image of unknown width, rows of 15 pixels or more.
  int64_t width = cast<MemRefType>(y.getType()).getDimSize(3);
  anyWidth = ShapedType::isDynamic(width);
  if (strides[1] == 1)
    segments = anyWidth ? 2 : (kLanes + width - 2) / width + 1;
}

Value PixelCollector::zero() const { return elementType().isF32() ? b.tileOf(0.0f) : b.tileOf(int32_t(0)); }

void PixelCollector::emitSizes() {
  height = b.dim(x, 2), width = b.dim(x, 3), outWidth = b.dim(y, 3), image = b.mul(height, width);
  input = memref::CollapseShapeOp::create(b, x, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
  lanes = arith::ConstantOp::create(b, DenseElementsAttr::get(b.i32Tile(), ArrayRef<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
}

void PixelCollector::emitTask(int64_t tiles) {
  masks = b.scratch({tiles, taps, segments + gathers()}, b.getI16Type());
  shifts = b.scratch({taps}, b.getIndexType());
  b.loop(b.index(0), b.index(taps), 1, [&](Value t) {
    Value down = b.mul(b.mul(b.div(t, shape.back()), dilations[0]), width), right = b.mul(b.rem(t, shape.back()), dilations[1]);
    memref::StoreOp::create(b, b.add(down, right), shifts, ValueRange{t});
  });
}

PixelTile PixelCollector::describe(Value first, Value valid, Value slot) {
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

  b.loop(b.index(0), b.index(taps), 1, [&](Value t) {
    Value tapRow = arith::AddIOp::create(b, row, splatI32(b.mul(b.div(t, shape.back()), dilations[0])));
    Value tapColumn = arith::AddIOp::create(b, column, splatI32(b.mul(b.rem(t, shape.back()), dilations[1])));
    Value ok = both(both(inside(tapRow, heights), inside(tapColumn, widths)), exists);
    for (auto [s, here] : llvm::enumerate(lanesOfRow))
      storeMask(both(ok, here), {slot, t, b.index(s)});
    if (gathers())
      storeMask(ok, {slot, t, b.index(segments)});
  });
  return tile;
}

void PixelCollector::collect(const PixelTile &tile, Value panel, Value slot, Value plane, Value begin, Value count,
                             function_ref<Value(Value)> columnOf) {
  auto run = [&](bool gather) {
    Value channel = b.add(plane, b.mul(b.div(begin, taps), image));
    b.loop(b.index(0), count, 1, ValueRange{channel, b.rem(begin, taps)}, [&](Value k, ValueRange carried) {
      Value base = carried[0], t = carried[1];
      if (columnOf) {
        Value column = columnOf(b.add(begin, k));
        base = b.add(plane, b.mul(b.div(column, taps), image));
        t = b.rem(column, taps);
      }
      Value origin = b.add(base, b.load(shifts, {t})), result = zero();
      if (gather)
        result = vector::GatherOp::create(b, cast<VectorType>(result.getType()), input, ValueRange{origin}, tile.offset,
                                          loadMask({slot, t, b.index(segments)}), result);
      else
        for (int64_t s = 0; s < segments; ++s)
          result = b.loadMasked(input, {b.add(origin, tile.segmentOffset[s])}, loadMask({slot, t, b.index(s)}), result);
      b.storeTile(result, panel, {slot, k, b.index(0)});
      Value next = b.add(t, 1), wraps = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, next, b.index(taps));
      return SmallVector<Value>{arith::SelectOp::create(b, wraps, b.add(base, image), base),
                                arith::SelectOp::create(b, wraps, b.index(0), next)};
    });
  };
  if (tile.fewRows)
    b.ifThen(tile.fewRows, [&] { run(false); }, [&] { run(true); });
  else
    run(segments == 0);
}
