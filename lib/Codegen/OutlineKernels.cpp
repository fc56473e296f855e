//===- OutlineKernels.cpp - Compute ops become kernels with a destination ---------------------------------------------------===//
//
// Every kernel family has one operand rank; leading dimensions are collapsed before and expanded after. Weights become
// module-level constants here, so that from now on only addresses of them are passed around.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ActivationFunction.h"
#include "FoldZeros.h"
#include "Kernels/BFloatLinear.h"
#include "Kernels/CodedProduct.h"
#include "Kernels/IntegerConv2D.h"
#include "Kernels/IntegerLinear.h"
#include "Kernels/QuadConv2D.h"
#include "Kernels/Quantize.h"
#include "Kernels/Signs.h"
#include "Kernels/VisionGrids.h"
#include "ModuleMemory.h"
#include "quanta/Codegen/BFloatDot.h"
#include "quanta/Codegen/Codegen.h"
#include "quanta/Codegen/KernelBuilder.h"
#include "quanta/Dialect/IR/Packing.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_OUTLINEKERNELS
#include "quanta/Codegen/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {

class Outliner {
public:
  Outliner(ModuleOp module) : weights(module), caches(module), b(module.getLoc(), module.getContext()) {}

  LogicalResult prepare() { return caches.assignRoles(); }
  void finish() { caches.eraseCaches(); }

  LogicalResult run(func::FuncOp function) {
    SmallVector<Operation *> ops, constants;
    // Linear layers first: an embedding looks whether its table is already stored in tiles.
    function.walk([&](Operation *op) {
      if (isa<LinearOp>(op))
        tiled.insert(WeightStore::getConstant(op->getOperand(1)));
      if (isa<ConstantOp>(op))
        constants.push_back(op);
      else if (isa_and_present<QuantaDialect>(op->getDialect()))
        ops.push_back(op);
    });
    bool failed = false;
    for (Operation *op : ops) {
      b.setInsertionPoint(op);
      b.setLoc(op->getLoc());
      LogicalResult result = TypeSwitch<Operation *, LogicalResult>(op)
                                 .Case<LinearOp, MatmulOp, Conv2DOp, LayerNormOp, RMSNormOp, SoftmaxOp, ActivationOp, RotaryOp,
                                       AttentionOp, EmbeddingOp, CacheAppendOp, QuantizeOp>([&](auto typed) { return convert(typed); })
                                 .Default([](Operation *) { return success(); });
      failed |= mlir::failed(result);
    }
    for (auto &[encoded, stored] : activations) {
      if (encoded.use_empty())
        encoded.getDefiningOp()->erase();
      else if (!failed)
        failed = mlir::failed((*encoded.getUsers().begin())->emitOpError() << "cannot take encoded activations");
    }
    activations.clear();
    if (failed)
      return failure();
    // Attention has taken the addresses.
    function.walk([](RotaryOp rotary) {
      if (isOfCaches(rotary))
        rotary.erase();
    });
    function.walk([](CacheReadOp read) { read.erase(); });
    for (Operation *op : constants)
      if (op->use_empty())
        op->erase();
    return success();
  }

private:
  //===- Tensors --------------------------------------------------------------------------------------------------------===//

  static RankedTensorType type(Value value) { return cast<RankedTensorType>(value.getType()); }
  OpFoldResult size(Value tensor, int64_t d) { return tensor::getMixedSize(b, b.getLoc(), tensor, d); }
  SmallVector<OpFoldResult> sizes(Value tensor) { return tensor::getMixedSizes(b, b.getLoc(), tensor); }
  Value empty(ArrayRef<OpFoldResult> shape, Type element) { return tensor::EmptyOp::create(b, shape, element); }

  /// Leading dimensions made one (or added), so that the rank is `rank`.
  Value collapseTo(Value tensor, int64_t rank) {
    int64_t from = type(tensor).getRank();
    if (from == rank)
      return tensor;
    SmallVector<ReassociationIndices> groups;
    if (from < rank) {
      // Expanding: the first source dimension carries the new ones of size 1.
      SmallVector<int64_t> shape(rank - from, 1);
      llvm::append_range(shape, type(tensor).getShape());
      if (from > 0) {
        ReassociationIndices first;
        for (int64_t i = 0; i <= rank - from; ++i)
          first.push_back(i);
        groups.push_back(first);
        for (int64_t i = rank - from + 1; i < rank; ++i)
          groups.push_back({i});
      }
      SmallVector<OpFoldResult> mixed(rank - from, b.getIndexAttr(1));
      llvm::append_range(mixed, sizes(tensor));
      return tensor::ExpandShapeOp::create(b, RankedTensorType::get(shape, type(tensor).getElementType()), tensor, groups, mixed);
    }
    ReassociationIndices first;
    for (int64_t i = 0; i <= from - rank; ++i)
      first.push_back(i);
    groups.push_back(first);
    for (int64_t i = from - rank + 1; i < from; ++i)
      groups.push_back({i});
    return tensor::CollapseShapeOp::create(b, tensor, groups);
  }

  /// Undoes collapseTo: `value` gets the shape of `result`, whose leading sizes are those of `like`.
  Value restore(Value value, Value result, Value like) {
    int64_t rank = type(result).getRank(), from = type(value).getRank();
    if (rank == from)
      return value;
    SmallVector<ReassociationIndices> groups;
    if (rank < from) {
      ReassociationIndices first;
      for (int64_t i = 0; i <= from - rank; ++i)
        first.push_back(i);
      if (rank > 0) {
        groups.push_back(first);
        for (int64_t i = from - rank + 1; i < from; ++i)
          groups.push_back({i});
      }
      return tensor::CollapseShapeOp::create(b, cast<RankedTensorType>(result.getType()), value, groups);
    }
    ReassociationIndices first;
    SmallVector<OpFoldResult> mixed;
    for (int64_t i = 0; i <= rank - from; ++i) {
      first.push_back(i);
      mixed.push_back(size(like, i));
    }
    groups.push_back(first);
    for (int64_t i = rank - from + 1; i < rank; ++i) {
      groups.push_back({i});
      mixed.push_back(size(value, i - (rank - from)));
    }
    return tensor::ExpandShapeOp::create(b, cast<RankedTensorType>(result.getType()), value, groups, mixed);
  }

  Value kernel(StringRef family, ValueRange inputs, ValueRange addresses, Value destination, NamedAttrList config) {
    return KernelOp::create(b, TypeRange{destination.getType()}, b.getStringAttr(family), inputs, addresses, ValueRange{destination},
                            config.getDictionary(b.getContext()))
        .getResult(0);
  }

  LogicalResult replace(Operation *op, Value value) {
    Value result = op->getResult(0);
    if (value.getType() != result.getType())
      value = tensor::CastOp::create(b, result.getType(), value);
    result.replaceAllUsesWith(value);
    op->erase();
    return success();
  }

  LogicalResult checkFloat(Operation *op) {
    for (Value operand : op->getOperands())
      if (isa<FloatType>(type(operand).getElementType()) && !type(operand).getElementType().isF32())
        return op->emitOpError() << "expected f32 operands but got " << operand.getType();
    return success();
  }

  //===- Ops ------------------------------------------------------------------------------------------------------------===//

  LogicalResult convert(LinearOp op) {
    if (failed(checkFloat(op)))
      return failure();
    if (!WeightStore::getConstant(op.getWeight())) {
      if (getEncoding(op.getInput().getType()))
        return op.emitOpError() << "expected a constant weight for encoded activations";
      // Computed at run time: a product of two activations, then the bias.
      if (getEncoding(op.getWeight().getType()))
        return op.emitOpError() << "expected an encoded weight to be a constant";
      return convertDynamicLinear(op);
    }
    if (auto product = findSignProduct(op, /*taps=*/1, /*groups=*/1)) {
      SmallVector<Value> inputs = getSignInputs(op, /*rank=*/2, *product);
      SmallVector<OpFoldResult> shape{size(inputs[0], 0), b.getIndexAttr(type(op.getWeight()).getDimSize(0))};
      Value y = kernel("sign_linear", inputs, product->weight.addresses, empty(shape, b.getF32Type()), product->weight.config);
      return replace(op, restore(y, op.getResult(), op.getInput()));
    }
    auto weight = weights.storeTiles(b, op, op.getWeight());
    if (failed(weight))
      return failure();
    SmallVector<Value> inputs;
    Value sized = op.getInput(); // has the input's sizes in the end
    if (Attribute activation = getEncoding(op.getInput().getType())) {
      auto stored = activations.find(op.getInput());
      if (stored == activations.end())
        return op.emitOpError() << "expected an encoded input to come from quanta.quantize";
      sized = stored->second.op.getInput();
      EncodingAttrInterface encoding = getEncoding(op.getWeight().getType());
      ArrayRef<int64_t> shape = type(op.getWeight()).getShape();
      if (hasIntegerLinear(activation, encoding, shape) || hasBFloatLinear(activation, encoding, shape)) {
        encode(stored->second);
        inputs = {stored->second.codes};
        weight->config.set("activation", activation);
        if (isa<AffineAttr, TwinAttr>(activation)) {
          if (auto affine = dyn_cast<AffineAttr>(activation); affine && failed(addZeros(op, affine)))
            return failure();
          appendParts(inputs, activation, op.getWeight());
        } else if (isa<UniformAttr>(activation)) {
          inputs.push_back(stored->second.scales);
          if (stored->second.offsets) {
            // What a unit of offset adds to each row: as a zero point of −1 with a scale of 1 does.
            auto unit = AffineAttr::get(b.getContext(), 8, b.getDenseI64ArrayAttr({}), b.getDenseF32ArrayAttr({1}), b.getDenseI64ArrayAttr({-1}));
            auto sums = sumZeros(op, unit);
            if (failed(sums))
              return failure();
            inputs.append({stored->second.offsets, constantVector(*sums)});
          }
        }
      } else {
        inputs = {collapseTo(decode(stored->second), 2)};
      }
    } else {
      inputs = {collapseTo(op.getInput(), 2)};
    }
    Value tokens = inputs.front();
    if (op.getBias())
      inputs.push_back(op.getBias());
    Value y = kernel("linear", inputs, weight->addresses,
                     empty({size(tokens, 0), b.getIndexAttr(type(op.getWeight()).getDimSize(0))}, b.getF32Type()), weight->config);
    return replace(op, restore(y, op.getResult(), sized));
  }

  //===- Signs --------------------------------------------------------------------------------------------------------===//

  /// A layer of weights of one bit whose input is the sign of `x`.
  struct SignProduct {
    Value x;
    int64_t ofZero;
    StoredWeight weight;
  };

  /// `op` has an input and a weight [rows, channels, taps …].
  template <typename Op> std::optional<SignProduct> findSignProduct(Op op, int64_t taps, int64_t groups) {
    SignProduct product;
    EncodingAttrInterface encoding = getEncoding(op.getWeight().getType());
    auto parts = dyn_cast_or_null<DictionaryAttr>(WeightStore::getConstant(op.getWeight()));
    if (!parts || !hasSignKernel(encoding, groups) || !(product.x = findSigned(op.getInput(), product.ofZero)))
      return std::nullopt;
    auto shape = type(op.getWeight()).getShape();
    int64_t columns;
    parts = reorderForSigns(parts, shape[0], shape[1], taps, columns);
    if (!parts)
      return std::nullopt;
    auto stored = storeReordered(op, parts, columns);
    if (!stored)
      return std::nullopt;
    product.weight = *stored;
    product.weight.config.set("columns", b.getI64IntegerAttr(shape[1] * taps));
    return product;
  }

  /// A weight in tiles whose columns were reordered; `matrix` of its config is its shape then.
  template <typename Op> std::optional<StoredWeight> storeReordered(Op op, DictionaryAttr parts, int64_t columns) {
    auto weightType = type(op.getWeight());
    auto reordered = RankedTensorType::get({weightType.getDimSize(0), columns}, b.getF32Type(), weightType.getEncoding());
    auto constant = ConstantOp::create(b, op.getWeight().getLoc(), reordered, parts);
    auto stored = weights.storeTiles(b, op, constant.getResult());
    constant.erase();
    if (failed(stored))
      return std::nullopt;
    stored->config.set("matrix", stored->config.get("shape"));
    return *stored;
  }

  /// The kernel's inputs; layers that read the signs of the same value share them.
  template <typename Op> SmallVector<Value> getSignInputs(Op op, int64_t rank, const SignProduct &product) {
    Value &planes = signs[{product.x, {rank, product.ofZero}}];
    if (!planes) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointAfter(op.getInput().getDefiningOp());
      Value x = collapseTo(product.x, rank);
      SmallVector<OpFoldResult> shape = sizes(x);
      int64_t words = llvm::divideCeil(type(x).getDimSize(1), kSignBits);
      shape[1] = b.getIndexAttr(rank == 4 ? 2 * words : product.ofZero ? 1 : 2);
      if (rank == 2)
        shape.push_back(b.getIndexAttr(words));
      NamedAttrList config;
      config.set("of_zero", b.getI64IntegerAttr(product.ofZero));
      planes = kernel("signs", {x}, {}, empty(shape, b.getI32Type()), config);
    }
    SmallVector<Value> inputs{planes};
    if (op.getBias())
      inputs.push_back(op.getBias());
    return inputs;
  }

  //===- Encoded activations --------------------------------------------------------------------------------------------===//

  /// Where segments differ: which parts of the weight they are, and their scales.
  void appendParts(SmallVectorImpl<Value> &inputs, Attribute activation, Value weight) {
    SmallVector<float> segments = getSegmentScales(activation);
    if (segments.size() == 1)
      return;
    SmallVector<int32_t> table;
    SmallVector<float> factors;
    for (const IntegerPart &part : getIntegerParts(activation, cast<UniformAttr>(Attribute(getEncoding(weight.getType()))), type(weight).getShape())) {
      for (int64_t field : {part.firstBlock, part.firstColumn, part.columns, part.group})
        table.push_back(static_cast<int32_t>(field));
      factors.push_back(segments[part.segment]);
    }
    int64_t count = factors.size();
    inputs.push_back(arith::ConstantOp::create(b, DenseElementsAttr::get(RankedTensorType::get({count, 4}, b.getI32Type()), ArrayRef(table))));
    inputs.push_back(arith::ConstantOp::create(b, DenseElementsAttr::get(RankedTensorType::get({count}, b.getF32Type()), ArrayRef(factors))));
  }

  Value constantVector(ArrayRef<float> values) {
    auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getF32Type());
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, values));
  }

  /// What zero points of activations add to each row of a product with this layer's weight.
  template <typename Op> FailureOr<SmallVector<float>> sumZeros(Op op, AffineAttr affine) {
    auto weightType = type(op.getWeight());
    if (auto components = dyn_cast<DictionaryAttr>(WeightStore::getConstant(op.getWeight()))) {
      auto values = foldZeros(affine, cast<UniformAttr>(Attribute(getEncoding(weightType))), components, weightType.getShape());
      if (succeeded(values))
        return values;
    }
    return op.emitOpError() << "expected the data of its weight, to sum up what zero points of activations add";
  }

  /// Zero points of activations as a part of the bias.
  template <typename Op> LogicalResult addZeros(Op op, AffineAttr affine) {
    if (llvm::all_of(affine.getZeros().asArrayRef(), [](int64_t zero) { return zero == 0; }))
      return success();
    auto values = sumZeros(op, affine);
    if (failed(values))
      return failure();
    SmallVector<char> storage;
    Attribute old = op.getBias() ? WeightStore::getConstant(op.getBias()) : Attribute();
    auto raw = old ? getRawData(old, storage) : std::nullopt;
    bool folds = raw && raw->size() == values->size() * sizeof(float);
    for (auto [i, value] : llvm::enumerate(*values))
      if (float bias; folds) {
        memcpy(&bias, raw->data() + i * sizeof(float), sizeof(float));
        value += bias;
      }
    Value bias = constantVector(*values);
    if (op.getBias() && !folds) {
      AffineMap id = b.getMultiDimIdentityMap(1);
      bias = generic({op.getBias(), bias}, {id, id}, empty(sizes(bias), b.getF32Type()),
                     [&](KernelBuilder &k, ValueRange args) { return k.addf(args[0], args[1]); });
    }
    op.getBiasMutable().assign(bias);
    return success();
  }

  LogicalResult convert(QuantizeOp op) {
    Attribute encoding = getEncoding(op.getResult().getType());
    auto uniform = dyn_cast<UniformAttr>(encoding);
    bool dynamic = uniform && isTokenActivation(uniform);
    if (!dynamic && !isa<AffineAttr, TwinAttr, Log2Attr, NarrowAttr>(encoding))
      return op.emitOpError() << "activations can be encoded as #quanta.affine, #quanta.twin, #quanta.log2, #quanta.narrow, or #quanta.uniform with "
                                 "group = 0, scale = f32 and a symmetric zero and 2 to 8 bits or an offset and 1 to 7, but got " << encoding;
    if (dynamic && type(op.getInput()).getRank() == 2 && type(op.getInput()).isDynamicDim(1))
      return op.emitOpError() << "expected a static number of columns but got " << op.getInput().getType();
    activations[op.getResult()].op = op;
    return success();
  }

  /// Codes within pads, for convolutions.
  struct StoredImage {
    Value codes;
    ImagePads pads;
  };

  /// What kernels know of encoded activations; each form is made when the first of them asks for it.
  struct StoredActivation {
    QuantizeOp op;
    Value codes, scales, offsets; ///< scales and offsets: of #quanta.uniform
    Value values;
    StoredImage image, quads; ///< bytes of channels; words of four channels
  };

  /// What a column of an affine encoding has, for each column where segments differ.
  Value perColumn(AffineAttr affine, int64_t columns, function_ref<float(int64_t)> value) {
    SmallVector<float> values(columns);
    SmallVector<int64_t> bounds = affine.getBounds(columns);
    for (int64_t s = 0; s < affine.getSegmentCount(); ++s)
      std::fill(values.begin() + bounds[s], values.begin() + bounds[s + 1], value(s));
    return arith::ConstantOp::create(b, DenseElementsAttr::get(RankedTensorType::get({columns}, b.getF32Type()), ArrayRef(values)));
  }

  /// Bytes, for kernels that multiply integers, or bf16; rank 2.
  void encode(StoredActivation &stored) {
    if (stored.codes)
      return;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(stored.op);
    Value x = collapseTo(stored.op.getInput(), 2);
    int64_t columns = type(x).getDimSize(1);
    Attribute encoding = getEncoding(stored.op.getResult().getType());
    NamedAttrList config;
    config.set("activation", encoding);
    // Rows begin on cache lines, with zeros behind their ends.
    SmallVector<Value> inputs{x}, outputs{empty({size(x, 0), b.getIndexAttr(getCodeColumns(encoding, columns))},
                                                    isa<NarrowAttr>(encoding) ? b.getI16Type() : b.getI8Type())};
    auto affine = dyn_cast<AffineAttr>(encoding);
    auto uniform = dyn_cast<UniformAttr>(encoding);
    bool offset = uniform && uniform.getZero() == ZeroKind::Offset;
    if (uniform) {
      outputs.append(offset ? 2 : 1, Value());
      for (Value &output : MutableArrayRef(outputs).drop_front())
        output = empty({size(x, 0)}, b.getF32Type());
    } else if (affine && affine.getSegmentCount() > 1) {
      inputs.push_back(perColumn(affine, columns, [&](int64_t s) { return 1 / affine.getScales()[s]; }));
      inputs.push_back(perColumn(affine, columns, [&](int64_t s) { return static_cast<float>(affine.getZeros()[s]); }));
    }
    auto kernel = KernelOp::create(b, TypeRange(outputs), b.getStringAttr("quantize"), inputs, ValueRange(), outputs,
                                   config.getDictionary(b.getContext()));
    stored.codes = kernel.getResult(0);
    stored.scales = uniform ? Value(kernel.getResult(1)) : Value();
    stored.offsets = offset ? kernel.getResult(2) : Value();
  }

  /// Codes with borders that are wide enough for all convolutions that read them; rank 4.
  void encodeImage(QuantizeOp op, StoredImage &image, bool quads) {
    if (image.codes)
      return;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(op);
    Value x = op.getInput();
    ImagePads &pads = image.pads;
    for (Operation *user : op->getUsers())
      if (auto conv = dyn_cast<Conv2DOp>(user))
        pads.include(conv.getPads(), conv.getStrides());
    if (!quads) // which are read pixel by pixel
      pads.finish(type(x).getDimSize(3));
    SmallVector<OpFoldResult> shape = sizes(x);
    AffineExpr extent = b.getAffineSymbolExpr(0);
    shape[2] = affine::makeComposedFoldedAffineApply(b, b.getLoc(), extent + pads.top + pads.bottom, {shape[2]});
    shape[3] = affine::makeComposedFoldedAffineApply(b, b.getLoc(), extent + pads.left + pads.right, {shape[3]});
    NamedAttrList config;
    config.set("activation", getEncoding(op.getResult().getType()));
    setCorner(config, pads);
    if (quads) {
      shape[1] = b.getIndexAttr(llvm::divideCeil(type(x).getDimSize(1), kQuad));
      config.set("quads", b.getUnitAttr());
    }
    image.codes = kernel("quantize_image", {x}, {}, empty(shape, quads ? b.getI32Type() : b.getI8Type()), config);
  }

  /// Where an image begins within its borders.
  void setCorner(NamedAttrList &config, const ImagePads &pads) {
    config.set("top", b.getI64IntegerAttr(pads.top));
    config.set("left", b.getI64IntegerAttr(pads.left));
  }

  /// An operand as floats.
  FailureOr<Value> getFloats(Operation *user, Value x) {
    if (!getEncoding(x.getType()))
      return x;
    auto stored = activations.find(x);
    if (stored == activations.end())
      return user->emitOpError() << "expected encoded activations to come from quanta.quantize";
    if (isa<UniformAttr>(getEncoding(x.getType())) && type(x).getRank() != 2)
      return user->emitOpError() << "expected a product of two encoded activations, whose rows have scales of their own only if they are "
                                    "not what is summed up, but got " << x.getType();
    return decode(stored->second);
  }

  /// The nearest values of the encoding, for kernels that multiply floats.
  Value decode(StoredActivation &stored) {
    if (stored.values)
      return stored.values;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(stored.op);
    Value x = stored.op.getInput();
    if (auto affine = dyn_cast<AffineAttr>(Attribute(getEncoding(stored.op.getResult().getType()))))
      return stored.values = decode(affine, x);
    EncodingAttrInterface encoding = getEncoding(stored.op.getResult().getType());
    if (isa<TwinAttr, Log2Attr>(Attribute(encoding)))
      return stored.values = generic({x}, {b.getMultiDimIdentityMap(type(x).getRank())}, empty(sizes(x), b.getF32Type()),
                                     [&](KernelBuilder &k, ValueRange args) { return emitNearest(k, encoding, args[0]); });
    if (isa<NarrowAttr>(Attribute(encoding)))
      return stored.values = generic({x}, {b.getMultiDimIdentityMap(type(x).getRank())}, empty(sizes(x), b.getF32Type()),
                                     [&](KernelBuilder &k, ValueRange args) -> Value {
                                       return arith::BitcastOp::create(k, k.getF32Type(), emitBFloatBits(k, args[0]));
                                     });
    encode(stored);
    b.setInsertionPoint(stored.op);
    SmallVector<OpFoldResult> shape = sizes(x), zeros(2, b.getIndexAttr(0)), ones(2, b.getIndexAttr(1));
    Value codes = tensor::ExtractSliceOp::create(b, stored.codes, zeros, shape, ones);
    AffineMap id = b.getMultiDimIdentityMap(2), row = AffineMap::get(2, 0, b.getAffineDimExpr(0));
    SmallVector<Value> inputs{codes, stored.scales};
    SmallVector<AffineMap> maps{id, row};
    if (stored.offsets) {
      inputs.push_back(stored.offsets);
      maps.push_back(row);
    }
    return stored.values = generic(inputs, maps, empty(shape, b.getF32Type()), [&](KernelBuilder &k, ValueRange args) {
      Value code = arith::SIToFPOp::create(k, k.getF32Type(), args[0]);
      return stored.offsets ? k.fma(code, args[1], args[2]) : k.mulf(code, args[1]);
    });
  }

  /// Without bytes in between: what the kernels that quantize compute, and back.
  Value decode(AffineAttr affine, Value x) {
    int64_t rank = type(x).getRank();
    AffineMap id = b.getMultiDimIdentityMap(rank), column = AffineMap::get(rank, 0, b.getAffineDimExpr(rank - 1));
    SmallVector<Value> inputs{x};
    SmallVector<AffineMap> maps{id};
    auto zeroOf = [&](int64_t s) { return static_cast<float>(affine.getZeros()[s]); };
    auto inverseOf = [&](int64_t s) { return 1 / affine.getScales()[s]; };
    if (affine.getSegmentCount() > 1) {
      int64_t columns = type(x).getDimSize(rank - 1);
      inputs.append({perColumn(affine, columns, inverseOf), perColumn(affine, columns, zeroOf),
                     perColumn(affine, columns, [&](int64_t s) { return affine.getScales()[s]; })});
      maps.append(3, column);
    }
    return generic(inputs, maps, empty(sizes(x), b.getF32Type()), [&](KernelBuilder &k, ValueRange args) {
      bool one = affine.getSegmentCount() == 1;
      Value inverse = one ? k.f32(inverseOf(0)) : args[1], zero = one ? k.f32(zeroOf(0)) : args[2];
      Value scale = one ? k.f32(affine.getScales()[0]) : args[3];
      return k.mulf(k.subf(emitAffineCode(k, args[0], inverse, zero, affine.getBits()), zero), scale);
    });
  }

  LogicalResult convertDynamicLinear(LinearOp op) {
    Value x = collapseTo(op.getInput(), 2);
    Value y = matmul(collapseTo(x, 4), collapseTo(op.getWeight(), 4), /*transposeRhs=*/true, 1.0f);
    y = tensor::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0, 1, 2}, {3}});
    if (op.getBias()) {
      AffineMap id = b.getMultiDimIdentityMap(2), column = AffineMap::get(2, 0, b.getAffineDimExpr(1));
      y = generic({y, op.getBias()}, {id, column}, empty(sizes(y), b.getF32Type()), [&](KernelBuilder &k, ValueRange args) {
        return k.addf(args[0], args[1]);
      });
    }
    return replace(op, restore(y, op.getResult(), op.getInput()));
  }

  Value matmul(Value lhs, Value rhs, bool transposeRhs, float scale) {
    NamedAttrList config;
    config.set("scale", b.getF32FloatAttr(scale));
    return matmul("matmul", lhs, rhs, transposeRhs, config);
  }

  Value matmul(StringRef family, Value lhs, Value rhs, bool transposeRhs, NamedAttrList config) {
    if (transposeRhs)
      config.set("transpose_rhs", b.getUnitAttr());
    auto batch = [&](int64_t d) { return type(lhs).getDimSize(d) == 1 ? size(rhs, d) : size(lhs, d); };
    Value destination = empty({batch(0), batch(1), size(lhs, 2), size(rhs, transposeRhs ? 2 : 3)}, b.getF32Type());
    return kernel(family, {lhs, rhs}, {}, destination, config);
  }

  /// A product of codes, which the kernel makes of what was encoded.
  Value integerMatmul(Value lhs, Value rhs, Attribute left, Attribute right, bool transposeRhs, float scale) {
    NamedAttrList config;
    config.set("scale", b.getF32FloatAttr(scale));
    config.set("lhs", left);
    config.set("rhs", right);
    return matmul("integer_matmul", lhs, rhs, transposeRhs, config);
  }

  LogicalResult convert(MatmulOp op) {
    if (failed(checkFloat(op)))
      return failure();
    int64_t rank = type(op.getLhs()).getRank();
    Attribute leftEncoding = getEncoding(op.getLhs().getType()), rightEncoding = getEncoding(op.getRhs().getType());
    // What is summed up must share a scale.
    bool integers = activations.contains(op.getLhs()) && activations.contains(op.getRhs()) &&
                    ProductOfCodes::get(leftEncoding, rightEncoding) && (op.getTransposeRhs() || !isa<UniformAttr>(rightEncoding));
    auto read = [&](Value x) { return integers ? FailureOr<Value>(activations[x].op.getInput()) : getFloats(op, x); };
    FailureOr<Value> left = read(op.getLhs()), right = read(op.getRhs());
    if (failed(left) || failed(right))
      return failure();
    Value lhs = *left, rhs = *right;
    if (rank > 4) {
      for (int64_t d = 0; d < rank - 3; ++d)
        if (type(lhs).getDimSize(d) != type(rhs).getDimSize(d))
          return op.emitOpError() << "expected equal leading batch dimensions but got " << lhs.getType() << " and " << rhs.getType();
    }
    Value lhs4 = collapseTo(lhs, 4), rhs4 = collapseTo(rhs, 4);
    Value y = integers ? integerMatmul(lhs4, rhs4, leftEncoding, rightEncoding, op.getTransposeRhs(), 1.0f)
                       : matmul(lhs4, rhs4, op.getTransposeRhs(), 1.0f);
    return replace(op, restore(y, op.getResult(), lhs));
  }

  LogicalResult convert(CacheAppendOp op) {
    if (failed(checkFloat(op)))
      return failure();
    NamedAttrList config;
    config.set("cache", caches.lookup(op.getCacheAttr()).getTypeAttr());
    if (hasPositionsInLanes(caches.getRole(op.getCacheAttr())))
      config.set("key", b.getUnitAttr());
    Value past = CacheLengthOp::create(b, b.getIndexType());
    KernelOp::create(b, TypeRange(), b.getStringAttr("cache_append"), ValueRange{op.getValues(), past}, ValueRange(),
                     caches.getMemory(b, op.getLoc(), op.getCacheAttr()), config.getDictionary(b.getContext()));
    op->erase();
    return success();
  }

  static bool isOfCaches(RotaryOp op) { return op.getInput().getDefiningOp<CacheReadOp>() != nullptr; }

  /// Attention over a cache is one kernel, which reads the cache where it lies.
  LogicalResult convertCached(AttentionOp op, CacheReadOp keys, CacheReadOp values, RotaryOp rotary) {
    SmallVector<std::pair<StringRef, CacheReadOp>> reads{{"key", keys}, {"value", values}};
    if (rotary)
      reads.append({{"cos", rotary.getCos().getDefiningOp<CacheReadOp>()}, {"sin", rotary.getSin().getDefiningOp<CacheReadOp>()}});
    NamedAttrList config;
    SmallVector<Value> memory;
    SmallVector<RankedTensorType> types;
    for (auto [name, read] : reads) {
      types.push_back(caches.lookup(read.getCacheAttr()).getTensorType());
      config.set(name, TypeAttr::get(types.back()));
      llvm::append_range(memory, caches.getMemory(b, op.getLoc(), read.getCacheAttr()));
    }
    if (op->hasAttr("quanta.attention_bits"))
      return op.emitOpError("over a cache multiplies floats: leave out the recipe 'attention' for it");
    Value q = op.getQuery();
    int64_t heads = type(q).getDimSize(1), groups = types[0].getDimSize(1);
    if (ShapedType::isDynamic(heads))
      return op.emitOpError() << "expected a fixed number of query heads over a cache but got " << q.getType();
    // The query heads that read one head of keys are rows of one matrix.
    SmallVector<Value> inputs{splitHeads(q, groups, heads / groups), keys.getLength()};
    if (op.getMask())
      inputs.push_back(op.getMask());
    config.set("repeats", b.getI64IntegerAttr(heads / groups));
    config.set("scale", op.getScaleAttr());
    SmallVector<OpFoldResult> shape = sizes(inputs[0]);
    shape[3] = b.getIndexAttr(types[1].getDimSize(3));
    Value y = kernel("attention", inputs, memory, empty(shape, b.getF32Type()), config);
    return replace(op, mergeHeads(y, q, heads / groups));
  }

  /// [B, G·R, S, D] as [B, G, R·S, D].
  Value splitHeads(Value x, int64_t groups, int64_t repeats) {
    auto from = type(x);
    auto wide = RankedTensorType::get({from.getDimSize(0), groups, repeats, from.getDimSize(2), from.getDimSize(3)}, from.getElementType());
    SmallVector<OpFoldResult> mixed{size(x, 0), b.getIndexAttr(groups), b.getIndexAttr(repeats), size(x, 2), size(x, 3)};
    Value expanded = tensor::ExpandShapeOp::create(b, wide, x, ArrayRef<ReassociationIndices>{{0}, {1, 2}, {3}, {4}}, mixed);
    return tensor::CollapseShapeOp::create(b, expanded, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}, {4}});
  }

  /// Undoes splitHeads; `like` is what it was given.
  Value mergeHeads(Value y, Value like, int64_t repeats) {
    auto from = type(y);
    auto wide = RankedTensorType::get({from.getDimSize(0), from.getDimSize(1), repeats, type(like).getDimSize(2), from.getDimSize(3)},
                                      from.getElementType());
    SmallVector<OpFoldResult> mixed{size(y, 0), size(y, 1), b.getIndexAttr(repeats), size(like, 2), size(y, 3)};
    Value expanded = tensor::ExpandShapeOp::create(b, wide, y, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}, {4}}, mixed);
    return tensor::CollapseShapeOp::create(b, expanded, ArrayRef<ReassociationIndices>{{0}, {1, 2}, {3}, {4}});
  }

  LogicalResult convert(AttentionOp op) {
    if (failed(checkFloat(op)))
      return failure();
    auto rotary = op.getKey().getDefiningOp<RotaryOp>();
    rotary = rotary && isOfCaches(rotary) ? rotary : RotaryOp();
    auto keys = (rotary ? rotary.getInput() : op.getKey()).getDefiningOp<CacheReadOp>();
    auto values = op.getValue().getDefiningOp<CacheReadOp>();
    if (keys && values)
      return convertCached(op, keys, values, rotary);
    if (keys || values)
      return op.emitOpError("expected keys and values to come from caches both");
    // With bits: products of codes. Rows of q, k and the probabilities have scales of their own, and columns of v.
    auto bits = op->getAttrOfType<IntegerAttr>("quanta.attention_bits");
    if (bits && (bits.getInt() < 2 || bits.getInt() > 8))
      return op.emitOpError() << "expected 2 to 8 quanta.attention_bits but got " << bits.getInt();
    auto product = [&](Value lhs, Value rhs, bool transposeRhs, float scale) {
      if (!bits)
        return matmul(lhs, rhs, transposeRhs, scale);
      Attribute codes = UniformAttr::get(b.getContext(), bits.getInt(), UniformAttr::kRow, ZeroKind::Symmetric, b.getF32Type(), 0);
      return integerMatmul(lhs, rhs, codes, codes, transposeRhs, scale);
    };
    Value scores = product(op.getQuery(), op.getKey(), /*transposeRhs=*/true, op.getScale().convertToFloat());
    SmallVector<Value> mask;
    if (op.getMask())
      mask.push_back(op.getMask());
    scores = softmax(mask, scores);
    return replace(op, product(scores, op.getValue(), /*transposeRhs=*/false, 1.0f));
  }

  Value softmax(ValueRange mask, Value scores) {
    NamedAttrList config;
    config.set("reads_outputs", b.getUnitAttr());
    return kernel("softmax", mask, {}, scores, config);
  }

  LogicalResult convert(SoftmaxOp op) {
    if (failed(checkFloat(op)))
      return failure();
    // The kernel works in place, on a copy unless bufferization finds that nobody else reads the input.
    Value y = softmax({}, collapseTo(op.getInput(), 4));
    return replace(op, restore(y, op.getResult(), op.getInput()));
  }

  LogicalResult convert(Conv2DOp op) {
    if (failed(checkFloat(op)))
      return failure();
    auto weightType = type(op.getWeight());
    auto product = findSignProduct(op, weightType.getDimSize(2) * weightType.getDimSize(3), op.getGroups());
    Attribute activation = getEncoding(op.getInput().getType());
    bool integers = !product && hasIntegerConv2D(activation, getEncoding(weightType), weightType.getShape(), op.getGroups());
    auto quads = integers ? storeQuads(op) : std::nullopt;
    auto weight = product ? FailureOr<StoredWeight>(product->weight) : quads ? FailureOr<StoredWeight>(*quads) : weights.storeTiles(b, op, op.getWeight());
    if (failed(weight))
      return failure();
    NamedAttrList config = weight->config;
    config.set("shape", b.getDenseI64ArrayAttr(weightType.getShape()));
    config.set("strides", op.getStridesAttr());
    config.set("pads", op.getPadsAttr());
    config.set("groups", op.getGroupsAttr());
    config.set("dilations", op.getDilationsAttr());
    auto stored = activations.find(op.getInput());
    FailureOr<Value> x = integers && stored != activations.end() ? stored->second.op.getInput() : getFloats(op, op.getInput());
    if (failed(x))
      return failure();
    SmallVector<Value> inputs{*x};
    if (integers) {
      if (failed(addZeros(op, cast<AffineAttr>(activation))))
        return failure();
      StoredImage &image = quads ? stored->second.quads : stored->second.image;
      encodeImage(stored->second.op, image, quads.has_value());
      inputs = {image.codes};
      config.set("activation", activation);
      setCorner(config, image.pads);
      if (quads)
        config.set("quads", b.getUnitAttr());
      else if (image.pads.left + image.pads.right == 0)
        config.set("whole_rows", b.getUnitAttr());
    }
    if (product)
      inputs = getSignInputs(op, /*rank=*/4, *product);
    else if (op.getBias())
      inputs.push_back(op.getBias());
    auto spatial = [&](int64_t d) -> OpFoldResult {
      auto result = type(op.getResult());
      if (!result.isDynamicDim(2 + d))
        return b.getIndexAttr(result.getDimSize(2 + d));
      int64_t fixed = op.getPads()[d] + op.getPads()[d + 2] - (op.getDilations()[d] * (weightType.getDimSize(2 + d) - 1) + 1);
      Value extent = arith::AddIOp::create(b, tensor::DimOp::create(b, *x, 2 + d), b.index(fixed));
      return Value(arith::AddIOp::create(b, arith::FloorDivSIOp::create(b, extent, b.index(op.getStrides()[d])), b.index(1)));
    };
    Value y = kernel(product ? "sign_conv2d" : integers ? "integer_conv2d" : "conv2d", inputs, weight->addresses,
                     empty({size(*x, 0), b.getIndexAttr(weightType.getDimSize(0)), spatial(0), spatial(1)}, b.getF32Type()), config);
    return replace(op, y);
  }

  /// The weight of a convolution that reads words of four channels.
  std::optional<StoredWeight> storeQuads(Conv2DOp op) {
    auto weightType = type(op.getWeight());
    ArrayRef<int64_t> shape = weightType.getShape();
    EncodingAttrInterface encoding = getEncoding(weightType);
    auto parts = dyn_cast_or_null<DictionaryAttr>(WeightStore::getConstant(op.getWeight()));
    if (!parts || !hasQuadConv2D(encoding, shape, op.getGroups(), type(op.getInput()), type(op.getResult())))
      return std::nullopt;
    int64_t columns;
    parts = reorderForQuads(parts, cast<UniformAttr>(Attribute(encoding)), shape[0], shape[1], shape[2] * shape[3], columns);
    return parts ? storeReordered(op, parts, columns) : std::nullopt;
  }

  template <typename Norm> LogicalResult convertNorm(Norm op, StringRef family, ArrayRef<Value> parameters) {
    if (failed(checkFloat(op)))
      return failure();
    Value x = collapseTo(op.getInput(), 2);
    SmallVector<Value> inputs{x};
    llvm::append_range(inputs, parameters);
    NamedAttrList config;
    config.set("epsilon", op.getEpsilonAttr());
    Value y = kernel(family, inputs, {}, empty(sizes(x), b.getF32Type()), config);
    return replace(op, restore(y, op.getResult(), op.getInput()));
  }
  LogicalResult convert(LayerNormOp op) {
    SmallVector<Value> parameters{op.getScale()};
    if (op.getBias())
      parameters.push_back(op.getBias());
    return convertNorm(op, "layer_norm", parameters);
  }
  LogicalResult convert(RMSNormOp op) { return convertNorm(op, "rms_norm", {op.getScale()}); }

  LogicalResult convert(RotaryOp op) {
    if (isOfCaches(op))
      return success(); // attention rotates what it reads
    if (failed(checkFloat(op)))
      return failure();
    return replace(op, kernel("rotary", {op.getInput(), op.getCos(), op.getSin()}, {}, empty(sizes(op.getInput()), b.getF32Type()), {}));
  }

  LogicalResult convert(EmbeddingOp op) {
    auto tableType = type(op.getTable());
    NamedAttrList config;
    SmallVector<Value> addresses;
    Attribute constant = WeightStore::getConstant(op.getTable());
    if (!constant || !tableType.getElementType().isF32())
      return op.emitOpError() << "expected a constant f32 table but got " << tableType;
    if (getEncoding(tableType) || tiled.contains(constant)) {
      auto table = weights.storeTiles(b, op, op.getTable());
      if (failed(table))
        return failure();
      config = table->config;
      addresses = table->addresses;
    } else {
      config.set("shape", b.getDenseI64ArrayAttr(tableType.getShape()));
      addresses.push_back(weights.store(b, op.getTable().getLoc(), WeightStore::nameOf(op.getTable(), ""), constant,
                                        MemRefType::get(tableType.getShape(), tableType.getElementType()), {}, "", {}));
    }
    if (std::string node = getNodeName(op.getLoc()); !node.empty())
      config.set("node", b.getStringAttr(node));
    Value indices = op.getIndices();
    int64_t rank = type(indices).getRank();
    Value flat = rank == 1 ? indices : collapseTo(indices, 1);
    Value y = kernel("embedding", {flat}, addresses, empty({size(flat, 0), b.getIndexAttr(tableType.getDimSize(1))}, b.getF32Type()), config);
    if (rank == 0)
      y = tensor::CollapseShapeOp::create(b, y, ArrayRef<ReassociationIndices>{{0, 1}});
    else
      y = restore(y, op.getResult(), indices);
    return replace(op, y);
  }

  Value generic(ValueRange inputs, ArrayRef<AffineMap> maps, Value destination, function_ref<Value(KernelBuilder &, ValueRange)> body) {
    SmallVector<AffineMap> all(maps);
    int64_t rank = type(destination).getRank();
    all.push_back(b.getMultiDimIdentityMap(rank));
    SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
    auto op = linalg::GenericOp::create(b, TypeRange{destination.getType()}, inputs, ValueRange{destination}, all, iterators,
                                        [&](OpBuilder &builder, Location loc, ValueRange args) {
                                          KernelBuilder inner(ImplicitLocOpBuilder(loc, builder));
                                          linalg::YieldOp::create(builder, loc, body(inner, args));
                                        });
    return op.getResult(0);
  }

  LogicalResult convert(ActivationOp op) {
    int64_t rank = type(op.getInput()).getRank();
    Type element = type(op.getInput()).getElementType();
    ActivationKind kind = op.getKind();
    return replace(op, generic({op.getInput()}, {b.getMultiDimIdentityMap(rank)}, empty(sizes(op.getInput()), element),
                               [&](KernelBuilder &k, ValueRange args) { return emitActivation(k, kind, args[0]); }));
  }

  WeightStore weights;
  CacheStore caches;
  KernelBuilder b;
  DenseSet<Attribute> tiled;
  llvm::MapVector<std::pair<Value, std::pair<int64_t, int64_t>>, Value> signs; ///< by the value, its rank for kernels and the sign of zero
  llvm::MapVector<Value, StoredActivation> activations; ///< by the result of quanta.quantize
};

struct OutlineKernels : public mlir::quanta::impl::OutlineKernelsBase<OutlineKernels> {
  void runOnOperation() override {
    Outliner outliner(getOperation());
    if (failed(outliner.prepare()))
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(outliner.run(function)))
        return signalPassFailure();
    outliner.finish();
  }
};

} // namespace
