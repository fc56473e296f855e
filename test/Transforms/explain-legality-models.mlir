// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality 2>&1 >/dev/null | FileCheck %s --check-prefix=PERM
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=stores=true 2>&1 >/dev/null | FileCheck %s --check-prefix=STORE
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=scale 2>&1 >/dev/null | FileCheck %s --check-prefix=SCALE
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-explain-legality=transform=rotate 2>&1 >/dev/null | FileCheck %s --check-prefix=ROTATE

// Kinds of models that explain-legality.mlir does not have: experts, keys and values of one head, biases of positions, rotary embeddings
// of a part of a head, layer norms behind residual sums, and a stream between projections.

#id3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#token = affine_map<(d0, d1, d2) -> (d0, d1)>
#add3 = {indexing_maps = [#id3, #id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]}

// A mixture of experts: the router reads what the experts do.
func.func @experts(%ids: tensor<1x5xi64>) -> tensor<1x5x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %g = arith.constant dense<1.0> : tensor<8xf32>
  %wr = arith.constant dense<1.0> : tensor<2x8xf32>
  %up0 = arith.constant dense<2.0> : tensor<6x8xf32>
  %up1 = arith.constant dense<3.0> : tensor<6x8xf32>
  %down0 = arith.constant dense<4.0> : tensor<8x6xf32>
  %down1 = arith.constant dense<5.0> : tensor<8x6xf32>
  %wh = arith.constant dense<6.0> : tensor<3x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %n = quanta.rms_norm %x, %g {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %scores = quanta.linear %n, %wr : (tensor<1x5x8xf32>, tensor<2x8xf32>) -> tensor<1x5x2xf32> loc("router")
  %p = quanta.softmax %scores : tensor<1x5x2xf32>
  %p0 = tensor.extract_slice %p[0, 0, 0] [1, 5, 1] [1, 1, 1] : tensor<1x5x2xf32> to tensor<1x5xf32>
  %p1 = tensor.extract_slice %p[0, 0, 1] [1, 5, 1] [1, 1, 1] : tensor<1x5x2xf32> to tensor<1x5xf32>
  %h0 = quanta.linear %n, %up0 : (tensor<1x5x8xf32>, tensor<6x8xf32>) -> tensor<1x5x6xf32> loc("expert0.up")
  %h1 = quanta.linear %n, %up1 : (tensor<1x5x8xf32>, tensor<6x8xf32>) -> tensor<1x5x6xf32> loc("expert1.up")
  %r0 = quanta.activation relu %h0 : tensor<1x5x6xf32>
  %r1 = quanta.activation relu %h1 : tensor<1x5x6xf32>
  %d0 = quanta.linear %r0, %down0 : (tensor<1x5x6xf32>, tensor<8x6xf32>) -> tensor<1x5x8xf32> loc("expert0.down")
  %d1 = quanta.linear %r1, %down1 : (tensor<1x5x6xf32>, tensor<8x6xf32>) -> tensor<1x5x8xf32> loc("expert1.down")
  %init = tensor.empty() : tensor<1x5x8xf32>
  %m0 = linalg.generic {indexing_maps = [#id3, #token, #id3], iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%d0, %p0 : tensor<1x5x8xf32>, tensor<1x5xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%in: f32, %share: f32, %out: f32):
    %m = arith.mulf %in, %share : f32
    linalg.yield %m : f32
  } -> tensor<1x5x8xf32>
  %m1 = linalg.generic {indexing_maps = [#id3, #token, #id3], iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%d1, %p1 : tensor<1x5x8xf32>, tensor<1x5xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%in: f32, %share: f32, %out: f32):
    %m = arith.mulf %in, %share : f32
    linalg.yield %m : f32
  } -> tensor<1x5x8xf32>
  %m = linalg.generic #add3 ins(%m0, %m1 : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %t = arith.addf %l, %r : f32
    linalg.yield %t : f32
  } -> tensor<1x5x8xf32>
  %s = linalg.generic #add3 ins(%x, %m : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %t = arith.addf %l, %r : f32
    linalg.yield %t : f32
  } -> tensor<1x5x8xf32>
  %y = quanta.linear %s, %wh : (tensor<1x5x8xf32>, tensor<3x8xf32>) -> tensor<1x5x3xf32> loc("experts.head")
  return %y : tensor<1x5x3xf32>
}
// Table, norm, router, both experts' readers and writers, head.
// PERM:   loc("router"): input may change by a permutation: 8 channels, 8 constants
// Each expert has an order of its own within.
// PERM:   loc("expert0.down"): input may change by a permutation: 6 channels, 2 constants
// PERM:   loc("expert1.down"): input may change by a permutation: 6 channels, 2 constants
// The router's columns follow the norm's store.
// STORE:  loc("router"): input may change by a permutation: 8 channels, 4 constants {{.*}} 1 norm stores permuted
// SCALE:  loc("router"): input may change by a scale: 8 channels, 4 constants
// SCALE:  loc("expert1.down"): input may change by a scale: 6 channels, 2 constants
// SCALE:  loc("experts.head"): input may not change by a scale
// ROTATE: loc("router"): input may change by a rotation: 8 channels, 7 constants

// One head of keys and values for all heads of queries, and a bias for each distance (ALiBi, T5): it restricts nothing.
func.func @one_key_head(%ids: tensor<1x5xi64>) -> tensor<1x5x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %bias = arith.constant dense<-1.0> : tensor<1x2x5x5xf32>
  %wq = arith.constant dense<1.0> : tensor<8x8xf32>
  %wk = arith.constant dense<2.0> : tensor<4x8xf32>
  %wv = arith.constant dense<3.0> : tensor<4x8xf32>
  %wo = arith.constant dense<4.0> : tensor<3x8xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %q = quanta.linear %x, %wq : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32>
  %k = quanta.linear %x, %wk : (tensor<1x5x8xf32>, tensor<4x8xf32>) -> tensor<1x5x4xf32>
  %v = quanta.linear %x, %wv : (tensor<1x5x8xf32>, tensor<4x8xf32>) -> tensor<1x5x4xf32>
  %heads = tensor.empty() : tensor<1x2x5x4xf32>
  %qe = tensor.expand_shape %q [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %qt = linalg.transpose ins(%qe : tensor<1x5x2x4xf32>) outs(%heads : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %ke = tensor.expand_shape %k [[0, 1], [2], [3]] output_shape [1, 1, 5, 4] : tensor<1x5x4xf32> into tensor<1x1x5x4xf32>
  %ve = tensor.expand_shape %v [[0, 1], [2], [3]] output_shape [1, 1, 5, 4] : tensor<1x5x4xf32> into tensor<1x1x5x4xf32>
  %a = quanta.attention %qt, %ke, %ve mask %bias {scale = 0.5 : f32} : (tensor<1x2x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x2x5x5xf32>) -> tensor<1x2x5x4xf32> loc("one.attention")
  %tokens = tensor.empty() : tensor<1x5x2x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x2x5x4xf32>) outs(%tokens : tensor<1x5x2x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x2x4xf32> into tensor<1x5x8xf32>
  %y = quanta.linear %ac, %wo : (tensor<1x5x8xf32>, tensor<3x8xf32>) -> tensor<1x5x3xf32> loc("one.out")
  return %y : tensor<1x5x3xf32>
}
// PERM:   loc("one.attention"): query may change by a permutation: 4 channels, 2 constants
// PERM:   loc("one.attention"): value may change by a permutation: 4 channels, 2 constants
// PERM:   loc("one.out"): input may change by a permutation: 4 channels, 2 constants
// SCALE:  loc("one.attention"): query may change by a scale: 4 channels, 2 constants
// SCALE:  loc("one.out"): input may change by a scale: 4 channels, 2 constants
// ROTATE: loc("one.attention"): query may change by a rotation: 4 channels, 2 constants

// Only the first half of a head is turned (partial rotary): the rest is free, and stays behind it.
func.func @partial_rotary(%ids: tensor<1x5xi64>, %k: tensor<1x1x5x8xf32>) -> tensor<1x1x5x8xf32> {
  %table = arith.constant dense<1.0> : tensor<9x8xf32>
  %wq = arith.constant dense<1.0> : tensor<8x8xf32>
  %wk = arith.constant dense<2.0> : tensor<8x8xf32>
  %cos = arith.constant dense<0.5> : tensor<1x1x5x4xf32>
  %sin = arith.constant dense<0.25> : tensor<1x1x5x4xf32>
  %x = quanta.embedding %table, %ids : (tensor<9x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32>
  %q = quanta.linear %x, %wq : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32>
  %p = quanta.linear %x, %wk : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32>
  %qh = tensor.expand_shape %q [[0, 1], [2], [3]] output_shape [1, 1, 5, 8] : tensor<1x5x8xf32> into tensor<1x1x5x8xf32>
  %ph = tensor.expand_shape %p [[0, 1], [2], [3]] output_shape [1, 1, 5, 8] : tensor<1x5x8xf32> into tensor<1x1x5x8xf32>
  %qa = tensor.extract_slice %qh[0, 0, 0, 0] [1, 1, 5, 4] [1, 1, 1, 1] : tensor<1x1x5x8xf32> to tensor<1x1x5x4xf32>
  %qb = tensor.extract_slice %qh[0, 0, 0, 4] [1, 1, 5, 4] [1, 1, 1, 1] : tensor<1x1x5x8xf32> to tensor<1x1x5x4xf32>
  %pa = tensor.extract_slice %ph[0, 0, 0, 0] [1, 1, 5, 4] [1, 1, 1, 1] : tensor<1x1x5x8xf32> to tensor<1x1x5x4xf32>
  %pb = tensor.extract_slice %ph[0, 0, 0, 4] [1, 1, 5, 4] [1, 1, 1, 1] : tensor<1x1x5x8xf32> to tensor<1x1x5x4xf32>
  %qr = quanta.rotary %qa, %cos, %sin : (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x1x5x4xf32>
  %pr = quanta.rotary %pa, %cos, %sin : (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x1x5x4xf32>
  %qc = tensor.concat dim(3) %qr, %qb : (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x1x5x8xf32>
  %pc = tensor.concat dim(3) %pr, %pb : (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x1x5x8xf32>
  %a = quanta.attention %qc, %pc, %k {scale = 0.5 : f32} : (tensor<1x1x5x8xf32>, tensor<1x1x5x8xf32>, tensor<1x1x5x8xf32>) -> tensor<1x1x5x8xf32> loc("partial")
  return %a : tensor<1x1x5x8xf32>
}
// PERM:   loc("partial"): query may change by a permutation: 6 channels in groups of 2, 4, 6 constants
// SCALE:  loc("partial"): query may change by a scale: 6 channels, 2 constants
// ROTATE: loc("partial"): query may not change by a rotation: rotary embedding

// A layer norm behind each residual sum (BERT), a stream narrower than the layers, between projections (OPT-350m).
func.func @post_layer_norm(%ids: tensor<1x5xi64>) -> tensor<1x5x3xf32> {
  %table = arith.constant dense<1.0> : tensor<9x4xf32>
  %in = arith.constant dense<1.0> : tensor<8x4xf32>
  %g = arith.constant dense<[1., 2., 3., 4., 5., 6., 7., 8.]> : tensor<8xf32>
  %b = arith.constant dense<0.5> : tensor<8xf32>
  %w1 = arith.constant dense<1.0> : tensor<16x8xf32>
  %w2 = arith.constant dense<2.0> : tensor<8x16xf32>
  %out = arith.constant dense<3.0> : tensor<4x8xf32>
  %wh = arith.constant dense<4.0> : tensor<3x4xf32>
  %e = quanta.embedding %table, %ids : (tensor<9x4xf32>, tensor<1x5xi64>) -> tensor<1x5x4xf32>
  %x = quanta.linear %e, %in : (tensor<1x5x4xf32>, tensor<8x4xf32>) -> tensor<1x5x8xf32> loc("project_in")
  %n = quanta.layer_norm %x, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %h = quanta.linear %n, %w1 : (tensor<1x5x8xf32>, tensor<16x8xf32>) -> tensor<1x5x16xf32> loc("post.fc1")
  %r = quanta.activation gelu %h : tensor<1x5x16xf32>
  %f = quanta.linear %r, %w2 : (tensor<1x5x16xf32>, tensor<8x16xf32>) -> tensor<1x5x8xf32> loc("post.fc2")
  %init = tensor.empty() : tensor<1x5x8xf32>
  %s = linalg.generic #add3 ins(%n, %f : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %m: f32, %u: f32):
    %t = arith.addf %l, %m : f32
    linalg.yield %t : f32
  } -> tensor<1x5x8xf32>
  %n1 = quanta.layer_norm %s, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %o = quanta.linear %n1, %out : (tensor<1x5x8xf32>, tensor<4x8xf32>) -> tensor<1x5x4xf32> loc("project_out")
  %y = quanta.linear %o, %wh : (tensor<1x5x4xf32>, tensor<3x4xf32>) -> tensor<1x5x3xf32> loc("narrow.head")
  return %y : tensor<1x5x3xf32>
}
// PERM:   loc("project_in"): input may change by a permutation: 4 channels, 2 constants
// The norm's result is the residual, too: one order for both norms, or for what the first one stores.
// PERM:   loc("post.fc1"): input may change by a permutation: 8 channels, 8 constants
// PERM:   loc("post.fc2"): input may change by a permutation: 16 channels, 2 constants
// STORE:  loc("post.fc1"): input may change by a permutation: 8 channels, 7 constants {{.*}} 1 norm stores permuted
// PERM:   loc("narrow.head"): input may change by a permutation: 4 channels, 2 constants
// SCALE:  loc("post.fc1"): input may not change by a scale: the norm's statistics depend on the scales of its input
// SCALE:  loc("post.fc2"): input may not change by a scale: the nonlinearity gelu does not commute with it
// SCALE:  loc("project_out"): input may change by a scale: 8 channels, 3 constants
// ROTATE: loc("project_in"): input may change by a rotation: 4 channels, 2 constants
// ROTATE: loc("post.fc1"): input may not change by a rotation
// ROTATE: loc("narrow.head"): input may change by a rotation: 4 channels, 2 constants
