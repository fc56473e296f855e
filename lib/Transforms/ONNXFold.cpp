//===- ONNXFold.cpp - Evaluate and simplify an ONNX graph ---------------------------------------------------------------===//
//
// What exporters leave behind: arithmetic on shapes, constants computed by nodes, nodes that change nothing.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "ONNXUtils.h"
#include "quanta/Import/ONNX/Shapes.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/ADT/STLExtras.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_ONNXFOLD
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using onnx::NodeOp;

//===- Shapes -------------------------------------------------------------------------------------------------------------===//

/// A constant for an integer tensor whose elements follow from shapes alone.
static Value foldKnownIntegers(NodeOp node, OpBuilder &builder, const SymbolicShapes &shapes) {
  auto type = getTensorType(node.getResult(0));
  const ValueShape &shape = shapes.get(node.getResult(0));
  SmallVector<int64_t> dims = shape.getStatic();
  if (!type || !isa<IntegerType>(type.getElementType()) || !shape.elements || ShapedType::isDynamicShape(dims))
    return {};
  unsigned width = getByteWidth(type.getElementType());
  SmallVector<char> bytes(shape.elements->size() * width);
  for (auto [i, element] : llvm::enumerate(*shape.elements)) {
    auto known = dyn_cast<AffineConstantExpr>(element);
    if (!known)
      return {};
    storeInt(bytes.data() + i * width, type.getElementType(), known.getValue());
  }
  return makeConstant(builder, node.getLoc(), makeElements(type.clone(dims), bytes));
}

//===- Nodes that change nothing ------------------------------------------------------------------------------------------===//

/// True if the value is a constant whose elements all equal a number.
static bool isAll(Value value, double number) {
  auto view = ConstantView::get(value);
  // Beyond a bias' size nobody writes ones or zeros out; do not read whole weights to find out.
  if (!view || view->size() > 65536)
    return false;
  bool onFloats = isa<FloatType>(view->elementType());
  return llvm::all_of(llvm::seq<int64_t>(0, view->size()), [&](int64_t i) {
    return (onFloats ? view->getDouble(i) : static_cast<double>(view->getInt(i))) == number;
  });
}

/// The operand that a binary node returns unchanged but for broadcasting.
static Value getNeutral(NodeOp node) {
  bool add = node.is("Add"), mul = node.is("Mul");
  if (node.getNumOperands() != 2 || !(add || mul || node.is("Sub") || node.is("Div")))
    return {};
  double neutral = add || node.is("Sub") ? 0 : 1;
  if (isAll(node.getOperand(1), neutral))
    return node.getOperand(0);
  return (add || mul) && isAll(node.getOperand(0), neutral) ? node.getOperand(1) : Value();
}

/// The value that a node returns whatever the sizes are.
static Value getPassedThrough(NodeOp node) {
  Value input = node.getInput(0);
  if (node.is("Identity"))
    return input;
  // Since version 12 an input can ask for training.
  if (node.is("Dropout"))
    return node.getInput(2) && getScalar(node.getInput(2)) != 0.0 ? Value() : input;
  if (node.is("Concat") || node.is("Sum") || node.is("Max") || node.is("Min"))
    return node.getNumOperands() == 1 ? input : Value();
  if (node.is("Cast"))
    return getElementTypeOrSelf(input) == getElementTypeOrSelf(node.getResult(0)) ? input : Value();
  if (node.is("Transpose"))
    return llvm::equal(node.getInts("perm"), llvm::seq<int64_t>(0, getTensorType(input).getRank())) ? input : Value();
  if (node.is("Pad")) {
    auto pads = node.getInput(1) ? getIntegers(node.getInput(1)) : node.getInts("pads");
    return pads && !pads->empty() && llvm::all_of(*pads, [](int64_t pad) { return pad == 0; }) ? input : Value();
  }
  return {};
}

/// The value that a node returns provided that the sizes are the same.
static Value getReshaped(NodeOp node) {
  if (Value neutral = getNeutral(node))
    return neutral;
  if (llvm::is_contained({"Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten"}, node.getOpType()))
    return node.getInput(0);
  if (node.is("Slice")) {
    // A slice of full size reorders elements only if a step is negative.
    auto steps = node.getInput(4) ? getIntegers(node.getInput(4)) : SmallVector<int64_t>{};
    return steps && llvm::all_of(*steps, [](int64_t step) { return step > 0; }) ? node.getInput(0) : Value();
  }
  return {};
}

static Value simplify(NodeOp node, OpBuilder &builder, const SymbolicShapes &shapes) {
  Value result = node.getResult(0);
  if (!(node.getDomain().empty() || node.getDomain() == "ai.onnx") || !getTensorType(result))
    return {};
  if (Value known = foldKnownIntegers(node, builder, shapes))
    return known;
  if (Value same = getPassedThrough(node))
    return same;
  if (Value same = getReshaped(node))
    if (shapes.get(same).dims == shapes.get(result).dims)
      return same;

  // Transpose(Transpose(x))
  NodeOp inner = node.is("Transpose") ? getNode(node.getInput(0), "Transpose") : NodeOp();
  SmallVector<int64_t> outerPerm = node.getInts("perm"), innerPerm = inner ? inner.getInts("perm") : outerPerm;
  if (!inner || outerPerm.empty() || innerPerm.empty())
    return {};
  SmallVector<int64_t> perm;
  for (int64_t axis : outerPerm)
    perm.push_back(innerPerm[axis]);
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return inner.getInput(0);
  return makeNode(builder, builder.getFusedLoc({inner.getLoc(), node.getLoc()}), "Transpose", node.getSinceVersion(),
                  inner.getInput(0), result.getType(),
                  builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr(perm)));
}

//===- The pass -----------------------------------------------------------------------------------------------------------===//

namespace {
struct ONNXFold : quanta::impl::ONNXFoldBase<ONNXFold> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    FailureOr<SymbolicShapes> shapes = SymbolicShapes::compute(function);
    if (failed(shapes))
      return signalPassFailure();
    rewriteUpwards(function, [&](NodeOp node, OpBuilder &builder) { return simplify(node, builder, *shapes); });

    // Constants spread downwards, into subgraphs too.
    function.walk<WalkOrder::PreOrder>([](NodeOp node) {
      ElementsAttr value = foldConstant(node);
      if (!value)
        return;
      OpBuilder builder(node);
      Value constant = makeConstant(builder, node.getLoc(), value);
      if (canReplace(node.getResult(0), constant))
        node.getResult(0).replaceAllUsesWith(constant);
    });

    // Upwards: of Conv, Mul, Add the outermost absorbs its producer first, so repeat until one node is left.
    for (bool changed = true; changed;) {
      changed = false;
      rewriteUpwards(function, [&](NodeOp node, OpBuilder &builder) {
        Value folded = foldAffine(node, builder);
        changed |= static_cast<bool>(folded);
        return folded;
      });
    }

    IRRewriter rewriter(&getContext());
    eliminateCommonSubExpressions(rewriter, getAnalysis<DominanceInfo>(), function);
  }
};
} // namespace
