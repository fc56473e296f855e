//===- ONNXToQuanta.cpp - The pass convert-onnx-to-quanta ---------------------------------------------------------===//
#include "ConvertContext.h"
#include "quanta/Conversion/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_CONVERTONNXTOQUANTA
#include "quanta/Conversion/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

ConvertFn quanta::lookupConverter(onnx::NodeOp op) {
  using namespace mlir::quanta::convert;
  static const ConvertFn table[] = {
#define ROW(domain, op, versions, inputs, attributes, infer, convert) convert,
#include "quanta/Import/ONNX/Ops.def"
  };
  const OpRow *row = findRow(op.getDomain(), op.getOpType(), op.getSinceVersion());
  return row ? table[row->index] : nullptr;
}

/// The name of a port's type in the public interface.
static std::string getPortType(Type type) {
  Type element = getElementTypeOrSelf(type);
  if (element.isInteger(1))
    return "bool";
  if (auto integer = dyn_cast<IntegerType>(element))
    return (integer.isUnsigned() ? "u" : "i") + std::to_string(integer.getWidth());
  std::string name;
  llvm::raw_string_ostream(name) << element;
  return name;
}

namespace {
struct ConvertONNXToQuanta : quanta::impl::ConvertONNXToQuantaBase<ConvertONNXToQuanta> {
  LogicalResult convert(func::FuncOp function);
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(convert(function)))
        return signalPassFailure();
  }
};
} // namespace

LogicalResult ConvertONNXToQuanta::convert(func::FuncOp function) {
  Block &entry = function.front();
  auto nodes = llvm::to_vector(entry.getOps<onnx::NodeOp>());
  if (nodes.empty() && !function->hasAttr("quanta.dims"))
    return success();
  Operation *terminator = entry.getTerminator();

  Builder builder(&getContext());
  auto setPortTypes = [&](StringRef name, TypeRange types) {
    SmallVector<Attribute> names;
    for (Type type : types)
      names.push_back(builder.getStringAttr(getPortType(type)));
    function->setAttr(name, builder.getArrayAttr(names));
  };
  setPortTypes("quanta.input_types", function.getArgumentTypes());
  setPortTypes("quanta.output_types", function.getResultTypes());

  bool ok = true;
  for (onnx::NodeOp node : nodes)
    if (!lookupConverter(node)) {
      node.emitError() << "node " << getNodeName(node) << ": no conversion of operator " << node.getOpType()
          << " (schema "
                       << node.getSinceVersion() << (node.getDomain().empty() ? "" : " of ") << node.getDomain() << ")";
      ok = false;
    }
  if (!ok)
    return failure();
  auto shapes = SymbolicShapes::compute(function);
  if (failed(shapes))
    return failure();

  unsigned arguments = entry.getNumArguments();
  ConvertContext ctx(function, std::move(*shapes));
  for (onnx::NodeOp node : nodes) {
    // Done as well: a product whose only user, an addition, was converted together with it.
    auto done = [&](Value value) {
      return ctx.isAvailable(value) || llvm::all_of(value.getUsers(), [&](Operation *user) {
               return user->getNumResults() && ctx.isConverted(user->getResult(0));
             });
    };
    if (llvm::all_of(node->getResults(), done))
      continue;
    // After a failure, only what does not depend on it is still looked at.
    if (!ok && !llvm::all_of(node->getOperands(), [&](Value value) { return ctx.isAvailable(value); }))
      continue;
    ctx.b.setInsertionPoint(node);
    ctx.b.setLoc(node.getLoc());
    if (failed(lookupConverter(node)(node, ctx))) {
      ok = false;
      continue;
    }
    for (Value result : node->getResults())
      if (!done(result)) {
        node.emitError() << "node " << getNodeName(node) << ": output " << cast<OpResult>(result).getResultNumber()
                         << " of " << node.getOpType() << " is not supported";
        ok = false;
      }
  }
  if (!ok)
    return failure();

  ctx.b.setInsertionPoint(terminator);
  ctx.b.setLoc(terminator->getLoc());
  for (OpOperand &operand : terminator->getOpOperands())
    operand.set(ctx.get(operand.get()).value);
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(entry)))
    if (isa<onnx::NodeOp>(op) || isOpTriviallyDead(&op))
      op.erase();
  entry.eraseArguments(0, arguments);
  function.setType(builder.getFunctionType(entry.getArgumentTypes(), terminator->getOperandTypes()));
  ctx.releaseRemaining(getOperation());
  return success();
}
