// RUN: quant-opt %s -split-input-file --quanta-outline-kernels | FileCheck %s

#act = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#w8 = #quanta.uniform<bits = 8, group = 0>

// Both convolutions read the same codes, in words of four channels, within the wider of their borders. Zero points are a part of the bias.
// Columns of weights lie in the same order.
// CHECK-LABEL: func @shared
// CHECK-SAME: %[[X:.*]]: tensor<?x4x28x28xf32>
// CHECK: %[[CODES:.*]] = quanta.kernel "quantize_image" ins(%[[X]] {{.*}}) outs(%{{.*}} : tensor<?x1x30x30xi32>) {activation = #{{.*}}, left = 1 : i64, quads, top = 1 : i64}
// CHECK: %[[ZEROS:.*]] = arith.constant dense<{{.*}}> : tensor<16xf32>
// CHECK: quanta.kernel "integer_conv2d" ins(%[[CODES]], %[[ZEROS]] :
// CHECK-SAME: matrix = array<i64: 16, 36>{{.*}} quads
// CHECK: quanta.kernel "integer_conv2d" ins(%[[CODES]], %{{.*}} :
func.func @shared(%x: tensor<?x4x28x28xf32>) -> (tensor<?x16x28x28xf32>, tensor<?x16x14x14xf32>) {
  %q = quanta.quantize %x : tensor<?x4x28x28xf32> to tensor<?x4x28x28xf32, #act>
  %w = quanta.constant {codes = dense<1> : tensor<16x36xi8>, scales = dense<1.0> : tensor<16x1xf16>} : tensor<16x4x3x3xf32, #w8>
  %y = quanta.conv2d %q, %w {groups = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : (tensor<?x4x28x28xf32, #act>, tensor<16x4x3x3xf32, #w8>) -> tensor<?x16x28x28xf32>
  %v = quanta.constant {codes = dense<1> : tensor<16x4xi8>, scales = dense<1.0> : tensor<16x1xf16>} : tensor<16x4x1x1xf32, #w8>
  %z = quanta.conv2d %q, %v {groups = 1 : i64, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : (tensor<?x4x28x28xf32, #act>, tensor<16x4x1x1xf32, #w8>) -> tensor<?x16x14x14xf32>
  return %y, %z : tensor<?x16x28x28xf32>, tensor<?x16x14x14xf32>
}

// -----

#act = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#w8 = #quanta.uniform<bits = 8, group = 4, zero = point>

// Sums end where groups of columns do: codes are bytes of each channel, within the wider of their borders, and with two rows (of
// 30) behind for loads of 16 pixels at stride 2. Zero points are a part of the bias.
// CHECK-LABEL: func @bytes
// CHECK-SAME: %[[X:.*]]: tensor<?x8x28x28xf32>
// CHECK: %[[CODES:.*]] = quanta.kernel "quantize_image" ins(%[[X]] {{.*}}) outs(%{{.*}} : tensor<?x8x32x30xi8>) {activation = #{{.*}}, left = 1 : i64, top = 1 : i64}
// CHECK: %[[ZEROS:.*]] = arith.constant dense<{{.*}}> : tensor<16xf32>
// CHECK: quanta.kernel "integer_conv2d" ins(%[[CODES]], %[[ZEROS]] :
// CHECK-NOT: whole_rows
// CHECK: quanta.kernel "integer_conv2d" ins(%[[CODES]], %{{.*}} :
func.func @bytes(%x: tensor<?x8x28x28xf32>) -> (tensor<?x16x28x28xf32>, tensor<?x16x14x14xf32>) {
  %q = quanta.quantize %x : tensor<?x8x28x28xf32> to tensor<?x8x28x28xf32, #act>
  %w = quanta.constant {codes = dense<1> : tensor<16x72xi8>, scales = dense<1.0> : tensor<16x18xf16>, zeros = dense<1> : tensor<16x18xi8>} : tensor<16x8x3x3xf32, #w8>
  %y = quanta.conv2d %q, %w {groups = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : (tensor<?x8x28x28xf32, #act>, tensor<16x8x3x3xf32, #w8>) -> tensor<?x16x28x28xf32>
  %v = quanta.constant {codes = dense<1> : tensor<16x8xi8>, scales = dense<1.0> : tensor<16x2xf16>, zeros = dense<1> : tensor<16x2xi8>} : tensor<16x8x1x1xf32, #w8>
  %z = quanta.conv2d %q, %v {groups = 1 : i64, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
    : (tensor<?x8x28x28xf32, #act>, tensor<16x8x1x1xf32, #w8>) -> tensor<?x16x14x14xf32>
  return %y, %z : tensor<?x16x28x28xf32>, tensor<?x16x14x14xf32>
}

// -----

#act = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#w8 = #quanta.uniform<bits = 8, group = 0>

// One row of weights for each channel: collected pixels would be multiplied once only, so the nearest values are multiplied as floats.
// CHECK-LABEL: func @depthwise
// CHECK-NOT: quantize_image
// CHECK: quanta.kernel "conv2d"
func.func @depthwise(%x: tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32> {
  %q = quanta.quantize %x : tensor<1x32x8x8xf32> to tensor<1x32x8x8xf32, #act>
  %w = quanta.constant {codes = dense<1> : tensor<32x9xi8>, scales = dense<1.0> : tensor<32x1xf16>} : tensor<32x1x3x3xf32, #w8>
  %y = quanta.conv2d %q, %w {groups = 32 : i64, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : (tensor<1x32x8x8xf32, #act>, tensor<32x1x3x3xf32, #w8>) -> tensor<1x32x8x8xf32>
  return %y : tensor<1x32x8x8xf32>
}
