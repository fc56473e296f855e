//===- IntegerConv2D.cpp - Encoded images times encoded weights -------------------------------------------------------------===//
//
// Implicit GEMM: 16 or 32 neighbouring output pixels are the lanes, output channels the rows. The bytes of four columns of the
// contraction (taps of a channel, channel by channel) are collected into a word of each pixel, so that the weights are multiplied in
// the order in which they are stored, whatever their bits and groups. Images lie in memory with their borders, which are the
// zero point's code: a tap is a plain load of 16 bytes for each output row that the pixels touch, nothing is compared or masked.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "IntegerConv2D.h"
#include "ConvPixels.h"
#include "Epilogue.h"
#include "Gemm.h"
#include "IntegerTiles.h"
#include "QuadConv2D.h"
#include "Quantize.h"
#include "quanta/Codegen/IntegerDot.h"

using namespace mlir;
using namespace mlir::quanta;

/// Columns whose sums surely fit 32 bits, and whose panel fits a thread's stack.
static constexpr int64_t kMostColumns = 16384;

bool mlir::quanta::hasIntegerConv2D(Attribute activation, Attribute weight, ArrayRef<int64_t> shape, int64_t groups) {
  auto affine = dyn_cast_or_null<AffineAttr>(activation);
  auto uniform = dyn_cast_or_null<UniformAttr>(weight);
  if (!affine || !uniform || affine.getSegmentCount() != 1 || groups <= 0)
    return false;
  auto [rows, columns] = getMatrixShape(shape);
  int64_t zero = affine.getZeros()[0];
  bool zeroIsCode = AffineAttr::getLeastCode(affine.getBits()) <= zero && zero <= AffineAttr::getGreatestCode(affine.getBits());
  return zeroIsCode && columns > 0 && columns <= kMostColumns && rows / groups >= kLanes &&
         (uniform.getGroupCount(columns) == 1 || uniform.getGroupSize(columns) % 4 == 0);
}

void ImagePads::include(ArrayRef<int64_t> pads, ArrayRef<int64_t> strides) {
  top = std::max(top, pads[0]), left = std::max(left, pads[1]), bottom = std::max(bottom, pads[2]), right = std::max(right, pads[3]);
  // A load begins at the first lane's place, which may lie before the image if rows advance by less than their pixels do.
  bytesBehind = std::max(bytesBehind, kLanes * strides[1]);
  if (strides[1] > strides[0])
    bytesBefore = std::max(bytesBefore, kLanes * (strides[1] - 1));
}

void ImagePads::finish(int64_t width) {
  int64_t stored = ShapedType::isDynamic(width) ? 1 : std::max<int64_t>(1, width + left + right);
  top += llvm::divideCeil(bytesBefore, stored);
  bottom += llvm::divideCeil(bytesBehind, stored);
}

//===- Codes of images ----------------------------------------------------------------------------------------------------===//

/// Planes of an image of codes that a task walks over.
static int64_t planesOfTask(MemRefType codes) {
  int64_t size = ShapedType::isDynamic(codes.getDimSize(2) | codes.getDimSize(3)) ? 0 : codes.getDimSize(2) * codes.getDimSize(3);
  return size ? std::max<int64_t>(1, 16384 / size) : 1;
}

/// Gives bytes `begin` to `end` the code of zero; there are 16 or more.
static void fillPlane(KernelBuilder &b, Value bytes, Value begin, Value end, int64_t zero) {
  Value code = arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes}, b.getI8Type()), static_cast<int8_t>(zero)));
  b.loop(begin, end, kLanes, [&](Value at) { b.storeTile(code, bytes, {b.min(at, b.sub(end, b.index(kLanes)))}); });
}

void mlir::quanta::emitQuantizeImage(KernelBuilder &b, const KernelArgs &args) {
  if (args.has("quads"))
    return emitQuantizeQuads(b, args);
  Value x = args.inputs[0], codes = args.outputs[0];
  auto affine = cast<AffineAttr>(args.config.get("activation"));
  Value height = b.dim(x, 2), width = b.dim(x, 3), stored = b.dim(codes, 3), plane = b.mul(b.dim(codes, 2), stored);
  SmallVector<ReassociationIndices> all{{0, 1, 2, 3}}, planes{{0, 1}, {2}, {3}};
  Value to = memref::CollapseShapeOp::create(b, codes, all), from = memref::CollapseShapeOp::create(b, x, planes);
  Value inverse = b.tileOf(1 / affine.getScales()[0]), zero = b.tileOf(static_cast<float>(affine.getZeros()[0]));
  int64_t perTask = planesOfTask(cast<MemRefType>(codes.getType()));
  Value count = b.dim(from, 0);
  b.parallel(b.ceilDiv(count, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(count, b.add(first, perTask)), 1, [&](Value index) {
      Value begin = b.mul(index, plane);
      fillPlane(b, to, begin, b.add(begin, plane), affine.getZeros()[0]);
      Value corner = b.add(begin, b.add(b.mul(stored, args.getInt("top")), args.getInt("left")));
      // What a row's last tile writes too far is the border's code, and the next row is written later.
      b.loop(b.index(0), height, 1, [&](Value row) {
        Value start = b.add(corner, b.mul(row, stored));
        b.loop(b.index(0), width, kLanes, [&](Value column) {
          Value pixels = b.loadMasked(from, {index, row, column}, b.mask(b.sub(width, column)), b.tileOf(0.0f));
          b.storeTile(emitByte(b, emitAffineCode(b, pixels, inverse, zero, affine.getBits())), to, {b.add(start, column)});
        });
      });
    });
  });
}

//===- Products -------------------------------------------------------------------------------------------------------------===//

namespace {

/// Where 16 neighbouring output pixels are stored as codes.
struct CodePlaces {
  Value full;                                     ///< whether they exist and lie in one row, all of them
  SmallVector<std::pair<Value, Value>> rows; ///< for each output row: where lane 0 would lie in a channel, and the lanes that do
};

/// Where 16 neighbouring output pixels lie in an input channel, for one output row that they touch.
struct PixelRow {
  Value offset; ///< lane i reads offset + stride · i
  Value above;  ///< lanes that lie in rows above; null for the first row
};
struct PixelLanes {
  Value row, column;         ///< of the first
  SmallVector<PixelRow> rows; ///< all of them if their number is known, else the first
};

class IntegerConv2D {
public:
  IntegerConv2D(KernelBuilder &b, const KernelArgs &args)
      : b(b), args(args), epilogue(b, args), codes(args.inputs[0]), bias(epilogue.inputs.size() > 1 ? epilogue.inputs[1] : Value()),
        weight(cast<UniformAttr>(Attribute(cast<PackedAttr>(args.config.get("encoding")).getBase())), args.getInts("shape"), args.weights),
        shape(args.getInts("shape")), strides(args.getInts("strides")), pads(args.getInts("pads")), convGroups(args.getInt("groups")),
        activationScale(cast<AffineAttr>(args.config.get("activation")).getScales()[0]) {}

  void emit() {
    emitSizes();
    shifts = emitTapOffsets(b, shape[1], shape.drop_front(2), args.getInts("dilations"), stored, plane);
    if (epilogue.codes)
      emitBorders();
    int64_t width = b.registers.tiles;
    Value pixels = b.mul(outHeight, outWidth), panels = b.ceilDiv(pixels, b.registers.columns());
    b.parallel(b.mul(b.dim(codes, 0), panels), [&](Value task) {
      Value pixel = b.mul(b.rem(task, panels), b.registers.columns());
      n = b.div(task, panels);
      firstPixels.clear(), exists.clear(), places.clear();
      for (int64_t t = 0; t < width; ++t) {
        firstPixels.push_back(b.add(pixel, t * kLanes));
        exists.push_back(b.mask(b.sub(pixels, firstPixels[t])));
        if (epilogue.codes)
          places.push_back(placeCodes(firstPixels[t], b.sub(pixels, firstPixels[t])));
      }
      panel = b.scratch({width, (weight.columns() + 3) / 4, kLanes}, b.getI32Type());
      columnSums = b.scratch({width, weight.groups(), kLanes}, b.getI32Type());
      decoded = needsDecoding() ? b.scratch({weight.groups() * groupWords(), kLanes}, b.getI32Type()) : Value();
      scales = b.scratch({weight.groups(), kLanes}, b.getF32Type());
      zeros = weight.uniform().getZero() == ZeroKind::Point ? b.scratch({weight.groups(), kLanes}, b.getI32Type()) : Value();
      offsets = weight.hasOffset() ? b.scratch({weight.groups(), kLanes}, b.getF32Type()) : Value();
      SmallVector<PixelLanes> lanes;
      for (Value first : firstPixels)
        lanes.push_back(describe(first));
      int64_t rows = weight.rows() / convGroups;
      b.loop(b.index(0), b.index(convGroups), 1, [&](Value group) {
        Value origin = b.mul(b.add(b.mul(n, b.dim(codes, 1)), b.mul(group, shape[1])), plane);
        for (int64_t t = 0; t < width; ++t)
          collect(lanes[t], t, origin);
        Value begin = b.mul(group, rows), end = b.add(begin, rows);
        b.loop(b.div(begin, kLanes), b.ceilDiv(end, kLanes), 1, [&](Value tile) {
          decode(tile);
          Value first = b.mul(tile, kLanes);
          forRowBlocks(b, b.max(begin, first), b.min(end, b.add(first, kLanes)), mostRows(),
                       [&](Value row, int64_t count) { emitBlock(tile, first, row, count); });
        });
      });
    });
    memref::DeallocOp::create(b, shifts);
  }

private:
  void emitSizes() {
    stored = b.dim(codes, 3), plane = b.mul(b.dim(codes, 2), stored);
    image = memref::CollapseShapeOp::create(b, codes, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
    int64_t fixed = ShapedType::kDynamic;
    if (Value y = epilogue.floats) {
      output = withPixels(y);
      outHeight = b.dim(y, 2), outWidth = b.dim(y, 3);
      fixed = cast<MemRefType>(y.getType()).getDimSize(3);
    }
    if (epilogue.codes) {
      results = memref::CollapseShapeOp::create(b, epilogue.codes, ArrayRef<ReassociationIndices>{{0, 1, 2, 3}});
      ArrayRef<int64_t> size = args.getInts("result_size");
      outHeight = b.index(size[0]), outWidth = b.index(size[1]);
      fixed = resultWidth = size[1];
    }
    // A window of one pixel that leaves none out: the image is one row.
    bool none = llvm::all_of(pads, [](int64_t pad) { return pad == 0; }) && args.getInt("left") == 0 && args.has("whole_rows");
    if (none && shape[2] * shape[3] == 1 && strides[0] == 1 && strides[1] == 1)
      outWidth = b.mul(outHeight, outWidth), outHeight = b.index(1), touched = 1;
    else if (!ShapedType::isDynamic(fixed))
      touched = countTouched(fixed);
  }

  /// Before the codes that they surround are written.
  void emitBorders() {
    Value size = b.mul(b.dim(epilogue.codes, 2), b.dim(epilogue.codes, 3)), count = b.mul(b.dim(codes, 0), b.index(weight.rows()));
    int64_t perTask = planesOfTask(cast<MemRefType>(epilogue.codes.getType()));
    b.parallel(b.ceilDiv(count, perTask), [&](Value task) {
      Value first = b.mul(task, perTask), last = b.min(count, b.add(first, perTask));
      fillPlane(b, results, b.mul(first, size), b.mul(last, size), epilogue.zeroCode());
    });
  }

  /// [N, C, H, W] as [N, C, pixels].
  Value withPixels(Value image) { return memref::CollapseShapeOp::create(b, image, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}}); }

  /// Output rows of this width that 16 pixels touch at most, where the first of them is a multiple of 16.
  static int64_t countTouched(int64_t width) { return width % kLanes == 0 ? 1 : (kLanes + width - 2) / std::max<int64_t>(1, width) + 1; }

  CodePlaces placeCodes(Value first, Value valid) {
    auto type = cast<MemRefType>(epilogue.codes.getType());
    Value row = b.div(first, resultWidth), column = b.rem(first, resultWidth), rest = b.sub(b.index(resultWidth), column);
    CodePlaces found;
    found.full = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, b.min(rest, valid), b.index(kLanes));
    for (int64_t i = 0; i < countTouched(resultWidth); ++i) {
      Value at = b.add(b.mul(b.add(row, args.getInt("result_top") + i), type.getDimSize(3)),
                       b.add(column, b.index(args.getInt("result_left") - i * resultWidth)));
      Value lanes = b.mask(b.min(valid, b.add(rest, i * resultWidth)));
      if (i) {
        Value above = b.mask(b.add(rest, (i - 1) * resultWidth)), none = arith::ConstantOp::create(b, DenseElementsAttr::get(cast<VectorType>(above.getType()), false));
        lanes = arith::SelectOp::create(b, above, none, lanes);
      }
      found.rows.push_back({at, lanes});
    }
    return found;
  }

  void storeCodes(Value bytes, Value row, int64_t tile) {
    auto type = cast<MemRefType>(epilogue.codes.getType());
    Value channel = b.mul(b.add(b.mul(n, b.index(weight.rows())), row), type.getDimSize(2) * type.getDimSize(3));
    const CodePlaces &place = places[tile];
    b.ifThen(place.full, [&] { b.storeTile(bytes, results, {b.add(channel, place.rows.front().first)}); },
             [&] {
               // LLVM 22 stores four bytes where one lane of a truncated vector is stored: hide that it is one. Codes are above −128.
               Value least = arith::ConstantOp::create(b, DenseElementsAttr::get(cast<VectorType>(bytes.getType()), int8_t(-127)));
               Value hidden = arith::MaxSIOp::create(b, bytes, least);
               for (auto [at, lanes] : place.rows)
                 b.storeMasked(hidden, results, {b.add(channel, at)}, lanes);
             });
  }

  //===- Pixels -----------------------------------------------------------------------------------------------------------===//

  PixelRow describeRow(const PixelLanes &lanes, Value index) {
    Value start = b.mul(index, outWidth), row = b.add(lanes.row, index);
    Value offset = b.add(b.mul(b.mul(row, strides[0]), stored), b.mul(b.sub(lanes.column, start), strides[1]));
    // The last pixels may not fill their lanes: what these read does not matter, but must be there.
    Value inside = b.less(row, outHeight);
    return {arith::SelectOp::create(b, inside, offset, lanes.rows.front().offset), b.mask(b.sub(start, lanes.column))};
  }

  PixelLanes describe(Value first) {
    PixelLanes lanes;
    // Lanes without a pixel at the end of a panel read the last row.
    lanes.row = b.min(b.div(first, outWidth), b.sub(outHeight, b.index(1)));
    lanes.column = b.rem(first, outWidth);
    lanes.rows.push_back({b.add(b.mul(b.mul(lanes.row, strides[0]), stored), b.mul(lanes.column, strides[1])), Value()});
    for (int64_t i = 1; i < touched; ++i)
      lanes.rows.push_back(describeRow(lanes, b.index(i)));
    return lanes;
  }

  VectorType bytes() { return VectorType::get({kLanes}, b.getI8Type()); }

  Value loadBytes(Value at) {
    int64_t stride = strides[1];
    Value loaded = vector::LoadOp::create(b, VectorType::get({kLanes * stride}, b.getI8Type()), image, ValueRange{at});
    if (stride == 1)
      return loaded;
    if (b.level->scalable && llvm::isPowerOf2_64(stride) && stride <= 8) { // within lanes, whatever the length of registers
      auto wide = VectorType::get({kLanes}, b.getIntegerType(8 * stride));
      return arith::TruncIOp::create(b, bytes(), Value(vector::BitCastOp::create(b, wide, loaded)));
    }
    SmallVector<int64_t> every;
    for (int64_t i = 0; i < kLanes; ++i)
      every.push_back(i * stride);
    return vector::ShuffleOp::create(b, loaded, loaded, every);
  }

  /// A tap of 16 pixels.
  Value loadColumn(const PixelLanes &lanes, Value at) {
    Value result = loadBytes(b.add(at, lanes.rows.front().offset));
    auto blend = [&](Value above, const PixelRow &row) {
      return Value(arith::SelectOp::create(b, row.above, above, loadBytes(b.add(at, row.offset))));
    };
    if (touched) {
      for (const PixelRow &row : ArrayRef(lanes.rows).drop_front())
        result = blend(result, row);
      return result;
    }
    Value last = b.div(b.add(lanes.column, kLanes - 1), outWidth);
    return b.loop(b.index(1), b.add(last, 1), 1, ValueRange{result}, [&](Value index, ValueRange carried) {
      return SmallVector<Value>{blend(carried[0], describeRow(lanes, index))};
    })[0];
  }

  /// The words of a group of convolution, and the sums of their bytes for each group of weights.
  void collect(const PixelLanes &lanes, int64_t slot, Value origin) {
    Value corner = b.add(origin, b.add(b.mul(stored, args.getInt("top") - pads[0]), b.index(args.getInt("left") - pads[1])));
    int64_t whole = weight.columns() / 4, rest = weight.columns() % 4;
    auto column = [&](Value k) { return loadColumn(lanes, b.add(corner, b.load(shifts, {k}))); };
    Value ones = b.tileOf(0x01010101);
    auto add = [&](Value sum, ArrayRef<Value> four, Value word) {
      Value bytes = b.joinBytes(four);
      b.storeTile(bytes, panel, {b.index(slot), word, b.index(0)});
      return emitIntegerDot(b, sum, ones, bytes, 1);
    };
    b.loop(b.index(0), b.index(weight.groups()), 1, [&](Value group) {
      Value first = panelWord(group, b.index(0)), end = b.min(b.add(first, words(group)), b.index(whole));
      Value sum = b.loop(first, end, 1, ValueRange{b.tileOf(0)}, [&](Value word, ValueRange carried) {
        SmallVector<Value> four;
        for (int64_t j = 0; j < 4; ++j)
          four.push_back(column(b.add(b.mul(word, 4), j)));
        return SmallVector<Value>{add(carried[0], four, word)};
      })[0];
      b.storeTile(sum, columnSums, {b.index(slot), group, b.index(0)});
    });
    if (!rest)
      return;
    SmallVector<Value> four(4, arith::ConstantOp::create(b, DenseElementsAttr::get(bytes(), int8_t(0))));
    for (int64_t j = 0; j < rest; ++j)
      four[j] = column(b.index(4 * whole + j));
    SmallVector<Value> last{b.index(slot), b.index(weight.groups() - 1), b.index(0)};
    b.storeTile(add(b.loadTile(columnSums, last), four, b.index(whole)), columnSums, last);
  }

  //===- Weights ------------------------------------------------------------------------------------------------------------===//

  Value words(Value group) { return b.ceilDiv(weight.groupColumns(b, group), 4); }
  Value panelWord(Value group, Value word) { return b.add(b.mul(group, weight.groupColumns() / 4), word); }
  int64_t groupWords() const { return weight.groupBlocks() * weight.blockWords(); }
  /// Codes of eight bits are multiplied where they lie.
  bool needsDecoding() const { return weight.blockColumns() > 4; }
  /// With several groups there is a sum of floats beside each sum of integers.
  int64_t mostRows() const {
    if (weight.groups() == 1)
      return b.registers.rows;
    return b.level->vectorBits >= 512 ? 6 : std::max<int64_t>(1, b.registers.rows / 2);
  }

  void decode(Value tile) {
    b.loop(b.index(0), b.index(weight.groups()), 1, [&](Value group) {
      IntegerTiles::Affine affine = weight.affine(b, tile, group);
      b.storeTile(affine.scale, scales, {group, b.index(0)});
      if (zeros)
        b.storeTile(affine.zero, zeros, {group, b.index(0)});
      if (offsets)
        b.storeTile(affine.offset, offsets, {group, b.index(0)});
      if (!decoded)
        return;
      b.loop(b.index(0), weight.groupBlocks(b, group), 1, [&](Value block) {
        Value first = b.add(b.mul(group, groupWords()), b.mul(block, weight.blockWords()));
        for (auto [i, word] : llvm::enumerate(weight.decode(b, tile, b.add(b.mul(group, weight.groupBlocks()), block))))
          b.storeTile(word, decoded, {b.add(first, i), b.index(0)});
      });
    });
  }

  /// Four codes of a row in every lane.
  Value loadWeights(Value tile, Value group, Value word, Value lane) {
    Value at = b.add(b.mul(group, groupWords()), word);
    return b.splat(decoded ? b.load(decoded, {at, lane}) : b.load(weight.codes(), {tile, at, lane}));
  }

  //===- A block of rows ------------------------------------------------------------------------------------------------------===//

  void emitBlock(Value tile, Value firstRow, Value row, int64_t count) {
    int64_t width = b.registers.tiles;
    SmallVector<Value> lanes;
    for (int64_t r = 0; r < count; ++r)
      lanes.push_back(b.add(b.sub(row, firstRow), r));
    SmallVector<Value> totals(count * width, b.tileOf(0.0f));
    totals = b.loop(b.index(0), b.index(weight.groups()), 1, totals, [&](Value group, ValueRange carried) {
      SmallVector<Value> none(count * width, b.tileOf(0));
      SmallVector<Value> products = b.loop(b.index(0), words(group), 1, none, [&](Value word, ValueRange running) {
        SmallVector<Value> pixels, next;
        for (int64_t t = 0; t < width; ++t)
          pixels.push_back(b.loadTile(panel, {b.index(t), panelWord(group, word), b.index(0)}));
        for (int64_t r = 0; r < count; ++r) {
          Value four = loadWeights(tile, group, word, lanes[r]);
          for (int64_t t = 0; t < width; ++t)
            next.push_back(emitIntegerDot(b, running[r * width + t], four, pixels[t], weight.codeBits()));
        }
        return next;
      });
      SmallVector<Value> next;
      for (int64_t r = 0; r < count; ++r) {
        Value scale = b.splat(b.load(scales, {group, lanes[r]}));
        for (int64_t t = 0; t < width; ++t)
          next.push_back(addGroup(group, lanes[r], scale, t, products[r * width + t], carried[r * width + t]));
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r) {
      Value at = b.add(row, r), initial = bias ? b.splat(b.load(bias, {at})) : b.tileOf(0.0f);
      for (int64_t t = 0; t < width; ++t)
        store(b.fma(totals[r * width + t], b.tileOf(activationScale), initial), at, t);
    }
  }

  void store(Value result, Value row, int64_t tile) {
    SmallVector<Value> place{n, row, firstPixels[tile]};
    auto load = [&](Value operand, EpilogueOperand kind) { return epilogue.loadPixels(operand, kind, place, exists[tile]); };
    result = epilogue.apply(result, load);
    if (epilogue.floats)
      b.storeMasked(result, output, place, exists[tile]);
    if (epilogue.codes)
      storeCodes(epilogue.encode(result, load), row, tile);
  }

  /// scale · (Σ q·x − zero · Σ x) + offset · Σ x, added to the sum over groups.
  Value addGroup(Value group, Value lane, Value scale, int64_t slot, Value products, Value total) {
    Value sum = b.loadTile(columnSums, {b.index(slot), group, b.index(0)});
    if (std::optional<int32_t> zero = weight.constantZero())
      products = b.sub(products, b.mul(b.tileOf(*zero), sum));
    else if (zeros)
      products = b.sub(products, b.mul(b.splat(b.load(zeros, {group, lane})), sum));
    total = b.fma(toFloat(products), scale, total);
    return offsets ? b.fma(toFloat(sum), b.splat(b.load(offsets, {group, lane})), total) : total;
  }
  Value toFloat(Value integers) { return arith::SIToFPOp::create(b, b.f32Tile(), integers); }

  KernelBuilder &b;
  const KernelArgs &args;
  Epilogue epilogue;
  Value codes, bias;
  IntegerTiles weight;
  ArrayRef<int64_t> shape, strides, pads;
  int64_t convGroups;
  float activationScale;
  int64_t touched = 0; ///< output rows that 16 pixels touch at most, 0 if that is not known
  int64_t resultWidth = 0; ///< of the image of codes that is made
  Value image, output, results, stored, plane, outHeight, outWidth, shifts;
  // Of a task.
  Value n, panel, columnSums, decoded, scales, zeros, offsets;
  SmallVector<Value> firstPixels, exists;
  SmallVector<CodePlaces> places;
};

} // namespace

void mlir::quanta::emitIntegerConv2D(KernelBuilder &b, const KernelArgs &args) {
  if (args.has("quads"))
    return emitQuadConv2D(b, args);
  IntegerConv2D(b, args).emit();
}
