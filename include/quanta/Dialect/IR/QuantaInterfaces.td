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

#endif
