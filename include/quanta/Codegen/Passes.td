//===- Passes.td - From compute ops to kernel functions -------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_CODEGEN_PASSES_TD
#define QUANTA_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def OutlineKernels : Pass<"quanta-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "Turn compute ops into kernels with a destination, and their weights into stored constants";
  let description = [{
    Each `quanta` compute op becomes a `quanta.kernel` on tensors of the rank that the kernel family expects (leading
    dimensions are collapsed, and expanded again afterwards). Constant weights leave the function: they become module-level
    `quanta.weights` whose layout is `#quanta.packed`, one per component, shared by all users; an embedding table that is also
    the weight of a linear layer is read from the layer's tiles. `activation` becomes an elementwise `linalg.generic`, so that
    it can be fused; `attention` becomes two products and a softmax in place.

    Precondition: operands are `f32` (integers for embedding indices); encoded weights are `quanta.constant`s. Otherwise an
    error names the op. Cost: linear in the ops; no weight is copied.

    ```mlir
    %y = quanta.linear %x, %w : (tensor<?x384xf32>, tensor<64x384xf32>) -> tensor<?x64xf32>
    // becomes
    %w = quanta.weight @w : memref<4x384x16xf32>
    %e = tensor.empty(%rows) : tensor<?x64xf32>
    %y = quanta.kernel "linear" ins(%x : tensor<?x384xf32>) weights(%w : memref<4x384x16xf32>) outs(%e : tensor<?x64xf32>)
           {encoding = #quanta.packed<>, shape = array<i64: 64, 384>} -> tensor<?x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::tensor::TensorDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect"];
}

def FuseEpilogues : Pass<"quanta-fuse-epilogues", "::mlir::ModuleOp"> {
  let summary = "Let kernels finish their results: elementwise ops, and codes for the next layer";
  let description = [{
    An elementwise `linalg.generic` that is the only user of the result of an integer kernel (`linear` of encoded activations,
    `integer_conv2d`), of a product of signs (`sign_linear`, `sign_conv2d`), of a float convolution (`conv2d`) or of a norm becomes the kernel's epilogue: a private function of the result and the op's other operands (of the result's
    shape, or one for each output channel), named in the kernel's config and applied to 16 lanes at a time while they are in
    registers. Equal epilogues share a function. A `quantize` or `quantize_image` kernel with known scales that reads the result then
    becomes an output of the kernel, but for `conv2d` and products of signs: bytes are stored at once, and floats only if something else
    reads them. So does a `signs` kernel that reads the result of a product of signs: planes of bits are stored. Of two kernels whose sum is an
    op's input a product of signs takes the op, else the later kernel.

    Runs behind `quanta-fuse`, so that a chain is one op. Not fused: ops with reductions, reads of other shapes, more than four other
    operands; scales that are found at run time, which need a whole row; images of unknown size. Cost: linear in the ops.

    ```mlir
    %y = quanta.kernel "linear" ins(%codes, %bias : …) weights(…) outs(%e : tensor<?x64xf32>) {activation = #a, …} -> tensor<?x64xf32>
    %r = linalg.generic … ins(%y : tensor<?x64xf32>) { arith.maximumf %in, %zero }
    %q = quanta.kernel "quantize" ins(%r : tensor<?x64xf32>) outs(%f : tensor<?x64xi8>) {activation = #b} -> tensor<?x64xi8>
    // becomes
    %q = quanta.kernel "linear" ins(%codes, %bias : …) weights(…) outs(%f : tensor<?x64xi8>)
           {activation = #a, epilogue = @epilogue, operands = array<i64>, result_encoding = #b, …} -> tensor<?x64xi8>
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::mlir::linalg::LinalgDialect", "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect"];
}

def EmitKernels : Pass<"quanta-emit-kernels", "::mlir::ModuleOp"> {
  let summary = "Replace kernels on buffers by calls of generated functions";
  let description = [{
    Each `quanta.kernel` on memrefs becomes a call of a private function that the family's emitter writes: loops in `scf`,
    16-lane tiles in `vector`, tasks for the thread pool as `scf.parallel`. Kernels with the same family, config and operand
    types share a function. An encoding that no emitter can decode is an error.

    Tiles have 16 lanes for every target; `target`, a row of the table of target levels (lib/Target), decides how many of them
    a product keeps in registers and which instructions multiply integers. An unknown level is an error.
  }];
  let options = [Option<"target", "target", "std::string", "\"x86-avx512-vnni\"", "level of the target, as x86-avx2">];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::func::FuncDialect",
                           "::mlir::cf::ControlFlowDialect", "::mlir::LLVM::LLVMDialect", "::mlir::amx::AMXDialect"];
}

#endif
