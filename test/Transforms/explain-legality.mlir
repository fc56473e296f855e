// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality 2>&1 >/dev/null | FileCheck %s --check-prefix=PERM
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=stores=true 2>&1 >/dev/null | FileCheck %s --check-prefix=STORE
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=scale 2>&1 >/dev/null | FileCheck %s --check-prefix=SCALE
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=shift 2>&1 >/dev/null | FileCheck %s --check-prefix=SHIFT
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=rotate 2>&1 >/dev/null | FileCheck %s --check-prefix=ROTATE
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=center 2>&1 >/dev/null | FileCheck %s --check-prefix=CENTER
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=duplicate 2>&1 >/dev/null | FileCheck %s --check-prefix=DUP

#id2 = affine_map<(d0, d1) -> (d0, d1)>
#id3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#add3 = {indexing_maps = [#id3, #id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]}

// A pre-norm block with learned positions (OPT, GPT-2): tokens 5, width 8, 2 heads of 4, hidden 16; tied output head.
func.func @opt(%ids: tensor<1x5xi64>, %mask: tensor<1x1x5x5xf32>) -> tensor<1x5x32xf32> {
  %embedding = arith.constant dense<1.0> : tensor<32x8xf32>
  %positions = arith.constant dense<1.0> : tensor<1x5x8xf32>
  %g = arith.constant dense<[1., 2., 3., 4., 5., 6., 7., 8.]> : tensor<8xf32>
  %b = arith.constant dense<0.5> : tensor<8xf32>
  %wq = arith.constant dense<1.0> : tensor<8x8xf32>
  %wk = arith.constant dense<2.0> : tensor<8x8xf32>
  %wv = arith.constant dense<3.0> : tensor<8x8xf32>
  %wo = arith.constant dense<4.0> : tensor<8x8xf32>
  %w1 = arith.constant dense<5.0> : tensor<16x8xf32>
  %b1 = arith.constant dense<6.0> : tensor<16xf32>
  %w2 = arith.constant dense<7.0> : tensor<8x16xf32>
  %e = quanta.embedding %embedding, %ids : (tensor<32x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %init = tensor.empty() : tensor<1x5x8xf32>
  %x = linalg.generic #add3 ins(%e, %positions : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %o: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n = quanta.layer_norm %x, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %q = quanta.linear %n, %wq : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("q")
  %k = quanta.linear %n, %wk : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("k")
  %v = quanta.linear %n, %wv : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("v")
  %heads = tensor.empty() : tensor<1x2x5x4xf32>
  %qe = tensor.expand_shape %q [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %ke = tensor.expand_shape %k [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %ve = tensor.expand_shape %v [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %qt = linalg.transpose ins(%qe : tensor<1x5x2x4xf32>) outs(%heads : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %kt = linalg.transpose ins(%ke : tensor<1x5x2x4xf32>) outs(%heads : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %vt = linalg.transpose ins(%ve : tensor<1x5x2x4xf32>) outs(%heads : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %a = quanta.attention %qt, %kt, %vt mask %mask {scale = 0.5 : f32} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x1x5x5xf32>) -> tensor<1x2x5x4xf32> loc("attention")
  %tokens = tensor.empty() : tensor<1x5x2x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x2x5x4xf32>) outs(%tokens : tensor<1x5x2x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x2x4xf32> into tensor<1x5x8xf32>
  %o = quanta.linear %ac, %wo : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("out")
  %x1 = linalg.generic #add3 ins(%x, %o : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n1 = quanta.layer_norm %x1, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %h = quanta.linear %n1, %w1 bias %b1 : (tensor<1x5x8xf32>, tensor<16x8xf32>, tensor<16xf32>) -> tensor<1x5x16xf32> loc("fc1")
  %relu = quanta.activation relu %h : tensor<1x5x16xf32>
  %f = quanta.linear %relu, %w2 : (tensor<1x5x16xf32>, tensor<8x16xf32>) -> tensor<1x5x8xf32> loc("fc2")
  %x2 = linalg.generic #add3 ins(%x1, %f : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n2 = quanta.layer_norm %x2, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %y = quanta.linear %n2, %embedding : (tensor<1x5x8xf32>, tensor<32x8xf32>) -> tensor<1x5x32xf32> loc("head")
  return %y : tensor<1x5x32xf32>
}

// The residual stream is one order for the whole model, tied head included; with permuted stores each norm has its own.
// PERM:      loc("q"): input may change by a permutation: 8 channels, 15 constants absorb it, 3296 bytes rewritten{{$}}
// PERM:      loc("attention"): query may change by a permutation: 8 channels in 2 groups of 4, 2 constants
// PERM:      loc("out"): input may change by a permutation: 8 channels in 2 groups of 4, 2 constants
// PERM:      loc("fc2"): input may change by a permutation: 16 channels, 3 constants
// STORE:     loc("q"): input may change by a permutation: 8 channels, 5 constants absorb it, 832 bytes rewritten, 64 bytes stored twice, 1 norm stores permuted
// A head that is tied to the embedding needs a copy.
// STORE:     loc("head"): input may change by a permutation: 8 channels, 3 constants absorb it, 1088 bytes rewritten, 1088 bytes stored twice, 1 norm stores
// SCALE:     loc("q"): input may change by a scale: 8 channels, 5 constants
// SCALE:     loc("attention"): query may change by a scale: 8 channels, 2 constants
// SCALE:     loc("fc2"): input may change by a scale: 16 channels, 3 constants
// SHIFT:     loc("q"): input may change by a shift: 8 channels, 4 constants
// SHIFT:     loc("attention"): query may not change by a shift: scores of shifted queries or keys differ
// SHIFT:     loc("out"): input may change by a shift: 8 channels, 1 constants absorb it, 256 bytes rewritten, 1 biases added
// SHIFT:     loc("fc2"): input may not change by a shift: the nonlinearity relu does not commute with it
// ROTATE:    loc("q"): input may not change by a rotation: the norm subtracts the mean, which a rotation moves
// ROTATE:    loc("attention"): query may change by a rotation: 8 channels in 2 groups of 4, 2 constants
// ROTATE:    loc("out"): input may change by a rotation: 8 channels in 2 groups of 4, 2 constants
// ROTATE:    loc("fc2"): input may not change by a rotation: the nonlinearity relu does not commute with it
// CENTER:    loc("fc2"): input may not change by a centering
// DUP:       loc("q"): input may not change by a duplication: the norm's statistics would count some channels twice
// DUP:       loc("out"): input may not change by a duplication: the reshape fixes the number of channels of its parts
// DUP:       loc("fc2"): input may change by a duplication: 16 channels, 3 constants

// RMS norm, grouped queries (4 heads, 2 key heads), rotary embedding, SwiGLU (LLaMA).
func.func @llama(%x: tensor<1x5x8xf32>) -> tensor<1x5x3xf32> {
  %embed = arith.constant dense<1.0> : tensor<8x8xf32>
  %g = arith.constant dense<1.0> : tensor<8xf32>
  %wq = arith.constant dense<1.0> : tensor<16x8xf32>
  %wk = arith.constant dense<2.0> : tensor<8x8xf32>
  %wv = arith.constant dense<3.0> : tensor<8x8xf32>
  %wo = arith.constant dense<4.0> : tensor<8x16xf32>
  %wg = arith.constant dense<5.0> : tensor<6x8xf32>
  %wu = arith.constant dense<6.0> : tensor<6x8xf32>
  %wd = arith.constant dense<7.0> : tensor<8x6xf32>
  %wh = arith.constant dense<8.0> : tensor<3x8xf32>
  %cos = arith.constant dense<0.5> : tensor<1x1x5x4xf32>
  %sin = arith.constant dense<0.25> : tensor<1x1x5x4xf32>
  %init = tensor.empty() : tensor<1x5x8xf32>
  %r = quanta.linear %x, %embed : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("embed")
  %n = quanta.rms_norm %r, %g {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %q = quanta.linear %n, %wq : (tensor<1x5x8xf32>, tensor<16x8xf32>) -> tensor<1x5x16xf32> loc("l.q")
  %k = quanta.linear %n, %wk : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("l.k")
  %v = quanta.linear %n, %wv : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("l.v")
  %h4 = tensor.empty() : tensor<1x4x5x4xf32>
  %h2 = tensor.empty() : tensor<1x2x5x4xf32>
  %qe = tensor.expand_shape %q [[0], [1], [2, 3]] output_shape [1, 5, 4, 4] : tensor<1x5x16xf32> into tensor<1x5x4x4xf32>
  %ke = tensor.expand_shape %k [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %ve = tensor.expand_shape %v [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %qt = linalg.transpose ins(%qe : tensor<1x5x4x4xf32>) outs(%h4 : tensor<1x4x5x4xf32>) permutation = [0, 2, 1, 3]
  %kt = linalg.transpose ins(%ke : tensor<1x5x2x4xf32>) outs(%h2 : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %vt = linalg.transpose ins(%ve : tensor<1x5x2x4xf32>) outs(%h2 : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %qr = quanta.rotary %qt, %cos, %sin : (tensor<1x4x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x4x5x4xf32>
  %kr = quanta.rotary %kt, %cos, %sin : (tensor<1x2x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x2x5x4xf32>
  %a = quanta.attention %qr, %kr, %vt {scale = 0.5 : f32} : (tensor<1x4x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x4x5x4xf32> loc("l.attention")
  %t4 = tensor.empty() : tensor<1x5x4x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x4x5x4xf32>) outs(%t4 : tensor<1x5x4x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x4x4xf32> into tensor<1x5x16xf32>
  %o = quanta.linear %ac, %wo : (tensor<1x5x16xf32>, tensor<8x16xf32>) -> tensor<1x5x8xf32> loc("l.o")
  %r1 = linalg.generic #add3 ins(%r, %o : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %m: f32, %u: f32):
    %s = arith.addf %l, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n1 = quanta.rms_norm %r1, %g {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %gate = quanta.linear %n1, %wg : (tensor<1x5x8xf32>, tensor<6x8xf32>) -> tensor<1x5x6xf32> loc("l.gate")
  %up = quanta.linear %n1, %wu : (tensor<1x5x8xf32>, tensor<6x8xf32>) -> tensor<1x5x6xf32> loc("l.up")
  %silu = quanta.activation silu %gate : tensor<1x5x6xf32>
  %init6 = tensor.empty() : tensor<1x5x6xf32>
  %product = linalg.generic #add3 ins(%silu, %up : tensor<1x5x6xf32>, tensor<1x5x6xf32>) outs(%init6 : tensor<1x5x6xf32>) {
  ^bb0(%l: f32, %m: f32, %u: f32):
    %s = arith.mulf %l, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x5x6xf32>
  %d = quanta.linear %product, %wd : (tensor<1x5x6xf32>, tensor<8x6xf32>) -> tensor<1x5x8xf32> loc("l.down")
  %r2 = linalg.generic #add3 ins(%r1, %d : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %m: f32, %u: f32):
    %s = arith.addf %l, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n2 = quanta.rms_norm %r2, %g {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %y = quanta.linear %n2, %wh : (tensor<1x5x8xf32>, tensor<3x8xf32>) -> tensor<1x5x3xf32> loc("l.head")
  return %y : tensor<1x5x3xf32>
}
// An input of the model has its order. The stream that begins behind the first layer is free.
// PERM:   loc("embed"): input may not change by a permutation: it comes from an input of the model
// PERM:   loc("l.q"): input may change by a permutation: 8 channels, 12 constants
// Pairs stay pairs, in the same order in all heads, and the tables move along.
// PERM:   loc("l.attention"): query may change by a permutation: 2 channels, 6 constants
// One order for each key head, shared by its two query heads.
// PERM:   loc("l.attention"): value may change by a permutation: 8 channels in 2 groups of 4, 2 constants
// PERM:   loc("l.o"): input may change by a permutation: 8 channels in 2 groups of 4, 2 constants
// PERM:   loc("l.down"): input may change by a permutation: 6 channels, 3 constants
// STORE:  loc("l.gate"): input may change by a permutation: 8 channels, 3 constants {{.*}}, 1 norm stores permuted
// A pair of each key head has a scale; the product is scaled through the factor behind no nonlinearity.
// SCALE:  loc("l.attention"): query may change by a scale: 4 channels, 2 constants
// SCALE:  loc("l.o"): input may change by a scale: 8 channels, 2 constants
// SCALE:  loc("l.down"): input may change by a scale: 6 channels, 2 constants absorb it, 384 bytes rewritten
// SHIFT:  loc("l.q"): input may not change by a shift: an RMS norm has no bias to absorb a shift
// SHIFT:  loc("l.o"): input may change by a shift: 8 channels, 1 constants absorb it, 512 bytes rewritten, 1 biases added
// ROTATE: loc("embed"): input may not change by a rotation: it comes from an input of the model
// Scales of ones let the residual stream rotate.
// ROTATE: loc("l.q"): input may change by a rotation: 8 channels, 9 constants
// ROTATE: loc("l.attention"): query may not change by a rotation: rotary embedding
// ROTATE: loc("l.o"): input may change by a rotation: 8 channels in 2 groups of 4
// ROTATE: loc("l.down"): input may not change by a rotation: it is combined with a value that differs between channels
// CENTER: loc("l.q"): input may not change by a centering: an RMS norm sees the mean of its input

// One layer for query, key and value (ViT): three slices of its result.
func.func @fused_qkv(%ids: tensor<1x5xi64>) -> tensor<1x5x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %w = arith.constant dense<1.0> : tensor<24x8xf32>
  %b = arith.constant dense<1.0> : tensor<24xf32>
  %wo = arith.constant dense<4.0> : tensor<3x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %qkv = quanta.linear %x, %w bias %b : (tensor<1x5x8xf32>, tensor<24x8xf32>, tensor<24xf32>) -> tensor<1x5x24xf32> loc("qkv")
  %e = tensor.expand_shape %qkv [[0], [1], [2, 3, 4]] output_shape [1, 5, 3, 2, 4] : tensor<1x5x24xf32> into tensor<1x5x3x2x4xf32>
  %init = tensor.empty() : tensor<3x1x2x5x4xf32>
  %t = linalg.transpose ins(%e : tensor<1x5x3x2x4xf32>) outs(%init : tensor<3x1x2x5x4xf32>) permutation = [2, 0, 3, 1, 4]
  %q = tensor.extract_slice %t[0, 0, 0, 0, 0] [1, 1, 2, 5, 4] [1, 1, 1, 1, 1] : tensor<3x1x2x5x4xf32> to tensor<1x2x5x4xf32>
  %k = tensor.extract_slice %t[1, 0, 0, 0, 0] [1, 1, 2, 5, 4] [1, 1, 1, 1, 1] : tensor<3x1x2x5x4xf32> to tensor<1x2x5x4xf32>
  %v = tensor.extract_slice %t[2, 0, 0, 0, 0] [1, 1, 2, 5, 4] [1, 1, 1, 1, 1] : tensor<3x1x2x5x4xf32> to tensor<1x2x5x4xf32>
  %a = quanta.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32> loc("qkv.attention")
  %tokens = tensor.empty() : tensor<1x5x2x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x2x5x4xf32>) outs(%tokens : tensor<1x5x2x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x2x4xf32> into tensor<1x5x8xf32>
  %y = quanta.linear %ac, %wo : (tensor<1x5x8xf32>, tensor<3x8xf32>) -> tensor<1x5x3xf32> loc("qkv.out")
  return %y : tensor<1x5x3xf32>
}
// PERM:   loc("qkv.attention"): query may change by a permutation: 8 channels in 2 groups of 4, 2 constants absorb it, 864 bytes
// PERM:   loc("qkv.out"): input may change by a permutation: 8 channels in 2 groups of 4, 3 constants
// Queries by s, keys by 1/s, in one weight.
// SCALE:  loc("qkv.attention"): query may change by a scale: 8 channels, 2 constants
// ROTATE: loc("qkv"): input may change by a rotation: 8 channels, 2 constants
// ROTATE: loc("qkv.attention"): query may change by a rotation: 8 channels in 2 groups of 4

// Neighbouring tokens side by side, then a norm over all (Swin's patch merging).
func.func @patch_merging(%ids: tensor<4xi64>) -> tensor<2x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x4xf32>
  %g = arith.constant dense<[1., 2., 3., 4., 5., 6., 7., 8.]> : tensor<8xf32>
  %w = arith.constant dense<1.0> : tensor<3x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x4xf32>, tensor<4xi64>) -> tensor<4x4xf32>
  %even = tensor.extract_slice %x[0, 0] [2, 4] [2, 1] : tensor<4x4xf32> to tensor<2x4xf32>
  %odd = tensor.extract_slice %x[1, 0] [2, 4] [2, 1] : tensor<4x4xf32> to tensor<2x4xf32>
  %c = tensor.concat dim(1) %even, %odd : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  %n = quanta.layer_norm %c, %g {epsilon = 1.0e-5 : f32} : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %y = quanta.linear %n, %w : (tensor<2x8xf32>, tensor<3x8xf32>) -> tensor<2x3xf32> loc("merge")
  return %y : tensor<2x3xf32>
}
// Through the norm, both halves have the table's one order; stored by the norm, any order will do.
// PERM:   loc("merge"): input may change by a permutation: 4 channels, 3 constants
// STORE:  loc("merge"): input may change by a permutation: 8 channels, 2 constants {{.*}} 1 norm stores permuted
// SCALE:  loc("merge"): input may change by a scale: 8 channels, 2 constants

// The norm's result is also the residual (BERT).
func.func @post_norm(%ids: tensor<5xi64>) -> tensor<5x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %g = arith.constant dense<[1., 2., 3., 4., 5., 6., 7., 8.]> : tensor<8xf32>
  %w = arith.constant dense<1.0> : tensor<8x8xf32>
  %wh = arith.constant dense<1.0> : tensor<3x8xf32>
  %init = tensor.empty() : tensor<5x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<5xi64>) -> tensor<5x8xf32>
  %n = quanta.rms_norm %x, %g {epsilon = 1.0e-5 : f32} : (tensor<5x8xf32>, tensor<8xf32>) -> tensor<5x8xf32>
  %f = quanta.linear %n, %w : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32> loc("post")
  %s = linalg.generic {indexing_maps = [#id2, #id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%n, %f : tensor<5x8xf32>, tensor<5x8xf32>) outs(%init : tensor<5x8xf32>) {
  ^bb0(%l: f32, %m: f32, %u: f32):
    %a = arith.addf %l, %m : f32
    linalg.yield %a : f32
  } -> tensor<5x8xf32>
  %n1 = quanta.rms_norm %s, %g {epsilon = 1.0e-5 : f32} : (tensor<5x8xf32>, tensor<8xf32>) -> tensor<5x8xf32>
  %y = quanta.linear %n1, %wh : (tensor<5x8xf32>, tensor<3x8xf32>) -> tensor<5x3xf32> loc("post.head")
  return %y : tensor<5x3xf32>
}
// PERM:   loc("post"): input may change by a permutation: 8 channels, 6 constants
// SCALE:  loc("post"): input may not change by a scale: the norm's statistics depend on the scales of its input
// ROTATE: loc("post"): input may not change by a rotation: the norm's scale differs between channels; fold it into its readers first

// Norms of queries over each head with one scale (QK-norm).
func.func @qk_norm(%ids: tensor<1x5xi64>) -> tensor<1x5x8xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %g = arith.constant dense<[1., 2., 3., 4.]> : tensor<4xf32>
  %w = arith.constant dense<1.0> : tensor<8x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %q = quanta.linear %x, %w : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32>
  %e = tensor.expand_shape %q [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %n = quanta.rms_norm %e, %g {epsilon = 1.0e-5 : f32} : (tensor<1x5x2x4xf32>, tensor<4xf32>) -> tensor<1x5x2x4xf32>
  %c = tensor.collapse_shape %n [[0], [1], [2, 3]] : tensor<1x5x2x4xf32> into tensor<1x5x8xf32>
  %y = quanta.linear %c, %w : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("qk")
  return %y : tensor<1x5x8xf32>
}
// PERM:   loc("qk"): input may change by a permutation: 4 channels, 3 constants
// SCALE:  loc("qk"): input may change by a scale: 4 channels, 2 constants

// Convolutions: plain, depthwise and grouped, a global average, and a flattened image.
func.func @convolutions(%image: tensor<1x3x4x4xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %w1 = arith.constant dense<1.0> : tensor<4x3x1x1xf32>
  %w2 = arith.constant dense<1.0> : tensor<4x1x3x3xf32>
  %w3 = arith.constant dense<1.0> : tensor<6x2x1x1xf32>
  %w4 = arith.constant dense<1.0> : tensor<2x6xf32>
  %w5 = arith.constant dense<1.0> : tensor<2x96xf32>
  %zero = arith.constant 0.0 : f32
  %c1 = quanta.conv2d %image, %w1 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x4x4xf32>, tensor<4x3x1x1xf32>) -> tensor<1x4x4x4xf32> loc("conv")
  %r1 = quanta.activation relu %c1 : tensor<1x4x4x4xf32>
  %c2 = quanta.conv2d %r1, %w2 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 4 : i64} : (tensor<1x4x4x4xf32>, tensor<4x1x3x3xf32>) -> tensor<1x4x4x4xf32> loc("depthwise")
  %c3 = quanta.conv2d %c2, %w3 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 2 : i64} : (tensor<1x4x4x4xf32>, tensor<6x2x1x1xf32>) -> tensor<1x6x4x4xf32> loc("grouped")
  %empty = tensor.empty() : tensor<1x6xf32>
  %filled = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x6xf32>) -> tensor<1x6xf32>
  %mean = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%c3 : tensor<1x6x4x4xf32>) outs(%filled : tensor<1x6xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = arith.addf %in, %out : f32
    linalg.yield %s : f32
  } -> tensor<1x6xf32>
  %y = quanta.linear %mean, %w4 : (tensor<1x6xf32>, tensor<2x6xf32>) -> tensor<1x2xf32> loc("pooled")
  %flat = tensor.collapse_shape %c3 [[0], [1, 2, 3]] : tensor<1x6x4x4xf32> into tensor<1x96xf32>
  %z = quanta.linear %flat, %w5 : (tensor<1x96xf32>, tensor<2x96xf32>) -> tensor<1x2xf32> loc("flat")
  return %y, %z : tensor<1x2xf32>, tensor<1x2xf32>
}
// PERM:   loc("conv"): input may not change by a permutation: it comes from an input of the model
// Behind the depthwise layer come two groups of two channels.
// PERM:   loc("depthwise"): input may change by a permutation: 4 channels in 2 groups of 2, 3 constants
// PERM:   loc("grouped"): input may change by a permutation: 4 channels in 2 groups of 2, 3 constants
// PERM:   loc("pooled"): input may change by a permutation: 6 channels in 2 groups of 3, 3 constants
// PERM:   loc("flat"): input may change by a permutation: 6 channels in 2 groups of 3, 3 constants
// SCALE:  loc("depthwise"): input may change by a scale: 4 channels, 2 constants
// SCALE:  loc("pooled"): input may change by a scale: 6 channels, 3 constants
// SHIFT:  loc("grouped"): input may change by a shift: 4 channels, 1 constants absorb it, 48 bytes rewritten, 1 biases added
// ROTATE: loc("depthwise"): input may not change by a rotation
// ROTATE: loc("grouped"): input may not change by a rotation: the graph ties every channel to its place
// ROTATE: loc("pooled"): input may change by a rotation: 6 channels in 2 groups of 3

// What refuses.
func.func @refusals(%ids: tensor<?xi64>, %size: index) -> (tensor<?x8xf32>, tensor<?x3xf32>) {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %w = arith.constant dense<1.0> : tensor<8x8xf32>
  %wh = arith.constant dense<1.0> : tensor<3x8xf32>
  %packed = quanta.constant {codes = dense<1> : tensor<8x8xi8>, scales = dense<1.0> : tensor<8x1xf16>, multiples = dense<3> : tensor<8x2xi8>} : tensor<8x8xf32, #quanta.uniform<bits = 4, group = 4, multiples = 4>>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %ids, %c0 : tensor<?xi64>
  %empty = tensor.empty(%n) : tensor<?x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
  %output = quanta.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %a = quanta.linear %output, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32> loc("output")
  %b = quanta.linear %a, %packed : (tensor<?x8xf32>, tensor<8x8xf32, #quanta.uniform<bits = 4, group = 4, multiples = 4>>) -> tensor<?x8xf32> loc("encoded")
  %gelu = quanta.activation gelu %b : tensor<?x8xf32>
  %c = quanta.linear %gelu, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32> loc("gelu")
  %softmax = quanta.softmax %c : tensor<?x8xf32>
  %d = quanta.linear %softmax, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32> loc("softmax")
  %slid = tensor.extract_slice %d[0, %size] [%n, 4] [1, 1] : tensor<?x8xf32> to tensor<?x4xf32>
  %both = tensor.concat dim(1) %slid, %slid : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  %e = quanta.linear %both, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32> loc("slice")
  %position = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%e : tensor<?x8xf32>) outs(%empty : tensor<?x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %i = linalg.index 1 : index
    %j = arith.index_cast %i : index to i64
    %f = arith.sitofp %j : i64 to f32
    %s = arith.addf %in, %f : f32
    linalg.yield %s : f32
  } -> tensor<?x8xf32>
  %f = quanta.linear %position, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32> loc("position")
  %reversed = tensor.insert_slice %f into %empty[0, 0] [%n, 8] [1, 1] : tensor<?x8xf32> into tensor<?x8xf32>
  %y = quanta.linear %reversed, %wh : (tensor<?x8xf32>, tensor<3x8xf32>) -> tensor<?x3xf32> loc("unknown")
  return %output, %y : tensor<?x8xf32>, tensor<?x3xf32>
}
// PERM:   loc("output"): input may not change by a permutation: its result is an output of the model
// PERM:   loc("encoded"): input may not change by a permutation: a weight is encoded already
// PERM:   loc("gelu"): input may not change by a permutation: a weight is encoded already
// PERM:   loc("softmax"): input may change by a permutation: 8 channels, 2 constants
// PERM:   loc("slice"): input may not change by a permutation: the slice cuts the channels at places that are not constant
// PERM:   loc("position"): input may not change by a permutation: the computation depends on the position along this axis
// PERM:   loc("unknown"): input may not change by a permutation: nothing is known of how tensor.insert_slice treats channels
// SCALE:  loc("gelu"): input may not change by a scale: the nonlinearity gelu does not commute with it
// SCALE:  loc("softmax"): input may not change by a scale: softmax does not commute with it
// SCALE:  loc("position"): input may not change by a scale: the elementwise computation does not commute with it
