//===- IntegerOperands.cpp - What every way to multiply integers works on ---------------------------------------------------===//
#include "IntegerOperands.h"
#include "Kernels.h"
#include "Signs.h"
#include "quanta/Codegen/BFloatDot.h"
#include "quanta/Codegen/IntegerDot.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::quanta;

static Value toFloat(KernelBuilder &b, Value sums) {
  return sums.getType() == b.f32Tile() ? sums : Value(arith::SIToFPOp::create(b, b.f32Tile(), sums));
}

IntegerOperands::IntegerOperands(KernelBuilder &b, const KernelArgs &args)
    : b(b), isBFloat(isa_and_present<NarrowAttr>(args.config.get("activation"))), epilogue(b, args),
      weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts(args.has("matrix") ? "matrix" : "shape"),
                   args.weights),
      codes(args.inputs[0]), rows(b.dim(codes, 0)) {
  ValueRange inputs = epilogue.inputs.drop_front();
  Attribute activation = args.config.get("activation");
  if (!activation) {
    signColumns = args.getInt("columns");
  } else if (isa<AffineAttr, TwinAttr>(activation)) {
    parts = getIntegerParts(activation, weight.uniform(), args.getInts("shape"));
    SmallVector<float> segments = getSegmentScales(activation);
    if (segments.size() == 1)
      constantScale = segments[0];
    else
      partTable = inputs[0], factors = inputs[1];
    inputs = inputs.drop_front(partTable ? 2 : 0);
  } else if (!isBFloat) {
    scales = inputs[0];
    if (cast<UniformAttr>(activation).getZero() == ZeroKind::Offset)
      offsets = inputs[1], weightSums = inputs[2];
    inputs = inputs.drop_front(offsets ? 3 : 1);
  }
  bias = inputs.empty() ? Value() : inputs[0];
}

void IntegerOperands::multiplyCodes() {
  if (!partTable)
    weight.multiplyCodes(*b.level);
}

IntegerOperands::Part IntegerOperands::part(Value index) {
  if (weight.isMultiplied())
    return {b.index(0), b.index(weight.tileBlocks()), b.index(0), b.index(weight.columns()), b.index(0), Value()};
  if (!partTable)
    return {b.mul(index, weight.groupBlocks()), weight.groupBlocks(b, index), b.mul(index, weight.groupColumns()),
            weight.groupColumns(b, index), index, Value()};
  auto field = [&](int64_t f) {
    return Value(arith::IndexCastOp::create(b, b.getIndexType(), b.load(partTable, {index, b.index(f)})));
  };
  Value columns = field(2);
  return {field(0), b.ceilDiv(columns, weight.blockColumns()), field(1), columns, field(3), b.load(factors, {index})};
}

bool IntegerOperands::partsAreMultiplesOf(int64_t width) const {
  if (!partTable)
    return (weight.isMultiplied() || weight.groupColumns() % width == 0) && weight.columns() % width == 0;
  return llvm::all_of(parts, [&](const IntegerPart &one) { return one.columns % width == 0; });
}

int64_t IntegerOperands::mostPartColumns() const {
  int64_t most = partTable ? 0 : weight.isMultiplied() ? weight.columns() : std::min(weight.groupColumns(), weight.columns());
  for (const IntegerPart &one : parts)
    most = std::max(most, one.columns);
  return most;
}

void IntegerOperands::ifRows(int64_t fewest, function_ref<void()> many, function_ref<void()> few) {
  APInt constant;
  if (matchPattern(rows, m_ConstantInt(&constant)))
    constant.getSExtValue() >= fewest ? many() : few();
  else
    b.ifThen(b.less(rows, b.index(fewest)), few, many);
}

Value IntegerOperands::loadColumns(Value row, Value column, Value count) {
  if (signColumns)
    return loadSigns(row, column, count);
  int64_t width = kLanes * wordColumns();
  auto type = VectorType::get({width}, b.getIntegerType(32 / wordColumns()));
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value exist = vector::CreateMaskOp::create(b, VectorType::get({width}, b.getI1Type()), ValueRange{count});
  return vector::MaskedLoadOp::create(b, type, codes, ValueRange{row, column}, exist, zeros);
}

/// Byte 4i + j of a word's 32 is its bit 8j + i, as of a word of weights of one bit that is decoded.
Value IntegerOperands::loadSigns(Value row, Value column, Value count) {
  constexpr int64_t kWidth = 4 * kLanes, kWords = kWidth / kSignBits;
  auto bytes = VectorType::get({kWidth}, b.getI8Type());
  auto bitOf = [](int64_t byte) { return 8 * (byte % 4) + byte % kSignBits / 4; };
  auto constant = [&](function_ref<int64_t(int64_t byte)> value) {
    auto values = llvm::map_to_vector(llvm::seq(kWidth), [&](int64_t byte) { return static_cast<int8_t>(value(byte)); });
    return Value(arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, ArrayRef<int8_t>(values))));
  };
  Value zeros = constant([](int64_t) { return 0; });
  auto isSet = [&](int64_t plane) {
    auto words = VectorType::get({kWords}, b.getI32Type());
    Value exist = vector::CreateMaskOp::create(b, VectorType::get({kWords}, b.getI1Type()), ValueRange{b.ceilDiv(count, kSignBits)});
    Value none = arith::ConstantOp::create(b, DenseElementsAttr::get(words, int32_t(0)));
    Value loaded = vector::MaskedLoadOp::create(b, words, codes, ValueRange{row, b.index(plane), b.div(column, kSignBits)}, exist, none);
    auto lanes = llvm::map_to_vector(llvm::seq(kLanes), [](int64_t lane) { return 4 * lane / kSignBits; });
    Value spread = vector::BitCastOp::create(b, bytes, Value(vector::ShuffleOp::create(b, loaded, loaded, lanes)));
    Value bit = b.andi(spread, constant([&](int64_t byte) { return 1 << bitOf(byte) % 8; }));
    return Value(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, bit, zeros));
  };
  Value nonzero;
  if (cast<MemRefType>(codes.getType()).getDimSize(1) == 2) {
    nonzero = isSet(1);
  } else { // all that exist
    Value left = b.max(b.min(count, b.sub(b.index(*signColumns), column)), b.index(0));
    left = arith::IndexCastOp::create(b, b.getI8Type(), b.min(left, b.index(kWidth)));
    Value columns = constant([&](int64_t byte) { return byte / kSignBits * kSignBits + bitOf(byte); });
    nonzero = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, columns, Value(vector::BroadcastOp::create(b, bytes, left)));
  }
  Value sign = arith::SelectOp::create(b, isSet(0), constant([](int64_t) { return 1; }), constant([](int64_t) { return -1; }));
  return arith::SelectOp::create(b, nonzero, sign, zeros);
}

void IntegerOperands::emitColumnSums() {
  if (isBFloat && !weight.hasOffset())
    return;
  auto type = MemRefType::get({cast<MemRefType>(codes.getType()).getDimSize(0), partCount()}, isBFloat ? Type(b.getF32Type()) : b.getI32Type());
  SmallVector<Value> sizes;
  if (type.isDynamicDim(0))
    sizes.push_back(rows);
  columnSums = memref::AllocOp::create(b, type, sizes, b.getI64IntegerAttr(64));
  int64_t perTask = std::max<int64_t>(1, 65536 / weight.columns());
  b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
      b.loop(b.index(0), b.index(partCount()), 1, [&](Value index) {
        Part one = part(index);
        Value sum = isBFloat ? sumBFloats(row, one) : sumBytes(row, one);
        memref::StoreOp::create(b, b.reduceAdd(sum), columnSums, ValueRange{row, index});
      });
    });
  });
}

void IntegerOperands::freeColumnSums() {
  if (columnSums)
    memref::DeallocOp::create(b, columnSums);
}

Value IntegerOperands::sumBytes(Value row, const Part &one) {
  constexpr int64_t kWidth = 4 * kLanes;
  auto i8s = VectorType::get({kWidth}, b.getI8Type());
  Value ones = b.tileOf(0x01010101), none = arith::ConstantOp::create(b, DenseElementsAttr::get(i8s, int8_t(0)));
  auto add = [&](Value column, Value sum, bool whole) {
    Value loaded = vector::LoadOp::create(b, i8s, codes, ValueRange{row, b.add(one.firstColumn, column)});
    if (!whole) {
      Value mask = vector::CreateMaskOp::create(b, VectorType::get({kWidth}, b.getI1Type()), ValueRange{b.sub(one.columns, column)});
      loaded = arith::SelectOp::create(b, mask, loaded, none);
    }
    return emitIntegerDot(b, sum, ones, vector::BitCastOp::create(b, b.i32Tile(), loaded), 1);
  };
  Value whole = b.mul(b.div(one.columns, kWidth), kWidth);
  Value sum = b.loop(b.index(0), whole, kWidth, ValueRange{b.tileOf(0)}, [&](Value column, ValueRange carried) {
    return SmallVector<Value>{add(column, carried[0], true)};
  })[0];
  if (partsAreMultiplesOf(kWidth))
    return sum;
  return b.select(b.less(whole, one.columns), TypeRange{sum.getType()}, [&] { return SmallVector<Value>{add(whole, sum, false)}; },
                  [&] { return SmallVector<Value>{sum}; })[0];
}

Value IntegerOperands::sumBFloats(Value row, const Part &one) {
  Value none = arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes}, b.getI16Type()), int16_t(0)));
  return b.loop(b.index(0), one.columns, kLanes, ValueRange{b.tileOf(0.0f)}, [&](Value column, ValueRange carried) {
    Value found = b.loadMasked(codes, {row, b.add(one.firstColumn, column)}, b.mask(b.sub(one.columns, column)), none);
    return SmallVector<Value>{b.addf(carried[0], widenBFloats(b, found))};
  })[0];
}

SmallVector<Value> IntegerOperands::decodeBFloats(Value tile, Value block, Value group) {
  std::optional<int32_t> zero = weight.constantZero();
  Value zeros = zero ? Value() : weight.affine(b, tile, group).zero;
  SmallVector<Value> pairs;
  for (Value word : weight.decode(b, tile, block))
    for (int64_t half : {0, 1})
      pairs.push_back(emitBFloatPairs(b, word, half, weight.codeBits(), zeros, zero.value_or(0)));
  return pairs;
}

Value IntegerOperands::addGroup(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
  if (affine.zero)
    products = b.sub(products, b.mul(affine.zero, columnSum));
  return addScaled(affine, products, columnSum, sum);
}

Value IntegerOperands::addScaled(const IntegerTiles::Affine &affine, Value products, Value columnSum, Value sum) {
  sum = b.fma(toFloat(b, products), affine.scale, sum);
  return affine.offset ? b.fma(toFloat(b, columnSum), affine.offset, sum) : sum;
}

IntegerTiles::Affine IntegerOperands::affine(Value tile, const Part &one) {
  IntegerTiles::Affine result = weight.affine(b, tile, one.group);
  if (one.factor) {
    Value factor = b.splat(one.factor);
    result.scale = b.mulf(result.scale, factor);
    result.offset = result.offset ? b.mulf(result.offset, factor) : Value();
  }
  return result;
}

void IntegerOperands::store(Value sum, Value row, Value tile, Value exists) {
  Value column = b.mul(tile, kLanes);
  Value scale = b.splat(scales ? b.load(scales, {row}) : b.f32(constantScale));
  bool whole = weight.rows() % kLanes == 0;
  Value left = whole ? b.index(kLanes) : b.sub(b.index(weight.rows()), column);
  Value mask = whole ? Value() : b.mask(left), stored = mask;
  if (exists)
    stored = b.mask(arith::SelectOp::create(b, exists, left, b.index(0)));
  auto loadVector = [&](Value vector) {
    return whole ? b.loadTile(vector, {column}) : b.loadMasked(vector, {column}, mask, b.tileOf(0.0f));
  };
  Value result = bias ? b.fma(sum, scale, loadVector(bias)) : b.mulf(sum, scale);
  if (offsets)
    result = b.fma(b.splat(b.load(offsets, {row})), loadVector(weightSums), result);
  auto load = [&](Value operand, EpilogueOperand kind) {
    if (kind == EpilogueOperand::Channel)
      return loadVector(operand);
    return whole ? b.loadTile(operand, {row, column}) : b.loadMasked(operand, {row, column}, mask, b.tileOf(0.0f));
  };
  result = epilogue.apply(result, load);
  if (Value y = epilogue.floats)
    stored ? b.storeMasked(result, y, {row, column}, stored) : b.storeTile(result, y, {row, column});
  if (epilogue.codes)
    storeCodes(epilogue.encode(result, load), row, tile, mask, exists);
}

void IntegerOperands::storeCodes(Value bytes, Value row, Value tile, Value mask, Value exists) {
  Value none = arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes}, b.getI8Type()), int8_t(0)));
  if (mask)
    bytes = arith::SelectOp::create(b, mask, bytes, none);
  SmallVector<Value> at{row, b.mul(tile, kLanes)};
  if (exists)
    b.storeMasked(bytes, epilogue.codes, at, b.mask(arith::SelectOp::create(b, exists, b.index(kLanes), b.index(0))));
  else
    b.storeTile(bytes, epilogue.codes, at);
  int64_t storedColumns = cast<MemRefType>(epilogue.codes.getType()).getDimSize(1), first = weight.tiles() * kLanes;
  if (first < storedColumns) // rows end with zeros
    b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, tile, b.index(weight.tiles() - 1)), [&] {
      for (int64_t column = first; column < storedColumns; column += kLanes)
        b.storeTile(none, epilogue.codes, {row, b.index(column)});
    });
}
