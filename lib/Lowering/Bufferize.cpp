//===- Bufferize.cpp - Tensors to buffers, and when buffers end --------------------------------------------------===//
//
// Deallocation is static: a buffer is freed behind its last use in the block that allocates it. The upstream ownership
// pipeline would add run-time flags for loop-carried buffers, which models rarely have; what escapes is taken back by
// the runtime when the run ends.
//
//===-------------------------------------------------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/TensorInferTypeOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "quanta/Lowering/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_BUFFERIZE
#define GEN_PASS_DEF_FREEBUFFERS
#define GEN_PASS_DEF_OBSERVETOOUTPUTS
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using namespace mlir::bufferization;

//===- Kernels ---------------------------------------------------------------------------------------------------===//

static Value allocLike(OpBuilder &b, Location loc, Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.isDynamicDim(i))
      sizes.push_back(b.createOrFold<memref::DimOp>(loc, buffer, i));
  auto contiguous = MemRefType::get(type.getShape(), type.getElementType());
  return memref::AllocOp::create(b, loc, contiguous, sizes, b.getI64IntegerAttr(64));
}

namespace {
struct KernelBufferization : DstBufferizableOpInterfaceExternalModel<KernelBufferization, KernelOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const AnalysisState &) const {
    auto kernel = cast<KernelOp>(op);
    return !kernel.isDpsInit(&operand) || kernel.getConfig().contains("reads_outputs");
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto kernel = cast<KernelOp>(op);
    bool strided = kernel.getConfig().contains("strided_ok"), reads = kernel.getConfig().contains("reads_outputs");
    Location loc = op->getLoc();
    SmallVector<Value> inputs, outputs, targets;
    rewriter.setInsertionPoint(op);
    auto bufferOf = [&](Value value) -> FailureOr<Value> {
      if (!isa<TensorType>(value.getType()))
        return value;
      return getBuffer(rewriter, value, options, state);
    };
    auto needsCopy = [&](Value buffer) {
      auto type = dyn_cast<MemRefType>(buffer.getType());
      return type && !strided && !type.getLayout().isIdentity();
    };
    for (Value input : kernel.getInputs()) {
      FailureOr<Value> buffer = bufferOf(input);
      if (failed(buffer))
        return failure();
      if (needsCopy(*buffer)) {
        Value copy = allocLike(rewriter, loc, *buffer);
        memref::CopyOp::create(rewriter, loc, *buffer, copy);
        buffer = copy;
      }
      inputs.push_back(*buffer);
    }
    for (Value output : kernel.getOutputs()) {
      FailureOr<Value> buffer = bufferOf(output);
      if (failed(buffer))
        return failure();
      if (isa<TensorType>(output.getType()))
        targets.push_back(*buffer);
      if (isa<TensorType>(output.getType()) && needsCopy(*buffer)) {
        Value copy = allocLike(rewriter, loc, *buffer);
        if (reads)
          memref::CopyOp::create(rewriter, loc, *buffer, copy);
        buffer = copy;
      }
      outputs.push_back(*buffer);
    }
    auto buffered = KernelOp::create(rewriter, loc, TypeRange(), kernel.getFamilyAttr(), inputs, kernel.getWeights(),
                                     outputs, kernel.getConfigAttr());
    buffered->setDiscardableAttrs(op->getDiscardableAttrDictionary());
    // Outputs that were memory before have no target.
    size_t next = 0;
    for (auto [output, given] : llvm::zip_equal(outputs, kernel.getOutputs()))
      if (isa<TensorType>(given.getType()))
        if (Value target = targets[next++]; output != target)
          memref::CopyOp::create(rewriter, loc, output, target);
    replaceOpWithBufferizedValues(rewriter, op, targets);
    return success();
  }
};
} // namespace

void mlir::quanta::registerLoweringInterfaces(DialectRegistry &registry) {
  registry.addExtension(
      +[](MLIRContext *context, QuantaDialect *) { KernelOp::attachInterface<KernelBufferization>(*context); });
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  cf::registerBufferizableOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerSubsetOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerInferTypeOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
}

//===- Bufferization ---------------------------------------------------------------------------------------------===//

Value mlir::quanta::getWholeAllocation(Value buffer) {
  while (Operation *op = buffer.getDefiningOp()) {
    if (isa<memref::AllocOp>(op))
      return buffer;
    if (!isa<memref::CastOp, memref::ExpandShapeOp, memref::CollapseShapeOp, memref::ReshapeOp>(op) ||
        !cast<MemRefType>(op->getResult(0).getType()).getLayout().isIdentity())
      return {};
    buffer = op->getOperand(0);
  }
  return {};
}

/// Gives each user its own tensor.empty or fill of one. CSE merges them, but they stand for buffers: users of one would
/// conflict, which costs copies, and an analysis that is quadratic in their number (100 s for 1200 ops).
static void separateEmpties(ModuleOp module) {
  auto separate = [](Operation *op) {
    if (op->use_empty())
      return;
    for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(op->getUses())))
      use.set(OpBuilder(op).clone(*op)->getResult(0));
  };
  module.walk([&](linalg::FillOp fill) {
    if (fill->getNumResults() == 1 && fill.getDpsInits()[0].getDefiningOp<tensor::EmptyOp>())
      separate(fill);
  });
  module.walk([&](tensor::EmptyOp empty) { separate(empty); });
}

/// The runtime takes outputs over, so each must be a buffer of its own.
static void ownResults(func::FuncOp main) {
  main.walk([&](func::ReturnOp ret) {
    OpBuilder b(ret);
    DenseSet<Value> taken;
    for (OpOperand &operand : ret->getOpOperands()) {
      if (!isa<MemRefType>(operand.get().getType()))
        continue;
      Value root = getWholeAllocation(operand.get());
      if (root && root.getParentRegion() == ret->getParentRegion() && taken.insert(root).second)
        continue;
      Value copy = allocLike(b, ret.getLoc(), operand.get());
      memref::CopyOp::create(b, ret.getLoc(), operand.get(), copy);
      operand.set(copy);
      taken.insert(copy);
    }
  });
}

namespace {
struct Bufferize : quanta::impl::BufferizeBase<Bufferize> {
  void runOnOperation() override {
    OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.allowReturnAllocsFromLoops = true;
    options.setFunctionBoundaryTypeConversion(LayoutMapOption::IdentityLayoutMap);
    BufferizationState state;
    ModuleOp module = getOperation();
    separateEmpties(module);
    // Lets producers write into the slice of a concatenation where their result goes.
    IRRewriter rewriter(&getContext());
    bool slices = module.walk([](tensor::InsertSliceOp) { return WalkResult::interrupt(); }).wasInterrupted();
    if (slices && failed(eliminateEmptyTensors(rewriter, module)))
      return signalPassFailure();
    if (failed(runOneShotModuleBufferize(module, options, state)))
      return signalPassFailure();
    removeBufferizationAttributesInModule(module);
    if (auto main = module.lookupSymbol<func::FuncOp>("main"))
      ownResults(main);
  }
};

/// Moves allocations and views of buffers down to their first use. Empty tensors of one size were one value, so that all of their buffers
/// are allocated where the first of them is needed, and would be held from there on.
static void sinkAllocations(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
    if (!isa<memref::AllocOp>(op) && !(isa<ViewLikeOpInterface>(op) && isMemoryEffectFree(&op)))
      continue;
    Operation *first = nullptr;
    for (Operation *user : op.getUsers()) {
      Operation *ancestor = block.findAncestorOpInBlock(*user);
      if (ancestor && (!first || ancestor->isBeforeInBlock(first)))
        first = ancestor;
    }
    if (first)
      op.moveBefore(first);
  }
}

struct FreeBuffers : quanta::impl::FreeBuffersBase<FreeBuffers> {
  void runOnOperation() override {
    getOperation()->walk([](Block *block) { sinkAllocations(*block); });
    BufferViewFlowAnalysis views(getOperation());
    SmallVector<memref::AllocOp> allocs;
    getOperation()->walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
    for (memref::AllocOp alloc : allocs) {
      Block *block = alloc->getBlock();
      Operation *last = alloc;
      bool escapes = false;
      for (Value view : views.resolve(alloc)) {
        // A region's result may show this buffer or another one.
        escapes |=
            !block->findAncestorOpInBlock(*view.getParentBlock()->getParentOp()) && view.getParentBlock() != block;
        Operation *definition = view.getDefiningOp();
        escapes |= definition && definition->getNumRegions();
        for (Operation *user : view.getUsers()) {
          Operation *ancestor = block->findAncestorOpInBlock(*user);
          escapes |= !ancestor || ancestor->hasTrait<OpTrait::IsTerminator>() || isa<memref::DeallocOp>(user);
          if (!escapes && last->isBeforeInBlock(ancestor))
            last = ancestor;
        }
      }
      if (escapes)
        continue;
      OpBuilder b(alloc->getContext());
      b.setInsertionPointAfter(last);
      memref::DeallocOp::create(b, alloc.getLoc(), alloc);
    }
  }
};

struct ObserveToOutputs : quanta::impl::ObserveToOutputsBase<ObserveToOutputs> {
  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    SmallVector<ObserveOp> observed;
    getOperation().walk([&](ObserveOp op) { observed.push_back(op); });
    if (observed.empty())
      return;
    OpBuilder b(&getContext());
    SmallVector<Attribute> names, types, dims;
    auto take = [&](StringRef name, SmallVectorImpl<Attribute> &values) {
      if (auto array = main ? main->getAttrOfType<ArrayAttr>(name) : ArrayAttr())
        llvm::append_range(values, array);
    };
    take("quanta.outputs", names);
    take("quanta.output_types", types);
    take("quanta.output_dims", dims);
    bool typed = !types.empty(), sized = !dims.empty();
    for (ObserveOp op : observed) {
      if (!main || op->getBlock() != &main.getBody().front() || !main.getBody().hasOneBlock()) {
        op.emitError("expected an observation in the entry block of @main");
        return signalPassFailure();
      }
      auto ret = cast<func::ReturnOp>(main.getBody().front().getTerminator());
      for (unsigned i = names.size(); i < ret.getNumOperands(); ++i)
        names.push_back(b.getStringAttr(llvm::formatv("output{0}", i).str()));
      ret->insertOperands(ret->getNumOperands(), op.getInput());
      names.push_back(b.getStringAttr("observe:" + op.getPoint()));
      auto type = cast<RankedTensorType>(op.getInput().getType());
      std::string element;
      llvm::raw_string_ostream(element) << type.getElementType();
      types.push_back(b.getStringAttr(element));
      dims.push_back(b.getArrayAttr(llvm::map_to_vector(type.getShape(), [&](int64_t size) -> Attribute {
        return b.getI64IntegerAttr(ShapedType::isDynamic(size) ? -1 : size);
      })));
      op.replaceAllUsesWith(op.getInput());
      op.erase();
    }
    auto ret = main.getBody().front().getTerminator();
    main.setType(b.getFunctionType(main.getArgumentTypes(), ret->getOperandTypes()));
    main->setAttr("quanta.outputs", b.getArrayAttr(names));
    if (typed)
      main->setAttr("quanta.output_types", b.getArrayAttr(types));
    if (sized)
      main->setAttr("quanta.output_dims", b.getArrayAttr(dims));
  }
};
} // namespace
