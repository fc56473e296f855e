//===- ConvertContext.h - State and helpers of the ONNX conversion ------------------------------------------------===//
//
// A converter of an operator has the signature `LogicalResult f(onnx::NodeOp op, ConvertContext &ctx)`: it reads inputs
// by `ctx.input(op, i)`, builds ops before the node and hands the result over by `ctx.set(op, i, tensor)`.
//
//===--------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_CONVERSION_CONVERTCONTEXT_H
#define QUANTA_LIB_CONVERSION_CONVERTCONTEXT_H

#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Dialect/ONNX/ONNX.h"
#include "quanta/Import/ONNX/OpTable.h"
#include "quanta/Import/ONNX/Shapes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::quanta {

/// A tensor value of the converted function and its symbolic sizes.
struct Tensor {
  Value value;
  SmallVector<AffineExpr> dims;

  explicit operator bool() const { return static_cast<bool>(value); }
  int64_t rank() const { return dims.size(); }
  Type element() const { return cast<RankedTensorType>(value.getType()).getElementType(); }
};

/// Reads a constant float tensor as f32 whatever its type and storage.
std::vector<float> readFloats(ElementsAttr attr);
/// Reads integers and booleans.
SmallVector<int64_t> readInts(ElementsAttr attr);
/// True if the expression is this constant.
bool isConstant(AffineExpr expr, int64_t value);
std::optional<int64_t> getConstant(AffineExpr expr);
/// The type in which values of an ONNX element type are held: i8 for bool, signless for unsigned.
Type getStorageType(Type onnxElement);
/// What diagnostics call a node.
std::string getNodeName(onnx::NodeOp op);
inline int64_t wrapAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }
/// The element type in ONNX's terms (ui8, i1, ...).
inline Type getONNXElement(Value onnxValue) { return getElementTypeOrSelf(onnxValue.getType()); }

/// A number as an attribute of a storage type; infinities become the limits of an integer type.
TypedAttr getNumberAttr(Type type, double value, bool isUnsigned = false);

/// Arithmetic on scalars: float or integer according to the operands.
struct ScalarBuilder {
  ImplicitLocOpBuilder &b;
  bool isUnsigned = false;

  Value constant(Type type, double value);
  Value constantInt(Type type, int64_t value);
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value loopIndex(int64_t dim) { return linalg::IndexOp::create(b, dim); }
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value div(Value x, Value y); ///< truncating; never traps
  Value rem(Value x, Value y); ///< sign of the dividend; never traps
  Value min(Value x, Value y);
  Value max(Value x, Value y);
  Value neg(Value x);
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, condition, x, y); }
  /// i1 result. `predicate` in terms of signed integers.
  Value compare(arith::CmpIPredicate predicate, Value x, Value y);
  Value isTrue(Value boolean) { return compare(arith::CmpIPredicate::ne, boolean, constantInt(boolean.getType(), 0)); }
  Value toBool(Value i1) { return arith::ExtUIOp::create(b, b.getI8Type(), i1); }
  /// ONNX Cast of a scalar held in storage type; `from` and `to` are ONNX element types.
  Value castTo(Value x, Type from, Type to);
  template <typename Op> Value op(ValueRange operands) {
    return Op::create(b, TypeRange{operands[0].getType()}, operands)->getResult(0);
  }
};

class ConvertContext {
public:
  ConvertContext(func::FuncOp function, SymbolicShapes shapes);

  ImplicitLocOpBuilder b; ///< before the current node, with its location
  SymbolicShapes shapes;
  /// Constant matrices that were transposed before.
  DenseMap<std::pair<Attribute, unsigned>, Tensor> linearWeights;

  /// Declares what an ONNX value has become.
  void set(Value onnxValue, Tensor tensor);
  void set(onnx::NodeOp op, unsigned result, Tensor tensor) { set(op->getResult(result), std::move(tensor)); }
  bool isConverted(Value onnxValue) const { return values.contains(onnxValue); }
  /// True if `get` has an answer.
  bool isAvailable(Value onnxValue);
  Tensor get(Value onnxValue);
  /// Empty if the input is absent.
  Tensor input(onnx::NodeOp op, unsigned position);

  // Sizes.
  ArrayRef<AffineExpr> dims(Value onnxValue) { return shapes.get(onnxValue).dims; }
  ShapeContext &symbols() { return shapes.context(); }
  AffineExpr constant(int64_t value) { return symbols().constant(value); }
  /// Elements of an integer tensor, as constants or expressions; none if only known as a tensor.
  std::optional<SmallVector<AffineExpr>> elements(Value onnxValue);
  /// The same when all are constants.
  std::optional<SmallVector<int64_t>> integers(Value onnxValue);
  Value materialize(AffineExpr expr);
  OpFoldResult size(AffineExpr expr);
  SmallVector<OpFoldResult> sizes(ArrayRef<AffineExpr> exprs);
  SmallVector<OpFoldResult> sizes(Value onnxValue) { return sizes(dims(onnxValue)); }
  RankedTensorType type(ArrayRef<AffineExpr> dims, Type element);
  /// A constant that the expression is never below, by sizes not being negative.
  std::optional<int64_t> lowerBound(AffineExpr expr);
  bool isAtMost(AffineExpr a, AffineExpr b);
  AffineExpr max(AffineExpr a, AffineExpr b);
  AffineExpr min(AffineExpr a, AffineExpr b);
  std::string describe(AffineExpr expr);
  /// Checks that sizes agree: now if both are constants, else when the model runs.
  LogicalResult requireEqual(onnx::NodeOp op, AffineExpr a, AffineExpr b, const Twine &what);
  /// Fails the run unless `condition` (i1) holds.
  void require(onnx::NodeOp op, Value condition, const Twine &message);
  /// Checks that inputs broadcast to the sizes.
  LogicalResult requireBroadcast(onnx::NodeOp op, ArrayRef<Tensor> inputs, ArrayRef<AffineExpr> out);

  // Constants.
  /// The constant behind a value, seen through Identity; null if it is none.
  ElementsAttr constantOf(Value onnxValue);
  Tensor makeConstant(ElementsAttr attr);
  /// An f32 constant whose elements `fill` writes.
  Tensor makeConstant(StringRef name, ArrayRef<int64_t> shape, function_ref<void(MutableArrayRef<float>)> fill);
  /// A constant input is no longer needed in its old form: its data is freed as soon as nothing else refers to it.
  void release(Value onnxConstant);
  /// Frees what `release` could not.
  void releaseRemaining(ModuleOp module);

  // Building blocks.
  using Body = function_ref<Value(ScalarBuilder &, ValueRange)>;
  Value empty(ArrayRef<AffineExpr> dims, Type element);
  Tensor fill(ArrayRef<AffineExpr> dims, TypedAttr value);
  /// One linalg.generic over `out` with numpy broadcasting; splat constants are used as scalars. The body may ask for
  /// loop indices.
  Tensor map(ArrayRef<Tensor> inputs, ArrayRef<AffineExpr> out, Type element, Body body, bool isUnsigned = false);
  /// The same with explicit maps from `out`'s dimensions.
  Tensor map(ArrayRef<Tensor> inputs, ArrayRef<AffineMap> maps, ArrayRef<AffineExpr> out, Type element, Body body,
             bool isUnsigned = false);
  /// Reduces the marked dimensions, which the result does not have. `combine` gets (element, accumulator).
  /// An infinite `initial` stands for the least or greatest integer.
  Tensor reduce(Tensor input, ArrayRef<bool> reduced, double initial, Body combine, bool isUnsigned = false);
  Tensor reshape(onnx::NodeOp op, Tensor input, ArrayRef<AffineExpr> to);
  Tensor transpose(Tensor input, ArrayRef<int64_t> permutation);
  Tensor slice(Tensor input, ArrayRef<AffineExpr> offsets, ArrayRef<AffineExpr> sizes, ArrayRef<int64_t> strides = {});
  Tensor pad(Tensor input, ArrayRef<AffineExpr> low, ArrayRef<AffineExpr> high, Value value);
  Tensor broadcast(Tensor input, ArrayRef<AffineExpr> to);
  Tensor castFloat(Tensor input, Type element);
  Tensor toF32(Tensor input) { return castFloat(std::move(input), b.getF32Type()); }
  /// In a body: an element of a whole tensor.
  Value extract(Tensor tensor, ValueRange indices) { return tensor::ExtractOp::create(b, tensor.value, indices); }

private:
  bool isEarly(AffineExpr expr);
  Tensor fitted(Value value, ArrayRef<AffineExpr> dims);

  func::FuncOp function;
  Operation *prologue; ///< symbolic sizes are computed before it
  DenseMap<Value, Tensor> values;
  DenseMap<AffineExpr, Value> indices;
  DenseMap<AffineExpr, std::pair<Value, unsigned>> dimSources;
  DenseSet<std::pair<AffineExpr, AffineExpr>> checked;
  llvm::StringMap<unsigned> resourceUses;
  SmallVector<std::string> superseded;
};

using ConvertFn = LogicalResult (*)(onnx::NodeOp, ConvertContext &);
/// The converter of a node, null if there is none.
ConvertFn lookupConverter(onnx::NodeOp op);

/// The last column of Ops.def.
namespace convert {
#define QUANTA_CONVERTERS(X)                                                                                           \
  X(elementwise) X(identity) X(matmul) X(gemm) X(conv) X(convTranspose) X(batchNorm) X(instanceNorm) X(groupNorm)      \
  X(layerNorm) X(rmsNorm) X(softmax) X(rotary) X(attention) X(reshape) X(transpose) X(concat) X(split) X(slice) X(pad) \
  X(expand) X(tile) X(depthToSpace) X(range) X(constantOfShape) X(shape) X(trilu) X(reduce) X(argReduce) X(pool)       \
  X(globalPool) X(cumSum) X(gather) X(gatherElements) X(resize)
#define QUANTA_DECLARE(name) LogicalResult name(onnx::NodeOp op, ConvertContext &ctx);
QUANTA_CONVERTERS(QUANTA_DECLARE)
#undef QUANTA_DECLARE
#undef QUANTA_CONVERTERS
inline constexpr ConvertFn unary = elementwise, binary = elementwise, compare = elementwise, logical = elementwise,
                           variadic = elementwise, where = elementwise, castType = elementwise, clip = elementwise;
inline constexpr ConvertFn none = nullptr;
} // namespace convert

} // namespace mlir::quanta
#endif
