//===- Conv2D.cpp - Convolution as a product of weight rows and collected pixels -------------------------------------------===//
//
// For 16 or 32 neighbouring output pixels the taps are collected into a panel [k][16 or 32] (implicit GEMM, ConvPixels.h); output
// channels are the rows. Groups and depthwise convolutions are the same with fewer rows. A 1 × 1 kernel with stride 1 needs no panel
// at all.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ConvPixels.h"
#include "DirectConv2D.h"
#include "Epilogue.h"
#include "Gemm.h"
#include "WinogradConv2D.h"

using namespace mlir;
using namespace mlir::quanta;

/// Groups that share the masks of a task's pixels.
static constexpr int64_t kGroupBlock = 16;

void mlir::quanta::emitConv2D(KernelBuilder &b, const KernelArgs &args) {
  if (hasWinogradConv2D(b, args))
    return emitWinogradConv2D(b, args);
  if (hasDirectConv2D(b, args))
    return emitDirectConv2D(b, args);
  Epilogue epilogue(b, args);
  Value x = args.inputs[0], bias = epilogue.inputs.size() > 1 ? epilogue.inputs[1] : Value(), y = args.outputs[0];
  WeightTiles weight(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights);
  PixelCollector pixelsOf(b, args);
  ArrayRef<int64_t> shape = args.getInts("shape"), strides = args.getInts("strides");
  int64_t groups = args.getInt("groups");
  bool isPointwise = pixelsOf.window() == 1 && strides[0] == 1 && strides[1] == 1 && llvm::all_of(args.getInts("pads"), [](int64_t p) { return p == 0; });
  int64_t rowsPerGroup = weight.rows() / groups, channelsPerGroup = shape[1];
  pixelsOf.emitSizes();
  Value pixels = b.mul(b.dim(y, 2), pixelsOf.outWidth), panels = b.ceilDiv(pixels, b.registers.columns());
  Value output = memref::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  APInt constant;
  bool alwaysFull = matchPattern(pixels, m_ConstantInt(&constant)) && constant.getSExtValue() % b.registers.columns() == 0;

  int64_t groupBlocks = llvm::divideCeil(groups, kGroupBlock);
  b.parallel(b.mul(b.mul(b.dim(x, 0), groupBlocks), panels), [&](Value task) {
    Value pixel = b.mul(b.rem(task, panels), b.registers.columns()), matrix = b.div(task, panels), valid = b.sub(pixels, pixel);
    Value firstGroup = b.mul(b.rem(matrix, groupBlocks), kGroupBlock), n = b.div(matrix, groupBlocks);
    Value panel, scratch = weight.scratch(b, 1);
    SmallVector<PixelTile> tiles;
    SmallVector<Value> exists;
    if (!isPointwise) {
      panel = b.scratch({b.registers.tiles, weight.chunk(), kLanes}, b.getF32Type());
      pixelsOf.emitTask(b.registers.tiles);
    }
    for (int64_t c = 0; c < b.registers.tiles; ++c) {
      Value tileValid = b.sub(valid, b.index(c * kLanes));
      if (isPointwise)
        exists.push_back(b.mask(tileValid));
      else
        tiles.push_back(pixelsOf.describe(b.add(pixel, c * kLanes), tileValid, b.index(c)));
    }

    b.loop(firstGroup, b.min(b.index(groups), b.add(firstGroup, kGroupBlock)), 1, [&](Value group) {
      Value plane = b.mul(b.add(b.mul(n, b.dim(x, 1)), b.mul(group, channelsPerGroup)), pixelsOf.image);
      weight.forChunks(b, [&](Value begin, Value count, Value first) {
        auto columnOf = [&](Value stored) { return weight.column(b, stored); };
        function_ref<Value(Value)> order = columnOf;
        for (size_t c = 0; c < tiles.size(); ++c)
          pixelsOf.collect(tiles[c], panel, b.index(c), plane, begin, count, weight.isReordered() ? order : nullptr);

        Value rowBegin = b.mul(group, rowsPerGroup), rowEnd = b.add(rowBegin, rowsPerGroup);
        b.loop(b.div(rowBegin, kLanes), b.ceilDiv(rowEnd, kLanes), 1, [&](Value tileIndex) {
          weight.decode(b, tileIndex, begin, b.add(begin, count), scratch, 0);
          Value tileRow = b.mul(tileIndex, kLanes);
          GemmTile tile;
          tile.a = [&](Value row, Value k) { return weight.loadElement(b, tileIndex, begin, k, b.sub(row, tileRow), scratch, 0); };
          tile.b = [&](Value k, int64_t c) {
            if (!isPointwise)
              return b.loadTile(panel, {b.index(c), k, b.index(0)});
            Value at = b.add(b.add(plane, b.mul(weight.column(b, b.add(begin, k)), pixelsOf.image)), b.add(pixel, c * kLanes));
            return alwaysFull ? b.loadTile(pixelsOf.input, {at}) : b.loadMasked(pixelsOf.input, {at}, exists[c], b.tileOf(0.0f));
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
      // The sums of all chunks are still in a cache.
      if (args.epilogue)
        b.loop(b.mul(group, rowsPerGroup), b.mul(b.add(group, 1), rowsPerGroup), 1, [&](Value row) {
          for (int64_t c = 0; c < b.registers.tiles; ++c)
            epilogue.applyTo(output, {n, row, b.add(pixel, c * kLanes)}, b.mask(b.sub(valid, b.index(c * kLanes))));
        });
    });
  });
}

