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

def Quanta_SplitKind : I32EnumAttr<"SplitKind", "what a split chooses by", [
    I32EnumAttrCase<"Columns", 0, "columns">,
    I32EnumAttrCase<"Mask", 1, "mask">]> {
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

    `levels = 3` (with `bits = 2`) leaves only the codes 0 to 2, stored five to a byte. `symmetric` then has zero at 1
    (`value` is −scale, 0 or scale); `offset` is as above; `point` makes no sense.

    `multiples = b` gives each row one scale and each group an integer of b bits, 1 to 2^b − 1, that it is multiplied by:
    `value = scale · (multiple · (q − zero))`. What is in parentheses must fit a signed byte (2·(q − zero) for one bit), so
    that integer kernels decode to bytes which need no other scale along the row: 4 bits and symmetric allow b ≤ 4, 3 bits 5,
    2 bits 6, one bit and 3 levels 7, 4 bits and `point` 3. Groups are of columns; `offset` makes no sense.

    Components: `codes` (one i8 a weight, in logical order), `scales`, `zeros` or `offsets` (rows × groups), and with
    multiples `multiples` (rows × groups, an i8 each), where `scales` are rows × 1.
    Stored bits: bits a weight (with 3 levels, 8 for five columns of a row, rounded up), plus a scale and a zero point or
    offset for each group; with multiples b bits and a zero point for each group, and a scale a row.

    Example: `tensor<4096x1024xf32, #quanta.uniform<bits = 4, group = 128, zero = point>>`, ternary:
    `tensor<4096x1024xf32, #quanta.uniform<bits = 2, group = -1, levels = 3>>`, groups of 32 at the bits of scales for 128:
    `tensor<4096x1024xf32, #quanta.uniform<bits = 4, group = 32, multiples = 4>>`
  }];
  let parameters = (ins
    "unsigned":$bits,
    DefaultValuedParameter<"int64_t", "0">:$group,
    DefaultValuedParameter<"::mlir::quanta::ZeroKind", "::mlir::quanta::ZeroKind::Symmetric">:$zero,
    DefaultValuedParameter<"::mlir::Type", "::mlir::Float16Type::get($_ctxt)">:$scale,
    DefaultValuedParameter<"unsigned", "0">:$levels,
    DefaultValuedParameter<"unsigned", "0">:$multiples);
  let builders = [
    AttrBuilder<(ins "unsigned":$bits, "int64_t":$group, "::mlir::quanta::ZeroKind":$zero, "::mlir::Type":$scale),
      [{ return $_get($_ctxt, bits, group, zero, scale, /*levels=*/0u, /*multiples=*/0u); }]>,
    AttrBuilder<(ins "unsigned":$bits, "int64_t":$group, "::mlir::quanta::ZeroKind":$zero, "::mlir::Type":$scale,
                     "unsigned":$levels),
      [{ return $_get($_ctxt, bits, group, zero, scale, levels, /*multiples=*/0u); }]>];
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
    /// Columns of the scale matrix; zero points, offsets and multiples have getGroupCount.
    int64_t getScaleGroups(int64_t columns) const { return getMultiples() ? std::min<int64_t>(columns, 1) : getGroupCount(columns); }
  }];
}

def Quanta_PlanesAttr : Quanta_Encoding<"Planes", "planes"> {
  let summary = "a sum of scaled signs";
  let description = [{
    `value = mean + Σ_p scale_p · (2·bit_p − 1)` over `count` (1 to 8) planes of bits; without `mean` it is 0. `group` is
    the number of consecutive columns that share scales and mean; `0` is a whole row.

    Components: `codes` (one i8 a weight; bit p belongs to plane p), `scales` [rows, groups · count] (of a group plane 0,
    plane 1, …) and, with a mean, `means` [rows, groups]. Stored bits: `count` a weight, and the scales and means.

    Example: `tensor<4096x1024xf32, #quanta.planes<count = 2, group = 128, mean = true>>`
  }];
  let parameters = (ins
    "unsigned":$count,
    DefaultValuedParameter<"int64_t", "0">:$group,
    DefaultValuedParameter<"bool", "false">:$mean,
    DefaultValuedParameter<"::mlir::Type", "::mlir::Float16Type::get($_ctxt)">:$scale);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Quanta_SplitAttr : Quanta_Encoding<"Split", "split"> {
  let summary = "some weights in one encoding, the others in another";
  let description = [{
    `columns`: `count` whole columns are stored as `high`, a matrix [rows, count] of them in column order, the others as
    `low`, [rows, columns − count]. Components: `mask` (an i8 a column, 1 where it is high), `high.X` and `low.X` for each
    component X of the two matrices. Stored bits: a bit a column, and those of the two.

    `mask`: `count` single weights are stored as `high`, the others as `low`; both are `uniform` or `planes`, and their
    groups count all columns. Components: `mask` (an i8 a weight), `codes` (an i8 a weight: in `high` where the mask is 1,
    else in `low`), and `high.X`, `low.X` for each component of either but `codes`, of the whole shape. Stored bits: the
    mask, the codes of each encoding, all scales. The mask takes a bit a weight; if exactly `kept` of each `tile`
    consecutive columns of a row are high (all, if a short last tile has fewer), ⌈log2 C(tile, kept)⌉ bits a tile.

    Example: `#quanta.split<columns, count = 16, high = #quanta.uniform<bits = 4>, low = #quanta.uniform<bits = 1>>`,
    `#quanta.split<mask, count = 512, tile = 32, kept = 4, high = #quanta.uniform<bits = 8, zero = point>,
    low = #quanta.planes<count = 1, mean = true>>`
  }];
  let parameters = (ins
    "::mlir::quanta::SplitKind":$kind,
    "int64_t":$count,
    DefaultValuedParameter<"int64_t", "0">:$tile,
    DefaultValuedParameter<"int64_t", "0">:$kept,
    "::mlir::quanta::EncodingAttrInterface":$high,
    "::mlir::quanta::EncodingAttrInterface":$low);
  let assemblyFormat = "`<` $kind `,` struct($count, $tile, $kept, $high, $low) `>`";
  let genVerifyDecl = 1;
}

def Quanta_SumAttr : Quanta_Encoding<"Sum", "sum"> {
  let summary = "the sum of two encodings";
  let description = [{
    `value = first + second`, each for the whole shape: a residual in a second encoding. Components: `0.X` and `1.X` for
    each component X of the first and of the second. Stored bits: those of both. Longer sums nest.

    Example: `#quanta.sum<#quanta.uniform<bits = 2>, #quanta.uniform<bits = 2, group = 32>>`
  }];
  let parameters = (ins "::mlir::quanta::EncodingAttrInterface":$first, "::mlir::quanta::EncodingAttrInterface":$second);
  let assemblyFormat = "`<` $first `,` $second `>`";
  let genVerifyDecl = 1;
}

def Quanta_CacheScale : I32EnumAttr<"CacheScale", "what shares a scale in a cache", [
    I32EnumAttrCase<"Token", 0, "token">,
    I32EnumAttrCase<"Channel", 1, "channel">,
    I32EnumAttrCase<"Sketch", 2, "sketch">]> {
  let cppNamespace = "::mlir::quanta";
  let genSpecializedAttr = 0;
}

def Quanta_CacheAttr : Quanta_Encoding<"Cache", "cache"> {
  let summary = "keys or values of a cache in a few bits, all but the newest";
  let description = [{
    Of a cache [B, H, N, D]. `value = scale · q + offset` with an unsigned code of `bits` bits and an f16 scale and offset,
    the least value of those that share them (KIVI, Liu et al. 2024):

    * `token, group = G`: G consecutive channels, a multiple of 32, of one position and head; 0: all of them.
    * `channel, group = G`: G consecutive positions, a multiple of 32, of one channel and head.
    * `sketch, bits = 1`: a position's D channels of one head as signs, `value = ±√(π / 2D) · ‖x‖`, + where x ≥ 0; the scale is
      the magnitude. Of keys x = S·k / √D with S of random orthogonal directions, a query's product with these is an estimate
      of its product with the keys (QJL, Zandieh et al. 2024; `quanta-sketch-keys`).

    Positions are encoded a block at a time: 32 of them, for `channel` a group. Of n positions, the first
    ⌊max(0, n − window) / block⌋ · block are encoded; the newest, at least `window`, are floats.

    Components: `codes` (an i8 a value), `scales`, `offsets` (none of `sketch`), and `recent`, floats for window + block
    positions. Stored bits: those of all N positions and of `recent`.

    Example: `tensor<1x2x512x64xf32, #quanta.cache<channel, bits = 2, group = 32, window = 32>>`
  }];
  let parameters = (ins
    "::mlir::quanta::CacheScale":$scale,
    "unsigned":$bits,
    DefaultValuedParameter<"int64_t", "0">:$group,
    DefaultValuedParameter<"int64_t", "0">:$window);
  let assemblyFormat = "`<` $scale `,` struct($bits, $group, $window) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Encoded blocks begin at multiples of this many positions.
    static constexpr int64_t kBlock = 32;
    /// Positions that are encoded at once.
    int64_t getBlock() const { return getScale() == CacheScale::Channel ? getGroup() : kBlock; }
    bool hasOffsets() const { return getScale() != CacheScale::Sketch; }
    /// Channels that share a scale, unless positions do.
    int64_t getGroupChannels(int64_t channels) const { return getGroup() > 0 ? std::min(getGroup(), channels) : channels; }
    /// Floats are kept for this many positions, whole blocks.
    int64_t getRecentPositions() const { return (getWindow() + 2 * getBlock() - 1) / getBlock() * getBlock(); }
  }];
}

def Quanta_AffineAttr : Quanta_Encoding<"Affine", "affine"> {
  let summary = "activations in a few bits, with scales and zero points that are known when the model is compiled";
  let description = [{
    `value = scale · (q − zero)` with a signed code `q` of `bits` bits, −2^(bits−1) to 2^(bits−1) − 1, but −127 to 127 with 8
    bits: products of bytes then never overflow where instructions add pairs of them in 16 bits. Consecutive columns (of the
    last dimension) that share a scale and a zero point are a segment: `splits` are the columns at which the second and all
    later segments begin; without them there is one, the tensor (RPTQ, Yuan et al. 2023: one for each cluster). A zero point
    may lie outside the codes, where a segment's values do not straddle zero; its magnitude is at most 2^20.

    Component: `codes` (one i8 a value). Stored bits: `bits` a value; scales and zero points belong to the type.

    Example: `tensor<?x384xf32, #quanta.affine<bits = 8, splits = [64], scales = [0.5, 0.02], zeros = [0, -3]>>`
  }];
  let parameters = (ins
    "unsigned":$bits,
    DefaultValuedParameter<"::mlir::DenseI64ArrayAttr", "::mlir::DenseI64ArrayAttr::get($_ctxt, {})">:$splits,
    "::mlir::DenseF32ArrayAttr":$scales,
    "::mlir::DenseI64ArrayAttr":$zeros);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    static constexpr int64_t kLargestZero = 1 << 20;
    /// The codes: least, and greatest.
    static int64_t getLeastCode(unsigned bits) { return bits == 8 ? -127 : -(int64_t(1) << (bits - 1)); }
    static int64_t getGreatestCode(unsigned bits) { return (int64_t(1) << (bits - 1)) - 1; }
    int64_t getSegmentCount() const { return getScales().size(); }
    /// Where each segment of a row of this many columns begins, and where the last ends.
    ::llvm::SmallVector<int64_t> getBounds(int64_t columns) const;
  }];
}

def Quanta_PackedAttr : Quanta_Encoding<"Packed", "packed"> {
  let summary = "another encoding, laid out in tiles of rows for a kernel";
  let description = [{
    The value of `base` (`f32` for plain floats when absent), stored in the tile order that kernels walk: `rows` rows
    side by side in the lanes of a vector. The logical bits are the base's; padding to whole tiles is added by the layout.
    A split by columns stores the high columns first, with the order of all columns as an array; a split by mask stores
    lists of high weights that replace those of a dense low matrix. See include/quanta/Format for the byte order.

    Example: `tensor<4096x1024xf32, #quanta.packed<base = #quanta.uniform<bits = 4>, rows = 16>>`
  }];
  let parameters = (ins
    OptionalParameter<"::mlir::quanta::EncodingAttrInterface">:$base,
    DefaultValuedParameter<"int64_t", "16">:$rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// Of a leaf: columns of a block: what whole 32-bit words of every field hold. Groups are padded to whole blocks.
    int64_t getBlockColumns() const;
  }];
}

def Quanta_TwinAttr : Quanta_Encoding<"Twin", "twin"> {
  let summary = "activations in two regions with uniform steps, one step a power of two times the other";
  let description = [{
    A code of `bits` bits is a flag, the highest bit, and a magnitude q below n = 2^(bits−1). With the flag the value is
    `scale · 2^shift · q`. Without it: `scale · q` for values below n · scale (probabilities, mostly small), with `negative`
    `−scale · q` for values below zero (behind GELU). PTQ4ViT (Yuan et al. 2021), where the steps are Δ₂ = 2^shift · Δ₁, so that
    integers can be added up in units of Δ₁.

    Component: `codes` (one i8 a value). Stored bits: `bits` a value; the rest belongs to the type.

    Example: `tensor<?x3x50x50xf32, #quanta.twin<bits = 8, scale = 2.44140625e-04 : f32, shift = 5>>`
  }];
  let parameters = (ins
    "unsigned":$bits,
    "::mlir::FloatAttr":$scale,
    "unsigned":$shift,
    DefaultValuedParameter<"bool", "false">:$negative);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Quanta_NarrowAttr : Quanta_Encoding<"Narrow", "narrow"> {
  let summary = "activations rounded to a narrower floating-point type";
  let description = [{
    Each value is the nearest one of `type`, half to even; bf16 has 8 significant bits and the range of f32. Nothing is shared between
    values, so that neither data nor a pass over a row is needed.

    Component: `codes`, of `type`. Stored bits: its width a value.

    Example: `tensor<?x384xf32, #quanta.narrow<bf16>>`
  }];
  let parameters = (ins "::mlir::Type":$type);
  let assemblyFormat = "`<` $type `>`";
  let genVerifyDecl = 1;
}

def Quanta_Log2Attr : Quanta_Encoding<"Log2", "log2"> {
  let summary = "activations from zero on as powers of 2 or √2";
  let description = [{
    `value = scale · 2^(−q)`, with `root` `scale · √2^(−q)`, for codes q of `bits` bits, but the highest code is zero. The
    nearest exponent is taken, and what is not above zero is zero (FQ-ViT, Lin et al. 2021; RepQ-ViT, Li et al. 2022; both have
    a zero besides the 2^bits powers).

    Component: `codes` (one i8 a value). Stored bits: `bits` a value; the rest belongs to the type.

    Example: `tensor<?x3x50x50xf32, #quanta.log2<bits = 4, scale = 1.0 : f32, root = true>>`
  }];
  let parameters = (ins
    "unsigned":$bits,
    "::mlir::FloatAttr":$scale,
    DefaultValuedParameter<"bool", "false">:$root);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif
