//===- Rows.cpp - Kernels that work on the rows of a matrix: norms, softmax, rotary, embedding -----------------------------===//
#include "Epilogue.h"
#include "Gemm.h"
#include "IntegerConv2D.h"
#include "Kernels.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// Visits a row of `columns` elements in tiles: `full(column)` for whole ones, `partial(column, mask)` for the rest; both may
/// carry values.
SmallVector<Value> forTiles(KernelBuilder &b, Value columns, ValueRange init,
                            function_ref<SmallVector<Value>(Value column, Value mask, ValueRange carried)> body) {
  Value whole = b.mul(b.div(columns, kLanes), kLanes);
  SmallVector<Value> carried = b.loop(b.index(0), whole, kLanes, init, [&](Value column, ValueRange values) {
    return body(column, Value(), values);
  });
  APInt constant;
  if (matchPattern(columns, m_ConstantInt(&constant)) && constant.getSExtValue() % kLanes == 0)
    return carried;
  Value rest = b.sub(columns, whole);
  return b.select(b.less(b.index(0), rest), TypeRange(ValueRange(carried)),
                  [&] { return body(whole, b.mask(rest), carried); }, [&] { return SmallVector<Value>(carried); });
}

Value loadPart(KernelBuilder &b, Value memref, ValueRange indices, Value mask, float other = 0.0f) {
  return mask ? b.loadMasked(memref, indices, mask, b.tileOf(other)) : b.loadTile(memref, indices);
}
void storePart(KernelBuilder &b, Value tile, Value memref, ValueRange indices, Value mask) {
  mask ? b.storeMasked(tile, memref, indices, mask) : b.storeTile(tile, memref, indices);
}
/// `tile` where the mask is set, `other` elsewhere.
Value keepPart(KernelBuilder &b, Value tile, Value mask, float other) {
  return mask ? Value(arith::SelectOp::create(b, mask, tile, b.tileOf(other))) : tile;
}

/// Tasks of about 16 thousand elements, so that handing one out costs nothing.
void forRows(KernelBuilder &b, Value rows, Value columns, function_ref<void(Value)> body) {
  Value perTask = b.max(b.index(1), b.div(b.index(16384), b.max(columns, b.index(1))));
  Value tasks = b.div(b.sub(b.add(rows, perTask), b.index(1)), perTask);
  b.parallel(tasks, [&](Value task) {
    Value begin = b.mul(task, perTask);
    b.loop(begin, b.min(rows, b.add(begin, perTask)), 1, body);
  });
}

Value toFloat(KernelBuilder &b, Value index) {
  return arith::SIToFPOp::create(b, b.getF32Type(), Value(arith::IndexCastOp::create(b, b.getI64Type(), index)));
}

Value noCodes(KernelBuilder &b) {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes}, b.getI8Type()), int8_t(0)));
}

void emitNorm(KernelBuilder &b, const KernelArgs &args, bool centre) {
  Epilogue epilogue(b, args);
  ValueRange inputs = epilogue.inputs;
  Value x = inputs[0], scale = inputs[1], bias = inputs.size() > 2 ? inputs[2] : Value();
  Value rows = b.dim(x, 0), columns = b.dim(x, 1);
  forRows(b, rows, columns, [&](Value row) {
    Value inverse = arith::DivFOp::create(b, b.f32(1.0f), toFloat(b, columns)), mean;
    if (centre) {
      Value sum = forTiles(b, columns, {b.tileOf(0.0f)}, [&](Value column, Value mask, ValueRange acc) {
        return SmallVector<Value>{b.addf(acc[0], loadPart(b, x, {row, column}, mask))};
      })[0];
      mean = b.splat(b.mulf(b.reduceAdd(sum), inverse));
    }
    auto centred = [&](Value column, Value mask) {
      Value tile = loadPart(b, x, {row, column}, mask);
      return centre ? keepPart(b, b.subf(tile, mean), mask, 0.0f) : tile;
    };
    Value squares = forTiles(b, columns, {b.tileOf(0.0f)}, [&](Value column, Value mask, ValueRange acc) {
      Value tile = centred(column, mask);
      return SmallVector<Value>{b.fma(tile, tile, acc[0])};
    })[0];
    Value variance = b.addf(b.mulf(b.reduceAdd(squares), inverse), b.f32(args.getFloat("epsilon")));
    Value factor = b.splat(arith::DivFOp::create(b, b.f32(1.0f), math::SqrtOp::create(b, variance)));
    forTiles(b, columns, {}, [&](Value column, Value mask, ValueRange) {
      Value tile = b.mulf(b.mulf(centred(column, mask), factor), loadPart(b, scale, {column}, mask));
      if (bias)
        tile = b.addf(tile, loadPart(b, bias, {column}, mask));
      auto load = [&](Value operand, EpilogueOperand kind) {
        bool element = kind == EpilogueOperand::Element;
        return loadPart(b, operand, element ? ValueRange{row, column} : ValueRange{column}, mask);
      };
      tile = epilogue.apply(tile, load);
      if (epilogue.floats)
        storePart(b, tile, epilogue.floats, {row, column}, mask);
      if (epilogue.codes) {
        Value bytes = epilogue.encode(tile, load);
        if (mask)
          bytes = arith::SelectOp::create(b, mask, bytes, noCodes(b));
        b.storeTile(bytes, epilogue.codes, {row, column});
      }
      return SmallVector<Value>();
    });
    if (epilogue.codes) { // rows end with zeros
      auto type = cast<MemRefType>(x.getType());
      for (int64_t column = llvm::alignTo(type.getDimSize(1), kLanes); column < cast<MemRefType>(epilogue.codes.getType()).getDimSize(1); column += kLanes)
        b.storeTile(noCodes(b), epilogue.codes, {row, b.index(column)});
    }
  });
}

} // namespace

void mlir::quanta::emitLayerNorm(KernelBuilder &b, const KernelArgs &args) { emitNorm(b, args, /*centre=*/true); }
void mlir::quanta::emitRMSNorm(KernelBuilder &b, const KernelArgs &args) { emitNorm(b, args, /*centre=*/false); }

void mlir::quanta::emitSoftmax(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.outputs[0], mask = args.inputs.empty() ? Value() : args.inputs[0];
  Value heads = b.dim(x, 1), queries = b.dim(x, 2), columns = b.dim(x, 3);
  Value rows = b.mul(b.mul(b.dim(x, 0), heads), queries);
  float low = -std::numeric_limits<float>::infinity();
  forRows(b, rows, columns, [&](Value row) {
    Value query = b.rem(row, queries), outer = b.div(row, queries), head = b.rem(outer, heads), batch = b.div(outer, heads);
    SmallVector<Value> at{batch, head, query, Value()}, maskAt = at;
    auto element = [&](SmallVector<Value> indices, Value column) {
      indices[3] = column;
      return indices;
    };
    if (mask)
      for (int64_t d = 0; d < 3; ++d)
        if (cast<MemRefType>(mask.getType()).getDimSize(d) == 1)
          maskAt[d] = b.index(0);
    bool maskRow = mask && cast<MemRefType>(mask.getType()).getDimSize(3) == 1;
    Value greatest = forTiles(b, columns, {b.tileOf(low)}, [&](Value column, Value part, ValueRange acc) {
      Value tile = loadPart(b, x, element(at, column), part, low);
      if (mask) {
        tile = b.addf(tile, maskRow ? b.splat(b.load(mask, element(maskAt, b.index(0)))) : loadPart(b, mask, element(maskAt, column), part));
        storePart(b, tile, x, element(at, column), part);
      }
      return SmallVector<Value>{Value(arith::MaximumFOp::create(b, acc[0], tile))};
    })[0];
    Value top = b.splat(b.reduceMax(greatest));
    Value sum = forTiles(b, columns, {b.tileOf(0.0f)}, [&](Value column, Value part, ValueRange acc) {
      Value tile = math::ExpOp::create(b, b.subf(loadPart(b, x, element(at, column), part), top));
      tile = keepPart(b, tile, part, 0.0f);
      storePart(b, tile, x, element(at, column), part);
      return SmallVector<Value>{b.addf(acc[0], tile)};
    })[0];
    Value factor = b.splat(arith::DivFOp::create(b, b.f32(1.0f), b.reduceAdd(sum)));
    forTiles(b, columns, {}, [&](Value column, Value part, ValueRange) {
      storePart(b, b.mulf(loadPart(b, x, element(at, column), part), factor), x, element(at, column), part);
      return SmallVector<Value>();
    });
  });
}

void mlir::quanta::emitRotary(KernelBuilder &b, const KernelArgs &args) {
  Value x = args.inputs[0], cosine = args.inputs[1], sine = args.inputs[2], y = args.outputs[0];
  Value heads = b.dim(x, 1), positions = b.dim(x, 2), columns = b.dim(x, 3), half = b.div(columns, 2);
  forRows(b, b.mul(b.mul(b.dim(x, 0), heads), positions), columns, [&](Value row) {
    Value position = b.rem(row, positions), outer = b.div(row, positions), head = b.rem(outer, heads), batch = b.div(outer, heads);
    auto at = [&](Value memref, Value column) {
      auto type = cast<MemRefType>(memref.getType());
      return SmallVector<Value>{type.getDimSize(0) == 1 ? b.index(0) : batch, type.getDimSize(1) == 1 ? b.index(0) : head, position, column};
    };
    forTiles(b, half, {}, [&](Value column, Value mask, ValueRange) {
      Value upper = b.add(column, half);
      auto part = [&](Value memref, Value c) { return loadPart(b, memref, at(memref, c), mask); };
      Value first = part(x, column), second = part(x, upper);
      storePart(b, b.subf(b.mulf(first, part(cosine, column)), b.mulf(second, part(sine, column))), y, at(y, column), mask);
      storePart(b, b.fma(second, part(cosine, upper), b.mulf(first, part(sine, upper))), y, at(y, upper), mask);
      return SmallVector<Value>();
    });
  });
}

void mlir::quanta::emitEmbedding(KernelBuilder &b, const KernelArgs &args) {
  Value indices = args.inputs[0], y = args.outputs[0];
  int64_t entries = args.getInts("shape")[0];
  Value count = b.dim(indices, 0), columns = b.dim(y, 1);
  Type element = cast<MemRefType>(indices.getType()).getElementType();
  auto constant = [&](int64_t value) { return Value(arith::ConstantOp::create(b, b.getIntegerAttr(element, value))); };

  // One pass over the indices before anything is read: a table must not be left by a wrong one.
  Value good = b.loop(b.index(0), count, 1, {arith::ConstantOp::create(b, b.getBoolAttr(true))}, [&](Value i, ValueRange acc) {
    Value index = b.load(indices, {i});
    Value low = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, constant(-entries));
    Value high = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, constant(entries));
    return SmallVector<Value>{Value(arith::AndIOp::create(b, acc[0], arith::AndIOp::create(b, low, high)))};
  })[0];
  cf::AssertOp::create(b, good, "an index is outside the table of " + std::to_string(entries) + " entries" +
                                    (args.has("node") ? " of " + cast<StringAttr>(args.config.get("node")).str() : ""));

  auto rowOf = [&](Value i) {
    Value index = b.load(indices, {i});
    Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, constant(0));
    index = arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, constant(entries)), index);
    return Value(arith::IndexCastOp::create(b, b.getIndexType(), index));
  };
  if (!args.has("encoding")) {
    forRows(b, count, columns, [&](Value i) {
      Value row = rowOf(i);
      forTiles(b, columns, {}, [&](Value column, Value mask, ValueRange) {
        storePart(b, loadPart(b, args.weights[0], {row, column}, mask), y, {i, column}, mask);
        return SmallVector<Value>();
      });
    });
    return;
  }
  // A table shared with a linear layer lies in tiles of rows.
  WeightTiles table(cast<PackedAttr>(args.config.get("encoding")), args.getInts("shape"), args.weights);
  forRows(b, count, columns, [&](Value i) {
    Value row = rowOf(i), tile = b.div(row, kLanes), lane = b.rem(row, kLanes);
    Value scratch = table.scratch(b, 1);
    table.forChunks(b, [&](Value begin, Value length, Value) {
      table.decode(b, tile, begin, b.add(begin, length), scratch, 0);
      b.loop(b.index(0), length, 1, [&](Value k) {
        memref::StoreOp::create(b, table.loadElement(b, tile, begin, k, lane, scratch, 0), y, ValueRange{i, table.column(b, b.add(begin, k))});
      });
    });
  });
}

KernelEmitter mlir::quanta::lookupKernel(StringRef family) {
  return llvm::StringSwitch<KernelEmitter>(family)
      .Case("linear", emitLinear)
      .Case("matmul", emitMatmul)
      .Case("integer_matmul", emitIntegerMatmul)
      .Case("conv2d", emitConv2D)
      .Case("layer_norm", emitLayerNorm)
      .Case("rms_norm", emitRMSNorm)
      .Case("softmax", emitSoftmax)
      .Case("rotary", emitRotary)
      .Case("embedding", emitEmbedding)
      .Case("cache_append", emitCacheAppend)
      .Case("attention", emitAttention)
      .Case("quantize", emitQuantize)
      .Case("quantize_image", emitQuantizeImage)
      .Case("integer_conv2d", emitIntegerConv2D)
      .Case("signs", emitSigns)
      .Case("sign_linear", emitSignLinear)
      .Case("sign_conv2d", emitSignConv2D)
      .Default(nullptr);
}
