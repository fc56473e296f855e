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
    InterfaceMethod<[{
      The arrays of a value of this static shape that kernels read, in tiles of 16 rows, in the order in which the
      decode model of the encoding expects them.
    }], "::llvm::SmallVector<::mlir::quanta::PackedComponent>", "getPackedComponents", (ins "::llvm::ArrayRef<int64_t>":$shape)>,
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
      The columns in the order in which they are stored, in segments of (columns, step). A chunk of columns passed to
      `decodeTile` lies in one segment and begins at a multiple of the step from its start.
    }], "::llvm::SmallVector<std::pair<int64_t, int64_t>>", "getSegments", (ins "::llvm::ArrayRef<int64_t>":$shape)>,
    InterfaceMethod<[{
      The array that maps a stored column to the logical one (i32), or null if they are the same.
    }], "::mlir::Value", "getOrder", (ins "::mlir::ValueRange":$components), "", "return {};">,
    InterfaceMethod<[{
      Emits code that writes the f32 values of row tile `tile` (an index), stored columns `begin` to `end`, to
      `scratch[0 … end−begin][16]`. May write up to 32 rows past the end, and the last row of `scratch`, which never
      holds a value.
    }], "void", "decodeTile", (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::ValueRange":$components,
      "::llvm::ArrayRef<int64_t>":$shape, "::mlir::Value":$tile, "::mlir::Value":$begin, "::mlir::Value":$end,
      "::mlir::Value":$scratch)>,
  ];
}

#endif
