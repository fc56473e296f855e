//===- Passes.td - Passes of lib/Conversion -*- tablegen -*-===//
#ifndef QUANTA_CONVERSION_PASSES_TD
#define QUANTA_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertONNXToQuanta : Pass<"convert-onnx-to-quanta", "::mlir::ModuleOp"> {
  let summary = "replace onnx.node ops by quanta, linalg, tensor, arith and math ops";
  let description = [{
    Converts every function of `onnx.node` ops, one node after the other. What quantization and kernels are about
    becomes a quanta op (`quanta.linear`, `quanta.conv2d`, norms, softmax, activations, embedding); everything regular
    becomes a `linalg.generic` whose indexing maps express broadcasting.

    Sizes are symbolic. A size of a function argument is read once, at the top, and sizes computed from it follow; shape
    arithmetic of the model (`Shape`, `Gather`, `Concat`, ... on known elements) is not converted at all. Sizes that
    have to be equal but cannot be proven so are compared by a `cf.assert`, an error of the run.

    Booleans become `i8` tensors of 0 and 1 and unsigned integers signless ones, also in the function's type; the types
    before that are kept as `quanta.input_types` and `quanta.output_types`.

    Nodes that have no conversion are reported all at once.

    ```mlir
    func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32>
        attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["batch", 4]]} {
      %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>
      %y = onnx.node "MatMul"(%x, %w) attributes {domain = "", since_version = 13 : i64}
        : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    }
    ```
    becomes
    ```mlir
      %w = arith.constant dense<[[1.0, 3.0, 5.0, 7.0], [2.0, 4.0, 6.0, 8.0]]> : tensor<2x4xf32>
      %y = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect", "::mlir::quanta::QuantaDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

#endif
