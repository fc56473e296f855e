//===- Conv2D.cpp - Convolution as a product of weight rows and gathered pixels --------------------------------------------===//
//
// For 32 neighbouring output pixels the taps are gathered into a panel [k][32] (implicit GEMM); output channels are the
// rows. Groups and depthwise convolutions are the same with fewer rows.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "Gemm.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::quanta;

void quanta::emitConv2D(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.inputs[0], bias = args.inputs.size() > 1 ? args.inputs[1] : Value(), y = args.outputs[0];
  Value taps = args.weights[0]; // [K, 3] i32: channel, row and column offset of each tap
  WeightTiles weight(b, cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights.drop_front());
  ArrayRef<int64_t> strides = args.getInts("strides"), pads = args.getInts("pads");
  int64_t groups = args.getInt("groups"), rowsPerGroup = weight.rows() / groups, channelsPerGroup = args.getInts("shape")[1];
  Value height = b.dim(x, 2), width = b.dim(x, 3), outWidth = b.dim(y, 3);
  Value pixels = b.mul(b.dim(y, 2), outWidth), panels = b.ceilDiv(pixels, kPanelColumns);
  Value image = b.mul(height, width);
  VectorType i32s = b.i32Tile(), f64s = VectorType::get({kLanes}, b.getF64Type());
  auto toI32 = [&](Value index) { return b.splat(arith::IndexCastOp::create(b, b.getI32Type(), index)); };
  auto flatten = [&](Value memref, ArrayRef<ReassociationIndices> groups) -> Value {
    return memref::CollapseShapeOp::create(b, memref, groups);
  };
  Value input = flatten(x, {{0, 1, 2, 3}}), output = flatten(y, {{0}, {1}, {2, 3}});
  Value lanes = arith::ConstantOp::create(b, DenseElementsAttr::get(i32s, ArrayRef<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));

  b.parallel(b.mul(b.mul(b.dim(x, 0), groups), panels), [&](Value task) {
    Value pixel = b.mul(b.rem(task, panels), kPanelColumns), matrix = b.div(task, panels);
    Value group = b.rem(matrix, groups), n = b.div(matrix, groups), valid = b.sub(pixels, pixel);
    Value panel = b.scratch({kPanelTiles, weight.chunk(), kLanes}, b.getF32Type());
    Value scratch = weight.scratch(b, 1);
    Value plane = b.mul(b.add(b.mul(n, b.dim(x, 1)), b.mul(group, channelsPerGroup)), image);
    Value zero = b.tileOf(0.0f), zeroI = b.tileOf(int32_t(0));

    // Where the window of each lane begins in the input. The division is exact in f64.
    struct Lanes { Value row, column, offset, exists, firstColumn, firstRow, firstOffset, oneRow; };
    SmallVector<Lanes> window;
    for (int64_t c = 0; c < kPanelTiles; ++c) {
      Value first = b.add(pixel, c * kLanes);
      Value index = arith::AddIOp::create(b, toI32(first), lanes);
      auto toF64 = [&](Value v) { return Value(arith::SIToFPOp::create(b, f64s, v)); };
      Value half = arith::ConstantOp::create(b, DenseElementsAttr::get(f64s, 0.5));
      Value quotient = arith::DivFOp::create(b, arith::AddFOp::create(b, toF64(index), half), toF64(toI32(outWidth)));
      Value oy = arith::FPToSIOp::create(b, i32s, quotient);
      Value ox = arith::SubIOp::create(b, index, arith::MulIOp::create(b, oy, toI32(outWidth)));
      auto origin = [&](Value o, int64_t stride, int64_t pad) {
        return Value(arith::SubIOp::create(b, arith::MulIOp::create(b, o, b.tileOf(int32_t(stride))), b.tileOf(int32_t(pad))));
      };
      Lanes lane;
      lane.row = origin(oy, strides[0], pads[0]);
      lane.column = origin(ox, strides[1], pads[1]);
      lane.offset = arith::AddIOp::create(b, arith::MulIOp::create(b, lane.row, toI32(width)), lane.column);
      lane.exists = b.mask(b.sub(valid, b.index(c * kLanes)));
      auto firstLane = [&](Value v) { return Value(arith::IndexCastOp::create(b, b.getIndexType(), vector::ExtractOp::create(b, v, 0))); };
      lane.firstRow = firstLane(lane.row);
      lane.firstColumn = firstLane(lane.column);
      lane.firstOffset = firstLane(lane.offset);
      // All 16 lanes in one output row: with stride 1 their inputs are neighbours too.
      Value firstOut = firstLane(ox);
      Value oneRow = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, b.add(firstOut, kLanes), outWidth);
      Value all = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, b.sub(valid, b.index(c * kLanes)), b.index(kLanes));
      lane.oneRow = arith::AndIOp::create(b, oneRow, all);
      window.push_back(lane);
    }
    auto inside = [&](Value v, Value size) { // 0 ≤ v < size, one unsigned comparison
      return Value(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, v, size));
    };
    Value heights = toI32(height), widths = toI32(width);

    emitChunks(b, b.index(weight.columns()), weight.chunk(), [&](Value begin, Value count, Value first) {
      b.loop(b.index(0), count, 1, [&](Value k) {
        auto tap = [&](int64_t i) { return b.load(taps, {b.add(begin, k), b.index(i)}); };
        Value dyI = tap(1), dxI = tap(2);
        auto toIndex = [&](Value v) { return Value(arith::IndexCastOp::create(b, b.getIndexType(), v)); };
        Value dy = toIndex(dyI), dx = toIndex(dxI);
        Value base = b.add(plane, b.mul(toIndex(tap(0)), image)), shift = b.add(b.mul(dy, width), dx);
        for (int64_t c = 0; c < kPanelTiles; ++c) {
          const Lanes &lane = window[c];
          auto gather = [&]() -> SmallVector<Value> {
            Value row = arith::AddIOp::create(b, lane.row, b.splat(dyI)), column = arith::AddIOp::create(b, lane.column, b.splat(dxI));
            Value ok = arith::AndIOp::create(b, arith::AndIOp::create(b, inside(row, heights), inside(column, widths)), lane.exists);
            Value offset = arith::AddIOp::create(b, lane.offset, toI32(shift));
            offset = arith::SelectOp::create(b, ok, offset, zeroI);
            return {vector::GatherOp::create(b, b.f32Tile(), input, ValueRange{base}, offset, ok, zero)};
          };
          Value tile;
          if (strides[1] == 1) {
            Value column = b.add(lane.firstColumn, dx);
            Value last = b.add(column, kLanes - 1);
            Value ok = arith::AndIOp::create(b, lane.oneRow, inside(b.add(lane.firstRow, dy), height));
            ok = arith::AndIOp::create(b, ok, arith::AndIOp::create(b, inside(column, width), inside(last, width)));
            tile = b.select(ok, TypeRange{b.f32Tile()}, [&]() -> SmallVector<Value> {
              return {b.loadTile(input, {b.add(base, b.add(lane.firstOffset, shift))})};
            }, gather)[0];
          } else {
            tile = gather()[0];
          }
          b.storeTile(tile, panel, {b.index(c), k, b.index(0)});
        }
      });

      Value rowBegin = b.mul(group, rowsPerGroup), rowEnd = b.add(rowBegin, rowsPerGroup);
      b.loop(b.div(rowBegin, kLanes), b.ceilDiv(rowEnd, kLanes), 1, [&](Value tileIndex) {
        weight.decode(b, tileIndex, begin, b.add(begin, count), scratch, 0);
        Value tileRow = b.mul(tileIndex, kLanes);
        GemmTile tile;
        tile.a = [&](Value row, Value k) { return weight.loadElement(b, tileIndex, begin, k, b.sub(row, tileRow), scratch, 0); };
        tile.b = [&](Value k, int64_t c) { return b.loadTile(panel, {b.index(c), k, b.index(0)}); };
        tile.initial = [&](Value row, int64_t) { return bias ? b.splat(b.load(bias, {row})) : b.tileOf(0.0f); };
        tile.c = [&](Value row, int64_t c) { return SmallVector<Value>{n, row, b.add(pixel, c * kLanes)}; };
        tile.result = output;
        tile.chunk = count;
        tile.first = first;
        tile.valid = valid;
        emitGemmRows(b, tile, b.max(rowBegin, tileRow), b.min(rowEnd, b.add(tileRow, kLanes)));
      });
    });
  });
}
