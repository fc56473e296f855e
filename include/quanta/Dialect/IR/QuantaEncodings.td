//===- QuantaEncodings.td - Leaf formats and combinators ---------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_ENCODINGS_TD
#define QUANTA_ENCODINGS_TD

include "quanta/Dialect/IR/QuantaDialect.td"
include "quanta/Dialect/IR/QuantaInterfaces.td"

def Quanta_ZeroKind : I32EnumAttr<"ZeroKind", "what stands for zero", [
    I32EnumAttrCase<"Symmetric", 0, "symmetric">,
    I32EnumAttrCase<"Point", 1, "point">,
    I32EnumAttrCase<"Offset", 2, "offset">]> {
  let cppNamespace = "::mlir::quanta";
  let genSpecializedAttr = 0;
}

class Quanta_Encoding<string name, string mnemonic> : Quanta_Attr<name, mnemonic, [
    DeclareAttrInterfaceMethods<VerifiableTensorEncoding>,
    DeclareAttrInterfaceMethods<Quanta_EncodingAttrInterface>]>;

def Quanta_UniformAttr : Quanta_Encoding<"Uniform", "uniform"> {
  let summary = "uniformly spaced levels with a scale for each tensor, row or group";
  let description = [{
    `value = scale · (q − zero)` with `q` an unsigned code of `bits` bits. `group` is the number of consecutive columns
    that share a scale; `0` is one scale a row, `-1` one scale for the whole tensor; the last group of a row may be short.

    * `zero = symmetric`: zero is fixed at 2^(bits−1), for 1 bit at 1/2 (so `value = ±scale/2`).
    * `zero = point`: an integer zero point of `bits` bits for each scale.
    * `zero = offset`: `value = scale · q + offset` with an offset of the scale's type.

    Components: `codes` (one i8 a weight, in logical order), `scales`, and `zeros` or `offsets` (rows × groups).
    Stored bits: bits a weight, plus a scale and a zero point or offset for each group.

    Example: `tensor<4096x1024xf32, #quanta.uniform<bits = 4, group = 128, zero = point>>`
  }];
  let parameters = (ins
    "unsigned":$bits,
    DefaultValuedParameter<"int64_t", "0">:$group,
    DefaultValuedParameter<"::mlir::quanta::ZeroKind", "::mlir::quanta::ZeroKind::Symmetric">:$zero,
    DefaultValuedParameter<"::mlir::Type", "::mlir::Float16Type::get($_ctxt)">:$scale);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    static constexpr int64_t kRow = 0;
    static constexpr int64_t kTensor = -1;
    /// Columns that share a scale in a matrix of this many columns.
    int64_t getGroupSize(int64_t columns) const { return getGroup() > 0 ? std::min(getGroup(), columns) : columns; }
    /// Rows of the scale matrix (1 for tensor granularity) and its columns.
    int64_t getScaleRows(int64_t rows) const { return getGroup() == kTensor ? 1 : rows; }
    int64_t getGroupCount(int64_t columns) const {
      int64_t size = getGroupSize(columns);
      return size == 0 ? 0 : (columns + size - 1) / size;
    }
  }];
}

def Quanta_PackedAttr : Quanta_Encoding<"Packed", "packed"> {
  let summary = "another encoding, laid out in tiles of rows for a kernel";
  let description = [{
    The value of `base` (`f32` for plain floats when absent), stored in the tile order that kernels walk: `rows` rows
    side by side in the lanes of a vector. The logical bits are the base's; padding to whole tiles is added by the layout.
    See lib/Format for the byte order.

    Example: `tensor<4096x1024xf32, #quanta.packed<base = #quanta.uniform<bits = 4>, rows = 16>>`
  }];
  let parameters = (ins
    OptionalParameter<"::mlir::quanta::EncodingAttrInterface">:$base,
    DefaultValuedParameter<"int64_t", "16">:$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// Columns of a block: what whole 32-bit words of every field hold. Groups are padded to whole blocks.
    int64_t getBlockColumns() const;
  }];
}

#endif
