//===- Passes.td - Passes of lib/Transforms ------------------------------------------------------------------*- tablegen -*-===//
#ifndef QUANTA_TRANSFORMS_PASSES_TD
#define QUANTA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===- onnx.node ----------------------------------------------------------------------------------------------------------===//

def ONNXFold : Pass<"onnx-fold", "::mlir::func::FuncOp"> {
  let summary = "evaluate and simplify an ONNX graph";
  let description = [{
    Takes and leaves a function of `onnx.node`. In this order:

    1. An integer tensor whose elements follow from shapes becomes a constant: `Shape`, `Gather`, `Concat` chains vanish
       where sizes are static, and where they only decide about static sizes. Nodes that change nothing are dropped:
       `Identity`, inference `Dropout`, `Cast` to the same type, `Transpose` in order, `Reshape`, `Expand`, `Slice` to
       the same sizes (compared as expressions, so also dynamic ones), zero `Pad`, + 0, · 1. Two `Transpose`s become
       one.
    2. A node of constants becomes a constant. Nodes that move elements do up to 64 MiB, nodes that compute up to 2²⁰
       elements; what is larger is left to run time. Arithmetic is in f64 or i64, rounded once.
    3. `BatchNormalization` in inference form, and `Mul`, `Div`, `Add`, `Sub` by per-channel constants, are multiplied
       into the constant weights of the `Conv`, `ConvTranspose`, `Gemm` or `MatMul` before them, if that has no other
       use. A single number for all channels is left alone, because activations are made of such.
    4. Common subexpressions are merged.

    A result of the function keeps its declared type; a rewrite that would change it is not done. Time is linear in
    nodes and constants; memory is that of the new constants. Fails if shapes cannot be computed, with the diagnostics
    of that.

    ```mlir
    %shape = onnx.node "Shape"(%x) ... : (tensor<?x96xf32>) -> tensor<2xi64>
    %width = onnx.node "Gather"(%shape, %one) ... : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
    %float = onnx.node "Cast"(%width) {to = 1 : i64} ... : (tensor<i64>) -> tensor<f32>
    %root = onnx.node "Sqrt"(%float) ... : (tensor<f32>) -> tensor<f32>
    ==>
    %root = arith.constant dense<9.79795932> : tensor<f32>
    ```
  }];
  let dependentDialects = ["::mlir::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
}

def ONNXMatchNorms : Pass<"onnx-match-norms", "::mlir::func::FuncOp"> {
  let summary = "recognise layer and RMS normalization";
  let description = [{
    Replaces `x / sqrt(mean(x²) + ε) · scale` by `RMSNormalization` (ai.onnx 23) and, where x is `z − mean(z)`, by
    `LayerNormalization` (ai.onnx 17), with a following bias. The mean is over the last dimension, whose size is static.
    Recognised: `Pow(x, 2)` or `x · x`; division by the root, or multiplication by `Reciprocal`, `1 / root` or a power
    of −1/2; the scale on either side or multiplied into the reciprocal; the quotient computed in f32 between two
    `Cast`s. Without a scale of its own, a norm gets ones.

    Run onnx-fold first: epsilon and exponents must be constants and x must be one value. Nodes of other axes are left
    alone.

    ```mlir
    %square = onnx.node "Pow"(%x, %two) ... : (tensor<?x384xf32>, tensor<f32>) -> tensor<?x384xf32>
    %mean = onnx.node "ReduceMean"(%square) {axes = array<i64: -1>, keepdims = 1 : i64} ... -> tensor<?x1xf32>
    %shifted = onnx.node "Add"(%mean, %epsilon) ...
    %root = onnx.node "Sqrt"(%shifted) ...
    %quotient = onnx.node "Div"(%x, %root) ...
    %y = onnx.node "Mul"(%quotient, %scale) ...
    ==>
    %y = onnx.node "RMSNormalization"(%x, %scale) {axis = -1 : i64, epsilon = 1.0e-5 : f32}
           attributes {domain = "", since_version = 23 : i64} : ...
    ```
  }];
  let dependentDialects = ["::mlir::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
}

def ONNXMatchActivations : Pass<"onnx-match-activations", "::mlir::func::FuncOp"> {
  let summary = "recognise activations that were exported as arithmetic";
  let description = [{
    | expression, in any order of its factors and terms | becomes |
    | --- | --- |
    | `x/2 · (1 + erf(x / √2))` | `Gelu` (ai.onnx 20), `approximate = "none"` |
    | `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))` | `Gelu`, `approximate = "tanh"` |
    | `x · sigmoid(x)` | `Silu` of domain `quanta` |
    | `x · clip(x + 3, 0, 6) / 6`, `x · clip(x/6 + 1/2, 0, 1)`, `x · HardSigmoid(x)` | `HardSwish` (ai.onnx 14) |
    | `clip(x + 3, 0, 6) / 6`, `clip(x/6 + 1/2, 0, 1)` | `HardSigmoid` (ai.onnx 6), alpha 1/6, beta 1/2 |

    The expression is expanded into a polynomial in x and in the value of its one transcendental node; coefficients
    agree to 10⁻⁶. Run onnx-fold first, so that x is one value.

    ```mlir
    %u = onnx.node "Div"(%x, %sqrt2) ...
    %erf = onnx.node "Erf"(%u) ...
    %plus = onnx.node "Add"(%erf, %one) ...
    %product = onnx.node "Mul"(%x, %plus) ...
    %y = onnx.node "Mul"(%product, %half) ...
    ==>
    %y = onnx.node "Gelu"(%x) {approximate = "none"} attributes {domain = "", since_version = 20 : i64} : ...
    ```
  }];
  let dependentDialects = ["::mlir::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
}

def ONNXMatchAttention : Pass<"onnx-match-attention", "::mlir::func::FuncOp"> {
  let summary = "recognise rotary embedding and scaled dot-product attention";
  let description = [{
    Both become nodes of domain `quanta` with the semantics of `quanta.rotary` and `quanta.attention`:

    * `x · cos + concat(−x[D/2:], x[:D/2]) · sin` on rank 4 becomes `Rotary(x, cos, sin)`; tables of lower rank get
      leading dimensions of 1. Halves come from `Slice` or from a two-way `Split`.
    * `softmax(scale · q kᵀ + mask) v` on rank 4 becomes `Attention(q, k, v[, mask]) {scale}`. The scale may be on the
      scores, on q, on k or on several of them, by `Mul` or `Div`. A mask is added, or is a `Where` that fills scores
      with a number so low (≤ −10⁹, or ≤ −6·10⁴ in 16 bits) that it makes probabilities zero; several masks become one,
      of rank 4. Casts between float types are looked through. A guard `Where(IsNaN(p), 0, p)` moves behind the
      attention.
    * k and v that repeat their heads (`Unsqueeze`, `Expand`, `Reshape`) are replaced by the unrepeated ones.

    A mask whose size differs from the scores' only as an expression is taken to fit; the conversion checks it at run
    time. Run onnx-fold first: slice bounds and scales must be constants. Rank 3 is left alone.

    ```mlir
    %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} ...
    %s = onnx.node "MatMul"(%q, %kT) ...
    %scaled = onnx.node "Div"(%s, %eight) ...
    %masked = onnx.node "Add"(%scaled, %mask) ...
    %p = onnx.node "Softmax"(%masked) {axis = -1 : i64} ...
    %y = onnx.node "MatMul"(%p, %v) ...
    ==>
    %y = onnx.node "Attention"(%q, %k, %v, %mask) {scale = 1.25e-1 : f32}
           attributes {domain = "quanta", since_version = 1 : i64} : ...
    ```
  }];
  let dependentDialects = ["::mlir::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
}

//===- Vision -------------------------------------------------------------------------------------------------------------===//

def DecomposeAttention : Pass<"quanta-decompose-attention", "::mlir::ModuleOp"> {
  let summary = "write attention as products and a softmax";
  let description = [{
    Replaces `quanta.attention` by what it is: queries times the scale, `quanta.matmul` with the keys, the mask added,
    `quanta.softmax`, `quanta.matmul` with the values. So passes can get at the probabilities; the kernels that run are the same.
    Left alone: attention over a cache, and fewer heads of keys than of queries. Cost: linear in the ops.

    ```mlir
    %y = quanta.attention %q, %k, %v {scale = 0.125 : f32} : (tensor<?x3x50x64xf32>, ...) -> tensor<?x3x50x64xf32>
    ==>
    %scaled = linalg.generic ... ins(%q : tensor<?x3x50x64xf32>)
    %s = quanta.matmul %scaled, %k {transpose_rhs} : (...) -> tensor<?x3x50x50xf32>
    %p = quanta.softmax %s : tensor<?x3x50x50xf32>
    %y = quanta.matmul %p, %v : (...) -> tensor<?x3x50x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::linalg::LinalgDialect", "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def QuantizeVision : Pass<"quanta-ptq4vit", "::mlir::ModuleOp"> {
  let summary = "choose grids of weights and activations for the least error of each product";
  let description = [{
    Encodes the weights of selected layers (quanta-select-layers) with a scale and a zero point for each row, and the activations
    that these layers and `quanta.matmul`s read with one grid for each tensor, known at compile time. The data runs through the
    float model; then each layer or product is solved by itself: from shares of the range, 0.2 to 1, those of both
    operands are chosen in turn, `rounds` times, that leave the least mean of (factor · (o − ô))², where o is the product of
    the floats (PTQ4ViT, Yuan et al. 2021, Algorithm 1). What the model is given stays in float. `method` says which grids
    there are, and what the factors are:

    * `base`: uniform with a zero point (`#quanta.affine`); the factors are 1.
    * `twin`: also twin-uniform ones (`#quanta.twin`) behind softmax and behind GELU, SiLU and HardSwish, where they are better.
    * `twin-hessian`: the same with factors² from the diagonal of the Gauss-Newton matrix JᵀJ of the model's first output: exact
      derivatives are not needed, because with one value of the model perturbed at a time, by random signs on a group of
      indices of one dimension, the squared change of the output is on average the group's part of the trace. A value's
      diagonal is taken to be the product of a factor for each dimension. `probes` samples are perturbed; the first index of
      each dimension (a class token) and twelve slices of the others are groups.
    * `repq`: as `base`, but softmax has a logarithmic grid to base √2 (`#quanta.log2`), and layer norms that only linear layers
      read are changed so that a grid for each channel becomes one for all (RepQ-ViT, Li et al. 2022): the change is folded into
      norm, weights and biases. Its channels' ranges are those of the least error of the values.

    `twin` and `twin-hessian` minimise errors of products, not of the model. So they are compared with `base` first: both are solved
    on three quarters of the samples, and the one that changes the model's first output less on the others, by Σ p·log(p/q) of its
    softmax, is solved again on all. A model with another output than finite f32 is not compared, with a remark.

    `rows` rows in all are kept of a layer's input, chosen in proportion to their factors; of products of activations the first
    32 matrices. With `bias` the mean error of each output on as many rows, chosen without regard to factors, is added to the layer's bias.
    The calibration error in the report is that of the weighted product, relative.

    Preconditions: attention decomposed (quanta-decompose-attention) where its products are to be quantized; `data`. Errors:
    unknown options, missing or unfit data, activations that are not finite. Cost: for each site rounds · 21 products of `rows`
    rows for each operand, three times for `twin` and `twin-hessian`, and three compilations of the model; `twin-hessian` also up to two
    runs of the model for each group, value and probe sample.

    ```mlir
    %y = quanta.linear %x, %w bias %b : (tensor<?x384xf32>, tensor<1024x384xf32>, tensor<1024xf32>) -> tensor<?x1024xf32>
    ==> // bits=4 act-bits=4
    %q = quanta.quantize %x : tensor<?x384xf32> to tensor<?x384xf32, #quanta.affine<bits = 4, scales = [0.1], zeros = [-3]>>
    %y = quanta.linear %q, %w4 bias %b1 : (..., tensor<1024x384xf32, #quanta.uniform<bits = 4, zero = point>>, ...) -> ...
    ```
  }];
  let options = [
    Option<"bits", "bits", "unsigned", "8", "of weights">,
    Option<"actBits", "act-bits", "unsigned", "8", "of activations">,
    Option<"method", "method", "std::string", "\"twin-hessian\"", "base, twin, twin-hessian or repq">,
    Option<"rounds", "rounds", "unsigned", "2", "how often both operands' grids are chosen">,
    Option<"rows", "rows", "int64_t", "512", "of a layer's input that are looked at">,
    Option<"probes", "probes", "int64_t", "4", "samples that are perturbed for the factors">,
    Option<"correctBias", "bias", "bool", "true", "let biases take the mean error of the outputs">,
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "32", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets and of the perturbations' signs">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::linalg::LinalgDialect", "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

//===- Constants ---------------------------------------------------------------------------------------------------------===//

def MergeConstants : Pass<"quanta-merge-constants", "::mlir::ModuleOp"> {
  let summary = "let equal constants share one array";
  let description = [{
    `arith.constant`s of resources with the same type and the same bytes refer to the first of them; the other arrays are
    freed. A tied embedding, which exporters write once for the lookup and once, transposed, for the output head, is stored
    once, and the lookup reads the head's tiles (see quanta-outline-kernels). Run cse afterwards to merge the ops.

    Precondition: no other attribute of the module refers to these resources. Cost: one pass over the bytes of all
    constants, which are compared only if their hashes agree.

    ```mlir
    %a = arith.constant dense_resource<embedding> : tensor<4096x384xf32>
    %b = arith.constant dense_resource<head> : tensor<4096x384xf32>
    ==> // equal bytes
    %a = arith.constant dense_resource<embedding> : tensor<4096x384xf32>
    %b = arith.constant dense_resource<embedding> : tensor<4096x384xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def RecognizeWeights : Pass<"quanta-recognize-weights", "::mlir::ModuleOp"> {
  let summary = "encode weights that are quantized already as what they are";
  let description = [{
    Constant f32 weights of linear layers and convolutions that have few distinct values, with one scale for the matrix, a
    range of columns, a row or a group of a row, become `quanta.constant`s of `#quanta.uniform`: binary (±a) with 1 bit,
    ternary (−a, 0, a) with 3 levels, five to a byte, and integer multiples of a scale with the fewest bits. Only if the
    arithmetic of the kernels, with fused and with separate products, decodes to exactly the same f32 values; scales are
    f16 where that is exact, else f32. So nothing changes but the size of the model, and the passes that quantize find
    nothing left to do for these layers. An embedding that shares the weight reads the codes too.

    Weights that are powers of two, or whose decoding would round, stay in float with a remark. The note of a recognized
    layer says of what kind it is.

    Cost: ordinary weights are given up at the first group that no scale explains, so a large model is hardly read;
    recognized ones are read a few times. Run after constants are folded, before layers are quantized.

    ```mlir
    %w = arith.constant dense<[[0.5, -0.5], [0.5, 0.5]]> : tensor<2x2xf32>
    ==>
    %w = quanta.constant {codes = dense_resource<w.codes> : tensor<2x2xi8>, scales = dense_resource<w.scales> : tensor<1x1xf16>}
      : tensor<2x2xf32, #quanta.uniform<bits = 1, group = -1>>
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

//===- Equivalent transforms ----------------------------------------------------------------------------------------------===//

def ExplainLegality : Pass<"quanta-explain-legality", "::mlir::ModuleOp"> {
  let summary = "say what would have to change if the channels of layers' inputs changed";
  let description = [{
    For the input of every `quanta.linear` and `quanta.conv2d`, and the query and value of every `quanta.attention`, leaves a
    remark that says whether its channels may be permuted, scaled, shifted, rotated, centered or duplicated without a change
    of the model's function: how many channels are free and which may be exchanged, the constants that would absorb the
    change, and what it costs, or why it is refused, with a note at the op that refuses. This is the analysis that
    `quanta-reorder`, `quanta-smooth` and `quanta-rotate` act on. Changes nothing.

    The analysis walks from a value through its producer and users. A permutation passes elementwise ops, norms, softmax and
    sums; a scale passes what is homogeneous (ReLU, sums, one factor of a product) and ends in constants; a rotation passes
    what is linear and RMS norms without scales of their own; a shift ends in biases. Heads are kept together, query heads
    that share a key head change alike, and rotary pairs stay pairs. An op without a rule refuses.

    Cost: linear in the elements along channels, for each layer.

    ```mlir
    %y = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xf32>) -> tensor<?x32xf32> // %x = relu of a linear layer
    ==> // transform=scale
    remark: input may change by a scale: 64 channels, 3 constants absorb it, 24832 bytes rewritten
    ```
  }];
  let options = [
    Option<"transform", "transform", "std::string", "\"permute\"", "permute, scale, shift, rotate, center or duplicate">,
    Option<"stores", "stores", "bool", "false", "let norms store their results in another order">,
  ];
}

def Reorder : Pass<"quanta-reorder", "::mlir::ModuleOp"> {
  let summary = "put channels of similar ranges side by side";
  let description = [{
    Reorders channels so that those with similar (max, min) on the calibration data follow each other, in clusters that a
    quantizer can give a scale each (RPTQ, Z. Yuan et al., 2023). All rows, columns, biases and norm parameters that belong to
    a channel move along, so nothing is gathered at run time: the residual stream has one order through the whole model, its
    embeddings and its head included; attention's values, queries and keys have one for each key head, the hidden channels of
    a feed-forward block their own, and so have convolutions. Which channels must share an order and which may change places
    is the answer of quanta-explain-legality.

    A channel is a point with the (max, min) of every value in the class that a layer reads; where several layers read, each
    is divided by its largest magnitude. The points of each group are clustered by k-means (k-means++ starts from `seed`, ten
    of them); clusters are sorted by their mean range, and their ends moved to multiples of `align` where that divides the
    group, in favour of the wider neighbour. Each `quanta.linear` whose input was reordered gets `quanta.input_clusters`, the
    channels of each cluster in order.

    Precondition: weights in float; `data`. The model is run before and after: if an output differs by more than 10⁻⁴ of its
    largest magnitude, classes are rolled back one by one, with a remark. Cost: two compilations of the model for the host and
    a run over the data; k-means is channels · clusters · iterations.

    ```mlir
    %h = quanta.linear %x, %w1 bias %b1
    %r = quanta.activation relu %h
    %y = quanta.linear %r, %w2
    ==>
    %h = quanta.linear %x, %w1_rows bias %b1_rows
    %r = quanta.activation relu %h
    %y = quanta.linear %r, %w2_columns {quanta.input_clusters = array<i64: 480, 32>}
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets and of k-means">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
    Option<"clusters", "clusters", "int64_t", "32", "of a group that is the only one of its class">,
    Option<"headClusters", "head-clusters", "int64_t", "4", "of each of several groups, as heads are">,
    Option<"align", "align", "int64_t", "32", "clusters end at multiples of so many channels where that divides the group">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::quanta::QuantaDialect"];
}

def Smooth : Pass<"quanta-smooth", "::mlir::ModuleOp"> {
  let summary = "move the range of activations into weights";
  let description = [{
    For the input x of each `quanta.linear` and `quanta.conv2d` whose channels may be scaled (see quanta-explain-legality), x
    becomes x/s and the weights that read it w·s, with sⱼ = max|xⱼ|^α / max|wⱼ|^(1−α) (G. Xiao et al., SmoothQuant, 2022). The
    maximum of x is over the calibration data, that of w over all weights that read channel j. The division ends in norms'
    parameters, in the rows of the layer before, through ReLU and the linear factor of a gated product, and for attention in
    the rows that make the values. Nothing is done at run time.

    With `equalize`, sites whose x is made by weights (through ReLU, a product, or attention) take the largest weight of the
    rows that make channel j for max|xⱼ|, and α = 1/2: rows and columns get equal ranges (M. Nagel et al., Data-Free
    Quantization, 2019). Norms' results are left alone then, and data serves for verification only.

    With `bits`, the bits of the weights that a later pass makes, the exponents of both maxima are searched for each input: those that
    should leave the least squared error of the layers' outputs, which follows from the steps of weights (in groups of `group`
    columns) and, with `act-bits`, of activations, and from the mean squares of x (AWQ, J. Lin et al., 2023, whose search
    runs the layer instead; taps of a convolution count as rows).

    Precondition: weights in float; `data`, but with `equalize`. A site is left alone, with a remark that says why, if the scale is not legal or
    if more than a quarter of the rewritten bytes would be stored twice (a head that is tied to the embedding).

    The model is run before and after: if an output differs by more than 10⁻⁴ of its largest magnitude, sites are rolled back
    one by one, with a remark. Cost: two compilations of the model for the host and a run over the data.

    ```mlir
    %n = quanta.layer_norm %x, %g bias %b
    %y = quanta.linear %n, %w
    ==>
    %n = quanta.layer_norm %x, %g_over_s bias %b_over_s
    %y = quanta.linear %n, %w_times_s
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
    Option<"alpha", "alpha", "double", "0.5", "how much of the difficulty moves to the weights, 0 to 1">,
    Option<"equalize", "equalize", "bool", "false", "equal ranges of the weights that write and read a channel instead">,
    Option<"bits", "bits", "int64_t", "0", "search the exponents for weights of so many bits; 0: alpha">,
    Option<"actBits", "act-bits", "int64_t", "0", "and for activations of so many bits; 0: floats">,
    Option<"group", "group", "int64_t", "128", "columns of a weight that share a scale; 0: a row">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::quanta::QuantaDialect"];
}

def Rotate : Pass<"quanta-rotate", "::mlir::ModuleOp"> {
  let summary = "turn activations into a basis without outliers";
  let description = [{
    Multiplies the channels of a residual stream by a random orthogonal matrix, diag(±1) · H/√n with a Hadamard matrix H, and
    those of attention's values by one for each key head; all weights that write or read them absorb it (QuaRot's fused
    rotations). In order, for each set of norms that read one stream:

    1. each norm's bias and scale move into its readers;
    2. if they are layer norms, everything that writes the stream is centered, and they become RMS norms;
    3. embeddings, positions, and the rows and columns of weights are rotated.

    Refused, with a remark that says why: streams that something nonlinear reads or writes, norms whose result is also a
    residual (BERT), sizes without a known Hadamard matrix. A head that is tied to the embedding gets a weight of its own,
    because the last norm's scale moves into it.

    With `online`, an input of linear layers that comes out of something nonlinear (in front of the second layer of a
    feed-forward block) is turned at run time: x, seen as a matrix of a rows and b columns, becomes Hₐᵀ·x·H_b / √(a·b), two
    products with constants of a² and b² elements, where a·b is the number of channels and a + b the least for which
    Hadamard matrices are known; the layers' weights absorb the inverse. Queries and keys behind rotary embedding are left.

    With `data` the model is run before and after: if an output differs by more than 10⁻⁴ of its largest magnitude, sites are
    rolled back one by one, with a remark; without, remarks say that nothing was verified. Cost: two compilations of the
    model for the host; n · (base + log n) operations for each column of a weight, in f64.

    ```mlir
    %n = quanta.layer_norm %x, %g bias %b
    ==>
    %n = quanta.rms_norm %x, %ones
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"dataSeed", "data-seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
    Option<"online", "online", "bool", "false", "also turn the inputs of layers behind nonlinear ops, at run time">,
    Option<"seed", "seed", "uint64_t", "0", "of the signs">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::quanta::QuantaDialect", "::mlir::tensor::TensorDialect"];
}

//===- State --------------------------------------------------------------------------------------------------------------===//

def UseCache : Pass<"quanta-use-cache", "::mlir::ModuleOp"> {
  let summary = "keep past keys and values in the model instead of passing them in and out";
  let description = [{
    Recognises a cache graph: an input [B, H, P, D] whose only use, besides its sizes, is to be concatenated in front of new
    positions, where the result is an output and otherwise read by `quanta.attention` alone. Each such pair of input and
    output becomes a `quanta.cache` of `capacity` positions, to which the new ones are appended in place; the number of past
    positions becomes `quanta.cache_length`. Both ports disappear; the other ports, their order and the rest of the graph
    stay (an attention mask or positions that the graph takes as inputs still are). Prefill and decoding are the same
    function with another number of new positions.

    Inputs that share the name of a past's first dimension get the size `batch`, which a cache needs to know.

    Precondition: quanta and tensor IR (after convert-onnx-to-quanta); keys and values of f32 with fixed heads and channels.
    Errors: no past was found; one is also read by other ops; the module has a cache already. At run time: new positions that
    do not fit, which is found before anything is written, or not as many in one cache as in another.
    Cost: linear in the ops. Limit: rows of a batch have the same length.

    ```mlir
    func.func @main(%past: tensor<?x2x?x64xf32>, …) -> (…, tensor<?x2x?x64xf32>) {
      %p = tensor.dim %past, %c2
      %k = tensor.concat dim(2) %past, %new : …
      %y = quanta.attention %q, %k, %v …
      return …, %k
    ==> // capacity=512
    func.func @main(…) {
      %p = quanta.cache_length : index
      cf.assert %fits, "the key/value cache has room for 512 positions, …"
      quanta.cache_advance %s
      quanta.cache_append @past.0.key, %new : tensor<?x2x?x64xf32>
      %k = quanta.cache_read @past.0.key, %total : tensor<?x2x?x64xf32>
      %y = quanta.attention %q, %k, %v …
      return …
    quanta.cache @past.0.key : tensor<1x2x512x64xf32>
    ```
  }];
  let options = [
    Option<"capacity", "capacity", "int64_t", "0", "positions for which there is room">,
    Option<"batch", "batch", "int64_t", "1", "sequences that are decoded side by side">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect", "::mlir::quanta::QuantaDialect",
                           "::mlir::tensor::TensorDialect"];
}

def UnrotateKeys : Pass<"quanta-unrotate-keys", "::mlir::ModuleOp"> {
  let summary = "store keys as they are before their rotary embedding";
  let description = [{
    A cache of keys that come from `quanta.rotary` stores the rotary's input instead, and attention rotates what it reads, by
    angles that are cached, too: the rotary's tables of cosines and sines become caches of floats, once for all layers that
    share them. Channels of keys have outlying sizes before the rotation, which then mixes pairs of them from position to
    position, so codes with a scale for each channel fit keys better before it (KVQuant, Hooper et al. 2024). In floats
    nothing changes, to the last bit.

    Precondition: caches in floats (after quanta-use-cache, before quanta-quantize-cache). Tables are [B or 1, H or 1, S, D]
    with fixed B and H; a key with other ones stays as it is, with a remark. Error: no key is behind a rotary embedding. Cost:
    linear in the ops. At run time: 2·D floats a position for each pair of tables, and a rotation of all keys for every
    64 queries.

    ```mlir
    %k = quanta.rotary %x, %cos, %sin : …
    quanta.cache_append @key, %k : tensor<?x2x?x64xf32>
    %all = quanta.cache_read @key, %n : tensor<?x2x?x64xf32>
    %y = quanta.attention %q, %all, %v …
    ==>
    quanta.cache_append @cosines, %cos : tensor<1x1x?x64xf32>
    quanta.cache_append @sines, %sin : tensor<1x1x?x64xf32>
    quanta.cache_append @key, %x : tensor<?x2x?x64xf32>
    %all = quanta.cache_read @key, %n : tensor<?x2x?x64xf32>
    %c = quanta.cache_read @cosines, %n : tensor<1x1x?x64xf32>
    %s = quanta.cache_read @sines, %n : tensor<1x1x?x64xf32>
    %rotated = quanta.rotary %all, %c, %s : …
    %y = quanta.attention %q, %rotated, %v …
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def QuantizeCache : Pass<"quanta-quantize-cache", "::mlir::ModuleOp"> {
  let summary = "keep cached keys and values in a few bits";
  let description = [{
    Gives every `quanta.cache` that is still in floats a `#quanta.cache` encoding, as in KIVI (Liu et al. 2024): keys with a
    scale for each channel and `group` positions, since they have channels of outlying size; values, which attention adds up
    position by position, with a scale for each position. The newest `window` positions and those of an incomplete group
    stay floats. Only the types of caches and of `cache_read`s change. `group = 0` gives keys a scale for each position, too.

    A width `sketch` keeps the signs of keys along random orthogonal directions and their length (QJL, Zandieh et al. 2024),
    as many signs as channels, `sketch2` twice as many, up to `sketch8`. Keys and queries are multiplied by the directions
    when they come, which does not change their products, and the cache has that many channels more; its newest positions,
    too. Keys that are rotated when they are read (quanta-unrotate-keys) cannot be sketched.

    `bits` may be a list, one width for each layer with a cache in the model's order, and each width a pair KEYS/VALUES:
    `bits=8/4,4/2,4/2,8/4` (KVTuner, Li et al. 2025, finds that layers differ and that keys need more than values). A width of 0
    keeps floats. Or run the pass several times with other patterns `only`. quanta-allocate-cache chooses the list.

    Precondition: caches are read by attention only (quanta-use-cache). Errors: bits that are not 0 to 8, a list of another
    length than the layers, a group or window that the encoding refuses, a pattern that is no regular expression. Cost: linear
    in the ops.

    ```mlir
    %k = quanta.cache_read @past.0.key, %n : tensor<?x2x?x64xf32>
    quanta.cache @past.0.key : tensor<1x2x512x64xf32>
    ==> // bits=2 group=32 window=32
    %k = quanta.cache_read @past.0.key, %n : tensor<?x2x?x64xf32, #quanta.cache<channel, bits = 2, group = 32, window = 32>>
    quanta.cache @past.0.key : tensor<1x2x512x64xf32, #quanta.cache<channel, bits = 2, group = 32, window = 32>>
    ```
  }];
  let options = [
    Option<"bits", "bits", "std::string", "\"4\"", "bits of a code, 1 to 8, or sketch for keys; for keys and values K/V; for each layer, separated by commas">,
    Option<"group", "group", "int64_t", "32", "positions of a channel of keys that share a scale; 0: a scale for each position">,
    Option<"window", "window", "int64_t", "32", "newest positions that stay floats">,
    Option<"only", "only", "std::string", "", "regular expression on names of caches: encode these alone">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::quanta::QuantaDialect"];
}

def AllocateCache : Pass<"quanta-allocate-cache", "::mlir::ModuleOp"> {
  let summary = "choose the widths of each layer's keys and values within a budget of bytes";
  let description = [{
    Encodes caches as quanta-quantize-cache does, with one of the `candidates` for each layer: those with the least sum of
    losses whose caches take no more than `bytes`, all that an instance keeps, scales, floats and angles included (KVTuner, Li et
    al. 2025, searches such pairs of widths with the model's accuracy). The loss of a candidate is what it does to the model's
    output if it alone is there: Σ p·log(p/q) of the softmax of the first output, mean over rows and samples of `data`, from an
    empty cache, all tokens of a sample in one run; so few queries see positions in floats (`recent`). Losses are taken to
    add up, and the sum is minimised exactly (lib/Allocate). With `store` they are kept, and with `resume` taken from there:
    another budget costs no run.

    Precondition: that of quanta-quantize-cache. Cost: a compilation and a run of the model for each layer and candidate.
    Memory: the model's first output on all samples. Errors: a budget that the smallest candidates exceed, what
    quanta-quantize-cache refuses, data that is missing, does not fit or is longer than the capacity.

    ```mlir
    quanta.cache @0.key : tensor<1x2x512x64xf32> // likewise @0.value, @1.key, @1.value
    ==> // bytes=150000 candidates=8/4,4/2,2
    quanta.cache @0.key : tensor<1x2x512x64xf32, #quanta.cache<channel, bits = 8, group = 32, window = 32>>
    quanta.cache @0.value : tensor<1x2x512x64xf32, #quanta.cache<token, bits = 4, window = 32>>
    quanta.cache @1.key : tensor<1x2x512x64xf32, #quanta.cache<channel, bits = 2, group = 32, window = 32>>
    quanta.cache @1.value : tensor<1x2x512x64xf32, #quanta.cache<token, bits = 2, window = 32>>
    ```
  }];
  let options = [
    Option<"bytes", "bytes", "int64_t", "0", "of all caches of an instance, at most">,
    Option<"candidates", "candidates", "std::string", "\"8,8/4,4,4/2,3,2\"", "widths to choose from, each as of quanta-quantize-cache">,
    Option<"group", "group", "int64_t", "32", "positions of a channel of keys that share a scale; 0: a scale for each position">,
    Option<"recent", "recent", "int64_t", "32", "newest positions that stay floats">,
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "16", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"store", "store", "std::string", "", "folder for the measured losses; empty: they are not kept">,
    Option<"resume", "resume", "bool", "false", "take over what was measured before">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::quanta::QuantaDialect"];
}

//===- Quantization -------------------------------------------------------------------------------------------------------===//

def SelectLayers : Pass<"quanta-select-layers", "::mlir::ModuleOp"> {
  let summary = "mark the layers whose weights a recipe is to quantize";
  let description = [{
    Every `quanta.linear` and `quanta.conv2d` with a float weight gets the attribute `quanta.selected`, or stays in float with
    an attribute `quanta.note` that says why: its weight is not constant, its node or weight name matches `keep`, or does
    not match `only`, or it is the output head (linear layers that reach the function's first result through shape,
    elementwise or softmax ops only) and `head` is not set. Layers whose weights are encoded already are passed over, so a
    later recipe finds what an earlier one has left.

    The passes that encode weights act on selected layers and take the mark away. Cost: one walk over the ops. Error: a
    pattern that is no regular expression.

    ```mlir
    %y = quanta.linear %x, %w : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    %z = quanta.linear %y, %v : (tensor<?x1024xf32>, tensor<96x1024xf32>) -> tensor<?x96xf32>
    return %z
    ==>
    %y = quanta.linear %x, %w {quanta.selected} : ...
    %z = quanta.linear %y, %v {quanta.note = "in float: output head"} : ...
    ```
  }];
  let options = [
    Option<"head", "head", "bool", "false", "also select the output head">,
    Option<"only", "only", "std::string", "", "regular expression on node or weight names: select these alone">,
    Option<"keep", "keep", "std::string", "", "regular expression on node or weight names: leave these in float">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def LeaveFloat : Pass<"quanta-leave-float", "::mlir::ModuleOp"> {
  let summary = "leave selected layers as they are";
  let description = [{
    Takes `quanta.selected` from all layers that have it, with a `quanta.note`: what stands for floats where pipelines that encode
    layers are expected, as in quanta-measure-candidates. Cost: one walk over the ops. No errors.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==>
    %y = quanta.linear %x, %w {quanta.note = "in float: by choice"} : ...
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def Calibrate : Pass<"quanta-calibrate", "::mlir::ModuleOp"> {
  let summary = "run data through the model and solve its layers one after another";
  let description = [{
    Goes through the selected layers (`quanta.selected`) of @main in stages: layers that read the same value form one, stages
    come in the order of their first layers. For each stage the pass compiles the ops since the stage before, runs the
    calibration data through them, writes the second moments of the layers' inputs to files (lib/Calibrate/Moments), sets
    `quanta.statistics` to the file on these layers, runs the nested `pipeline` on the module, and removes the attribute. While
    it runs, other layers have no `quanta.selected`, so passes that encode all selected layers encode this stage's.

    Every eighth sample is kept apart: its moments are for scoring. With `sequential` there are two streams of data, one
    through the float model and one through the layers as encoded so far; moments are those of the second, and the products
    of both streams (`cross`) let a solver aim at the float model's outputs. Otherwise all moments are the float model's.

    Values at the cut in front of a stage are files, so each op runs once for each stream and sample, whatever the number of
    layers; what depends on shapes and constants alone is computed anew instead. With `store` the run leaves what it has done
    in STORE/run-FINGERPRINT, and `resume` goes on behind the last stage that was solved: a run that was killed and resumed
    gives the same bytes as one that was not, and the number of threads makes no difference either. The fingerprint is that of
    model, data, options and pipeline. Two processes cannot use the same run at once.

    Preconditions: selected layers lie in the body of @main, which has one block; the nested pipeline changes the stage's layers
    only (their operands and attributes). Otherwise the pass fails.
    Cost: one run of the model (two if `sequential`) on all samples, and rows · channels² multiplications for each stage's moments
    (three times that if `sequential`). Memory: a batch's activations, 24 · channels² bytes for a stage's layers of each kind, the
    solver's. Disk: the values at two cuts, for all samples.
    Errors: no data, data that does not fit or is not finite (with the number of its batch), activations that are not finite,
    a nested pipeline that cannot be parsed.

    ```mlir
    // quanta-calibrate{data=tokens.npy samples=128 window=256 pipeline='quanta-quantize-weights{method=gptq bits=3}'}
    %y = quanta.linear %x, %w {quanta.selected} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==> // the nested pipeline sees
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "/tmp/quanta-calibrate-1f/moments-0.qmom"} : ...
    ==>
    %y = quanta.linear %x, %v {quanta.error_calibration = ..., ...} : (tensor<?x384xf32>, tensor<1024x384xf32, #quanta.uniform<bits = 3, ...>>) -> ...
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"batch", "batch", "int64_t", "8", "samples that run at once, if the model leaves it open">,
    Option<"store", "store", "std::string", "", "folder to keep the run in; empty: a temporary one">,
    Option<"resume", "resume", "bool", "false", "go on with the run in the store, if there is one">,
    Option<"sequential", "sequential", "bool", "true", "layers' inputs come from the layers encoded before them">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
    Option<"dryRun", "dry-run", "bool", "false", "print what would be done, with memory, disk and time, and do nothing">,
    Option<"pipeline", "pipeline", "std::string", "", "passes that solve a stage's layers">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::func::FuncDialect", "::mlir::tensor::TensorDialect",
                           "::mlir::arith::ArithDialect"];
}

def QuantizeWeights : Pass<"quanta-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "encode the constant weights of linear layers and convolutions";
  let description = [{
    The weight of every layer that quanta-select-layers has marked, an f32 constant, becomes a `quanta.constant` of a
    `#quanta.uniform` type; nothing else changes, and the float data is freed when its last user is gone. A weight that
    several selected layers share is encoded once.

    * `rtn`: round to nearest with the min-max range of each group (lib/Solver/Rtn).
    * `rtn-range`: the same after a search for the range and a fit of scale and offset that leave the least squared error.
    * `gptq`: the least error of the layer's output (lib/Solver/RowGrids): range search weighted by the inputs' squares, an
      error-compensating sweep in the order of large inputs, then four rounds of least-squares scales and descent over the
      codes. Acts on layers that carry `quanta.statistics` only (see quanta-calibrate). With cross moments the target is
      corrected for the error of the layers before.

    `levels = 3` with 2 bits is ternary: the same methods with three codes. `multiples = b` with groups and a zero that is symmetric or
    a point gives each row one scale, and each group an integer of b bits that multiplies it (lib/Solver/Multiples): the scales that the
    method chooses are brought to such products for the least error, and codes are found for these.

    Scales are f16, or f32 for a layer in which f16 would overflow or vanish (noted). The relative squared error is left on
    the op as `quanta.weight_error`, and with statistics `quanta.error_calibration`, `quanta.error_held_out` (of the layer's
    output, relative to the target's) and `quanta.seconds`; `gptq` adds a remark with what it used. If the moments are not positive definite the
    damping grows to 100 times of what it was, and if that does not help only their diagonal is used; weights of inputs that
    were always zero are rounded to nearest; both are noted.

    Errors: a weight with an infinity or NaN or of another type than f32; an unknown method; a scale for the tensor
    (`group = -1`) with `gptq`, which solves rows by themselves; multiples that do not leave a signed byte (#quanta.uniform); statistics that cannot be read, do not fit or hold no rows.
    Cost: `rtn` is one pass over the weights. `gptq` factors the moments of K inputs (K³) once for each file and takes about
    20·N·K² multiplications for N rows, in slices of rows in parallel that give the same bytes for any number of threads; it
    needs 4·K² doubles and a few matrices of a slice for each thread.

    ```mlir
    %w = arith.constant dense_resource<w> : tensor<1024x384xf32>
    %y = quanta.linear %x, %w {quanta.selected} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==> // bits=4 group=128
    %w = quanta.constant {codes = ..., scales = ..., zeros = ...} : tensor<1024x384xf32, #quanta.uniform<bits = 4, group = 128, zero = point>>
    %y = quanta.linear %x, %w {quanta.weight_error = ...} : (...) -> tensor<?x1024xf32>
    ```
  }];
  let options = [
    Option<"method", "method", "std::string", "\"rtn\"", "solver: rtn, rtn-range or gptq">,
    Option<"bits", "bits", "unsigned", "4", "bits of a code, 1 to 8">,
    Option<"levels", "levels", "unsigned", "0", "number of codes: 0 for all of `bits` bits, or 3">,
    Option<"group", "group", "int64_t", "128", "columns that share a scale; 0 is the row, -1 the tensor">,
    Option<"multiples", "multiples", "unsigned", "0", "bits of the integers by which groups multiply their row's scale; 0: groups have scales">,
    Option<"damping", "damping", "double", "0", "added to the diagonal of H, relative to its mean; 0: 0.01, and more with few rows">,
    Option<"zero", "zero", "::mlir::quanta::ZeroKind", "::mlir::quanta::ZeroKind::Point", "what stands for zero", [{
      ::llvm::cl::values(
        clEnumValN(::mlir::quanta::ZeroKind::Symmetric, "symmetric", "the middle code"),
        clEnumValN(::mlir::quanta::ZeroKind::Point, "point", "an integer for each scale"),
        clEnumValN(::mlir::quanta::ZeroKind::Offset, "offset", "a float for each scale"))
    }]>,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def SaliencyMask : Pass<"quanta-saliency-mask", "::mlir::ModuleOp"> {
  let summary = "mark the weights of a layer that deserve more bits";
  let description = [{
    Gives each selected layer an attribute `quanta.mask = {values = dense_resource<...>}`, i8, 1 where a weight is salient,
    for quanta-binarize. Forms:

    * `columns`: whole columns, the share `salient` of them; values are [columns].
    * `elements`: the share `salient` of all weights (PB-LLM; at least one is not salient); values are [rows, columns].
    * `tiles`: in each row exactly `kept` of `tile` consecutive columns (all of a shorter last tile that has fewer), so that
      the mask takes log2 C(tile, kept) bits a tile and kernels find the same number everywhere; the attribute has `tile`
      and `kept`, too.

    What counts: `by = hessian` is w²/U_jj², H⁻¹ = UᵀU, what dropping a weight costs when the weights behind it in the
    sweep make up for it, and for columns H_jj·‖w_j‖²; `activation` is w²·H_jj for weights and the largest input for columns
    (PTQ1.61); `magnitude` is |w|, and ‖w_j‖² for columns. With cross moments w is the corrected target. All but `magnitude` act on layers that carry `quanta.statistics`
    only. Of equal scores the first count.

    Errors: an unknown form or rule, a share outside 0 to 1, statistics that cannot be read, do not fit or hold no rows.
    Cost: sorting the weights, and the factorization of the statistics (see quanta-quantize-weights).

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "w.moments"} : (..., tensor<1024x384xf32>) -> ...
    ==> // form=columns salient=0.16
    %y = quanta.linear %x, %w {quanta.mask = {values = dense_resource<w.mask> : tensor<384xi8>}, ...} : ...
    ```
  }];
  let options = [
    Option<"form", "form", "std::string", "\"tiles\"", "columns, elements or tiles">,
    Option<"salient", "salient", "double", "0.1", "share of the columns or elements that is salient">,
    Option<"tile", "tile", "int64_t", "32", "columns of a tile">,
    Option<"kept", "kept", "int64_t", "3", "salient weights of a tile">,
    Option<"by", "by", "std::string", "\"hessian\"", "what counts: hessian, magnitude or activation">,
    Option<"damping", "damping", "double", "0", "added to the diagonal of H, relative to its mean; 0: 0.01, and more with few rows">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def Binarize : Pass<"quanta-binarize", "::mlir::ModuleOp"> {
  let summary = "encode weights as signs, and salient ones with more bits";
  let description = [{
    The weight of every selected layer that carries `quanta.statistics` becomes a `quanta.constant`:

    * without a mask `#quanta.uniform<bits = 1, zero = offset>`: two values for each row (or `group` columns of it);
    * with a mask of columns (quanta-saliency-mask) `#quanta.split<columns>` of a uniform format of `high-bits` bits with a
      scale and an offset for each row, and the binary one, whose groups count binary columns;
    * with a mask of weights `#quanta.split<mask>` of the same two.

    All are solved alike (lib/Solver/RowGrids): grids by a search of the range, a sweep that compensates errors, for columns
    with the salient ones last, then four rounds of least squares for all scales and offsets of a row under the inputs'
    moments and descent over all codes, binary and salient together. With cross moments the target is corrected for the
    error of the layers before. Attributes, remark, fallbacks and cost are those of method `gptq` of
    quanta-quantize-weights; a mask of weights takes twice the time, because each row has products of its own.

    With `low-bits` the weights without a mask, or those that it leaves, have more than two values.

    Errors: a mask that does not fit the weight; those of quanta-quantize-weights.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.mask = {values = dense_resource<m> : tensor<384xi8>}, ...}
    ==> // high-bits=4
    %w = quanta.constant {high.codes = ..., high.offsets = ..., high.scales = ..., low.codes = ..., low.offsets = ..., low.scales = ..., mask = ...}
      : tensor<1024x384xf32, #quanta.split<columns, count = 61, high = #quanta.uniform<bits = 4, zero = offset>, low = #quanta.uniform<bits = 1, zero = offset>>>
    ```
  }];
  let options = [
    Option<"highBits", "high-bits", "unsigned", "4", "bits of a salient weight, 1 to 8">,
    Option<"lowBits", "low-bits", "unsigned", "1", "bits of the others">,
    Option<"damping", "damping", "double", "0", "added to the diagonal of H, relative to its mean; 0: 0.01, and more with few rows">,
    Option<"group", "group", "int64_t", "0", "columns that share the two binary values; 0 is the row">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def LowRank : Pass<"quanta-low-rank", "::mlir::ModuleOp"> {
  let summary = "replace weights by products of two thin matrices";
  let description = [{
    Every selected `quanta.linear` x·Wᵀ + b whose weight is an f32 constant becomes x·Bᵀ followed by ·Aᵀ + b, with A·B the best
    approximation of W of some rank. Both are linear layers with float weights again, so that a later recipe can quantize them,
    each for the inputs that it really has; or with `factor-bits` both are quantized here, a scale and an offset for each row: B for
    the second moments H of its input, then A, after it has become the best for this B, for B·H·Bᵀ (as method `gptq` of
    quanta-quantize-weights does).

    | method | what is least | needs statistics |
    | --- | --- | --- |
    | `svd` | ‖W − AB‖² | no |
    | `asvd` | ‖(W − AB)·diag(s)‖², s_j = a_j^alpha + 10⁻⁶, a_j the mean (or `statistic=max`: largest) magnitude of an input channel | yes |
    | `whitened` | tr((W − AB)·H·(W − AB)ᵀ), the error of the layer's output; H damped as for the other solvers | yes |

    The rank is the layer's `quanta.rank` (quanta-choose-ranks), or `rank`, or that at which the factors have `ratio` of the weights, rounded up to a multiple of `align`. Left in
    float with a `quanta.note`: convolutions, and layers whose factors would be no smaller than the weight. Layers without
    `quanta.statistics` are passed over by the methods that need them. A weight that several layers share is factored once.

    The second layer gets `quanta.weight_error`, and with statistics `quanta.error_calibration` and `quanta.error_held_out`
    (relative errors of the product), `quanta.seconds`; a remark states rank and errors.

    Cost: a singular value decomposition of each weight, about 20·rows·columns·min(rows, columns) multiplications.
    Errors: an unknown method or statistic, a rank or ratio out of range, weights that are not f32 or not finite, statistics
    that cannot be read or do not fit.

    ```mlir
    %y = quanta.linear %x, %w bias %b {quanta.selected} : (tensor<?x384xf32>, tensor<1024x384xf32>, tensor<1024xf32>) -> tensor<?x1024xf32>
    ==> // ratio=0.5
    %z = quanta.linear %x, %B : (tensor<?x384xf32>, tensor<139x384xf32>) -> tensor<?x139xf32>
    %y = quanta.linear %z, %A bias %b {quanta.weight_error = ...} : (tensor<?x139xf32>, tensor<1024x139xf32>, tensor<1024xf32>) -> tensor<?x1024xf32>
    ```
  }];
  let options = [
    Option<"method", "method", "std::string", "\"whitened\"", "svd, asvd or whitened">,
    Option<"ratio", "ratio", "double", "0.9", "share of the weights that the factors have, more than 0 and less than 1">,
    Option<"rank", "rank", "int64_t", "0", "the same rank for all layers; 0: as the ratio says">,
    Option<"align", "align", "int64_t", "1", "ranks that follow from the ratio are multiples of this">,
    Option<"alpha", "alpha", "double", "0.5", "asvd: power of the magnitudes">,
    Option<"statistic", "statistic", "std::string", "\"mean\"", "asvd: mean or max of the magnitudes">,
    Option<"factorBits", "factor-bits", "unsigned", "0", "bits of a code of the factors, 2 to 8; 0: they stay in float">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::arith::ArithDialect"];
}

def MeasureSpectrum : Pass<"quanta-measure-spectrum", "::mlir::ModuleOp"> {
  let summary = "note what each rank of a layer would cost";
  let description = [{
    Each selected `quanta.linear` with `quanta.statistics` gets `quanta.spectrum`, the singular values, falling, of its f32 weight
    times the Cholesky factor of the inputs' second moments: the sum of the squares beyond a rank is the least error of the layer's
    output that factors of that rank leave. Of layers that share a weight the first gets it. The layer stays as it is, and selected.

    Run it in quanta-calibrate, not `sequential`. Cost: a singular value decomposition for each weight. Errors: weights that are not
    f32 or not finite, statistics that cannot be read or do not fit.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "..."} : (tensor<?x384xf32>, tensor<384x384xf32>) -> tensor<?x384xf32>
    ==>
    %y = quanta.linear %x, %w {quanta.selected, quanta.spectrum = array<f64: 92.1, 40.3, ...>, quanta.statistics = "..."} : ...
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def ChooseRanks : Pass<"quanta-choose-ranks", "::mlir::ModuleOp"> {
  let summary = "choose a rank for every layer within one number of weights";
  let description = [{
    Among all ranks that are multiples of `align`, and leaving a layer whole, chooses for the layers with `quanta.spectrum` those with
    the least sum of relative errors of the layers' outputs whose factors and whole weights have at most `ratio` of the
    weights: a knapsack, solved exactly up to 65536 states (lib/Allocate/Ranks). A layer gets `quanta.rank`, which quanta-low-rank
    obeys; one that stays whole is not selected any more, with a `quanta.note`. The spectra are dropped, remarks state the ranks, the
    sum and its lower bound.

    Errors: a ratio or align out of range; a ratio that not even the least ranks reach. Cost: less than a second.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.spectrum = array<f64: 92.1, 40.3, ...>} : (tensor<?x384xf32>, tensor<384x384xf32>) -> tensor<?x384xf32>
    ==> // ratio=0.9
    %y = quanta.linear %x, %w {quanta.rank = 150 : i64, quanta.selected} : (tensor<?x384xf32>, tensor<384x384xf32>) -> tensor<?x384xf32>
    ```
  }];
  let options = [
    Option<"ratio", "ratio", "double", "0.9", "share of the weights that is left, more than 0 and at most 1">,
    Option<"align", "align", "int64_t", "8", "ranks are multiples of this">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect"];
}

def AddLowRank : Pass<"quanta-add-low-rank", "::mlir::ModuleOp"> {
  let summary = "put a thin product beside a weight that will be quantized";
  let description = [{
    Every selected `quanta.linear` x·Wᵀ + b with `quanta.statistics` and an f32 weight W [N, K] of its own becomes
    [x, x·Bᵀ]·[W − A·B, A]ᵀ + b, with B [rank, K] quantized to `factor-bits` and a scale for each row, for the second moments H of x. In
    floats that is the same function. Then quanta-binarize with `low-bits` and `high-bits` quantizes W − A·B and A: the columns of A are in `quanta.mask`,
    and the statistics are those of [x, x·Bᵀ], so A is solved for the second moments B·H·Bᵀ and makes up for errors of the
    other part. One kernel reads both parts of the weight, each stored bit once.

    A·B is the best approximation, for the error of the layer's output, of what quantization to `bits` with a row's scale leaves of
    W (LoRC, 2303.08302; QERA, 2410.06040), and with more `iterations` W and A·B are fitted in turns (LQ-LoRA, 2311.12023; CALDERA,
    2405.18886). With cross moments W is the corrected target there. Layers with a shared weight, convolutions and layers of no more
    than `rank` rows or columns are left as they are, with a remark.

    Preconditions: run it in a quanta-calibrate pipeline, in front of quanta-binarize. Cost: for each iteration that of method
    `gptq` of quanta-quantize-weights, by one thread, and a singular value decomposition; a file of statistics for each layer. Errors:
    options out of range, statistics that cannot be read or written or do not fit.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "m"} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==> // rank=16
    %z = quanta.linear %x, %B : (tensor<?x384xf32>, tensor<16x384xf32, #quanta.uniform<bits = 8>>) -> tensor<?x16xf32>
    %c = tensor.concat dim(1) %x, %z : (tensor<?x384xf32>, tensor<?x16xf32>) -> tensor<?x400xf32>
    %y = quanta.linear %c, %v {quanta.mask = {...}, quanta.note = "low-rank branch, rank 16", quanta.selected, quanta.statistics = "m.branch"}
      : (tensor<?x400xf32>, tensor<1024x400xf32>) -> tensor<?x1024xf32>
    ```
  }];
  let options = [
    Option<"rank", "rank", "int64_t", "16", "rows of B">,
    Option<"bits", "bits", "unsigned", "2", "bits of the weight beside it, for the first fit of A and B">,
    Option<"factorBits", "factor-bits", "unsigned", "8", "bits of B, and of A in that fit">,
    Option<"iterations", "iterations", "int", "1", "fits of both parts in turns">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def MeasureOutputs : Pass<"quanta-measure-outputs", "::mlir::ModuleOp"> {
  let summary = "note the mean of each channel of what selected layers compute";
  let description = [{
    Runs the model, as it is, on `samples` of `data`. Each selected `quanta.linear` and `quanta.conv2d` of @main with an f32 output
    gets `quanta.output_mean`, the mean of each channel of its output (over tokens or pixels and samples), for
    quanta-correct-biases to compare with. Layers whose bias is not a constant of f32 are left alone.

    Preconditions: quanta-select-layers; `data`. Errors: missing or unfit data, outputs that are not finite. Cost: a compilation of
    the model for the host and a run over the data.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected} : (tensor<?x384xf32>, tensor<2x384xf32>) -> tensor<?x2xf32>
    ==>
    %y = quanta.linear %x, %w {quanta.output_mean = array<f64: 0.25, -1.5>, quanta.selected} : ...
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
}

def CorrectBiases : Pass<"quanta-correct-biases", "::mlir::ModuleOp"> {
  let summary = "let biases take the mean error of what quantized layers compute";
  let description = [{
    For each layer with a `quanta.output_mean` (quanta-measure-outputs, before the layer was quantized) the bias becomes
    b + E[y] − E[ŷ]: y is what the layer computed then, ŷ what it computes now, with its weights and its inputs as they are, on
    `samples` of `data` (M. Nagel et al., Data-Free Quantization, 2019, in its empirical form). Layers are corrected from front to
    back, those that read one value together; each is measured with the biases in front of it corrected, so that it makes up
    for its own error and for what is left of theirs. A layer without a bias gets one. The attribute is removed.

    Preconditions: `data`. Layers whose bias is not a constant of f32 are left alone. Errors: missing or unfit data, outputs that are not finite.
    Cost: a compilation of the model for the host, and a run over the data for each value that such layers read. At run time nothing,
    or a bias.

    ```mlir
    %y = quanta.linear %x, %w4 bias %b {quanta.output_mean = array<f64: 0.25, -1.5>} : ...
    ==>
    %y = quanta.linear %x, %w4 bias %b1 : ...
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===- Allocation ---------------------------------------------------------------------------------------------------------===//

def MeasureCandidates : Pass<"quanta-measure-candidates", "::mlir::ModuleOp"> {
  let summary = "solve each layer in several ways and note what each costs";
  let description = [{
    Each selected layer with `quanta.statistics` is solved by each pipeline of `solvers`, in a module that holds the layer alone.
    The layer itself stays as it is, and selected, and gets `quanta.candidates`: for each solver its text, the encoded type and
    components (of a float weight `value`; of one left alone only the type), the stored bits, and the relative error of the layer's
    output, on held-out data if there is some. What became two thin weights (quanta-low-rank), or one beside another
    (quanta-add-low-rank), has the one that the layer's input is multiplied with first in `input`. quanta-allocate chooses among
    them. Of layers that share a weight the first gets the attribute.

    Run it in quanta-calibrate, not `sequential`, so that every layer is measured with the float model's inputs.

    Preconditions: each solver leaves one encoded weight, or two as said, and the error of the output (as quanta-quantize-weights with
    `gptq` does), or the layer alone (quanta-leave-float). Cost: that of all solvers; the codes of all candidates, a byte a weight for each, stay in memory until
    quanta-allocate drops them. Errors: solvers that cannot be parsed or do not do this; theirs.

    ```mlir
    // quanta-measure-candidates{solvers='quanta-quantize-weights{method=gptq bits=2 group=0};quanta-quantize-weights{method=gptq bits=4 group=0}'}
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "..."} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==>
    %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "...", quanta.candidates = [
      {bits = 802816 : i64, components = {...}, error = 7.1e-2 : f64, solver = "quanta-quantize-weights{method=gptq bits=2 group=0}", type = tensor<1024x384xf32, #quanta.uniform<...>>},
      ...]} : ...
    ```
  }];
  let options = [
    Option<"solvers", "solvers", "std::string", "", "pipelines on a module, separated by ';'">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

def Allocate : Pass<"quanta-allocate", "::mlir::ModuleOp"> {
  let summary = "choose a candidate for every layer within a budget of stored bits";
  let description = [{
    Among the `quanta.candidates` of the layers chooses those with the least sum of losses whose stored bits, all that the
    weights take, scales and masks included, stay within the budget: `bpw` bits for each weight of these layers, or `bytes`
    in all, or both. A layer gets `quanta.solver`, the chosen pipeline (quanta-solve-allocated runs it) and `quanta.encoding`;
    the candidates are dropped. The module gets `quanta.allocation`: budget, bits, loss, the lower bound of the loss, the
    frontier, all allocations on the lower convex hull of bits against loss, and `layers`, what each could choose from (solver,
    types of the weights, bits, relative error of its output, loss) and has chosen.

    | loss | of a candidate | cost |
    | --- | --- | --- |
    | `proxy` | the relative error of its layer's output | none |
    | `probe` | that, times the divergence that the middle one of its candidates (by bits) causes over its error | one run of the model a layer |
    | `pairwise` | the same, and for layers that follow each other what both together cause beyond the sum (2306.04879), scaled with the roots of the losses | two runs a layer |
    | `kl` | the divergence that it causes | one run a candidate |
    | `fisher` | the relative error, times the Fisher information of the layer's output | one run a layer, one compilation |
    | `lim` | the relative error, times the number of weights, times up to 16 for the rank of the layer's block by layer input modification, −cos of what the block reads and gives (2406.17415) | one run |
    | `zd` | the same with the share of weights more than a standard deviation above the mean, less being more important; no data | none |

    The divergence is Σ p·log(p/q) of the softmax of the model's first output, mean over rows and samples of `data`, with this one
    layer switched. Fisher information is estimated forward, as no model here has derivatives: the divergence that small random signs
    on the layer's output cause, over their relative squared size. Losses are taken to add up over layers, and with
    `pairwise` over pairs. With `store` those that need layers switched are kept in a folder named by all that they depend on, and with
    `resume` taken from there: another budget costs no run.

    `ms` is a budget of latency: the sum over these layers, linear ones, of what `cost-table` says for the layer's shape, the
    encoding, `tokens`, `cores` and `act` (quant-bench --layers writes it). A shape that it lacks is on the line overhead + ns a weight · weights
    that is fitted to the encoding's other sizes, two at least, and a remark says how well it fits them; so one history of a machine
    (quant-bench --history) serves all models. For a target that is not at hand, of the roofline: the larger of stored bytes / `bandwidth` and
    operations / `peak`. With it the solver is `integer`, and the summary has `ns` and `ns_budget`.

    `dynamic` is exact (see lib/Allocate) up to 65536 states, `integer` by branch and bound (always with `ms` or `pairwise`), `greedy`
    follows the hull; `strs` is the search of ASVD (2312.05821): all candidates but each layer's largest are ordered by loss, and as
    many of the most harmful are left out as the budget allows; a layer gets the smallest that is left. The remark states loss,
    lower bound and gap.

    Cost beside the runs: milliseconds. Memory: with runs, the float model's first output on all samples.
    Errors: no budget or one that the smallest candidates exceed; data that cannot be read or does not fit; a table that cannot be read or
    lacks a candidate.

    ```mlir
    // bpw=2.5
    %y = quanta.linear %x, %w {quanta.selected, quanta.candidates = [...]} : ...
    ==>
    %y = quanta.linear %x, %w {quanta.selected, quanta.encoding = #quanta.uniform<bits = 3, group = 0>,
      quanta.solver = "quanta-quantize-weights{method=gptq bits=3 group=0}"} : ...
    ```
  }];
  let options = [
    Option<"bpw", "bpw", "double", "0", "stored bits for each weight; 0: no such budget">,
    Option<"bytes", "bytes", "int64_t", "0", "stored bytes of all these weights; 0: no such budget">,
    Option<"ms", "ms", "double", "0", "predicted milliseconds of all these layers; 0: no such budget">,
    Option<"costTable", "cost-table", "std::string", "", "JSON of quant-bench or its history; empty: the roofline">,
    Option<"bandwidth", "bandwidth", "double", "0", "roofline: bytes that the target reads, in GB/s">,
    Option<"peak", "peak", "double", "0", "roofline: operations, in GOP/s">,
    Option<"tokens", "tokens", "int64_t", "1", "rows of the layers' input whose latency counts">,
    Option<"cores", "cores", "int64_t", "1", "threads whose latency counts">,
    Option<"act", "act", "std::string", "\"f32\"", "activations whose latency counts, as quant-bench names them">,
    Option<"solver", "solver", "std::string", "\"dynamic\"", "greedy, dynamic, integer or strs">,
    Option<"loss", "loss", "std::string", "\"proxy\"", "proxy, probe, pairwise, kl, fisher, lim or zd">,
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "16", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"batch", "batch", "int64_t", "8", "samples that run at once, if the model leaves it open">,
    Option<"store", "store", "std::string", "", "folder for the measured losses; empty: they are not kept">,
    Option<"resume", "resume", "bool", "false", "take over what was measured before">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def SolveAllocated : Pass<"quanta-solve-allocated", "::mlir::ModuleOp"> {
  let summary = "solve each layer by the pipeline that was chosen for it";
  let description = [{
    Runs, for each text of `quanta.solver`, that pipeline on the module with only the layers selected that carry it (or share their
    weight with one that does), and drops `quanta.solver` and `quanta.encoding` from them. Selected layers without the
    attribute stay selected. Precondition: the pipelines' needs; run it in quanta-calibrate if they use statistics. Cost and
    errors are those of the pipelines.

    ```mlir
    %y = quanta.linear %x, %w {quanta.selected, quanta.solver = "quanta-quantize-weights{bits=3 group=0}"} : (tensor<?x384xf32>, tensor<1024x384xf32>) -> tensor<?x1024xf32>
    ==>
    %y = quanta.linear %x, %v {quanta.weight_error = ...} : (tensor<?x384xf32>, tensor<1024x384xf32, #quanta.uniform<bits = 3, group = 0, zero = point>>) -> tensor<?x1024xf32>
    ```
  }];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def QuantizeActivations : Pass<"quanta-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "let layers with encoded weights read activations in a few bits";
  let description = [{
    Puts a `quanta.quantize` in front of every `quanta.linear` and `quanta.conv2d` with an encoded constant weight and an f32 input,
    so that kernels can multiply integers, or pairs of bf16. Layers that read the same value share it. Leading dimensions of a linear layer's input
    are collapsed into one for the layer and expanded behind it. `act` says what shares a scale, N being 2 to 8 bits:

    * `intN-token`: each token (each row of the last dimension), found while the model runs: its largest magnitude / 127, or with
      fewer than 8 bits its range, with 0, / (2^N − 1), and an offset.
    * `intN-tensor`: the whole input; the range is chosen here, on data, with a zero point.
    * `intN-cluster`: each cluster of channels that `quanta-reorder` left on the layer, or the whole input where it left none,
      likewise (RPTQ, Yuan et al. 2023).
    * `bf16`: nothing; each value is rounded to its 8 leading bits, `#quanta.narrow<bf16>`. No data, and errors as small as those of a
      float: products with weights of up to 8 bits are exact in f32, and sums are of f32.
    * `f32` changes nothing.
    * `intN-attention` leaves layers alone and marks `quanta.attention` (`quanta.attention_bits`), so that its two products are those of codes:
      rows of queries, keys and probabilities and columns of values are divided by their largest magnitude / (2^(N−1) − 1), found while the
      model runs. Attention over a cache stays in f32.

    Static ranges are those of the model as it is, its weights already encoded: it is run on `samples` of `data`. `range=mse` takes
    the range, among the whole one shrunk to 1 % … 100 %, that leaves the least squared error of the values; `range=minmax` the
    whole one.

    Preconditions: weights have been quantized; for static ranges data. Left alone: layers whose node or weight name matches `keep`,
    those that do not match `only`, weights that are not constant or in float, inputs of rank 1 or with a dynamic last dimension;
    with `intN-token` and `bf16` convolutions. Errors: an unknown `act` or `range`, a pattern that is no regular expression, missing or unfit
    data, inputs that are not finite. Cost: linear in the ops; for static ranges a run of the model on the data, and a histogram of
    8192 bins for each range.

    ```mlir
    %y = quanta.linear %x, %w : (tensor<?x384xf32>, tensor<1024x384xf32, #u4>) -> tensor<?x1024xf32>
    ==>
    %q = quanta.quantize %x : tensor<?x384xf32> to tensor<?x384xf32, #quanta.uniform<bits = 8, scale = f32>>
    %y = quanta.linear %q, %w : (tensor<?x384xf32, #quanta.uniform<bits = 8, scale = f32>>, tensor<1024x384xf32, #u4>) -> tensor<?x1024xf32>
    ```
  }];
  let options = [
    Option<"act", "act", "std::string", "\"int8-token\"", "precision of activations: f32, bf16 or intN-token, intN-tensor, intN-cluster">,
    Option<"only", "only", "std::string", "", "regular expression on node or weight names: these layers alone">,
    Option<"keep", "keep", "std::string", "", "regular expression on node or weight names: leave these layers' inputs in f32">,
    Option<"range", "range", "std::string", "\"mse\"", "how static ranges are chosen: mse or minmax">,
    Option<"data", "data", "std::string", "", "an .npz file, a folder of them, or an .npy token stream">,
    Option<"samples", "samples", "int64_t", "128", "at most so many; of files the first ones, of a stream windows">,
    Option<"window", "window", "int64_t", "256", "tokens of a sample of a stream">,
    Option<"seed", "seed", "uint64_t", "0", "of the windows' offsets">,
    Option<"threads", "threads", "unsigned", "0", "threads that run the model; 0 is one for each CPU">,
  ];
  let dependentDialects = ["::mlir::quanta::QuantaDialect", "::mlir::tensor::TensorDialect"];
}

#endif
