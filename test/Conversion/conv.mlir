// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @same
// CHECK:         quanta.conv2d {{.*}}dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 1, 1>, strides = array<i64: 2, 2>
// CHECK-SAME:      -> tensor<?x2x2x2xf32>
func.func @same(%x: tensor<?x1x4x4xf32>) -> tensor<?x2x2x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<1.0> : tensor<2x1x3x3xf32>
  %y = onnx.node "Conv"(%x, %w) {auto_pad = "SAME_UPPER", strides = array<i64: 2, 2>} attributes {domain = "", since_version = 11 : i64}
    : (tensor<?x1x4x4xf32>, tensor<2x1x3x3xf32>) -> tensor<?x2x2x2xf32>
  return %y : tensor<?x2x2x2xf32>
}

// -----

// A line is a plane of height 1.
// CHECK-LABEL: func.func @line
// CHECK:         tensor.expand_shape {{.*}} : tensor<?x4x?xf32> into tensor<?x4x1x?xf32>
// CHECK:         quanta.conv2d {{.*}}dilations = array<i64: 1, 2>, groups = 2 : i64, pads = array<i64: 0, 1, 0, 1>, strides = array<i64: 1, 1>
// CHECK-SAME:      (tensor<?x4x1x?xf32>, tensor<6x2x1x3xf32>, tensor<6xf32>) -> tensor<?x6x1x?xf32>
// CHECK:         tensor.collapse_shape
func.func @line(%x: tensor<?x4x?xf32>) -> tensor<?x6x?xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4, "t"]]} {
  %w = arith.constant dense<1.0> : tensor<6x2x3xf32>
  %b = arith.constant dense<1.0> : tensor<6xf32>
  %y = onnx.node "Conv"(%x, %w, %b) {group = 2 : i64, dilations = array<i64: 2>, pads = array<i64: 1, 1>} attributes {domain = "", since_version = 11 : i64}
    : (tensor<?x4x?xf32>, tensor<6x2x3xf32>, tensor<6xf32>) -> tensor<?x6x?xf32>
  return %y : tensor<?x6x?xf32>
}

// -----

// CHECK-LABEL: func.func @transposed
// CHECK:         %[[Z:.+]] = linalg.fill
// CHECK:         %[[S:.+]] = tensor.insert_slice %{{.+}} into %[[Z]][0, 0, 0, 0] [1, 1, 1, 4] [1, 1, 1, 2] : tensor<1x1x1x4xf32> into tensor<1x1x1x7xf32>
// CHECK:         %[[W:.+]] = arith.constant dense<{{\[\[\[\[}}4.000000e+00, 3.000000e+00, 2.000000e+00]]]]> : tensor<1x1x1x3xf32>
// CHECK:         quanta.conv2d %[[S]], %[[W]] {{.*}}pads = array<i64: 0, 1, 0, 2>, strides = array<i64: 1, 1>
func.func @transposed(%x: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[1, 1, 4]]} {
  %w = arith.constant dense<[[[2.0, 3.0, 4.0]]]> : tensor<1x1x3xf32>
  %y = onnx.node "ConvTranspose"(%x, %w) {strides = array<i64: 2>, pads = array<i64: 1, 1>, output_padding = array<i64: 1>}
    attributes {domain = "", since_version = 11 : i64} : (tensor<1x1x4xf32>, tensor<1x1x3xf32>) -> tensor<1x1x8xf32>
  return %y : tensor<1x1x8xf32>
}

// -----

// Blocks that do not overlap: a 1x1 convolution.
// CHECK-LABEL: func.func @blocks
// CHECK:         %[[C:.+]] = quanta.conv2d {{.*}} : (tensor<?x2x?x?xf32>, tensor<12x2x1x1xf32>) -> tensor<?x12x?x?xf32>
// CHECK:         tensor.expand_shape %[[C]] {{\[\[}}0], [1, 2, 3], [4], [5]]
// CHECK:         linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 5, 3]
// CHECK:         tensor.collapse_shape {{.*}} {{\[\[}}0], [1], [2, 3], [4, 5]]
func.func @blocks(%x: tensor<?x2x?x?xf32>) -> tensor<?x3x?x?xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 2, "h", "w"]]} {
  %w = arith.constant dense<2.0> : tensor<2x3x2x2xf32>
  %y = onnx.node "ConvTranspose"(%x, %w) {strides = array<i64: 2, 2>} attributes {domain = "", since_version = 11 : i64}
    : (tensor<?x2x?x?xf32>, tensor<2x3x2x2xf32>) -> tensor<?x3x?x?xf32>
  return %y : tensor<?x3x?x?xf32>
}
