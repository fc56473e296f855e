//===- Passes.td - Passes of lib/Lowering ---------------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_LOWERING_PASSES_TD
#define QUANTA_LOWERING_PASSES_TD

include "mlir/Pass/PassBase.td"

def ObserveToOutputs : Pass<"quanta-observe-to-outputs", "ModuleOp"> {
  let summary = "turn observed tensors into outputs of the model";
  let description = [{
    The input of each `quanta.observe` in the entry block of `@main` becomes one more result of `@main`, named
    `observe:POINT`. An observation inside a loop or branch is refused: its tensor may exist any number of times.
  }];
}

def FuseLinalg : Pass<"quanta-fuse", "func::FuncOp"> {
  let summary = "bring tensor ops into linalg and fuse elementwise chains";
  let description = [{
    Decomposes `tensor.concat` and `tensor.pad` into slices, generalises named linalg ops except `fill`, folds splats
    and fills into the ops that read them, and fuses an elementwise op into its only user. A producer that would be
    recomputed because its user broadcasts it is fused only when it costs next to nothing.
  }];
  let dependentDialects = ["affine::AffineDialect", "linalg::LinalgDialect", "scf::SCFDialect",
                           "tensor::TensorDialect"];
}

def ConstantsToWeights : Pass<"quanta-constants-to-weights", "ModuleOp"> {
  let summary = "move tensor constants out of functions into quanta.weights";
  let description = [{
    Each constant tensor becomes a read-only view of a module-level `quanta.weights`; equal constants share one. Splats
    become `linalg.fill`, which is cheaper to store. Resources stay where they are: no data is copied.

    ```mlir
    %w = arith.constant dense_resource<w> : tensor<64x64xf32>
    // becomes
    quanta.weights @w memref<64x64xf32> = dense_resource<w> : tensor<64x64xf32>
    %0 = quanta.weight @w : memref<64x64xf32>
    %w = bufferization.to_tensor %0 restrict : memref<64x64xf32> to tensor<64x64xf32>
    ```
  }];
  let dependentDialects = ["bufferization::BufferizationDialect", "linalg::LinalgDialect", "quanta::QuantaDialect",
                           "tensor::TensorDialect"];
}

def Bufferize : Pass<"quanta-bufferize", "ModuleOp"> {
  let summary = "turn tensors into buffers";
  let description = [{
    One-shot bufferization over function boundaries with contiguous arguments and results. Kernels get contiguous inputs
    and outputs (a copy is made of a strided one) unless their configuration has the unit attribute `strided_ok`; a
    kernel overwrites its outputs unless it has `reads_outputs`. Afterwards every result of `@main` is a buffer of its
    own, allocated in `@main`, so that the runtime can take it over.
  }];
  let dependentDialects = ["bufferization::BufferizationDialect", "memref::MemRefDialect"];
}

def FreeBuffers : Pass<"quanta-free-buffers", "func::FuncOp"> {
  let summary = "allocate buffers before their first use, and free them after their last";
  let description = [{
    Moves allocations and their views down to the first op of their block that uses them: bufferization leaves those of one size where the
    first of them is needed. Then inserts `memref.dealloc` behind the last use of an allocation and its views, in the block of the allocation. A
    buffer that leaves its block is not freed: the runtime takes back what is left when a run ends.
  }];
  let dependentDialects = ["memref::MemRefDialect"];
}

def LinalgToLoops : Pass<"quanta-linalg-to-loops"> {
  let summary = "turn linalg ops and copies on buffers into vector loops";
  let description = [{
    Dimensions that all operands walk contiguously become one. The dimension with the cheapest accesses becomes the
    vector dimension, also when it is a reduction with a known combiner (partial results in lanes). With 512-bit vectors
    the remainder is a masked vector, otherwise a scalar loop. Large ops become `scf.parallel` over tasks of about 32 k
    element operations, whose boundaries do not depend on the number of threads.
  }];
  let options = [Option<"vectorBits", "vector-bits", "unsigned", "512", "Width of vectors: 128, 256 or 512">];
  let dependentDialects = ["affine::AffineDialect", "arith::ArithDialect", "linalg::LinalgDialect",
                           "memref::MemRefDialect", "scf::SCFDialect", "vector::VectorDialect"];
}

def OutlineParallel : Pass<"quanta-outline-parallel", "ModuleOp"> {
  let summary = "run scf.parallel loops on the runtime's threads";
  let description = [{
    Adds the runtime handle as first argument to every function that allocates, launches, fails or reads weights, and to
    their callers. A one-dimensional `scf.parallel` from 0 by steps of 1 without results becomes a call of
    `quanta_rt_parallel`; its body moves to an `llvm.func` that runs a range of tasks. Captured values go through a
    struct on the stack, constants are made again inside. The i64 attribute `quanta.grain` sets the least number of
    tasks for a thread. Other parallel loops, and nested ones, are left to run sequentially.
  }];
  let dependentDialects = ["func::FuncDialect", "LLVM::LLVMDialect", "scf::SCFDialect"];
}

def ConvertToLLVM : Pass<"quanta-convert-to-llvm", "ModuleOp"> {
  let summary = "produce the module that code generation expects";
  let description = [{
    `@main` becomes `llvm.func @quanta_entry(%rt: !llvm.ptr) -> i32`; allocation, assertions and weights become calls of
    the runtime; everything else goes to the LLVM dialect by upstream conversions. `quanta.weights` ops stay, and the
    module gets the attribute `quanta.model` (see docs/Architecture.md).
  }];
  let dependentDialects = ["arith::ArithDialect", "cf::ControlFlowDialect", "func::FuncDialect", "LLVM::LLVMDialect",
                           "math::MathDialect", "memref::MemRefDialect", "scf::SCFDialect", "vector::VectorDialect"];
}

#endif
