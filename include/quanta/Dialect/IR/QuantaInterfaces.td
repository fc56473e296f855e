//===- QuantaInterfaces.td - What every encoding can answer ------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_INTERFACES_TD
#define QUANTA_INTERFACES_TD

include "mlir/IR/Interfaces.td"
include "mlir/IR/TensorEncoding.td"

def Quanta_EncodingAttrInterface : AttrInterface<"EncodingAttrInterface", [VerifiableTensorEncoding]> {
  let cppNamespace = "::mlir::quanta";
  let description = [{
    How a tensor is stored. The tensor is read as a matrix: dimension 0 is the row (output channel), the product of the
    other dimensions the column (contraction, in·kh·kw order for convolutions).
  }];
  let methods = [
    InterfaceMethod<[{
      The stored parts of a value of this shape, in a fixed order. Shapes may hold `ShapedType::kDynamic` where the
      value's does.
    }], "::llvm::SmallVector<::mlir::quanta::Component>", "getComponents", (ins "::llvm::ArrayRef<int64_t>":$shape)>,
    InterfaceMethod<[{
      Exact number of stored bits of a value of this static shape, without padding: codes, scales, zero points, masks,
      indices, tables.
    }], "int64_t", "getStoredBits", (ins "::llvm::ArrayRef<int64_t>":$shape)>,
  ];
}

def Quanta_DecodeInterface : AttrInterface<"DecodeInterface"> {
  let cppNamespace = "::mlir::quanta";
  let description = [{
    How a kernel gets at the values of an encoding whose components lie in tiles of 16 rows (`#quanta.packed`). Implemented
    by external models in Codegen, so that the dialect knows nothing of code. Only plain builders and values appear here.
  }];
  let methods = [
    InterfaceMethod<[{
      Column chunks passed to `decodeTile` must begin at a multiple of this.
    }], "int64_t", "getColumnStep", (ins "::llvm::ArrayRef<int64_t>":$shape)>,
    InterfaceMethod<[{
      Emits code that writes the f32 values of row tile `tile` (an index), columns `begin` to `end`, to
      `scratch[0 … end−begin][16]`. May write up to `getColumnStep` rows past the end.
    }], "void", "decodeTile", (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::ValueRange":$components,
      "::llvm::ArrayRef<int64_t>":$shape, "::mlir::Value":$tile, "::mlir::Value":$begin, "::mlir::Value":$end,
      "::mlir::Value":$scratch)>,
  ];
}

#endif
