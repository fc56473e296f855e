//===- EmitKernels.cpp - Kernels on buffers become functions ----------------------------------------------------------------===//
#include "Kernels/Kernels.h"
#include "quanta/Codegen/Codegen.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringExtras.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_EMITKERNELS
#include "quanta/Codegen/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct EmitKernels : public mlir::quanta::impl::EmitKernelsBase<EmitKernels> {
  using EmitKernelsBase::EmitKernelsBase;

  void runOnOperation() override {
    level = ::quanta::findTargetLevel(target);
    if (!level) {
      auto names = llvm::map_range(::quanta::getTargetLevels(), [](const ::quanta::TargetLevel &known) { return known.name; });
      getOperation().emitError() << "there is no target level '" << target << "'; there are: " << llvm::join(names, ", ");
      return signalPassFailure();
    }
    // Family, config and types decide the code; the key is their attribute.
    DenseMap<Attribute, func::FuncOp> emitted;
    SymbolTable symbols(getOperation());
    WalkResult result = getOperation().walk([&](KernelOp kernel) -> WalkResult {
      func::FuncOp function = getFunction(kernel, emitted, symbols);
      if (!function)
        return WalkResult::interrupt();
      OpBuilder builder(kernel);
      func::CallOp::create(builder, kernel.getLoc(), function, kernel.getOperands());
      kernel.erase();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (function->hasAttr("quanta.epilogue"))
        function.erase();
  }

  func::FuncOp getFunction(KernelOp kernel, DenseMap<Attribute, func::FuncOp> &emitted, SymbolTable &symbols) {
    KernelEmitter emitter = lookupKernel(kernel.getFamily());
    if (!emitter) {
      kernel.emitOpError() << "no kernel family is called '" << kernel.getFamily() << "'";
      return {};
    }
    if (kernel.getNumResults() || llvm::any_of(kernel.getOperandTypes(), [](Type type) { return isa<TensorType>(type); })) {
      kernel.emitOpError() << "expected operands in memory; bufferize first";
      return {};
    }
    auto packed = dyn_cast_or_null<PackedAttr>(kernel.getConfig().get("encoding"));
    if (packed && packed.getBase() && !isa<DecodeInterface>(Attribute(packed.getBase()))) {
      kernel.emitOpError() << "encoding " << packed.getBase() << " cannot be decoded by a kernel";
      return {};
    }
    Builder builder(&getContext());
    auto type = builder.getFunctionType(kernel.getOperandTypes(), {});
    Attribute key = builder.getArrayAttr({kernel.getFamilyAttr(), kernel.getConfig(), TypeAttr::get(type),
                                          builder.getI64ArrayAttr({static_cast<int64_t>(kernel.getInputs().size()),
                                                                   static_cast<int64_t>(kernel.getWeights().size())})});
    func::FuncOp &function = emitted[key];
    if (function)
      return function;
    OpBuilder atEnd = OpBuilder::atBlockEnd(getOperation().getBody());
    function = func::FuncOp::create(atEnd, kernel.getLoc(), ("kernel_" + kernel.getFamily()).str(), type);
    function.setPrivate();
    symbols.insert(function);
    Block *body = function.addEntryBlock();
    KernelBuilder b{ImplicitLocOpBuilder::atBlockEnd(kernel.getLoc(), body)};
    b.setLevel(*level);
    ValueRange all = body->getArguments();
    size_t inputs = kernel.getInputs().size(), weights = kernel.getWeights().size();
    KernelArgs args{kernel.getConfig(), all.take_front(inputs), all.slice(inputs, weights), all.drop_front(inputs + weights)};
    if (auto name = kernel.getConfig().getAs<FlatSymbolRefAttr>("epilogue"))
      args.epilogue = symbols.lookup<func::FuncOp>(name.getValue());
    emitter(b, args);
    b.setInsertionPointToEnd(body);
    func::ReturnOp::create(b);
    return function;
  }

  const ::quanta::TargetLevel *level = nullptr;
};
} // namespace
