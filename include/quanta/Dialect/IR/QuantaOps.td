//===- QuantaOps.td - Operations of the quanta dialect -----------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_OPS_TD
#define QUANTA_OPS_TD

include "quanta/Dialect/IR/QuantaEncodings.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

/// Upstream does not re-verify a type's encoding when an op is verified; ours do.
def VerifiesEncodings : NativeOpTrait<"VerifiesEncodings"> { let cppNamespace = "::mlir::quanta"; }

class Quanta_ComputeOp<string mnemonic, list<Trait> traits = []>
    : Quanta_Op<mnemonic, !listconcat([Pure, VerifiesEncodings], traits)> {
  let hasVerifier = 1;
}

//===- Compute ------------------------------------------------------------------------------------------------------------===//

def Quanta_LinearOp : Quanta_ComputeOp<"linear"> {
  let summary = "multiply rows by a weight matrix and add a bias";
  let description = [{
    `y[…, n] = Σₖ x[…, k] · w[n, k] + b[n]`. The op that quantization is about: `weight` may carry any encoding.

    C1: the last dimension of `input` equals the weight's second. C2: `weight` is [N, K], `bias` is [N].
    C3: the result has the input's shape with the last dimension N.

    ```mlir
    %y = quanta.linear %x, %w bias %b : (tensor<?x384xf32>, tensor<1024x384xf32, #u4>, tensor<1024xf32>) -> tensor<?x1024xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$bias);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def Quanta_MatmulOp : Quanta_ComputeOp<"matmul"> {
  let summary = "multiply two batches of matrices of activations";
  let description = [{
    `y[b…] = lhs[b…] · rhs[b…]`, with `transpose_rhs`: `lhs · rhsᵀ`. C1: both have the same rank ≥ 2; a batch dimension of
    either side may be 1 (broadcast). C2: contraction dimensions agree.

    ```mlir
    %s = quanta.matmul %q, %k {transpose_rhs} : (tensor<?x6x?x64xf32>, tensor<?x6x?x64xf32>) -> tensor<?x6x?x?xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$lhs, AnyRankedTensor:$rhs, UnitAttr:$transpose_rhs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)";
}

def Quanta_Conv2DOp : Quanta_ComputeOp<"conv2d"> {
  let summary = "convolve an NCHW input with an OIHW weight";
  let description = [{
    Zero padding, ONNX semantics. `pads` is [top, left, bottom, right]. The weight may carry any encoding; its column
    order is in·kh·kw. C1: input [N, C, H, W], weight [O, C/groups, KH, KW], bias [O]. C2: `groups` divides C and O.
    C3: static spatial result dimensions follow from the attributes.

    ```mlir
    %y = quanta.conv2d %x, %w bias %b {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>,
           pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64} : (…) -> tensor<?x64x28x28xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$bias,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def Quanta_LayerNormOp : Quanta_ComputeOp<"layer_norm", [AllShapesMatch<["input", "result"]>]> {
  let summary = "normalise the last dimension to mean 0 and variance 1, then scale and shift";
  let description = [{
    `y = (x − mean(x)) / sqrt(var(x) + epsilon) · scale + bias` over the last dimension. C1: `scale` and `bias` are [C].
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$scale, Optional<AnyRankedTensor>:$bias, F32Attr:$epsilon);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $scale (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def Quanta_RMSNormOp : Quanta_ComputeOp<"rms_norm", [AllShapesMatch<["input", "result"]>]> {
  let summary = "divide the last dimension by its root mean square, then scale";
  let description = [{ `y = x / sqrt(mean(x²) + epsilon) · scale` over the last dimension. C1: `scale` is [C]. }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$scale, F32Attr:$epsilon);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $scale attr-dict `:` functional-type(operands, results)";
}

def Quanta_SoftmaxOp : Quanta_ComputeOp<"softmax", [AllTypesMatch<["input", "result"]>]> {
  let summary = "softmax over the last dimension";
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Quanta_ActivationKind : I32EnumAttr<"ActivationKind", "pointwise nonlinearity", [
    I32EnumAttrCase<"Relu", 0, "relu">, I32EnumAttrCase<"Gelu", 1, "gelu">, I32EnumAttrCase<"GeluTanh", 2, "gelu_tanh">,
    I32EnumAttrCase<"Silu", 3, "silu">, I32EnumAttrCase<"Sigmoid", 4, "sigmoid">, I32EnumAttrCase<"Tanh", 5, "tanh">,
    I32EnumAttrCase<"HardSwish", 6, "hard_swish">, I32EnumAttrCase<"HardSigmoid", 7, "hard_sigmoid">]> {
  let cppNamespace = "::mlir::quanta";
  let genSpecializedAttr = 0;
}
def Quanta_ActivationKindAttr : EnumAttr<Quanta_Dialect, Quanta_ActivationKind, "activation_kind">;

def Quanta_ActivationOp : Quanta_ComputeOp<"activation", [AllTypesMatch<["input", "result"]>]> {
  let summary = "apply a named nonlinearity to every element";
  let description = [{
    `gelu` is exact (erf), `gelu_tanh` the tanh form, `silu` x·sigmoid(x), `hard_swish` x·clip(x/6 + 1/2, 0, 1),
    `hard_sigmoid` clip(x/6 + 1/2, 0, 1).

    ```mlir
    %y = quanta.activation gelu %x : tensor<?x768xf32>
    ```
  }];
  let arguments = (ins Quanta_ActivationKindAttr:$kind, AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "custom<ActivationKeyword>($kind) $input attr-dict `:` type($input)";
}

def Quanta_RotaryOp : Quanta_ComputeOp<"rotary", [AllShapesMatch<["input", "result"]>, AllElementTypesMatch<["input", "result"]>]> {
  let summary = "rotate pairs of channels by position-dependent angles";
  let description = [{
    Rotate-half form: `y = x · cos + concat(−x[D/2:], x[:D/2]) · sin` on the last dimension D of [B, H, S, D].
    C1: D is static and even. C2: `cos` and `sin` are [B or 1, H or 1, S, D]. C3: only `cache_read`s are encoded.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$cos, AnyRankedTensor:$sin);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $cos `,` $sin attr-dict `:` functional-type(operands, results)";
}

def Quanta_AttentionOp : Quanta_ComputeOp<"attention"> {
  let summary = "scaled dot-product attention";
  let description = [{
    `softmax(scale · q·kᵀ + mask) · v` with q [B, H, S, D], k [B, G, T, D], v [B, G, T, E]; G divides H (grouped queries:
    query head h reads head h·G/H). The additive `mask` is [B or 1, H or 1, S or 1, T].
  }];
  let arguments = (ins AnyRankedTensor:$query, AnyRankedTensor:$key, AnyRankedTensor:$value,
    Optional<AnyRankedTensor>:$mask, F32Attr:$scale);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$query `,` $key `,` $value (`mask` $mask^)? attr-dict `:` functional-type(operands, results)";
}

def Quanta_EmbeddingOp : Quanta_ComputeOp<"embedding"> {
  let summary = "look up rows of a table";
  let description = [{
    `y[i…, :] = table[indices[i…], :]`. Negative indices count from the end, as in ONNX; an index out of range stops the
    run with an error. C1: `table` is [V, D] and may be encoded, C2: the result is indices' shape with D appended.
  }];
  let arguments = (ins AnyRankedTensor:$table, AnyRankedTensor:$indices);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$table `,` $indices attr-dict `:` functional-type(operands, results)";
}

//===- State --------------------------------------------------------------------------------------------------------------===//

def Quanta_CacheOp : Quanta_Op<"cache", [Symbol, VerifiesEncodings]> {
  let summary = "what an instance of the model keeps of each position between runs: keys, values, angles of keys";
  let description = [{
    A module-level definition. `type` is [B, H, N, D] with room for N positions, the capacity; it may carry an encoding.
    All caches of a module have the same capacity and hold the same number of positions, `quanta.cache_length`.

    ```mlir
    quanta.cache @past.0.key : tensor<1x2x512x64xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() { return ::llvm::cast<::mlir::RankedTensorType>(getType()); }
    int64_t getCapacity() { return getTensorType().getDimSize(2); }
  }];
}

def Quanta_CacheLengthOp : Quanta_Op<"cache_length", [Pure]> {
  let summary = "positions that the caches held when the run began";
  let description = [{ The same value during a whole run, whatever is appended, hence pure. }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Quanta_CacheAdvanceOp : Quanta_Op<"cache_advance", [MemoryEffects<[MemWrite]>]> {
  let summary = "say how many positions this run appends to every cache";
  let description = [{ Comes before the first `cache_append`; the length grows when the run has ended well. }];
  let arguments = (ins Index:$positions);
  let assemblyFormat = "$positions attr-dict";
}

def Quanta_CacheAppendOp : Quanta_Op<"cache_append", [MemoryEffects<[MemWrite]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "store the keys or values of new positions in place";
  let description = [{
    Writes `values` [B, H, S, D] to positions `cache_length` … `cache_length` + S − 1 of `cache`, which must fit. C1: the
    sizes other than S are the cache's.
  }];
  let arguments = (ins FlatSymbolRefAttr:$cache, AnyRankedTensor:$values);
  let assemblyFormat = "$cache `,` $values attr-dict `:` type($values)";
}

def Quanta_CacheReadOp : Quanta_Op<"cache_read", [MemoryEffects<[MemRead]>, VerifiesEncodings,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the first positions of a cache, where they lie";
  let description = [{
    A view of the first `length` positions, [B, H, length, D], with the cache's encoding. Only `quanta.attention` can
    use it: its kernel reads the cache in place, decoding what it needs. It may be the value, the key, or the input or a
    table of a `quanta.rotary` whose operands are all such views and whose result is the key.
  }];
  let arguments = (ins FlatSymbolRefAttr:$cache, Index:$length);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$cache `,` $length attr-dict `:` type($result)";
  let extraClassDeclaration = [{
    /// What its users take it for; none without users. A failure: it has a user that may not read a cache, or several roles.
    ::mlir::FailureOr<::std::optional<CacheRole>> getRole();
  }];
}

//===- Precision ----------------------------------------------------------------------------------------------------------===//

def Quanta_ConstantOp : Quanta_Op<"constant", [Pure, ConstantLike, VerifiesEncodings]> {
  let summary = "an encoded constant and its stored components";
  let description = [{
    `components` has one elements attribute (usually a `dense_resource`) for each component that the result's encoding
    names. C1: names and types are those of `getComponents`.

    ```mlir
    %w = quanta.constant {codes = dense_resource<w> : tensor<64x64xi8>, scales = dense<1.0> : tensor<64x1xf16>}
           : tensor<64x64xf32, #quanta.uniform<bits = 4>>
    ```
  }];
  let arguments = (ins DictionaryAttr:$components);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$components attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Quanta_QuantizeOp : Quanta_ComputeOp<"quantize"> {
  let summary = "encode activations";
  let description = [{
    The result is the nearest value of its encoding to the input, half to even.

    * `#quanta.uniform` with `group = 0` and a scale of f32: a row (a token) is divided by its largest magnitude / (2^(bits−1) − 1), or
      with `zero = offset` and 7 bits at most by its range with 0 / (2^bits − 1); both are found while the model runs.
    * `#quanta.affine`: scales and zero points are known; values beyond the codes become the nearest code's.

    * `#quanta.twin` and `#quanta.log2`: likewise, on the grids that they describe.
    * `#quanta.narrow`: the nearest value of the narrower type; what lies beyond its range becomes infinite.

    C1: `input` is f32 without an encoding, of rank 2 for `uniform`, or of more where products of two activations read it. C2: the result has the same shape and an encoding.

    ```mlir
    %q = quanta.quantize %x : tensor<?x384xf32> to tensor<?x384xf32, #quanta.uniform<bits = 8, scale = f32>>
    %r = quanta.quantize %x : tensor<?x384xf32> to tensor<?x384xf32, #quanta.affine<bits = 8, scales = [0.02], zeros = [-3]>>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
}

def Quanta_ObserveOp : Quanta_Op<"observe", [AllTypesMatch<["input", "result"]>]> {
  let summary = "hand a tensor to the calibration run, unchanged";
  let description = [{ `point` names the statistic that the value belongs to. Not pure, so that it survives until the model is run. }];
  let arguments = (ins AnyRankedTensor:$input, StrAttr:$point);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $point attr-dict `:` type($input)";
}

//===- Towards code -------------------------------------------------------------------------------------------------------===//

def Quanta_WeightsOp : Quanta_Op<"weights", [Symbol]> {
  let summary = "one stored constant of the compiled model";
  let description = [{
    A module-level definition. `value` holds the data in logical order; `layout`, when present, is the encoding by which
    emission packs it while it writes the weights section, so that no second copy of a large weight exists in memory.
    `type` is the stored form, a static memref.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, AnyAttr:$value, OptionalAttr<AnyAttr>:$layout);
  let assemblyFormat = "$sym_name $type `=` $value (`layout` $layout^)? attr-dict";
}

def Quanta_WeightOp : Quanta_Op<"weight", [Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "address of a stored constant";
  let arguments = (ins FlatSymbolRefAttr:$name);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Quanta_StatesOp : Quanta_Op<"states", [Symbol]> {
  let summary = "memory that each instance of the model keeps between runs";
  let description = [{ A module-level definition; `type` is a static memref. Zero in a new instance. }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type);
  let assemblyFormat = "$sym_name $type attr-dict";
}

def Quanta_StateOp : Quanta_Op<"state", [Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "address of memory that is kept between runs";
  let arguments = (ins FlatSymbolRefAttr:$name);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Quanta_KernelOp : Quanta_Op<"kernel", [AttrSizedOperandSegments, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "run a kernel of a family on tensors or buffers";
  let description = [{
    The last form of a compute op before code: `ins` are activations, `weights` addresses of stored constants, `outs` the
    destinations. An output that is already memory (`quanta.state`) is written in place and has no result. `family` selects the emitter, `config` its parameters. On tensors the op has one result for each
    destination; after bufferization it has none. Kernels with equal family, config and operand types share one function.
  }];
  let arguments = (ins StrAttr:$family, Variadic<AnyType>:$inputs, Variadic<AnyMemRef>:$weights, Variadic<AnyShaped>:$outputs,
    DictionaryAttr:$config);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $family (`ins` `(` $inputs^ `:` type($inputs) `)`)? (`weights` `(` $weights^ `:` type($weights) `)`)?
    `outs` `(` $outputs `:` type($outputs) `)` $config attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputsMutable(); }
  }];
}

#endif
