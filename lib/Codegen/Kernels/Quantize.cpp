//===- Quantize.cpp - Activations become codes --------------------------------------------------------------------------------===//
#include "Quantize.h"
#include "Kernels.h"
#include "VisionGrids.h"
#include "quanta/Codegen/BFloatDot.h"
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

/// Adding 1.5 · 2²³ rounds half to even and leaves the integer in the lowest bits.
static constexpr float kRound = 0x1.8p23f;

Value mlir::quanta::constantLike(KernelBuilder &b, Value like, float value) {
  auto vector = dyn_cast<VectorType>(like.getType());
  return vector ? b.tileOf(value) : b.f32(value);
}

Value mlir::quanta::emitAffineCode(KernelBuilder &b, Value x, Value inverse, Value zero, unsigned bits) {
  auto constant = [&](float value) { return constantLike(b, x, value); };
  Value code = arith::MaximumFOp::create(b, b.fma(x, inverse, zero), constant(AffineAttr::getLeastCode(bits)));
  code = arith::MinimumFOp::create(b, code, constant(AffineAttr::getGreatestCode(bits)));
  return b.subf(b.addf(code, constant(kRound)), constant(kRound));
}

Value mlir::quanta::emitByte(KernelBuilder &b, Value rounded) {
  Value bits = vector::BitCastOp::create(b, b.i32Tile(), b.addf(rounded, b.tileOf(kRound)));
  return arith::TruncIOp::create(b, VectorType::get({kLanes}, b.getI8Type()), bits);
}

namespace {

/// Rows of floats to rows of codes, which are filled up with zeros.
class QuantizeRows {
public:
  QuantizeRows(KernelBuilder &b, const KernelArgs &args)
      : b(b), args(args), x(args.inputs[0]), codes(args.outputs[0]), columns(cast<MemRefType>(x.getType()).getDimSize(1)),
        whole(columns / kLanes * kLanes) {}

  void emit() {
    Value rows = b.dim(x, 0);
    Attribute encoding = args.config.get("activation");
    int64_t perTask = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
    b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
      Value first = b.mul(task, perTask);
      b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
        if (auto affine = dyn_cast<AffineAttr>(encoding))
          emitStatic(row, affine);
        else if (isa<NarrowAttr>(encoding))
          emitNarrow(row);
        else if (auto twin = dyn_cast<TwinAttr>(encoding))
          emitRegions(row, twin);
        else
          emitDynamic(row, cast<UniformAttr>(encoding));
        fill(row);
      });
    });
  }

private:
  Value load(Value row, Value column, bool full) {
    if (full)
      return b.loadTile(x, {row, column});
    return b.loadMasked(x, {row, column}, b.mask(b.index(columns - whole)), b.tileOf(0.0f));
  }
  void forTiles(function_ref<void(Value, bool)> body) {
    b.loop(b.index(0), b.index(whole), kLanes, [&](Value column) { body(column, true); });
    if (whole < columns)
      body(b.index(whole), false);
  }
  Type codeType() { return cast<MemRefType>(codes.getType()).getElementType(); }
  /// `rounded`: integers of small magnitude.
  void store(Value rounded, Value row, Value column) { b.storeTile(emitByte(b, rounded), codes, {row, column}); }
  /// Columns from one region of codes to the next.
  int64_t region() {
    int64_t stored = cast<MemRefType>(codes.getType()).getDimSize(1);
    return isa<TwinAttr>(args.config.get("activation")) ? stored / 2 : stored;
  }
  /// Zeros from the last column of each region on.
  void fill(Value row) {
    int64_t stored = cast<MemRefType>(codes.getType()).getDimSize(1);
    auto lanes = VectorType::get({kLanes}, codeType());
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(lanes));
    for (int64_t first = 0; first < stored; first += region())
      for (int64_t column = llvm::alignTo(columns, kLanes); column < region(); column += kLanes)
        b.storeTile(none, codes, {row, b.index(first + column)});
  }

  void emitStatic(Value row, AffineAttr affine) {
    forTiles([&](Value column, bool full) {
      // One segment: constants. Several: a factor and a zero point for each column.
      Value inverse, zero, zeros = b.tileOf(0.0f);
      Value mask = full ? Value() : b.mask(b.index(columns - whole));
      auto parameter = [&](unsigned input) {
        return full ? b.loadTile(args.inputs[input], {column}) : b.loadMasked(args.inputs[input], {column}, mask, zeros);
      };
      if (affine.getSegmentCount() == 1) {
        inverse = b.tileOf(1 / affine.getScales()[0]);
        zero = b.tileOf(static_cast<float>(affine.getZeros()[0]));
      } else {
        inverse = parameter(1);
        zero = parameter(2);
      }
      Value code = emitAffineCode(b, load(row, column, full), inverse, zero, affine.getBits());
      if (!full) // beyond the row there is no zero point
        code = arith::SelectOp::create(b, mask, code, zeros);
      store(code, row, column);
    });
  }

  void emitNarrow(Value row) {
    forTiles([&](Value column, bool full) {
      Value code = b.shiftRight(emitBFloatBits(b, load(row, column, full)), 16);
      b.storeTile(arith::TruncIOp::create(b, VectorType::get({kLanes}, codeType()), code), codes, {row, column});
    });
  }

  /// Coarse codes and, in the second half of the row, fine ones.
  void emitRegions(Value row, TwinAttr twin) {
    forTiles([&](Value column, bool full) {
      auto [coarse, fine] = emitTwinCodes(b, twin, load(row, column, full));
      store(coarse, row, column);
      store(fine, row, b.add(column, region()));
    });
  }

  /// The largest of 16 lanes of `of` each tile of a row, and of `start`.
  Value most(Value row, float start, function_ref<Value(Value)> of) {
    auto widen = [&](Value column, Value sofar, bool full) {
      return Value(arith::MaximumFOp::create(b, sofar, of(load(row, column, full))));
    };
    Value result = b.loop(b.index(0), b.index(whole), kLanes, ValueRange{b.tileOf(start)}, [&](Value column, ValueRange carried) {
      return SmallVector<Value>{widen(column, carried[0], true)};
    })[0];
    return b.reduceMax(whole < columns ? widen(b.index(whole), result, false) : result);
  }

  /// Symmetric: codes around 0, steps of the largest magnitude / the greatest code. With an offset: codes from 0 on, over the range
  /// with 0; the offset is a multiple of the scale, so that 0 has a code, which most values are near to.
  void emitDynamic(Value row, UniformAttr uniform) {
    bool offset = uniform.getZero() == ZeroKind::Offset;
    float greatest = static_cast<float>((1 << (uniform.getBits() - (offset ? 0 : 1))) - 1);
    Value width, least;
    if (offset) {
      least = arith::NegFOp::create(b, most(row, 0, [&](Value tile) { return Value(arith::NegFOp::create(b, tile)); }));
      width = b.subf(most(row, 0, [](Value tile) { return tile; }), least);
    } else {
      width = most(row, 0, [&](Value tile) { return Value(math::AbsFOp::create(b, tile)); });
    }
    // A row so small that the quotient would overflow is zero.
    Value tiny = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, width, b.f32(0x1p-100f));
    Value factor = arith::SelectOp::create(b, tiny, b.f32(0.0f), Value(arith::DivFOp::create(b, b.f32(greatest), width)));
    Value scale = arith::SelectOp::create(b, tiny, b.f32(0.0f), b.mulf(width, b.f32(1 / greatest)));
    memref::StoreOp::create(b, scale, args.outputs[1], ValueRange{row});
    Value wide = b.splat(factor), zero;
    if (offset) {
      Value below = arith::NegFOp::create(b, round(b.mulf(least, factor)));
      memref::StoreOp::create(b, Value(arith::NegFOp::create(b, b.mulf(below, scale))), args.outputs[2], ValueRange{row});
      zero = b.splat(below);
    }
    forTiles([&](Value column, bool full) {
      Value code = b.mulf(load(row, column, full), wide);
      if (offset) {
        code = arith::MinimumFOp::create(b, b.addf(round(code), zero), b.tileOf(greatest));
        if (!full) // beyond the row there is no offset
          code = arith::SelectOp::create(b, b.mask(b.index(columns - whole)), code, b.tileOf(0.0f));
      }
      store(code, row, column);
    });
  }
  Value round(Value x) {
    Value magic = constantLike(b, x, kRound);
    return b.subf(b.addf(x, magic), magic);
  }

  KernelBuilder &b;
  const KernelArgs &args;
  Value x, codes;
  int64_t columns, whole;
};

} // namespace

void mlir::quanta::emitQuantize(KernelBuilder &b, const KernelArgs &args) { QuantizeRows(b, args).emit(); }
