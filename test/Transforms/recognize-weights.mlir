// RUN: quant-opt %s --quanta-recognize-weights -verify-diagnostics -split-input-file | FileCheck %s

// CHECK-DAG: #ttensor = #quanta.uniform<bits = 2, group = -1, levels = 3>
// CHECK-DAG: #s1row = #quanta.uniform<bits = 1, scale = f32>
// CHECK-DAG: #s3tensor = #quanta.uniform<bits = 3, group = -1>
// CHECK-DAG: #u3tensor = #quanta.uniform<bits = 3, group = -1, zero = point>
// CHECK-DAG: #s5tensor = #quanta.uniform<bits = 5, group = -1>

// expected-remark @unknown {{weights that are quantized already keep their codes: 1 ternary, 1 binary, 2 uniform, 1 powers of two}}
module {
// One scale, exact in f16; two layers and an embedding share the codes.
// CHECK-LABEL: func @ternary
// CHECK: %[[W:.*]] = quanta.constant {codes = dense_resource<{{.*}}> : tensor<3x4xi8>, scales = dense_resource<{{.*}}> : tensor<1x1xf16>} : tensor<3x4xf32, #ttensor>
// CHECK: quanta.linear {{.*}}, %[[W]] {quanta.note = "quantized already: ternary", quanta.weight_error = 0.000000e+00 : f64}
// CHECK: quanta.linear {{.*}}, %[[W]]
// CHECK: quanta.embedding %[[W]]
func.func @ternary(%x: tensor<?x4xf32>, %i: tensor<?xi64>) -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x4xf32>) {
  %w = arith.constant dense<[[0.5, 0.0, -0.5, 0.5], [0.0, 0.0, 0.5, -0.5], [-0.5, 0.5, 0.5, 0.0]]> : tensor<3x4xf32>
  %0 = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %1 = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %2 = quanta.embedding %w, %i : (tensor<3x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  return %0, %1, %2 : tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x4xf32>
}

// A scale for each output channel, which f16 would round.
// CHECK-LABEL: func @binary
// CHECK: quanta.constant {{.*}} tensor<2x1xf32>} : tensor<2x4x2x2xf32, #s1row>
func.func @binary(%x: tensor<1x4x8x8xf32>) -> tensor<1x2x7x7xf32> {
  %w = arith.constant dense<[[[[0.5, 0.5], [-0.5, 0.5]], [[0.5, -0.5], [-0.5, 0.5]], [[0.5, 0.5], [-0.5, -0.5]], [[0.5, 0.5], [-0.5, 0.5]]],
    [[[0.333713, 0.333713], [-0.333713, 0.333713]], [[0.333713, -0.333713], [-0.333713, 0.333713]],
     [[0.333713, 0.333713], [-0.333713, -0.333713]], [[0.333713, 0.333713], [-0.333713, 0.333713]]]]> : tensor<2x4x2x2xf32>
  %0 = quanta.conv2d %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x4x8x8xf32>, tensor<2x4x2x2xf32>) -> tensor<1x2x7x7xf32>
  return %0 : tensor<1x2x7x7xf32>
}

// Multiples of 1/4: codes around the middle, codes from 0, and powers of two that are few enough to be multiples of the least.
// CHECK-LABEL: func @uniform
// CHECK-DAG: tensor<1x6xf32, #s3tensor>
// CHECK-DAG: {codes = {{.*}}, scales = {{.*}}, zeros = {{.*}}} : tensor<1x6xf32, #u3tensor>
// CHECK-DAG: tensor<1x6xf32, #s5tensor>
func.func @uniform(%x: tensor<?x6xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %a = arith.constant dense<[[-0.5, 0.75, 0.25, -0.25, 0.0, 0.5]]> : tensor<1x6xf32>
  %b = arith.constant dense<[[0.5, 0.75, 0.25, 1.25, 0.0, 1.5]]> : tensor<1x6xf32>
  %c = arith.constant dense<[[0.5, 2.0, -1.0, 1.0, -4.0, 0.25]]> : tensor<1x6xf32>
  %0 = quanta.linear %x, %a : (tensor<?x6xf32>, tensor<1x6xf32>) -> tensor<?x1xf32>
  %1 = quanta.linear %x, %b : (tensor<?x6xf32>, tensor<1x6xf32>) -> tensor<?x1xf32>
  %2 = quanta.linear %x, %c : (tensor<?x6xf32>, tensor<1x6xf32>) -> tensor<?x1xf32>
  return %0, %1, %2 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}
}

// -----

// What no scale explains, what no encoding expresses, and what is not finite stays.
// CHECK-LABEL: func @others
// CHECK-NOT: quanta.constant
func.func @others(%x: tensor<?x4xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %a = arith.constant dense<[[0.31, -0.7712, 0.11873, 0.6511]]> : tensor<1x4xf32>
  %b = arith.constant dense<[[0.0009765625, 2.0, -8.0, 0.0]]> : tensor<1x4xf32>
  %c = arith.constant dense<[[1.0, 1.0, 0x7F800000, -1.0]]> : tensor<1x4xf32>
  %0 = quanta.linear %x, %a : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x1xf32>
  // expected-remark @unknown {{weight 'w' is quantized already (powers of two), but no encoding decodes to exactly its values: it stays in float}}
  %1 = quanta.linear %x, %b : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x1xf32> loc("w")
  %2 = quanta.linear %x, %c : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x1xf32>
  return %0, %1, %2 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}
