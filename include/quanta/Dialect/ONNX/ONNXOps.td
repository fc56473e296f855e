//===- ONNXOps.td - A faithful image of an ONNX graph ------------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_ONNX_OPS_TD
#define QUANTA_ONNX_OPS_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::mlir::onnx";
  let summary = "ONNX nodes as they are in the file";
  let description = [{
    One generic op for every operator, so that a model can be held, printed and matched before anything is decided about it.
    Initializers are `arith.constant`s; the graph is a `func.func`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

def ONNX_NodeOp : Op<ONNX_Dialect, "node", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "one node of an ONNX graph";
  let description = [{
    `op_type`, `domain` ("" is ai.onnx) and `since_version` (the schema version that the model's opset selects) identify the
    operator; `node_attributes` are its attributes (integers i64, floats f32, lists as dense arrays, tensors as elements
    attributes). `present` marks which of the node's input positions are given; it is absent when all are.
    Regions are subgraphs (`If`, `Loop`), ended by `onnx.yield`.

    ```mlir
    %y = onnx.node "Clip"(%x, _, %max) {domain = "", since_version = 13 : i64, ...} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, DefaultValuedStrAttr<StrAttr, "">:$domain, I64Attr:$since_version,
    Variadic<AnyType>:$operands_, DictionaryAttr:$node_attributes, OptionalAttr<DenseBoolArrayAttr>:$present);
  let results = (outs Variadic<AnyType>:$results_);
  let regions = (region VariadicRegion<AnyRegion>:$subgraphs);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Number of input positions, absent ones included.
    unsigned getNumInputs();
    /// Value at an input position, null if absent or beyond the end.
    ::mlir::Value getInput(unsigned position);
    /// True for an operator of the default domain with this name.
    bool is(::llvm::StringRef opType) { return getOpType() == opType && (getDomain().empty() || getDomain() == "ai.onnx"); }
    /// The attribute, or null.
    ::mlir::Attribute getNodeAttr(::llvm::StringRef name) { return getNodeAttributes().get(name); }
    int64_t getInt(::llvm::StringRef name, int64_t otherwise);
    double getFloat(::llvm::StringRef name, double otherwise);
    ::llvm::StringRef getString(::llvm::StringRef name, ::llvm::StringRef otherwise);
    /// A list of integers; empty if absent.
    ::llvm::SmallVector<int64_t> getInts(::llvm::StringRef name);
  }];
}

def ONNX_YieldOp : Op<ONNX_Dialect, "yield", [Pure, Terminator]> {
  let summary = "outputs of a subgraph";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif
