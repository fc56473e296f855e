//===- Decode.cpp - How kernels read each encoding ------------------------------------------------------------------------===//
//
// A block of columns of a 16-row tile is a few vectors of 32-bit words, one word a row (layout:
// include/quanta/Format/TileLayout.h). Nothing here depends on the target: shifts, masks, selects and multiplications of
// whole vectors.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Codegen/Codegen.h"
#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Packing.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

using Segments = SmallVector<std::pair<int64_t, int64_t>>;

Value shiftRight(KernelBuilder &b, Value word, int32_t count) {
  return count ? Value(arith::ShRUIOp::create(b, word, b.tileOf(count))) : word;
}
Value maskBits(KernelBuilder &b, Value word, int32_t mask) { return arith::AndIOp::create(b, word, b.tileOf(mask)); }
Value toFloat(KernelBuilder &b, Value code) { return arith::SIToFPOp::create(b, b.f32Tile(), code); }

//===- Codes ----------------------------------------------------------------------------------------------------------===//

/// The codes of one block.
class BlockReader {
public:
  /// `word` is the block's first word in the tile.
  BlockReader(KernelBuilder &b, const ::quanta::TileShape &layout, Value codes, Value tile, Value word) : b(b), layout(layout) {
    for (int64_t w = 0; w < layout.blockBytes / (kLanes * 4); ++w)
      words.push_back(b.loadTile(codes, {tile, b.add(word, w), b.index(0)}));
  }

  /// The code of each column, i32.
  SmallVector<Value> getCodes() { return layout.levels ? getTernary() : getFields(); }

  /// Whether bit `bit` of the code of column `j` is set, i1.
  Value test(int64_t j, unsigned bit) {
    const ::quanta::TileField *field = layout.fields;
    while (bit >= field->shift + field->width)
      ++field;
    auto [word, shift] = locate(*field, j);
    Value set = maskBits(b, words[word], int32_t(1u << (shift + bit - field->shift)));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, set, b.tileOf(int32_t(0)));
  }

private:
  /// The word and the bit where a column's part of a field begins.
  static std::pair<int64_t, int32_t> locate(const ::quanta::TileField &field, int64_t j) {
    int64_t perWord = 32 / field.width, inWord = j % perWord;
    return {field.firstWord + j / perWord, 8 * (inWord % 4) + field.width * (inWord / 4)};
  }

  SmallVector<Value> getFields() {
    SmallVector<Value> codes(layout.blockColumns);
    for (const ::quanta::TileField &field : ArrayRef(layout.fields, layout.fieldCount))
      for (auto [j, code] : llvm::enumerate(codes)) {
        auto [word, shift] = locate(field, j);
        Value part = shiftRight(b, words[word], shift);
        if (shift + field.width < 32)
          part = maskBits(b, part, (1 << field.width) - 1);
        if (field.shift)
          part = arith::ShLIOp::create(b, part, b.tileOf(int32_t(field.shift)));
        code = code ? Value(arith::OrIOp::create(b, code, part)) : part;
      }
    return codes;
  }

  /// Two bytes of the word at a time, each in 16 bits, where three times a byte has room.
  SmallVector<Value> getTernary() {
    SmallVector<Value> codes(layout.blockColumns);
    constexpr int32_t kBytes = 0x00ff00ff;
    for (int64_t byte : {0, 1}) {
      Value rest = maskBits(b, shiftRight(b, words[0], 8 * byte), kBytes);
      for (int64_t digit = 0; digit < 5; ++digit) {
        Value tripled = arith::AddIOp::create(b, arith::AddIOp::create(b, rest, rest), rest);
        codes[4 * digit + byte] = maskBits(b, shiftRight(b, tripled, 8), 3);
        codes[4 * digit + byte + 2] = shiftRight(b, tripled, 24);
        rest = maskBits(b, tripled, kBytes);
      }
    }
    return codes;
  }

  KernelBuilder &b;
  const ::quanta::TileShape &layout;
  SmallVector<Value> words;
};

//===- Leaves: values from codes ----------------------------------------------------------------------------------------===//

/// The scales of one group of a tile, and the values that codes stand for.
class LeafValues {
public:
  /// `parameters` are the components behind the codes.
  LeafValues(KernelBuilder &b, Attribute leaf, ValueRange parameters, Value tile, Value group) : b(b) {
    auto load = [&](int64_t which, Value column) {
      Value loaded = b.loadTile(parameters[which], {tile, column, b.index(0)});
      Type type = cast<VectorType>(loaded.getType()).getElementType();
      return isa<FloatType>(type) ? b.widen(loaded) : toFloat(b, arith::ExtUIOp::create(b, b.i32Tile(), loaded));
    };
    if (auto planes = dyn_cast<PlanesAttr>(leaf)) {
      Value mean = planes.getMean() ? load(1, group) : Value();
      for (unsigned p = 0; p < planes.getCount(); ++p) {
        Value scale = load(0, b.add(b.mul(group, planes.getCount()), p)), negative = arith::NegFOp::create(b, scale);
        signs.push_back(mean ? std::pair(b.addf(mean, scale), b.addf(mean, negative)) : std::pair(scale, negative));
        mean = Value();
      }
      return;
    }
    auto uniform = cast<UniformAttr>(leaf);
    scale = load(0, uniform.getMultiples() ? b.index(0) : group);
    if (uniform.getMultiples()) // behind the zero points; such products are exact
      scale = b.mulf(scale, load(uniform.getZero() == ZeroKind::Point ? 2 : 1, group));
    if (uniform.getZero() == ZeroKind::Offset) {
      offset = load(1, group);
    } else {
      float middle = uniform.getLevels() ? 1.0f : uniform.getBits() == 1 ? 0.5f : static_cast<float>(1 << (uniform.getBits() - 1));
      Value zero = uniform.getZero() == ZeroKind::Point ? load(1, group) : b.tileOf(middle);
      offset = b.mulf(scale, arith::NegFOp::create(b, zero));
    }
    if (uniform.getBits() == 1)
      signs.push_back({b.addf(scale, offset), offset});
  }

  /// Sums of signs need no codes, only their bits.
  bool readsBits() const { return !signs.empty(); }
  Value fromBits(function_ref<Value(unsigned)> test) const {
    Value sum;
    for (auto [bit, sign] : llvm::enumerate(signs)) {
      Value value = arith::SelectOp::create(b, test(bit), sign.first, sign.second);
      sum = sum ? b.addf(sum, value) : value;
    }
    return sum;
  }
  Value fromCode(Value code) const {
    if (!readsBits())
      return b.fma(toFloat(b, code), scale, offset);
    return fromBits([&](unsigned bit) -> Value {
      return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, maskBits(b, code, 1 << bit), b.tileOf(int32_t(0)));
    });
  }

private:
  KernelBuilder &b;
  Value scale, offset;                          ///< value = code · scale + offset
  SmallVector<std::pair<Value, Value>> signs;   ///< of each bit: the term if it is set, and if not
};

template <typename Attr> struct LeafDecode : public DecodeInterface::ExternalModel<LeafDecode<Attr>, Attr> {
  Segments getSegments(Attribute attr, ArrayRef<int64_t> shape) const {
    return {{getMatrixShape(shape).second, getLeafStep(*getCodeSpec(attr, shape))}};
  }

  void decodeTile(Attribute attr, OpBuilder &builder, Location loc, ValueRange components, ArrayRef<int64_t> shape, Value tile,
                  Value begin, Value end, Value scratch) const {
    KernelBuilder b(ImplicitLocOpBuilder(loc, builder));
    ::quanta::TileShape layout = *getTileShape(*getCodeSpec(attr, shape));
    if (layout.groups == 0)
      return;
    int64_t group = layout.groupColumns, block = layout.blockColumns, blocksPerGroup = llvm::divideCeil(group, block);
    auto blockAt = [&](Value column) { // of a chunk boundary
      return b.add(b.mul(b.div(column, group), blocksPerGroup), b.div(b.add(b.rem(column, group), block - 1), block));
    };
    b.loop(blockAt(begin), blockAt(end), 1, [&](Value index) {
      Value groupIndex = b.div(index, blocksPerGroup);
      Value column = b.add(b.mul(groupIndex, group), b.mul(b.rem(index, blocksPerGroup), block));
      Value row = b.sub(column, begin);
      LeafValues values(b, attr, components.drop_front(), tile, groupIndex);
      BlockReader reader(b, layout, components[0], tile, b.mul(index, layout.blockBytes / (kLanes * 4)));
      SmallVector<Value> codes;
      if (!values.readsBits())
        codes = reader.getCodes();
      for (int64_t j = 0; j < block; ++j) {
        Value value = values.readsBits() ? values.fromBits([&](unsigned bit) { return reader.test(j, bit); })
                                         : values.fromCode(codes[j]);
        b.storeTile(value, scratch, {b.add(row, j), b.index(0)});
      }
    });
  }
};

//===- Combinations -----------------------------------------------------------------------------------------------------===//

/// The model of a part of a combination.
DecodeInterface modelOf(EncodingAttrInterface part) { return cast<DecodeInterface>(Attribute(part)); }
int64_t getStep(EncodingAttrInterface part, ArrayRef<int64_t> shape) { return modelOf(part).getSegments(shape)[0].second; }
size_t countPacked(EncodingAttrInterface part, ArrayRef<int64_t> shape) { return part.getPackedComponents(shape).size(); }

struct SumDecode : public DecodeInterface::ExternalModel<SumDecode, SumAttr> {
  Segments getSegments(Attribute attr, ArrayRef<int64_t> shape) const {
    return modelOf(cast<SumAttr>(attr).getFirst()).getSegments(shape);
  }

  void decodeTile(Attribute attr, OpBuilder &builder, Location loc, ValueRange components, ArrayRef<int64_t> shape, Value tile,
                  Value begin, Value end, Value scratch) const {
    KernelBuilder b(ImplicitLocOpBuilder(loc, builder));
    auto sum = cast<SumAttr>(attr);
    size_t count = countPacked(sum.getFirst(), shape);
    modelOf(sum.getFirst()).decodeTile(b, loc, components.take_front(count), shape, tile, begin, end, scratch);
    // The second part starts where it can, at or before `begin`.
    int64_t step = getStep(sum.getSecond(), shape);
    Value start = b.mul(b.div(begin, step), step);
    int64_t rows = cast<MemRefType>(scratch.getType()).getDimSize(0);
    Value second = b.scratch({rows + step, kLanes}, b.getF32Type());
    modelOf(sum.getSecond()).decodeTile(b, loc, components.drop_front(count), shape, tile, start, end, second);
    Value lead = b.sub(begin, start), zero = b.index(0);
    b.loop(zero, b.sub(end, begin), 1, [&](Value k) {
      Value value = b.addf(b.loadTile(scratch, {k, zero}), b.loadTile(second, {b.add(lead, k), zero}));
      b.storeTile(value, scratch, {k, zero});
    });
  }
};

struct SplitDecode : public DecodeInterface::ExternalModel<SplitDecode, SplitAttr> {
  Segments getSegments(Attribute attr, ArrayRef<int64_t> shape) const {
    auto split = cast<SplitAttr>(attr);
    int64_t columns = getMatrixShape(shape).second;
    if (split.getKind() == SplitKind::Mask)
      return {{columns, std::max(getStep(split.getLow(), shape), getSparseBlockColumns(split, shape))}};
    auto [high, low] = getColumnShapes(split, shape);
    return {{high[1], getStep(split.getHigh(), high)}, {low[1], getStep(split.getLow(), low)}};
  }

  Value getOrder(Attribute attr, ValueRange components) const {
    return cast<SplitAttr>(attr).getKind() == SplitKind::Columns ? components[0] : Value();
  }

  void decodeTile(Attribute attr, OpBuilder &builder, Location loc, ValueRange components, ArrayRef<int64_t> shape, Value tile,
                  Value begin, Value end, Value scratch) const {
    KernelBuilder b(ImplicitLocOpBuilder(loc, builder));
    auto split = cast<SplitAttr>(attr);
    if (split.getKind() == SplitKind::Mask)
      return decodeMask(b, split, components, shape, tile, begin, end, scratch);
    auto shapes = getColumnShapes(split, shape);
    const auto &high = shapes.first, &low = shapes.second;
    size_t highCount = countPacked(split.getHigh(), high);
    Value boundary = b.index(split.getCount());
    b.ifThen(
        b.less(begin, boundary),
        [&] {
          modelOf(split.getHigh()).decodeTile(b, b.getLoc(), components.slice(1, highCount), high, tile, begin, end, scratch);
        },
        [&] {
          modelOf(split.getLow()).decodeTile(b, b.getLoc(), components.drop_front(1 + highCount), low, tile, b.sub(begin, boundary),
                                             b.sub(end, boundary), scratch);
        });
  }

private:
  using Shape = std::array<int64_t, 2>;
  static std::pair<Shape, Shape> getColumnShapes(SplitAttr split, ArrayRef<int64_t> shape) {
    auto [rows, columns] = getMatrixShape(shape);
    return {Shape{rows, split.getCount()}, Shape{rows, columns - split.getCount()}};
  }

  /// The low weights of all columns, then the lists of high ones over them. A list's entries are written lane by lane: a
  /// value goes to another row of scratch in each lane, and 16 scalar stores are fewer instructions than comparing an
  /// entry with every column of the block.
  static void decodeMask(KernelBuilder &b, SplitAttr split, ValueRange components, ArrayRef<int64_t> shape, Value tile, Value begin,
                         Value end, Value scratch) {
    Value offsets = components[0], entries = components[1];
    ValueRange low = components.slice(2, countPacked(split.getLow(), shape)), high = components.drop_front(2 + low.size());
    modelOf(split.getLow()).decodeTile(b, b.getLoc(), low, shape, tile, begin, end, scratch);

    auto [rows, columns] = getMatrixShape(shape);
    ::quanta::SparseShape sparse{rows, columns, getSparseBlockColumns(split, shape)};
    CodeSpec spec = *getCodeSpec(split.getHigh(), shape);
    Value zero = b.index(0), unused = b.index(cast<MemRefType>(scratch.getType()).getDimSize(0) - 1);
    Value lanes = b.scratch({kLanes}, b.getF32Type());
    auto toIndex = [&](Value integer) { return Value(arith::IndexCastOp::create(b, b.getIndexType(), integer)); };
    b.loop(b.div(begin, sparse.blockColumns), b.ceilDiv(end, sparse.blockColumns), 1, [&](Value block) {
      Value column = b.mul(block, sparse.blockColumns), row = b.sub(column, begin);
      Value group = spec.group > 0 ? b.div(column, spec.group) : zero;
      LeafValues values(b, split.getHigh(), high, tile, group);
      Value list = b.add(b.mul(tile, sparse.getBlocks()), block);
      b.loop(toIndex(b.load(offsets, {list})), toIndex(b.load(offsets, {b.add(list, 1)})), 1, [&](Value entry) {
        Value words = arith::ExtUIOp::create(b, b.i32Tile(), b.loadTile(entries, {entry, zero}));
        b.storeTile(values.fromCode(shiftRight(b, words, 8)), lanes, {zero});
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          Value word = arith::ExtUIOp::create(b, b.getI32Type(), b.load(entries, {entry, b.index(lane)}));
          Value at = toIndex(arith::AndIOp::create(b, word, Value(arith::ConstantIntOp::create(b, b.getI32Type(), 255))));
          Value none = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, at, b.index(::quanta::kNoColumn));
          Value target = arith::SelectOp::create(b, none, unused, b.add(row, at));
          memref::StoreOp::create(b, b.load(lanes, {b.index(lane)}), scratch, ValueRange{target, b.index(lane)});
        }
      });
    });
  }
};

} // namespace

void mlir::quanta::registerDecodeModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, QuantaDialect *) {
    UniformAttr::attachInterface<LeafDecode<UniformAttr>>(*context);
    PlanesAttr::attachInterface<LeafDecode<PlanesAttr>>(*context);
    SplitAttr::attachInterface<SplitDecode>(*context);
    SumAttr::attachInterface<SumDecode>(*context);
  });
}
