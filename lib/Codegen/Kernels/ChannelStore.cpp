//===- ChannelStore.cpp - From channels in the lanes to pixels in the lanes ------------------------------------------------===//
#include "ChannelStore.h"
#include "Gemm.h"
#include "QuadConv2D.h"

using namespace mlir;
using namespace mlir::quanta;

ChannelStore::ChannelStore(KernelBuilder &b, const KernelArgs &args) : epilogue(b, args), b(b), args(args), channels(args.getInts("shape")[0]) {
  if (Value y = epilogue.floats) {
    auto type = cast<MemRefType>(y.getType());
    height = type.getDimSize(2), width = type.getDimSize(3);
    output = memref::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
  } else {
    height = args.getInts("result_size")[0], width = args.getInts("result_size")[1];
  }
}

void ChannelStore::emitBorders() const { fillQuads(b, epilogue.codes, channels, epilogue.zeroCode()); }

void ChannelStore::emit(SmallVector<Value> pixels, Value count, Value n, Value channel, Value row, Value column) const {
  Value pixel = b.add(b.mul(row, width), column), all = b.mask(count);
  pixels.resize(kLanes, b.tileOf(0.0f));
  transposeTiles(b, pixels);
  for (auto [c, vector] : llvm::enumerate(pixels))
    b.storeTile(vector, lanes, {b.index(c), b.index(0)});
  // Loops, so that the epilogue is there once or four times.
  if (!epilogue.codes) {
    b.loop(b.index(0), b.min(b.index(kLanes), b.sub(b.index(channels), channel)), 1, [&](Value c) {
      SmallVector<Value> place{n, b.add(channel, c), pixel};
      auto load = [&](Value operand, EpilogueOperand kind) { return epilogue.loadPixels(operand, kind, place, all); };
      b.storeMasked(epilogue.apply(b.loadTile(lanes, {c, b.index(0)}), load), output, place, all);
    });
    return;
  }
  bool whole = channels % kQuad == 0; // else some channels of the last word do not exist
  b.loop(b.index(0), b.min(b.index(kLanes), b.sub(b.index(llvm::alignTo(channels, kQuad)), channel)), kQuad, [&](Value first) {
    SmallVector<Value> four;
    for (int64_t i = 0; i < kQuad; ++i) {
      Value c = b.add(first, i), to = b.add(channel, c), there = b.less(to, b.index(channels)), exist = all;
      if (!whole) {
        to = b.min(to, b.index(channels - 1));
        exist = b.mask(arith::SelectOp::create(b, there, count, b.index(0)));
      }
      SmallVector<Value> place{n, to, pixel};
      auto load = [&](Value operand, EpilogueOperand kind) { return epilogue.loadPixels(operand, kind, place, exist); };
      Value result = epilogue.apply(b.loadTile(lanes, {c, b.index(0)}), load);
      if (output)
        b.storeMasked(result, output, place, exist);
      Value code = epilogue.encode(result, load);
      four.push_back(whole ? code : arith::SelectOp::create(b, there, code, Value(arith::ConstantOp::create(b, b.getZeroAttr(code.getType())))));
    }
    b.storeMasked(emitQuad(b, four), epilogue.codes,
                  {n, b.div(b.add(channel, first), kQuad), b.add(row, args.getInt("result_top")), b.add(column, args.getInt("result_left"))}, all);
  });
}
