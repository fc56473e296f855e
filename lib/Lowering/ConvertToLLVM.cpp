//===- ConvertToLLVM.cpp - The entry function, runtime calls and the LLVM dialect --------------------------------===//
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"
#include "quanta/Lowering/Passes.h"
#include "llvm/Support/xxhash.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_CONVERTTOLLVM
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

/// Declares and calls the functions of quanta_rt.h.
namespace {
class Runtime {
public:
  Runtime(ModuleOp module)
      : module(module), converter(module.getContext()), b(module.getContext()),
        pointer(LLVM::LLVMPointerType::get(module.getContext())), i32(b.getI32Type()), i64(b.getI64Type()) {}

  Value call(OpBuilder &builder, Location loc, StringRef name, Type result, ValueRange args) {
    Type returned = result ? result : LLVM::LLVMVoidType::get(module.getContext());
    LLVM::LLVMFuncOp &function = declared[name];
    if (!function) {
      OpBuilder top = OpBuilder::atBlockEnd(module.getBody());
      function = *LLVM::lookupOrCreateFn(top, module, name, llvm::to_vector(args.getTypes()), returned);
    }
    auto call = LLVM::CallOp::create(builder, loc, function, args);
    return result ? call.getResult() : Value();
  }
  Value constant(OpBuilder &builder, Location loc, Type type, int64_t value) {
    return LLVM::ConstantOp::create(builder, loc, type, value);
  }
  Value toMemRef(OpBuilder &builder, Location loc, MemRefType type, Value descriptor) {
    return UnrealizedConversionCastOp::create(builder, loc, type, descriptor).getResult(0);
  }
  Value toDescriptor(OpBuilder &builder, Location loc, Value memref) {
    return UnrealizedConversionCastOp::create(builder, loc, converter.convertType(memref.getType()), memref)
        .getResult(0);
  }
  /// A contiguous memref at `data`; `sizes` are the i64 values of the dynamic dimensions.
  Value makeMemRef(OpBuilder &builder, Location loc, MemRefType type, Value data, ArrayRef<Value> sizes) {
    auto descriptor = MemRefDescriptor::poison(builder, loc, converter.convertType(type));
    descriptor.setAllocatedPtr(builder, loc, data);
    descriptor.setAlignedPtr(builder, loc, data);
    descriptor.setConstantOffset(builder, loc, 0);
    Value stride = constant(builder, loc, i64, 1);
    unsigned dynamic = sizes.size();
    for (int64_t i = type.getRank(); i-- > 0;) {
      Value size = type.isDynamicDim(i) ? sizes[--dynamic] : constant(builder, loc, i64, type.getDimSize(i));
      descriptor.setSize(builder, loc, i, size);
      descriptor.setStride(builder, loc, i, stride);
      if (i > 0)
        stride = LLVM::MulOp::create(builder, loc, stride, size);
    }
    return toMemRef(builder, loc, type, descriptor);
  }

  ModuleOp module;
  LLVMTypeConverter converter;
  OpBuilder b;
  Type pointer, i32, i64;
  llvm::StringMap<LLVM::LLVMFuncOp> declared;
};

//===- Allocation, weights, assertions ---------------------------------------------------------------------------===//

LogicalResult lowerRuntimeOps(Runtime &runtime, func::FuncOp function, const DenseMap<StringAttr, int64_t> &offsets,
                              const DenseMap<StringAttr, int64_t> &stateOffsets) {
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<memref::AllocOp, memref::DeallocOp, cf::AssertOp, WeightOp, StateOp, CacheLengthOp, CacheAdvanceOp>(op))
      ops.push_back(op);
  });
  if (ops.empty())
    return success();
  if (!function->hasAttr("quanta.rt"))
    return function.emitError("expected the runtime handle: run quanta-outline-parallel first");
  Value rt = function.getArgument(0);
  // Base addresses, asked for once.
  Value weights, states;
  auto addressOf = [&](Operation *op, Value &base, StringRef getter, int64_t offset) {
    Location loc = op->getLoc();
    if (!base) {
      OpBuilder entry = OpBuilder::atBlockBegin(&function.getBody().front());
      base = runtime.call(entry, loc, getter, runtime.pointer, rt);
    }
    OpBuilder b(op);
    Value data = LLVM::GEPOp::create(b, loc, runtime.pointer, b.getI8Type(), base,
                                     ValueRange{runtime.constant(b, loc, runtime.i64, offset)});
    op->getResult(0).replaceAllUsesWith(
        runtime.makeMemRef(b, loc, cast<MemRefType>(op->getResult(0).getType()), data, {}));
  };
  for (Operation *op : ops) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      MemRefType type = alloc.getType();
      if (!type.getLayout().isIdentity())
        return op->emitError("expected a contiguous allocation");
      int64_t known = getElementBytes(type.getElementType());
      for (int64_t size : type.getShape())
        known *= ShapedType::isDynamic(size) ? 1 : size;
      Value bytes = runtime.constant(b, loc, runtime.i64, known);
      SmallVector<Value> sizes;
      for (Value size : alloc.getDynamicSizes()) {
        sizes.push_back(arith::IndexCastOp::create(b, loc, runtime.i64, size));
        bytes = LLVM::MulOp::create(b, loc, bytes, sizes.back());
      }
      Value data = runtime.call(b, loc, "quanta_rt_alloc", runtime.pointer, {rt, bytes});
      alloc.replaceAllUsesWith(runtime.makeMemRef(b, loc, type, data, sizes));
    } else if (auto dealloc = dyn_cast<memref::DeallocOp>(op)) {
      MemRefDescriptor descriptor(runtime.toDescriptor(b, loc, dealloc.getMemref()));
      runtime.call(b, loc, "quanta_rt_free", {}, {rt, descriptor.allocatedPtr(b, loc)});
    } else if (auto weight = dyn_cast<WeightOp>(op)) {
      auto offset = offsets.find(weight.getNameAttr().getAttr());
      if (offset == offsets.end())
        return op->emitError() << "expected quanta.weights named '" << weight.getName() << "'";
      addressOf(op, weights, "quanta_rt_weights", offset->second);
    } else if (auto state = dyn_cast<StateOp>(op)) {
      auto offset = stateOffsets.find(state.getNameAttr().getAttr());
      if (offset == stateOffsets.end())
        return op->emitError() << "expected quanta.states named '" << state.getName() << "'";
      addressOf(op, states, "quanta_rt_state", offset->second);
    } else if (isa<CacheLengthOp>(op)) {
      Value length = runtime.call(b, loc, "quanta_rt_cache_length", runtime.i64, rt);
      op->getResult(0).replaceAllUsesWith(arith::IndexCastOp::create(b, loc, b.getIndexType(), length));
    } else if (isa<CacheAdvanceOp>(op)) {
      Value positions = arith::IndexCastOp::create(b, loc, runtime.i64, op->getOperand(0));
      runtime.call(b, loc, "quanta_rt_cache_advance", {}, {rt, positions});
    } else {
      auto assertion = cast<cf::AssertOp>(op);
      Value failed = arith::XOrIOp::create(b, loc, assertion.getArg(), arith::ConstantIntOp::create(b, loc, 1, 1));
      OpBuilder then = scf::IfOp::create(b, loc, failed, /*withElseRegion=*/false).getThenBodyBuilder();
      std::string text = assertion.getMsg().str();
      std::string name = llvm::formatv("quanta_message_{0:x}", llvm::xxh3_64bits(text)).str();
      text.push_back('\0');
      Value message;
      if (auto global = runtime.module.lookupSymbol<LLVM::GlobalOp>(name))
        message = LLVM::AddressOfOp::create(then, loc, global);
      else
        message = LLVM::createGlobalString(loc, then, name, text, LLVM::Linkage::Internal);
      runtime.call(then, loc, "quanta_rt_fail", {}, {rt, message});
    }
    op->erase();
  }
  return success();
}

/// Stack buffers of loops go to the function's start, where they are allocated once.
void hoistStackBuffers(ModuleOp module) {
  SmallVector<memref::AllocaOp> allocas;
  module.walk([&](memref::AllocaOp op) {
    if (op->getNumOperands() == 0 && !op->getParentOfType<memref::AllocaScopeOp>())
      allocas.push_back(op);
  });
  for (memref::AllocaOp op : allocas)
    op->moveBefore(&op->getParentOfType<FunctionOpInterface>().getFunctionBody().front().front());
}

//===- Entry and model description -------------------------------------------------------------------------------===//

std::string typeName(Type type) {
  if (type.isInteger(1))
    return "bool";
  if (type.isIndex())
    return "i64";
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

/// One entry of `inputs` or `outputs` for each type.
ArrayAttr describePorts(func::FuncOp main, ArrayRef<Type> types, StringRef kind, StringRef dimsName,
                        SmallVectorImpl<StringRef> &symbols, bool define) {
  OpBuilder b(main.getContext());
  auto names = main->getAttrOfType<ArrayAttr>(("quanta." + kind + "s").str());
  auto elements = main->getAttrOfType<ArrayAttr>(("quanta." + kind + "_types").str());
  auto dims = main->getAttrOfType<ArrayAttr>(dimsName);
  SmallVector<Attribute> ports;
  for (auto [i, type] : llvm::enumerate(types)) {
    auto memref = cast<MemRefType>(type);
    Attribute name = names && i < names.size() ? names[i] : b.getStringAttr(llvm::formatv("{0}{1}", kind, i).str());
    Attribute element =
        elements && i < elements.size() ? elements[i] : b.getStringAttr(typeName(memref.getElementType()));
    auto sizes = dims && i < dims.size() ? dyn_cast<ArrayAttr>(dims[i]) : ArrayAttr();
    SmallVector<int64_t> shape;
    SmallVector<int32_t> indices;
    for (int64_t d = 0; d < memref.getRank(); ++d) {
      shape.push_back(memref.isDynamicDim(d) ? -1 : memref.getDimSize(d));
      indices.push_back(-1);
      auto symbol = sizes && d < static_cast<int64_t>(sizes.size()) ? dyn_cast<StringAttr>(sizes[d]) : StringAttr();
      if (!symbol || !memref.isDynamicDim(d))
        continue;
      auto found = llvm::find(symbols, symbol.getValue());
      if (found == symbols.end() && !define)
        continue; // no input has it, so nothing can be checked
      indices.back() = found - symbols.begin();
      if (found == symbols.end())
        symbols.push_back(symbol.getValue());
    }
    ports.push_back(b.getDictionaryAttr({b.getNamedAttr("name", name), b.getNamedAttr("type", element),
                                         b.getNamedAttr("shape", b.getDenseI64ArrayAttr(shape)),
                                         b.getNamedAttr("symbols", b.getDenseI32ArrayAttr(indices))}));
  }
  return b.getArrayAttr(ports);
}

void describeModel(ModuleOp module, func::FuncOp main, int64_t stateBytes) {
  OpBuilder b(module.getContext());
  auto text = [&](StringRef name, StringRef otherwise) -> Attribute {
    auto value = module->getAttrOfType<StringAttr>(name);
    return value ? value : b.getStringAttr(otherwise);
  };
  SmallVector<StringRef> symbols;
  ArrayAttr inputs = describePorts(main, main.getArgumentTypes().drop_front(), "input", "quanta.dims", symbols, true);
  ArrayAttr outputs = describePorts(main, main.getResultTypes(), "output", "quanta.output_dims", symbols, false);
  SmallVector<NamedAttribute> model = {
      b.getNamedAttr("name", text("quanta.name", "model")), b.getNamedAttr("recipe", text("quanta.recipe", "")),
      b.getNamedAttr("inputs", inputs), b.getNamedAttr("outputs", outputs),
      b.getNamedAttr("symbols", b.getStrArrayAttr(symbols))};
  if (auto capacity = module->getAttrOfType<IntegerAttr>("quanta.cache_capacity"))
    model.push_back(b.getNamedAttr("cache", b.getDenseI64ArrayAttr({capacity.getInt(), stateBytes})));
  module->setAttr("quanta.model", b.getDictionaryAttr(model));
}

/// @main(rt, memrefs) -> memrefs becomes @quanta_entry(rt) -> i32.
LogicalResult makeEntry(Runtime &runtime, func::FuncOp main) {
  Location loc = main.getLoc();
  for (Type type : llvm::concat<const Type>(main.getArgumentTypes().drop_front(), main.getResultTypes()))
    if (auto memref = dyn_cast<MemRefType>(type); !memref || !memref.getLayout().isIdentity())
      return main.emitError() << "expected contiguous buffers as arguments and results but got " << type;
  SmallVector<func::ReturnOp> returns;
  main.walk([&](func::ReturnOp op) { returns.push_back(op); });

  OpBuilder top(main);
  auto type = LLVM::LLVMFunctionType::get(runtime.i32, {runtime.pointer});
  auto entry = LLVM::LLVMFuncOp::create(top, loc, "quanta_entry", type);
  entry.getBody().takeBody(main.getBody());
  Block &block = entry.getBody().front();
  Value rt = block.getArgument(0);
  OpBuilder b = OpBuilder::atBlockBegin(&block);
  for (unsigned i = 1, e = block.getNumArguments(); i < e; ++i) {
    auto memref = cast<MemRefType>(block.getArgument(i).getType());
    Value number = runtime.constant(b, loc, runtime.i32, i - 1);
    Value data = runtime.call(b, loc, "quanta_rt_input", runtime.pointer, {rt, number});
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < memref.getRank(); ++d)
      if (memref.isDynamicDim(d))
        sizes.push_back(runtime.call(b, loc, "quanta_rt_input_dim", runtime.i64,
                                     {rt, number, runtime.constant(b, loc, runtime.i32, d)}));
    block.getArgument(i).replaceAllUsesWith(runtime.makeMemRef(b, loc, memref, data, sizes));
  }
  block.eraseArguments(1, block.getNumArguments() - 1);
  Value one = runtime.constant(b, loc, runtime.i64, 1);
  for (func::ReturnOp ret : returns) {
    b.setInsertionPoint(ret);
    for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
      auto memref = cast<MemRefType>(value.getType());
      MemRefDescriptor descriptor(runtime.toDescriptor(b, loc, value));
      auto shapeType = LLVM::LLVMArrayType::get(runtime.i64, std::max<int64_t>(1, memref.getRank()));
      Value shape = LLVM::AllocaOp::create(b, loc, runtime.pointer, shapeType, one, 8);
      for (int64_t d = 0; d < memref.getRank(); ++d) {
        Value slot = LLVM::GEPOp::create(b, loc, runtime.pointer, shapeType, shape,
                                         ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(d)});
        LLVM::StoreOp::create(b, loc, descriptor.size(b, loc, d), slot);
      }
      runtime.call(b, loc, "quanta_rt_output", {},
                   {rt, runtime.constant(b, loc, runtime.i32, i), descriptor.alignedPtr(b, loc),
                    runtime.constant(b, loc, runtime.i32, memref.getRank()), shape});
    }
    LLVM::ReturnOp::create(b, loc, runtime.constant(b, loc, runtime.i32, 0));
    ret.erase();
  }
  main.erase();
  return success();
}

//===- Pass ------------------------------------------------------------------------------------------------------===//

struct ConvertToLLVM : quanta::impl::ConvertToLLVMBase<ConvertToLLVM> {
  void getDependentDialects(DialectRegistry &registry) const override {
    ConvertToLLVMBase::getDependentDialects(registry);
    OpPassManager pm(ModuleOp::getOperationName());
    buildConversions(pm);
    pm.getDependentDialects(registry);
  }

  /// Functions are converted in parallel; only what adds declarations works on the module.
  static void buildConversions(OpPassManager &pm) {
    OpPassManager &structured = pm.nestAny();
    structured.addPass(memref::createExpandStridedMetadataPass());
    structured.addPass(createLowerAffinePass());
    structured.addPass(createConvertVectorToSCFPass(VectorTransferToSCFOptions().enableFullUnroll()));
    structured.addPass(arith::createArithExpandOpsPass());
    structured.addPass(createCanonicalizerPass());
    structured.addPass(createCSEPass());
    structured.addPass(createLoopInvariantCodeMotionPass());
    structured.addPass(createSCFToControlFlowPass());
    structured.addPass(createConvertVectorToLLVMPass());
    // Functions with an intrinsic before those of libm, which would also take floor, fma and sqrt.
    structured.addPass(createConvertMathToLLVMPass());
    pm.addPass(createConvertMathToLibmPass());
    // amx tiles are block arguments: functions must be converted before the branches in them.
    pm.addPass(createConvertFuncToLLVMPass());
    OpPassManager &branches = pm.nestAny();
    branches.addPass(createConvertToLLVMPass());
    branches.addPass(createReconcileUnrealizedCastsPass());
    branches.addPass(createCanonicalizerPass());
    branches.addPass(createCSEPass());
  }

  /// Approximations of a few ulp; the rest is exact or libm's.
  LogicalResult expandMath() {
    RewritePatternSet patterns(&getContext());
    auto approximated = [](StringRef name) {
      return llvm::is_contained(
          {"math.exp", "math.log", "math.erf", "math.tanh", "math.log1p", "math.expm1", "math.log2"}, name);
    };
    populateMathF32ExpansionPatterns(patterns, [](StringRef) { return true; });
    populateMathPolynomialApproximationPatterns(patterns, approximated);
    populateMathAlgebraicSimplificationPatterns(patterns);
    return applyPatternsGreedily(getOperation(), std::move(patterns));
  }

  /// Upstream's expansion of memref.expand_shape knows one dynamic size in a group; the op itself says all of them.
  static void lowerExpandShapes(ModuleOp module) {
    module.walk([](memref::ExpandShapeOp op) {
      ImplicitLocOpBuilder b(op.getLoc(), op);
      auto metadata = memref::ExtractStridedMetadataOp::create(b, op.getSrc());
      auto type = op.getResultType();
      auto [strides, offset] = type.getStridesAndOffset();
      SmallVector<OpFoldResult> sizes = op.getMixedOutputShape(), mixedStrides(type.getRank());
      for (auto [group, dims] : llvm::enumerate(op.getReassociationIndices())) {
        Value stride = metadata.getStrides()[group];
        for (int64_t dim : llvm::reverse(dims)) {
          mixedStrides[dim] = ShapedType::isDynamic(strides[dim]) ? OpFoldResult(stride) : b.getIndexAttr(strides[dim]);
          if (dim != dims.front())
            stride = arith::MulIOp::create(b, stride, getValueOrCreateConstantIndexOp(b, op.getLoc(), sizes[dim]));
        }
      }
      OpFoldResult start = ShapedType::isDynamic(offset) ? OpFoldResult(metadata.getOffset()) : b.getIndexAttr(offset);
      Value view = memref::ReinterpretCastOp::create(b, type, metadata.getBaseBuffer(), start, sizes, mixedStrides);
      op.replaceAllUsesWith(view);
      op.erase();
    });
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main || !main->hasAttr("quanta.rt")) {
      module.emitError("expected @main with the runtime handle: run quanta-outline-parallel first");
      return signalPassFailure();
    }
    Runtime runtime(module);
    int64_t total;
    DenseMap<StringAttr, int64_t> offsets = assignWeightOffsets(module, total);
    // What the code assumes; emission checks it against where it puts the data.
    for (auto weights : module.getOps<WeightsOp>())
      weights->setAttr("offset", IntegerAttr::get(IntegerType::get(&getContext(), 64), offsets[weights.getSymNameAttr()]));
    int64_t stateBytes;
    DenseMap<StringAttr, int64_t> stateOffsets = assignStateOffsets(module, stateBytes);
    describeModel(module, main, stateBytes);
    // The results' allocations are still recognisable before the runtime ops are lowered.
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
    for (func::FuncOp function : functions) {
      if (function.isPrivate() && !function.isExternal())
        function->setAttr("llvm.linkage", LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal));
    }
    if (failed(checkResults(main)))
      return signalPassFailure();
    for (func::FuncOp function : functions)
      if (failed(lowerRuntimeOps(runtime, function, offsets, stateOffsets)))
        return signalPassFailure();
    for (auto states : llvm::make_early_inc_range(module.getOps<StatesOp>()))
      states.erase(); // the code has their offsets, the model's description their size
    hoistStackBuffers(module);
    lowerExpandShapes(module);
    OpPassManager pm(ModuleOp::getOperationName());
    buildConversions(pm);
    if (failed(makeEntry(runtime, main)) || failed(expandMath()) || failed(runPipeline(pm, module)))
      return signalPassFailure();
    // Fused where the target has it; an exact fma elsewhere is a call of libm for each lane.
    module.walk([](LLVM::FMAOp op) {
      OpBuilder b(op);
      Value sum = LLVM::FMulAddOp::create(b, op.getLoc(), op.getA(), op.getB(), op.getC());
      op.replaceAllUsesWith(sum);
      op.erase();
    });
    WalkResult result = module.walk([&](Operation *op) {
      if (op == module || isa<WeightsOp>(op) || isa<LLVM::LLVMDialect>(op->getDialect()))
        return WalkResult::advance();
      op->emitError("expected an op that has a conversion to the LLVM dialect");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  LogicalResult checkResults(func::FuncOp main) {
    WalkResult result = main.walk([&](func::ReturnOp ret) {
      for (auto [i, value] : llvm::enumerate(ret.getOperands()))
        if (!isa<MemRefType>(value.getType()) || !getWholeAllocation(value)) {
          ret.emitError() << "expected result " << i << " to be an allocation of its own";
          return WalkResult::interrupt();
        }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};
} // namespace
