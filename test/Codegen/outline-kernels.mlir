// RUN: quant-opt %s -split-input-file --quanta-outline-kernels --canonicalize --cse -verify-diagnostics | FileCheck %s

#u4 = #quanta.uniform<bits = 4, group = 32, zero = point>

// Leading dimensions collapse; each component of the weight is one stored constant in tiles of 16 rows.
// CHECK-LABEL: func @encoded_linear
// CHECK-DAG: %[[CODES:.*]] = quanta.weight @w.codes : memref<3x12x16xi32>
// CHECK-DAG: %[[SCALES:.*]] = quanta.weight @w.scales : memref<3x3x16xf16>
// CHECK-DAG: %[[ZEROS:.*]] = quanta.weight @w.zeros : memref<3x3x16xi8>
// CHECK: %[[X:.*]] = tensor.collapse_shape %{{.*}} {{\[}}[0, 1], [2]]
// CHECK: quanta.kernel "linear" ins(%[[X]], %{{.*}} : tensor<?x96xf32>, tensor<40xf32>) weights(%[[CODES]], %[[SCALES]], %[[ZEROS]]
// CHECK-SAME: {encoding = #{{.*}}, shape = array<i64: 40, 96>} -> tensor<?x40xf32>
// CHECK: tensor.expand_shape
// CHECK: quanta.weights @w.codes memref<3x12x16xi32> = {{.*}} {component = "codes", shape = array<i64: 40, 96>}
func.func @encoded_linear(%x: tensor<?x?x96xf32>, %b: tensor<40xf32>) -> tensor<?x?x40xf32> {
  %w = quanta.constant {codes = dense<1> : tensor<40x96xi8>, scales = dense<1.0> : tensor<40x3xf16>, zeros = dense<8> : tensor<40x3xi8>} : tensor<40x96xf32, #u4>
  %y = quanta.linear %x, %w bias %b : (tensor<?x?x96xf32>, tensor<40x96xf32, #u4>, tensor<40xf32>) -> tensor<?x?x40xf32>
  return %y : tensor<?x?x40xf32>
}

// -----

// A table that is also the weight of a linear layer is stored once, in the layer's tiles.
// CHECK-LABEL: func @tied_embedding
// CHECK: %[[W:.*]] = quanta.weight @[[NAME:.*]] : memref<2x8x16xf32>
// CHECK: quanta.kernel "embedding" {{.*}} weights(%[[W]]
// CHECK: quanta.kernel "linear" {{.*}} weights(%[[W]]
// CHECK: quanta.weights @[[NAME]]
// CHECK-NOT: quanta.weights
func.func @tied_embedding(%i: tensor<?xi64>) -> tensor<?x32xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]> : tensor<1x8xf32>
  %t = arith.constant dense<2.0> : tensor<32x8xf32>
  %x = quanta.embedding %t, %i : (tensor<32x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
  %y = quanta.linear %x, %t : (tensor<?x8xf32>, tensor<32x8xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// Attention is two products around a softmax that works in place and reads its destination.
// CHECK-LABEL: func @attention
// CHECK: %[[S:.*]] = quanta.kernel "matmul" {{.*}} {scale = 1.250000e-01 : f32, transpose_rhs}
// CHECK: %[[P:.*]] = quanta.kernel "softmax" ins(%{{.*}} : tensor<1x1x?x?xf32>) outs(%[[S]] : tensor<?x6x?x?xf32>) {reads_outputs}
// CHECK: quanta.kernel "matmul" ins(%[[P]]
func.func @attention(%q: tensor<?x6x?x64xf32>, %k: tensor<?x2x?x64xf32>, %m: tensor<1x1x?x?xf32>) -> tensor<?x6x?x64xf32> {
  %y = quanta.attention %q, %k, %k mask %m {scale = 0.125 : f32} : (tensor<?x6x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>, tensor<1x1x?x?xf32>) -> tensor<?x6x?x64xf32>
  return %y : tensor<?x6x?x64xf32>
}

// -----

// CHECK-LABEL: func @activation
// CHECK: linalg.generic
// CHECK: math.erf
func.func @activation(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = quanta.activation gelu %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func @conv
// CHECK: quanta.kernel "conv2d" {{.*}} weights(%{{.*}} : memref<1x4x16xf32>)
// CHECK-SAME: {dilations = array<i64: 1, 2>, encoding = #{{.*}}, groups = 1 : i64, pads = array<i64: 0, 0, 0, 0>, shape = array<i64: 2, 1, 2, 2>, strides = array<i64: 1, 1>}
func.func @conv(%x: tensor<?x1x8x8xf32>) -> tensor<?x2x7x6xf32> {
  %w = arith.constant dense<1.0> : tensor<2x1x2x2xf32>
  %y = quanta.conv2d %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 2>, pads = array<i64: 0, 0, 0, 0>} : (tensor<?x1x8x8xf32>, tensor<2x1x2x2xf32>) -> tensor<?x2x7x6xf32>
  return %y : tensor<?x2x7x6xf32>
}

// -----

func.func @half(%x: tensor<2x4xf16>) -> tensor<2x4xf16> {
  // expected-error@+1 {{expected f32 operands but got 'tensor<2x4xf16>'}}
  %y = quanta.softmax %x : tensor<2x4xf16>
  return %y : tensor<2x4xf16>
}

// -----

func.func @encoded_argument(%x: tensor<2x4xf32>, %w: tensor<2x4xf32, #quanta.uniform<bits = 4>>) -> tensor<2x2xf32> {
  // expected-error@+1 {{expected an encoded weight to be a constant}}
  %y = quanta.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32, #quanta.uniform<bits = 4>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @conv_argument(%x: tensor<1x1x8x8xf32>, %w: tensor<2x1x1x1xf32>) -> tensor<1x2x8x8xf32> {
  // expected-error@+1 {{expected a constant f32 weight but got 'tensor<2x1x1x1xf32>'}}
  %y = quanta.conv2d %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x1x8x8xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x8x8xf32>
  return %y : tensor<1x2x8x8xf32>
}

// -----

func.func @table_argument(%t: tensor<4x4xf32>, %i: tensor<2xi64>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a constant f32 table but got 'tensor<4x4xf32>'}}
  %y = quanta.embedding %t, %i : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @batches(%a: tensor<1x2x3x4x5xf32>, %b: tensor<2x2x3x5x4xf32>) -> tensor<2x2x3x4x4xf32> {
  // expected-error@+1 {{expected equal leading batch dimensions}}
  %y = quanta.matmul %a, %b : (tensor<1x2x3x4x5xf32>, tensor<2x2x3x5x4xf32>) -> tensor<2x2x3x4x4xf32>
  return %y : tensor<2x2x3x4x4xf32>
}

// -----

// Encoded activations are bytes and scales; a weight in float takes them decoded.
// CHECK-LABEL: func @activations
// CHECK: %[[Q:.*]]:2 = quanta.kernel "quantize" ins(%arg0 : tensor<?x72xf32>) outs(%{{.*}}, %{{.*}} : tensor<?x128xi8>, tensor<?xf32>) {activation = #
// CHECK: %[[CODES:.*]] = tensor.extract_slice %[[Q]]#0[0, 0] [%{{.*}}, 72] [1, 1]
// CHECK: %[[X:.*]] = linalg.generic {{.*}} ins(%[[CODES]], %[[Q]]#1
// CHECK: quanta.kernel "linear" ins(%[[Q]]#0, %[[Q]]#1 : tensor<?x128xi8>, tensor<?xf32>) weights({{.*}}) outs({{.*}}) {activation = #
// CHECK: quanta.kernel "linear" ins(%[[X]] : tensor<?x72xf32>)
#u4 = #quanta.uniform<bits = 4>
#act = #quanta.uniform<bits = 8, scale = f32>
func.func @activations(%x: tensor<?x72xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = quanta.constant {codes = dense<5> : tensor<2x72xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x72xf32, #u4>
  %f = arith.constant dense<0.5> : tensor<2x72xf32>
  %q = quanta.quantize %x : tensor<?x72xf32> to tensor<?x72xf32, #act>
  %y = quanta.linear %q, %w : (tensor<?x72xf32, #act>, tensor<2x72xf32, #u4>) -> tensor<?x2xf32>
  %z = quanta.linear %q, %f : (tensor<?x72xf32, #act>, tensor<2x72xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Known scales: bytes for integers; for floats the nearest values, without bytes in between. Segments need parameters by column,
// and integer kernels to know which parts of the weight they are. Zero points are in the bias: 3 · 2 · 8 · (5 − 8) / 2 + 1.
// CHECK-LABEL: func @static_activations
// CHECK-DAG: %[[TABLE:.*]] = arith.constant dense<{{\[\[}}0, 0, 64, 0], [8, 64, 8, 0]]> : tensor<2x4xi32>
// CHECK-DAG: %[[SCALES:.*]] = arith.constant dense<[5.000000e-01, 2.000000e+00]> : tensor<2xf32>
// CHECK-DAG: %[[BIAS:.*]] = arith.constant dense<-7.100000e+01> : tensor<2xf32>
// CHECK-DAG: linalg.generic {{.*}} ins(%arg0, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x72xf32>, tensor<72xf32>, tensor<72xf32>, tensor<72xf32>)
// CHECK-DAG: %[[CODES:.*]] = quanta.kernel "quantize" ins(%arg0, %{{.*}}, %{{.*}} : tensor<?x72xf32>, tensor<72xf32>, tensor<72xf32>) outs(%{{.*}} : tensor<?x128xi8>)
// CHECK-DAG: quanta.kernel "linear" ins(%{{.*}} : tensor<?x72xf32>)
// CHECK-DAG: quanta.kernel "linear" ins(%[[CODES]], %[[TABLE]], %[[SCALES]], %[[BIAS]] : tensor<?x128xi8>, tensor<2x4xi32>, tensor<2xf32>, tensor<2xf32>)
#u4 = #quanta.uniform<bits = 4>
#segments = #quanta.affine<bits = 4, splits = [64], scales = [0.5, 2.0], zeros = [0, -3]>
func.func @static_activations(%x: tensor<?x72xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %f = arith.constant dense<0.5> : tensor<2x72xf32>
  %b = arith.constant dense<1.0> : tensor<2xf32>
  %w = quanta.constant {codes = dense<5> : tensor<2x72xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x72xf32, #u4>
  %q = quanta.quantize %x : tensor<?x72xf32> to tensor<?x72xf32, #segments>
  %y = quanta.linear %q, %f : (tensor<?x72xf32, #segments>, tensor<2x72xf32>) -> tensor<?x2xf32>
  %z = quanta.linear %q, %w bias %b : (tensor<?x72xf32, #segments>, tensor<2x72xf32, #u4>, tensor<2xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Products of two encoded activations are those of codes, which the kernel makes of floats; where it cannot, the nearest values are
// multiplied: what is summed up must share a scale, and codes of 7 logarithmic bits are exponents of 128 values.
// CHECK-LABEL: func @codes(
// CHECK-SAME: %[[P:[a-z0-9]*]]: tensor<1x2x?x?xf32>, %[[V:[a-z0-9]*]]: tensor<1x2x?x8xf32>
// CHECK: %[[Y:.*]] = quanta.kernel "integer_matmul" ins(%[[P]], %[[V]] : {{.*}} {lhs = #twin8m5, rhs = #a8x1, scale = 1.000000e+00 : f32}
// CHECK: quanta.kernel "integer_matmul" ins(%[[Y]], %[[V]] : {{.*}} {lhs = #s8row, rhs = #s8row, scale = 1.000000e+00 : f32, transpose_rhs}
// CHECK: quanta.kernel "matmul"
#probabilities = #quanta.twin<bits = 8, scale = 2.44140625E-4 : f32, shift = 5, negative = false>
#values = #quanta.affine<bits = 8, scales = [2.000000e-02], zeros = [3]>
#rows = #quanta.uniform<bits = 8, scale = f32>
#wide = #quanta.log2<bits = 7, scale = 1.0 : f32, root = false>
func.func @codes(%p: tensor<1x2x?x?xf32>, %v: tensor<1x2x?x8xf32>) -> (tensor<1x2x?x?xf32>, tensor<1x2x?x8xf32>) {
  %pq = quanta.quantize %p : tensor<1x2x?x?xf32> to tensor<1x2x?x?xf32, #probabilities>
  %vq = quanta.quantize %v : tensor<1x2x?x8xf32> to tensor<1x2x?x8xf32, #values>
  %y = quanta.matmul %pq, %vq : (tensor<1x2x?x?xf32, #probabilities>, tensor<1x2x?x8xf32, #values>) -> tensor<1x2x?x8xf32>
  %yr = quanta.quantize %y : tensor<1x2x?x8xf32> to tensor<1x2x?x8xf32, #rows>
  %vr = quanta.quantize %v : tensor<1x2x?x8xf32> to tensor<1x2x?x8xf32, #rows>
  %s = quanta.matmul %yr, %vr {transpose_rhs} : (tensor<1x2x?x8xf32, #rows>, tensor<1x2x?x8xf32, #rows>) -> tensor<1x2x?x?xf32>
  %pw = quanta.quantize %p : tensor<1x2x?x?xf32> to tensor<1x2x?x?xf32, #wide>
  %w = quanta.matmul %pw, %vq : (tensor<1x2x?x?xf32, #wide>, tensor<1x2x?x8xf32, #values>) -> tensor<1x2x?x8xf32>
  return %s, %w : tensor<1x2x?x?xf32>, tensor<1x2x?x8xf32>
}

// -----

#rows = #quanta.uniform<bits = 8, scale = f32>

func.func @rows_are_summed(%p: tensor<1x2x?x?xf32>, %v: tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32> {
  %q = quanta.quantize %v : tensor<1x2x?x8xf32> to tensor<1x2x?x8xf32, #rows>
  // expected-error@+1 {{expected a product of two encoded activations, whose rows have scales of their own only if they are not what is summed up}}
  %y = quanta.matmul %p, %q : (tensor<1x2x?x?xf32>, tensor<1x2x?x8xf32, #rows>) -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}

// -----

// Attention of codes: rows of all operands but the values have scales of their own, and of those the columns.
// CHECK-LABEL: func @attention_of_codes
// CHECK: %[[S:.*]] = quanta.kernel "integer_matmul" {{.*}} {lhs = #s8row, rhs = #s8row, scale = 1.250000e-01 : f32, transpose_rhs}
// CHECK: %[[P:.*]] = quanta.kernel "softmax" outs(%[[S]]
// CHECK: quanta.kernel "integer_matmul" ins(%[[P]], {{.*}} {lhs = #s8row, rhs = #s8row, scale = 1.000000e+00 : f32}
func.func @attention_of_codes(%q: tensor<1x4x?x8xf32>, %k: tensor<1x2x?x8xf32>, %v: tensor<1x2x?x6xf32>) -> tensor<1x4x?x6xf32> {
  %y = quanta.attention %q, %k, %v {quanta.attention_bits = 8 : i64, scale = 0.125 : f32}
    : (tensor<1x4x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x6xf32>) -> tensor<1x4x?x6xf32>
  return %y : tensor<1x4x?x6xf32>
}

// -----

// The regions of a twin grid are two segments of codes, one behind the other, that meet the same weights.
// CHECK-LABEL: func @two_regions
// CHECK-DAG: %[[TABLE:.*]] = arith.constant dense<{{\[\[}}0, 0, 72, 0], [0, 128, 72, 0]]> : tensor<2x4xi32>
// CHECK-DAG: %[[SCALES:.*]] = arith.constant dense<[4.000000e+00, 5.000000e-01]> : tensor<2xf32>
// CHECK-DAG: %[[CODES:.*]] = quanta.kernel "quantize" ins(%arg0 : tensor<?x72xf32>) outs(%{{.*}} : tensor<?x256xi8>)
// CHECK-DAG: quanta.kernel "linear" ins(%[[CODES]], %[[TABLE]], %[[SCALES]] : tensor<?x256xi8>, tensor<2x4xi32>, tensor<2xf32>)
#twin = #quanta.twin<bits = 8, scale = 5.000000e-01 : f32, shift = 3, negative = true>
func.func @two_regions(%x: tensor<?x72xf32>) -> tensor<?x2xf32> {
  %w = quanta.constant {codes = dense<5> : tensor<2x72xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x72xf32, #quanta.uniform<bits = 4>>
  %q = quanta.quantize %x : tensor<?x72xf32> to tensor<?x72xf32, #twin>
  %y = quanta.linear %q, %w : (tensor<?x72xf32, #twin>, tensor<2x72xf32, #quanta.uniform<bits = 4>>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @activations_of_other_scales(%x: tensor<?x72xf32>) -> tensor<?x72xf32, #quanta.uniform<bits = 4>> {
  // expected-error@+1 {{activations can be encoded as #quanta.affine, #quanta.twin, #quanta.log2, #quanta.narrow, or #quanta.uniform with group = 0, scale = f32 and a symmetric zero and 2 to 8 bits or an offset and 1 to 7, but got #quanta.uniform<bits = 4>}}
  %q = quanta.quantize %x : tensor<?x72xf32> to tensor<?x72xf32, #quanta.uniform<bits = 4>>
  return %q : tensor<?x72xf32, #quanta.uniform<bits = 4>>
}

// -----

#act = #quanta.uniform<bits = 8, scale = f32>
func.func @activations_escape(%x: tensor<?x72xf32>) -> tensor<?x72xf32, #act> {
  %q = quanta.quantize %x : tensor<?x72xf32> to tensor<?x72xf32, #act>
  // expected-error@+1 {{cannot take encoded activations}}
  return %q : tensor<?x72xf32, #act>
}
