//===- Signs.cpp - Activations that are −1, 0 or 1 --------------------------------------------------------------------------===//
#include "Signs.h"
#include "JoinChannels.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <optional>

using namespace mlir;
using namespace mlir::quanta;

//===- Recognition --------------------------------------------------------------------------------------------------------===//

namespace {
/// What is known of a value in the body when its argument is negative, zero or positive: a number, or only its sign.
struct Known {
  bool exact;
  double value; ///< or −1 or 1
  int sign() const { return value < 0 ? -1 : value > 0; }
};
} // namespace

static std::optional<bool> compare(arith::CmpFPredicate predicate, const Known &lhs, const Known &rhs) {
  double x = lhs.value, y = rhs.value;
  // A number of known sign can be compared with zero and with what has another sign.
  if (!(lhs.exact && rhs.exact) && lhs.sign() == rhs.sign())
    return std::nullopt;
  switch (predicate) {
  case arith::CmpFPredicate::OLT:
  case arith::CmpFPredicate::ULT:
    return x < y;
  case arith::CmpFPredicate::OLE:
  case arith::CmpFPredicate::ULE:
    return x <= y;
  case arith::CmpFPredicate::OGT:
  case arith::CmpFPredicate::UGT:
    return x > y;
  case arith::CmpFPredicate::OGE:
  case arith::CmpFPredicate::UGE:
    return x >= y;
  case arith::CmpFPredicate::OEQ:
  case arith::CmpFPredicate::UEQ:
    return x == y;
  case arith::CmpFPredicate::ONE:
  case arith::CmpFPredicate::UNE:
    return x != y;
  default:
    return std::nullopt;
  }
}

/// The body's result for arguments of this sign, if it is one number for all of them.
static std::optional<double> evaluate(Block &body, Known argument) {
  DenseMap<Value, Known> known{{body.getArgument(0), argument}};
  auto find = [&](Value value) -> std::optional<Known> {
    APFloat constant(0.0f);
    if (matchPattern(value, m_ConstantFloat(&constant)))
      return Known{true, constant.convertToDouble()};
    auto found = known.find(value);
    return found == known.end() ? std::nullopt : std::optional(found->second);
  };
  for (Operation &op : body.without_terminator()) {
    SmallVector<std::optional<Known>> in = llvm::map_to_vector(op.getOperands(), find);
    auto result = TypeSwitch<Operation *, std::optional<Known>>(&op)
                      .Case([&](arith::CmpFOp cmp) -> std::optional<Known> {
                        if (!in[0] || !in[1])
                          return std::nullopt;
                        auto is = compare(cmp.getPredicate(), *in[0], *in[1]);
                        return is ? std::optional(Known{true, *is ? 1.0 : 0.0}) : std::nullopt;
                      })
                      .Case([&](arith::SelectOp) { return !in[0] ? std::nullopt : in[0]->value ? in[1] : in[2]; })
                      .Case([&](arith::AddFOp) -> std::optional<Known> {
                        if (!in[0] || !in[1])
                          return std::nullopt;
                        if (in[0]->exact && in[1]->exact)
                          return Known{true, in[0]->value + in[1]->value};
                        return !in[0]->sign() ? in[1] : !in[1]->sign() ? in[0] : std::nullopt;
                      })
                      .Default([](Operation *) { return std::nullopt; });
    if (result && op.getNumResults() == 1)
      known[op.getResult(0)] = *result;
  }
  auto result = find(body.getTerminator()->getOperand(0));
  return result && result->exact ? std::optional(result->value) : std::nullopt;
}

Value mlir::quanta::findSigned(Value value, int64_t &ofZero) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic || generic.getNumDpsInputs() != 1 || generic.getNumDpsInits() != 1 || generic.getNumLoops() != generic.getNumParallelLoops() ||
      !llvm::all_of(generic.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return {};
  Value x = generic.getDpsInputOperand(0)->get();
  if (x.getType() != value.getType() || !cast<RankedTensorType>(x.getType()).getElementType().isF32())
    return {};
  Block &body = *generic.getBody();
  auto negative = evaluate(body, {false, -1}), zero = evaluate(body, {true, 0}), positive = evaluate(body, {false, 1});
  if (negative != -1.0 || positive != 1.0 || !zero || (*zero != 0 && std::abs(*zero) != 1))
    return {};
  ofZero = static_cast<int64_t>(*zero);
  return x;
}

bool mlir::quanta::hasSignKernel(EncodingAttrInterface weight, int64_t groups) {
  auto uniform = dyn_cast_or_null<UniformAttr>(Attribute(weight));
  return uniform && groups == 1 && uniform.getBits() == 1 && !uniform.getLevels() && uniform.getGroup() <= 0 &&
         uniform.getZero() == ZeroKind::Symmetric;
}

DictionaryAttr mlir::quanta::reorderForSigns(DictionaryAttr weight, int64_t rows, int64_t channels, int64_t taps, int64_t &columns) {
  // Bit p of a word of weights is that of the word's column p div 8 + 4 · (p mod 8) (TileLayout.h).
  return joinChannels(weight, rows, channels, taps, kSignBits, 0, [](int64_t bit) { return bit / 8 + 4 * (bit % 8); }, columns);
}

//===- Planes of bits -----------------------------------------------------------------------------------------------------===//

SignLanes mlir::quanta::getSigns(KernelBuilder &b, Value x, int64_t ofZero) {
  Value zero = b.tileOf(0.0f);
  auto is = [&](arith::CmpFPredicate predicate) { return Value(arith::CmpFOp::create(b, predicate, x, zero)); };
  // Ordered comparisons: a NaN is neither positive nor other than zero.
  Value all = arith::ConstantOp::create(b, DenseElementsAttr::get(VectorType::get({kLanes}, b.getI1Type()), true));
  return {is(ofZero > 0 ? arith::CmpFPredicate::OGE : arith::CmpFPredicate::OGT), ofZero ? all : is(arith::CmpFPredicate::ONE)};
}

Value mlir::quanta::joinBits(KernelBuilder &b, Value low, Value lanes) {
  Value sixteen = vector::ExtractOp::create(b, Value(vector::BitCastOp::create(b, VectorType::get({1}, b.getI16Type()), lanes)), 0);
  Value wide = arith::ExtUIOp::create(b, b.getI32Type(), sixteen);
  if (!low)
    return wide;
  Value high = arith::ShLIOp::create(b, wide, Value(arith::ConstantIntOp::create(b, b.getI32Type(), kLanes)));
  return arith::OrIOp::create(b, low, high);
}

/// Rows of x[M, K]: sixteen columns give sixteen bits. planes [M, 1 or 2, words].
static void emitRowSigns(KernelBuilder &b, Value x, Value planes, int64_t ofZero) {
  int64_t columns = cast<MemRefType>(x.getType()).getDimSize(1), words = cast<MemRefType>(planes.getType()).getDimSize(2);
  int64_t count = cast<MemRefType>(planes.getType()).getDimSize(1);
  int64_t perTask = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
  Value rows = b.dim(x, 0);
  b.parallel(b.ceilDiv(rows, perTask), [&](Value task) {
    Value first = b.mul(task, perTask);
    b.loop(first, b.min(rows, b.add(first, perTask)), 1, [&](Value row) {
      b.loop(b.index(0), b.index(words), 1, [&](Value word) {
        Value column = b.mul(word, kSignBits), bits[2];
        for (int64_t half : {0, 1}) {
          Value at = b.add(column, half * kLanes), exists = b.mask(b.sub(b.index(columns), at));
          SignLanes signs = getSigns(b, b.loadMasked(x, {row, at}, exists, b.tileOf(0.0f)), ofZero);
          for (int64_t plane = 0; plane < count; ++plane)
            bits[plane] = joinBits(b, half ? bits[plane] : Value(), b.andi(plane ? signs.nonzero : signs.positive, exists));
        }
        for (int64_t plane = 0; plane < count; ++plane)
          memref::StoreOp::create(b, bits[plane], planes, ValueRange{row, b.index(plane), word});
      });
    });
  });
}

/// Images x[N, C, H, W]: sixteen pixels, a channel after the other. planes [N, 2 · words, H, W].
static void emitPixelSigns(KernelBuilder &b, Value x, Value planes, int64_t ofZero) {
  int64_t channels = cast<MemRefType>(x.getType()).getDimSize(1), words = cast<MemRefType>(planes.getType()).getDimSize(1) / 2;
  SmallVector<ReassociationIndices> image{{0}, {1}, {2, 3}};
  Value from = memref::CollapseShapeOp::create(b, x, image), to = memref::CollapseShapeOp::create(b, planes, image);
  Value pixels = b.dim(from, 2), none = b.tileOf(int32_t(0));
  b.parallel(b.mul(b.dim(x, 0), words), [&](Value task) {
    Value n = b.div(task, words), word = b.rem(task, words), channel = b.mul(word, kSignBits);
    b.loop(b.index(0), pixels, kLanes, [&](Value pixel) {
      Value exists = b.mask(b.sub(pixels, pixel));
      SmallVector<Value> bits =
          b.loop(channel, b.min(b.index(channels), b.add(channel, kSignBits)), 1, {none, none, b.tileOf(int32_t(1))},
                 [&](Value c, ValueRange carried) {
                   SignLanes signs = getSigns(b, b.loadMasked(from, {n, c, pixel}, exists, b.tileOf(0.0f)), ofZero);
                   auto set = [&](Value word, Value where) {
                     return Value(arith::OrIOp::create(b, word, Value(arith::SelectOp::create(b, where, carried[2], none))));
                   };
                   return SmallVector<Value>{set(carried[0], signs.positive), set(carried[1], signs.nonzero), b.add(carried[2], carried[2])};
                 });
      b.storeMasked(bits[0], to, {n, word, pixel}, exists);
      b.storeMasked(bits[1], to, {n, b.add(word, words), pixel}, exists);
    });
  });
}

void mlir::quanta::emitSigns(KernelBuilder &b, const KernelArgs &args) {
  bool images = cast<MemRefType>(args.inputs[0].getType()).getRank() == 4;
  (images ? emitPixelSigns : emitRowSigns)(b, args.inputs[0], args.outputs[0], args.getInt("of_zero"));
}
