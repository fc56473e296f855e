//===- FuseEpilogues.cpp - Elementwise ops and codes of results at the ends of kernels --------------------------------------===//
#include "Kernels/Epilogue.h"
#include "quanta/Codegen/Codegen.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "quanta/Codegen/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// More operands than that would be more streams of addresses than registers.
constexpr size_t kMostOperands = 4;

/// An elementwise op that can be applied to a kernel's result, and its other operands in the shape of that result.
struct Elementwise {
  linalg::GenericOp op;
  tensor::ExpandShapeOp expand; ///< of the result, in between; or null
  unsigned argument;            ///< of the body: the result
  SmallVector<unsigned> others; ///< inputs of the op
  SmallVector<int64_t> kinds;   ///< EpilogueOperand of each
};

class EpilogueFuser {
public:
  explicit EpilogueFuser(ModuleOp module) : module(module), symbols(module), b(module.getContext()) {}

  void run() {
    SmallVector<KernelOp> kernels, signKernels, encoders;
    module.walk([&](KernelOp kernel) {
      if (hasEpilogue(kernel.getFamily(), kernel.getConfig()) && kernel.getNumResults() == 1)
        (storesSigns(kernel.getFamily()) ? signKernels : kernels).push_back(kernel);
    });
    // Of two kernels whose sum is an op's input one that can store its signs takes it, else the later one.
    for (auto *list : {&signKernels, &kernels})
      for (KernelOp kernel : llvm::reverse(*list))
        if (auto found = find(kernel))
          fuse(kernel, *found);
    module.walk([&](KernelOp kernel) {
      if (llvm::is_contained({"quantize", "quantize_image", "signs"}, kernel.getFamily()))
        encoders.push_back(kernel);
    });
    for (KernelOp encoder : encoders)
      fuseEncoder(encoder);
  }

private:
  static RankedTensorType type(Value value) { return cast<RankedTensorType>(value.getType()); }

  /// Results are [rows, channels], not images.
  static bool hasRows(KernelOp kernel) { return type(kernel.getOutputs().front()).getRank() == 2; }

  //===- Elementwise ops ------------------------------------------------------------------------------------------------===//

  /// Whether the body can be computed for 16 lanes at once, from its arguments and constants.
  static bool isVectorizable(linalg::GenericOp op) {
    Block &body = *op.getBody();
    if (!body.getArguments().back().use_empty()) // the destination's
      return false;
    return llvm::all_of(body, [&](Operation &inner) {
      auto known = [&](Value operand) {
        Operation *source = operand.getDefiningOp();
        return operand.getParentBlock() == &body || (source && isa<arith::ConstantOp>(source) && operand.getType().isIntOrFloat());
      };
      return llvm::all_of(inner.getOperands(), known) &&
             (isa<linalg::YieldOp, arith::ConstantOp>(inner) ||
              (inner.getNumResults() == 1 && inner.getNumRegions() == 0 && OpTrait::hasElementwiseMappableTraits(&inner) &&
               inner.getResult(0).getType().isIntOrFloat()));
    });
  }

  std::optional<Elementwise> find(KernelOp kernel) {
    Value y = kernel.getResult(0);
    Elementwise found;
    if (!y.hasOneUse())
      return std::nullopt;
    bool rows = hasRows(kernel);
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(*y.user_begin()); expand && rows) {
      // Only leading dimensions: channels stay the last.
      if (type(expand).getShape().back() != type(y).getShape().back() || !expand.getResult().hasOneUse())
        return std::nullopt;
      found.expand = expand;
      y = expand.getResult();
    }
    found.op = dyn_cast<linalg::GenericOp>(*y.user_begin());
    if (!found.op || found.op->getBlock() != kernel->getBlock() || found.op.getNumDpsInits() != 1 || found.op->getNumResults() != 1 ||
        found.op.getNumLoops() != found.op.getNumParallelLoops() || !isVectorizable(found.op) || type(found.op->getResult(0)) != type(y))
      return std::nullopt;
    SmallVector<AffineMap> maps = found.op.getIndexingMapsArray();
    int64_t rank = type(y).getRank(), channel = rows ? rank - 1 : 1;
    if (!maps.back().isIdentity())
      return std::nullopt;
    auto perChannel = AffineMap::get(rank, 0, getAffineDimExpr(channel, module.getContext()));
    for (auto [i, operand] : llvm::enumerate(found.op.getInputs())) {
      auto shaped = dyn_cast<RankedTensorType>(operand.getType());
      if (!shaped || !shaped.getElementType().isF32())
        return std::nullopt;
      if (operand == y) {
        if (!maps[i].isIdentity())
          return std::nullopt;
        found.argument = i;
        continue;
      }
      bool element = maps[i].isIdentity() && shaped == type(y);
      if (!element && maps[i] != perChannel)
        return std::nullopt;
      found.others.push_back(i);
      found.kinds.push_back(static_cast<int64_t>(element ? EpilogueOperand::Element : EpilogueOperand::Channel));
    }
    return found.others.size() <= kMostOperands ? std::optional(found) : std::nullopt;
  }

  /// The op's body as a function of the result and the other operands; equal ones are shared.
  FlatSymbolRefAttr getFunction(const Elementwise &found) {
    OpBuilder atEnd = OpBuilder::atBlockEnd(module.getBody());
    SmallVector<Type> arguments(found.others.size() + 1, atEnd.getF32Type());
    auto function = func::FuncOp::create(atEnd, atEnd.getUnknownLoc(), "epilogue", atEnd.getFunctionType(arguments, arguments.front()));
    function.setPrivate();
    function->setAttr("quanta.epilogue", atEnd.getUnitAttr());
    Block *body = function.addEntryBlock();
    OpBuilder inner = OpBuilder::atBlockEnd(body);
    IRMapping mapping;
    Block &source = *const_cast<Elementwise &>(found).op.getBody();
    mapping.map(source.getArgument(found.argument), body->getArgument(0));
    for (auto [i, other] : llvm::enumerate(found.others))
      mapping.map(source.getArgument(other), body->getArgument(i + 1));
    for (Operation &op : source) {
      for (Value operand : op.getOperands())
        if (!mapping.contains(operand))
          mapping.map(operand, inner.clone(*operand.getDefiningOp())->getResult(0));
      if (isa<linalg::YieldOp>(op))
        func::ReturnOp::create(inner, op.getLoc(), mapping.lookup(op.getOperand(0)));
      else
        inner.clone(op, mapping);
    }
    for (func::FuncOp known : functions)
      if (known.getFunctionType() == function.getFunctionType() &&
          OperationEquivalence::isRegionEquivalentTo(&known.getBody(), &function.getBody(), OperationEquivalence::IgnoreLocations)) {
        function.erase();
        return FlatSymbolRefAttr::get(known);
      }
    symbols.insert(function);
    functions.push_back(function);
    return FlatSymbolRefAttr::get(function);
  }

  void fuse(KernelOp kernel, Elementwise &found) {
    b.setInsertionPoint(found.op);
    SmallVector<Value> inputs(kernel.getInputs());
    for (auto [other, kind] : llvm::zip_equal(found.others, found.kinds)) {
      Value operand = found.op.getInputs()[other];
      if (found.expand && kind == static_cast<int64_t>(EpilogueOperand::Element))
        operand = tensor::CollapseShapeOp::create(b, kernel.getLoc(), type(kernel.getResult(0)), operand, found.expand.getReassociationIndices());
      inputs.push_back(operand);
    }
    NamedAttrList config(kernel.getConfig());
    config.set("epilogue", getFunction(found));
    config.set("operands", b.getDenseI64ArrayAttr(found.kinds));
    auto fused = KernelOp::create(b, kernel.getLoc(), kernel.getResultTypes(), kernel.getFamilyAttr(), inputs, kernel.getWeights(),
                                  kernel.getOutputs(), config.getDictionary(b.getContext()));
    Value result = fused.getResult(0);
    if (found.expand) {
      found.expand->moveBefore(found.op);
      found.expand.getSrcMutable().assign(result);
      result = found.expand.getResult();
    }
    found.op->getResult(0).replaceAllUsesWith(result);
    found.op.erase();
    kernel.erase();
  }

  //===- Codes ------------------------------------------------------------------------------------------------------------===//

  /// What `x` was before its leading dimensions were split and joined again.
  static Value withoutReshapes(Value x) {
    auto collapse = x.getDefiningOp<tensor::CollapseShapeOp>();
    auto expand = collapse ? collapse.getSrc().getDefiningOp<tensor::ExpandShapeOp>() : tensor::ExpandShapeOp();
    return expand && expand.getSrc().getType() == x.getType() ? expand.getSrc() : x;
  }

  /// Whether the kernel can store what the encoder makes of its result.
  static bool stores(KernelOp kernel, KernelOp encoder) {
    DictionaryAttr config = kernel.getConfig();
    if (kernel.getNumResults() != 1 || config.contains("result_encoding") || config.contains("result_signs"))
      return false;
    if (encoder.getFamily() == "signs")
      return storesSigns(kernel.getFamily());
    return isa_and_present<AffineAttr>(encoder.getConfig().get("activation")) && storesCodes(kernel.getFamily(), config) &&
           hasRows(kernel) == (encoder.getFamily() == "quantize") && config.contains("quads") == encoder.getConfig().contains("quads");
  }

  void fuseEncoder(KernelOp encoder) {
    Value x = withoutReshapes(encoder.getInputs().front());
    auto kernel = x.getDefiningOp<KernelOp>();
    if (!kernel || kernel->getBlock() != encoder->getBlock() || !stores(kernel, encoder))
      return;
    auto stored = type(encoder.getResult(0));
    if (llvm::any_of(stored.getShape().drop_front(), ShapedType::isDynamic) ||
        llvm::any_of(type(x).getShape().drop_front(), ShapedType::isDynamic))
      return;
    // The parameters of segments are constants, which may lie behind the kernel.
    SmallVector<Value> inputs(kernel.getInputs());
    b.setInsertionPoint(kernel);
    for (Value parameter : encoder.getInputs().drop_front()) {
      Operation *source = parameter.getDefiningOp();
      if (!source || !isa<arith::ConstantOp>(source))
        return;
      inputs.push_back(b.clone(*source)->getResult(0));
    }
    Location loc = kernel.getLoc();
    SmallVector<Value> sizes;
    if (stored.isDynamicDim(0))
      sizes.push_back(tensor::DimOp::create(b, loc, kernel.getOutputs().front(), 0));
    Value codes = tensor::EmptyOp::create(b, loc, stored.getShape(), stored.getElementType(), sizes);
    NamedAttrList config(kernel.getConfig());
    if (encoder.getFamily() == "signs")
      config.set("result_signs", encoder.getConfig().get("of_zero"));
    else
      config.set("result_encoding", encoder.getConfig().get("activation"));
    if (encoder.getFamily() == "quantize_image") {
      for (StringRef name : {"top", "left"})
        config.set(("result_" + name).str(), encoder.getConfig().get(name));
      config.set("result_size", b.getDenseI64ArrayAttr(type(x).getShape().drop_front(2)));
    }
    bool floats = !onlyFeeds(x, encoder);
    SmallVector<Value> outputs{codes};
    if (floats)
      outputs.insert(outputs.begin(), kernel.getOutputs().front());
    auto fused = KernelOp::create(b, loc, TypeRange(ValueRange(outputs)), kernel.getFamilyAttr(), inputs, kernel.getWeights(), outputs,
                                  config.getDictionary(b.getContext()));
    encoder.getResult(0).replaceAllUsesWith(fused.getResults().back());
    Value read = encoder.getInputs().front();
    encoder.erase();
    while (read != x) { // reshapes
      Operation *reshape = read.getDefiningOp();
      if (!reshape->use_empty())
        break;
      read = reshape->getOperand(0);
      reshape->erase();
    }
    if (floats)
      x.replaceAllUsesWith(fused.getResult(0));
    kernel.erase();
  }

  /// Whether the encoder is all that reads x, through reshapes or not.
  static bool onlyFeeds(Value x, KernelOp encoder) {
    Value read = encoder.getInputs().front();
    for (; read != x; read = read.getDefiningOp()->getOperand(0))
      if (!read.hasOneUse())
        return false;
    return x.hasOneUse();
  }

  ModuleOp module;
  SymbolTable symbols;
  OpBuilder b;
  SmallVector<func::FuncOp> functions;
};

struct FuseEpilogues : public mlir::quanta::impl::FuseEpiloguesBase<FuseEpilogues> {
  void runOnOperation() override { EpilogueFuser(getOperation()).run(); }
};

} // namespace
