//===- Decode.cpp - How kernels read each encoding ------------------------------------------------------------------------===//
//
// A block of columns of a 16-row tile is a few vectors of 32-bit words, one word a row. A code of 5 bits is a field of 4 and
// a field of 1, each packed by itself so that fields never straddle words (layout: include/quanta/Format/TileLayout.h).
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Codegen/Codegen.h"
#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Quanta.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// f16 to f32 in integer arithmetic: targets without the conversion would call a compiler's support library. The exponent
/// is moved and rebiased by a multiplication, which also normalises small numbers. Infinities do not occur.
Value widenHalf(KernelBuilder &b, Value half) {
  auto i16s = VectorType::get({kLanes}, b.getI16Type());
  auto bits = [&](int32_t value) { return b.tileOf(value); };
  Value word = arith::ExtUIOp::create(b, b.i32Tile(), Value(vector::BitCastOp::create(b, i16s, half)));
  Value sign = arith::ShLIOp::create(b, arith::AndIOp::create(b, word, bits(0x8000)), bits(16));
  Value magnitude = arith::ShLIOp::create(b, arith::AndIOp::create(b, word, bits(0x7fff)), bits(13));
  Value scaled = b.mulf(vector::BitCastOp::create(b, b.f32Tile(), magnitude), b.tileOf(0x1p112f));
  Value result = arith::OrIOp::create(b, Value(vector::BitCastOp::create(b, b.i32Tile(), scaled)), sign);
  return vector::BitCastOp::create(b, b.f32Tile(), result);
}

/// scale and offset of one group of a tile: value = q · scale + offset.
std::pair<Value, Value> loadAffine(KernelBuilder &b, UniformAttr uniform, ValueRange components, Value tile, Value group) {
  Value zero = b.index(0);
  auto widen = [&](Value tileValue) {
    if (cast<VectorType>(tileValue.getType()).getElementType().isF32())
      return tileValue;
    return widenHalf(b, tileValue);
  };
  Value scale = widen(b.loadTile(components[1], {tile, group, zero}));
  if (uniform.getZero() == ZeroKind::Offset)
    return {scale, widen(b.loadTile(components[2], {tile, group, zero}))};
  Value point;
  if (uniform.getZero() == ZeroKind::Point) {
    Value code = arith::ExtUIOp::create(b, b.i32Tile(), b.loadTile(components[2], {tile, group, zero}));
    point = arith::SIToFPOp::create(b, b.f32Tile(), code);
  } else {
    point = b.tileOf(uniform.getBits() == 1 ? 0.5f : static_cast<float>(1 << (uniform.getBits() - 1)));
  }
  return {scale, b.mulf(scale, arith::NegFOp::create(b, point))};
}

struct UniformDecode : public DecodeInterface::ExternalModel<UniformDecode, UniformAttr> {
  int64_t getColumnStep(Attribute attr, ArrayRef<int64_t> shape) const {
    auto uniform = cast<UniformAttr>(attr);
    int64_t columns = getMatrixShape(shape).second, group = uniform.getGroupSize(columns);
    int64_t block = PackedAttr::get(attr.getContext(), cast<EncodingAttrInterface>(attr), kLanes).getBlockColumns();
    // Blocks begin at group starts; where groups are not whole blocks only group starts are regular.
    return group == columns || group % block == 0 ? block : group;
  }

  void decodeTile(Attribute attr, OpBuilder &builder, Location loc, ValueRange components, ArrayRef<int64_t> shape, Value tile,
                  Value begin, Value end, Value scratch) const {
    KernelBuilder b(ImplicitLocOpBuilder(loc, builder));
    auto uniform = cast<UniformAttr>(attr);
    int64_t columns = getMatrixShape(shape).second, group = uniform.getGroupSize(columns), bits = uniform.getBits();
    int64_t block = PackedAttr::get(attr.getContext(), cast<EncodingAttrInterface>(attr), kLanes).getBlockColumns();
    int64_t blocksPerGroup = llvm::divideCeil(group, block), wordsPerBlock = block * bits / 32;

    auto blockAt = [&](Value column) { // of a chunk boundary
      return b.add(b.mul(b.div(column, group), blocksPerGroup), b.div(b.add(b.rem(column, group), block - 1), block));
    };
    b.loop(blockAt(begin), blockAt(end), 1, [&](Value index) {
      Value groupIndex = b.div(index, blocksPerGroup);
      Value column = b.add(b.mul(groupIndex, group), b.mul(b.rem(index, blocksPerGroup), block));
      Value row = b.sub(column, begin), word = b.mul(index, wordsPerBlock);
      auto [scale, offset] = loadAffine(b, uniform, components, tile, groupIndex);
      SmallVector<Value> codes(block);
      int64_t fieldBase = 0, fieldWord = 0;
      for (int64_t width : {8, 4, 2, 1}) {
        if (!(bits & width))
          continue;
        int64_t words = block * width / 32, perWord = 32 / width;
        for (int64_t w = 0; w < words; ++w) {
          Value packed = b.loadTile(components[0], {tile, b.add(word, fieldWord + w), b.index(0)});
          for (int64_t j = 0; j < perWord; ++j) {
            int32_t shift = 8 * (j % 4) + width * (j / 4);
            Value field = shift ? Value(arith::ShRUIOp::create(b, packed, b.tileOf(shift))) : packed;
            if (shift + width < 32)
              field = arith::AndIOp::create(b, field, b.tileOf(static_cast<int32_t>((1 << width) - 1)));
            if (fieldBase)
              field = arith::ShLIOp::create(b, field, b.tileOf(static_cast<int32_t>(fieldBase)));
            Value &code = codes[w * perWord + j];
            code = code ? Value(arith::OrIOp::create(b, code, field)) : field;
          }
        }
        fieldBase += width;
        fieldWord += words;
      }
      for (int64_t j = 0; j < block; ++j) {
        Value q = arith::SIToFPOp::create(b, b.f32Tile(), codes[j]);
        b.storeTile(b.fma(q, scale, offset), scratch, {b.add(row, j), b.index(0)});
      }
    });
  }
};

} // namespace

void mlir::quanta::registerDecodeModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, QuantaDialect *) { UniformAttr::attachInterface<UniformDecode>(*context); });
}
