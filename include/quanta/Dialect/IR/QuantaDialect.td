//===- QuantaDialect.td - The quanta dialect ---------------------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_DIALECT_TD
#define QUANTA_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Quanta_Dialect : Dialect {
  let name = "quanta";
  let cppNamespace = "::mlir::quanta";
  let summary = "Neural networks whose tensors say how they are stored";
  let description = [{
    A quantized tensor is an ordinary ranked tensor whose *encoding* attribute says how it is stored:
    `tensor<4096x1024xf32, #quanta.uniform<bits = 4, group = 128>>`. The logical element type stays `f32`; quantizing a
    layer changes the type of its weight and the constant behind it, never the op that uses it.

    The dialect is small: it holds what quantization passes must recognise (linear layers, convolutions, norms,
    attention), encoded constants, and the two ops through which these become code (`quanta.kernel`, `quanta.weight`).
    Everything else is upstream `arith`, `math`, `tensor` and `linalg`.

    Discardable attributes on the model's `func.func`:
    `quanta.inputs` and `quanta.outputs` (names, one string an argument or result), `quanta.dims` and `quanta.output_dims`
    (for each argument or result an array with one entry a dimension: an integer, or the name of a symbolic dimension),
    `quanta.input_types` and `quanta.output_types` (the element types that users see: "f32", "i64", "bool" …).
  }];
  let dependentDialects = [];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let extraClassDeclaration = [{
  private:
    void registerEncodings();
    void registerOps();
  }];
}

class Quanta_Attr<string name, string attrMnemonic, list<Trait> traits = []> : AttrDef<Quanta_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

class Quanta_Op<string mnemonic, list<Trait> traits = []> : Op<Quanta_Dialect, mnemonic, traits>;

#endif
