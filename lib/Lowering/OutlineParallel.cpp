//===- OutlineParallel.cpp - Parallel loops become functions run by the pool -------------------------------------===//
//
// The outlined function has the runtime's signature at once, void(arg, begin, end), so no trampoline is needed:
// captures are loaded from the struct at its start. Of a memref only what its type does not say is captured, so that
// static sizes stay constants for the optimizer.
//
//===-------------------------------------------------------------------------------------------------------------===//
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"
#include "quanta/Lowering/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_OUTLINEPARALLEL
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

static bool isLaunch(scf::ParallelOp loop) {
  return loop.getNumLoops() == 1 && loop.getInitVals().empty() && isConstantIntValue(loop.getLowerBound()[0], 0) &&
         isConstantIntValue(loop.getStep()[0], 1) && !loop->getParentOfType<scf::ParallelOp>();
}

/// Gives the runtime handle to every function that needs it.
static void threadRuntime(ModuleOp module) {
  DenseSet<StringAttr> needed;
  auto needs = [&](func::FuncOp function) {
    return function
        .walk([&](Operation *op) {
          auto call = dyn_cast<func::CallOp>(op);
          auto loop = dyn_cast<scf::ParallelOp>(op);
          bool direct = isa<memref::AllocOp, memref::DeallocOp, cf::AssertOp, WeightOp, StateOp, CacheLengthOp,
                            CacheAdvanceOp>(op) || (loop && isLaunch(loop));
          return direct || (call && needed.contains(call.getCalleeAttr().getAttr())) ? WalkResult::interrupt()
                                                                                     : WalkResult::advance();
        })
        .wasInterrupted();
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto function : module.getOps<func::FuncOp>())
      if (!needed.contains(function.getSymNameAttr()) && (function.getName() == "main" || needs(function)))
        changed = needed.insert(function.getSymNameAttr()).second;
  }
  OpBuilder b(module.getContext());
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());
  for (auto function : module.getOps<func::FuncOp>())
    if (needed.contains(function.getSymNameAttr())) {
      (void)function.insertArgument(0, pointer, {}, function.getLoc());
      function->setAttr("quanta.rt", b.getUnitAttr());
    }
  module.walk([&](func::CallOp call) {
    if (needed.contains(call.getCalleeAttr().getAttr()))
      call->insertOperands(0, call->getParentOfType<func::FuncOp>().getArgument(0));
  });
}

namespace {
/// How a captured value lies in the struct.
class Capture {
public:
  Capture(Value value, const LLVMTypeConverter &converter) : value(value), converter(converter) {
    memref = dyn_cast<MemRefType>(value.getType());
    if (memref && failed(memref.getStridesAndOffset(strides, offset)))
      memref = {};
  }

  /// The parts to store, in the function of the loop.
  void pack(OpBuilder &b, Location loc, SmallVectorImpl<Value> &parts) {
    Value lowered = toLLVM(b, loc);
    if (!memref)
      return parts.push_back(lowered);
    MemRefDescriptor descriptor(lowered);
    parts.push_back(descriptor.alignedPtr(b, loc));
    if (ShapedType::isDynamic(offset))
      parts.push_back(descriptor.offset(b, loc));
    for (int64_t i = 0; i < memref.getRank(); ++i) {
      if (memref.isDynamicDim(i))
        parts.push_back(descriptor.size(b, loc, i));
      if (ShapedType::isDynamic(strides[i]))
        parts.push_back(descriptor.stride(b, loc, i));
    }
  }

  /// The value again, in the outlined function; takes its parts off the front of `parts`.
  Value unpack(OpBuilder &b, Location loc, ArrayRef<Value> &parts) {
    auto next = [&] {
      Value part = parts.front();
      parts = parts.drop_front();
      return part;
    };
    if (!memref)
      return fromLLVM(b, loc, next());
    auto descriptor = MemRefDescriptor::poison(b, loc, converter.convertType(memref));
    Value pointer = next();
    descriptor.setAllocatedPtr(b, loc, pointer);
    descriptor.setAlignedPtr(b, loc, pointer);
    if (ShapedType::isDynamic(offset))
      descriptor.setOffset(b, loc, next());
    else
      descriptor.setConstantOffset(b, loc, offset);
    for (int64_t i = 0; i < memref.getRank(); ++i) {
      if (memref.isDynamicDim(i))
        descriptor.setSize(b, loc, i, next());
      else
        descriptor.setConstantSize(b, loc, i, memref.getDimSize(i));
      if (ShapedType::isDynamic(strides[i]))
        descriptor.setStride(b, loc, i, next());
      else
        descriptor.setConstantStride(b, loc, i, strides[i]);
    }
    return fromLLVM(b, loc, descriptor);
  }

private:
  Value toLLVM(OpBuilder &b, Location loc) {
    Type type = converter.convertType(value.getType());
    return type == value.getType() ? value : UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
  }
  Value fromLLVM(OpBuilder &b, Location loc, Value lowered) {
    Type type = value.getType();
    return type == lowered.getType() ? lowered : UnrealizedConversionCastOp::create(b, loc, type, lowered).getResult(0);
  }

  Value value;
  const LLVMTypeConverter &converter;
  MemRefType memref;
  SmallVector<int64_t> strides;
  int64_t offset = 0;
};

/// Whether a value is made again in the function rather than passed to it; `ops` gets what makes it, operands first. Constants are, and
/// constants in registers of unknown length, which have no place in a frame.
static bool collectConstants(Value value, SetVector<Operation *> &ops) {
  Operation *op = value.getDefiningOp();
  if (!op || !(op->hasTrait<OpTrait::ConstantLike>() || isa<vector::ScalableInsertOp>(op)) ||
      !llvm::all_of(op->getOperands(), [&](Value operand) { return collectConstants(operand, ops); }))
    return false;
  ops.insert(op);
  return true;
}

struct OutlineParallel : quanta::impl::OutlineParallelBase<OutlineParallel> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    threadRuntime(module);
    LLVMTypeConverter converter(&getContext());
    SymbolTable symbols(module);
    SmallVector<scf::ParallelOp> loops;
    module.walk([&](scf::ParallelOp loop) {
      if (isLaunch(loop))
        loops.push_back(loop);
    });
    if (loops.empty())
      return;
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    Type i64 = IntegerType::get(&getContext(), 64);
    OpBuilder top = OpBuilder::atBlockEnd(module.getBody());
    launch = *LLVM::lookupOrCreateFn(top, module, "quanta_rt_parallel", {pointer, pointer, pointer, i64, i64},
                                     LLVM::LLVMVoidType::get(&getContext()));
    tasksByText.clear();
    for (scf::ParallelOp loop : loops)
      if (failed(outline(loop, converter, symbols)))
        return signalPassFailure();
  }

  LogicalResult outline(scf::ParallelOp loop, const LLVMTypeConverter &converter, SymbolTable &symbols) {
    Location loc = loop.getLoc();
    auto function = loop->getParentOfType<func::FuncOp>();
    if (!function)
      return loop.emitError("expected a parallel loop inside a func.func");
    // The runtime can neither fail nor allocate on other threads.
    WalkResult allowed = loop->walk([&](Operation *op) {
      if (!isa<memref::AllocOp, memref::DeallocOp, cf::AssertOp>(op))
        return WalkResult::advance();
      op->emitError("expected no allocation or assertion inside a parallel loop");
      return WalkResult::interrupt();
    });
    if (allowed.wasInterrupted())
      return failure();
    loop->walk([&](WeightOp weight) { weight->moveBefore(loop); });

    OpBuilder b(loop);
    MLIRContext *context = b.getContext();
    auto pointer = LLVM::LLVMPointerType::get(context);
    Type i64 = b.getI64Type();

    SetVector<Value> used;
    getUsedValuesDefinedAbove(loop.getRegion(), used);
    SetVector<Operation *> constants;
    SmallVector<Value> captured;
    for (Value value : used)
      if (!collectConstants(value, constants))
        captured.push_back(value);

    // Call.
    SmallVector<Value> parts;
    for (Value value : captured)
      Capture(value, converter).pack(b, loc, parts);
    auto frameType = LLVM::LLVMStructType::getLiteral(
        context, llvm::map_to_vector(parts, [](Value part) { return part.getType(); }));
    Value frame;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&function.getBody().front()); // not in a loop, where the stack would grow
      Value one = LLVM::ConstantOp::create(b, loc, i64, 1);
      frame = LLVM::AllocaOp::create(b, loc, pointer, frameType, one, 64);
    }
    for (auto [i, part] : llvm::enumerate(parts)) {
      Value field =
          LLVM::GEPOp::create(b, loc, pointer, frameType, frame, ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(i)});
      LLVM::StoreOp::create(b, loc, part, field);
    }
    OpBuilder top = OpBuilder::atBlockEnd(cast<ModuleOp>(symbols.getOp()).getBody());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, i64, i64});
    auto task = LLVM::LLVMFuncOp::create(top, loc, "", type, LLVM::Linkage::Internal);
    auto address = LLVM::AddressOfOp::create(b, loc, pointer, task.getSymNameAttr());
    Value tasks = arith::IndexCastOp::create(b, loc, i64, loop.getUpperBound()[0]);
    auto grain = loop->getAttrOfType<IntegerAttr>("quanta.grain");
    Value least = LLVM::ConstantOp::create(b, loc, i64, grain ? grain.getInt() : 1);
    LLVM::CallOp::create(b, loc, launch, ValueRange{function.getArgument(0), address, frame, tasks, least});

    // Function.
    Block *entry = task.addEntryBlock(b);
    b.setInsertionPointToStart(entry);
    IRMapping map;
    SmallVector<Value> loaded;
    for (auto [i, part] : llvm::enumerate(parts)) {
      Value field = LLVM::GEPOp::create(b, loc, pointer, frameType, entry->getArgument(0),
                                        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(i)});
      loaded.push_back(LLVM::LoadOp::create(b, loc, part.getType(), field));
    }
    ArrayRef<Value> rest = loaded;
    for (Value value : captured)
      map.map(value, Capture(value, converter).unpack(b, loc, rest));
    for (Operation *constant : constants)
      b.clone(*constant, map);
    Value begin = arith::IndexCastOp::create(b, loc, b.getIndexType(), entry->getArgument(1));
    Value end = arith::IndexCastOp::create(b, loc, b.getIndexType(), entry->getArgument(2));
    Value one = arith::ConstantIndexOp::create(b, loc, 1);
    auto sequential = scf::ForOp::create(b, loc, begin, end, one);
    LLVM::ReturnOp::create(b, loc, ValueRange());
    loop.getBody()->getTerminator()->erase();
    sequential.getBody()->getOperations().splice(sequential.getBody()->begin(), loop.getBody()->getOperations());
    loop.getInductionVars()[0].replaceAllUsesWith(sequential.getInductionVar());
    // Not by the uses of each value: constants have uses in the whole model.
    sequential->walk([&](Operation *op) {
      for (OpOperand &operand : op->getOpOperands())
        operand.set(map.lookupOrDefault(operand.get()));
    });
    loop.erase();

    // The layers of a model need the same functions, over other captures.
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << frameType;
    task.setSymName("");
    task.print(stream, OpPrintingFlags().useLocalScope().assumeVerified());
    auto [known, inserted] = tasksByText.try_emplace(text, task);
    if (inserted) {
      task.setSymName((function.getName() + "_tasks").str());
      symbols.insert(task);
    } else {
      task.erase();
    }
    address.setGlobalName(known->second.getSymName());
    return success();
  }

  LLVM::LLVMFuncOp launch; ///< quanta_rt_parallel
  llvm::StringMap<LLVM::LLVMFuncOp> tasksByText;
};
} // namespace
