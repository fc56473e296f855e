// RUN: quant-opt --onnx-fold %s | FileCheck %s

// CHECK-LABEL: @sizes_are_constants
// CHECK-NEXT: %[[C:.*]] = arith.constant dense<0.353553{{[0-9]+}}> : tensor<f32>
// CHECK-NEXT: onnx.node "Mul"(%arg0, %[[C]])
func.func @sizes_are_constants(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %one = arith.constant dense<1> : tensor<i64>
  %s = onnx.node "Shape"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<2xi64>
  %w = onnx.node "Gather"(%s, %one) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %f = onnx.node "Cast"(%w) {to = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<i64>) -> tensor<f32>
  %h = arith.constant dense<-0.5> : tensor<f32>
  %r = onnx.node "Pow"(%f, %h) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %y = onnx.node "Mul"(%x, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @dynamic_sizes_are_not
// CHECK: onnx.node "Shape"
// CHECK: onnx.node "Gather"
func.func @dynamic_sizes_are_not(%x: tensor<?x8xf32>) -> tensor<i64> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %zero = arith.constant dense<0> : tensor<i64>
  %s = onnx.node "Shape"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<2xi64>
  %w = onnx.node "Gather"(%s, %zero) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  return %w : tensor<i64>
}

// CHECK-LABEL: @same_shape
// CHECK-NEXT: onnx.node "Relu"(%arg0)
func.func @same_shape(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %zero = arith.constant dense<0> : tensor<1xi64>
  %e = arith.constant dense<8> : tensor<1xi64>
  %s = onnx.node "Shape"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<2xi64>
  %n = onnx.node "Gather"(%s, %zero) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<1xi64>
  %to = onnx.node "Concat"(%n, %e) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %a = onnx.node "Reshape"(%x, %to) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %b = onnx.node "Expand"(%a, %to) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %big = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %c = onnx.node "Slice"(%b, %zero, %big) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  %y = onnx.node "Relu"(%c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @shorter_slice_stays
// CHECK: onnx.node "Slice"
func.func @shorter_slice_stays(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %one = arith.constant dense<1> : tensor<1xi64>
  %big = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %y = onnx.node "Slice"(%x, %one, %big) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @nodes_that_change_nothing
// CHECK-NEXT: onnx.node "Relu"(%arg0)
func.func @nodes_that_change_nothing(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %a = onnx.node "Identity"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = onnx.node "Dropout"(%a) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %c = onnx.node "Cast"(%b) {to = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %d = onnx.node "Transpose"(%c) {perm = array<i64: 0, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = arith.constant dense<0> : tensor<4xi64>
  %e = onnx.node "Pad"(%d, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<4xi64>) -> tensor<?x8xf32>
  %z = arith.constant dense<0.0> : tensor<f32>
  %g = onnx.node "Add"(%z, %e) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %o = arith.constant dense<1.0> : tensor<8xf32>
  %h = onnx.node "Mul"(%g, %o) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %i = onnx.node "Div"(%h, %o) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %j = onnx.node "Concat"(%i) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Relu"(%j) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @one_minus_is_not_neutral
// CHECK: onnx.node "Sub"
func.func @one_minus_is_not_neutral(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %z = arith.constant dense<0.0> : tensor<f32>
  %y = onnx.node "Sub"(%z, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @neutral_that_broadcasts
// CHECK: onnx.node "Add"
func.func @neutral_that_broadcasts(%x: tensor<1x8xf32>) -> tensor<4x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [[1, 8]]} {
  %z = arith.constant dense<0.0> : tensor<4x8xf32>
  %y = onnx.node "Add"(%x, %z) attributes {domain = "", since_version = 13 : i64} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// CHECK-LABEL: @transposes
// CHECK-DAG: onnx.node "Relu"(%arg0)
// CHECK-DAG: onnx.node "Transpose"(%arg0) {perm = array<i64: 1, 2, 0>}
func.func @transposes(%x: tensor<?x4x8xf32>) -> (tensor<?x4x8xf32>, tensor<4x8x?xf32>) attributes {quanta.inputs = ["x"], quanta.dims = [["n", 4, 8]]} {
  %a = onnx.node "Transpose"(%x) {perm = array<i64: 2, 0, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x8xf32>) -> tensor<8x?x4xf32>
  %b = onnx.node "Transpose"(%a) {perm = array<i64: 1, 2, 0>} attributes {domain = "", since_version = 13 : i64} : (tensor<8x?x4xf32>) -> tensor<?x4x8xf32>
  %y = onnx.node "Relu"(%b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  %c = onnx.node "Transpose"(%a) {perm = array<i64: 2, 0, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<8x?x4xf32>) -> tensor<4x8x?xf32>
  return %y, %c : tensor<?x4x8xf32>, tensor<4x8x?xf32>
}

// CHECK-LABEL: @moves_of_constants
// CHECK-NOT: onnx.node
// CHECK-DAG: arith.constant dense<{{\[}}[1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00], [3.000000e+00, 6.000000e+00]]>
// CHECK-DAG: arith.constant dense<{{\[}}[3.000000e+00, 6.000000e+00], [1.000000e+00, 4.000000e+00]]>
// CHECK-DAG: arith.constant dense<{{\[}}{{\[}}[1.000000e+00, 2.000000e+00, 3.000000e+00]], {{\[}}[4.000000e+00, 5.000000e+00, 6.000000e+00]]]>
// CHECK-DAG: arith.constant dense<{{\[}}[3.000000e+00, 2.000000e+00, 1.000000e+00], [6.000000e+00, 5.000000e+00, 4.000000e+00]]>
// CHECK-DAG: arith.constant dense<{{\[}}[1.000000e+00, 2.000000e+00, 3.000000e+00, 1.000000e+00, 2.000000e+00, 3.000000e+00], [4.000000e+00, 5.000000e+00, 6.000000e+00, 4.000000e+00, 5.000000e+00, 6.000000e+00]]>
// CHECK-DAG: arith.constant dense<{{\[}}[1.000000e+00, 1.000000e+00], [2.000000e+00, 2.000000e+00]]>
func.func @moves_of_constants() -> (tensor<3x2xf32>, tensor<2x2xf32>, tensor<2x1x3xf32>, tensor<2x3xf32>, tensor<2x6xf32>, tensor<2x2xf32>) {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %t = onnx.node "Transpose"(%w) {perm = array<i64: 1, 0>} attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %one = arith.constant dense<1> : tensor<1xi64>
  %m = arith.constant dense<-1> : tensor<1xi64>
  %last = arith.constant dense<-4> : tensor<1xi64>
  %i = arith.constant dense<[2, -3]> : tensor<2xi64>
  %g = onnx.node "Gather"(%t, %i) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<3x2xf32>, tensor<2xi64>) -> tensor<2x2xf32>
  %u = onnx.node "Unsqueeze"(%w, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x1x3xf32>
  %s = onnx.node "Slice"(%w, %m, %last, %one, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  %k = onnx.node "Concat"(%w, %w) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
  %to = arith.constant dense<[2, 2]> : tensor<2xi64>
  %col = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %x = onnx.node "Expand"(%col, %to) attributes {domain = "", since_version = 13 : i64} : (tensor<2x1xf32>, tensor<2xi64>) -> tensor<2x2xf32>
  return %t, %g, %u, %s, %k, %x : tensor<3x2xf32>, tensor<2x2xf32>, tensor<2x1x3xf32>, tensor<2x3xf32>, tensor<2x6xf32>, tensor<2x2xf32>
}

// CHECK-LABEL: @arithmetic_of_constants
// CHECK-DAG: arith.constant dense<[3, -3]> : tensor<2xi64>
// CHECK-DAG: arith.constant dense<[7, 0]> : tensor<2xi64>
// CHECK-DAG: arith.constant dense<[7.000000e+00, 0.000000e+00]> : tensor<2xf16>
// CHECK-DAG: arith.constant dense<[1.428{{.*}}e-01, 0x7C00]> : tensor<2xf16>
// CHECK: onnx.node "Div"
func.func @arithmetic_of_constants() -> (tensor<2xi64>, tensor<2xi64>, tensor<2xf16>, tensor<2xf16>, tensor<i64>) {
  %a = arith.constant dense<[7, -7]> : tensor<2xi64>
  %b = arith.constant dense<2> : tensor<i64>
  %z = arith.constant dense<0> : tensor<i64>
  %d = onnx.node "Div"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<2xi64>
  %g = onnx.node "Greater"(%a, %z) attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<2xi1>
  %w = onnx.node "Where"(%g, %a, %z) attributes {domain = "", since_version = 13 : i64} : (tensor<2xi1>, tensor<2xi64>, tensor<i64>) -> tensor<2xi64>
  %h = onnx.node "Cast"(%w) {to = 10 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<2xi64>) -> tensor<2xf16>
  %r = onnx.node "Reciprocal"(%h) attributes {domain = "", since_version = 13 : i64} : (tensor<2xf16>) -> tensor<2xf16>
  %bad = onnx.node "Div"(%b, %z) attributes {domain = "", since_version = 13 : i64} : (tensor<i64>, tensor<i64>) -> tensor<i64>
  return %d, %w, %h, %r, %bad : tensor<2xi64>, tensor<2xi64>, tensor<2xf16>, tensor<2xf16>, tensor<i64>
}

//===- Weights -----------------------------------------------------------------------------------------------------------===//

// CHECK-LABEL: @batch_norm_of_conv
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{.*}}3.000000e+00{{.*}}5.000000e+00{{.*}}> : tensor<2x1x1x1xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[5.000000e-01, 1.000000e+00]> : tensor<2xf32>
// CHECK: %[[Y:.*]] = onnx.node "Conv"(%arg0, %[[W]], %[[B]]) {kernel_shape = array<i64: 1, 1>}
// CHECK-NEXT: return %[[Y]]
func.func @batch_norm_of_conv(%x: tensor<?x1x4x4xf32>) -> tensor<?x2x4x4xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<[[[[3.0]]], [[[5.0]]]]> : tensor<2x1x1x1xf32>
  %b = arith.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %c = onnx.node "Conv"(%x, %w, %b) {kernel_shape = array<i64: 1, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<?x2x4x4xf32>
  %gamma = arith.constant dense<[2.0, 1.0]> : tensor<2xf32>
  %beta = arith.constant dense<[0.5, -1.0]> : tensor<2xf32>
  %mean = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %var = arith.constant dense<[3.0, 0.0]> : tensor<2xf32>
  %y = onnx.node "BatchNormalization"(%c, %gamma, %beta, %mean, %var) {epsilon = 1.0 : f32} attributes {domain = "", since_version = 15 : i64} : (tensor<?x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2x4x4xf32>
  return %y : tensor<?x2x4x4xf32>
}

// CHECK-LABEL: @conv_used_twice
// CHECK: onnx.node "Conv"
// CHECK: onnx.node "BatchNormalization"
func.func @conv_used_twice(%x: tensor<?x1x4x4xf32>) -> (tensor<?x2x4x4xf32>, tensor<?x2x4x4xf32>) attributes {quanta.inputs = ["x"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<[[[[3.0]]], [[[5.0]]]]> : tensor<2x1x1x1xf32>
  %c = onnx.node "Conv"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x4x4xf32>
  %gamma = arith.constant dense<[2.0, 1.0]> : tensor<2xf32>
  %beta = arith.constant dense<[0.5, -1.0]> : tensor<2xf32>
  %mean = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %var = arith.constant dense<[3.0, 0.0]> : tensor<2xf32>
  %y = onnx.node "BatchNormalization"(%c, %gamma, %beta, %mean, %var) {epsilon = 1.0 : f32} attributes {domain = "", since_version = 15 : i64} : (tensor<?x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2x4x4xf32>
  return %y, %c : tensor<?x2x4x4xf32>, tensor<?x2x4x4xf32>
}

// CHECK-LABEL: @scale_and_shift_of_conv
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{.*}}6.000000e+00{{.*}}1.500000e+01{{.*}}> : tensor<2x1x1x1xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[-1.000000e+00, 1.000000e+00]> : tensor<2xf32>
// CHECK: %[[Y:.*]] = onnx.node "Conv"(%arg0, %[[W]], %[[B]])
// CHECK-NEXT: return %[[Y]]
func.func @scale_and_shift_of_conv(%x: tensor<?x1x4x4xf32>) -> tensor<?x2x4x4xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<[[[[3.0]]], [[[5.0]]]]> : tensor<2x1x1x1xf32>
  %c = onnx.node "Conv"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x4x4xf32>
  %s = arith.constant dense<[[[2.0]], [[3.0]]]> : tensor<2x1x1xf32>
  %t = arith.constant dense<[[[1.0]], [[-1.0]]]> : tensor<2x1x1xf32>
  %m = onnx.node "Mul"(%s, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<2x1x1xf32>, tensor<?x2x4x4xf32>) -> tensor<?x2x4x4xf32>
  %y = onnx.node "Sub"(%m, %t) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x4x4xf32>, tensor<2x1x1xf32>) -> tensor<?x2x4x4xf32>
  return %y : tensor<?x2x4x4xf32>
}

// CHECK-LABEL: @number_after_conv_stays
// CHECK: onnx.node "Conv"
// CHECK: onnx.node "Add"
func.func @number_after_conv_stays(%x: tensor<?x1x4x4xf32>) -> tensor<?x2x4x4xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<[[[[3.0]]], [[[5.0]]]]> : tensor<2x1x1x1xf32>
  %c = onnx.node "Conv"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x4x4xf32>
  %three = arith.constant dense<3.0> : tensor<f32>
  %y = onnx.node "Add"(%c, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x4x4xf32>, tensor<f32>) -> tensor<?x2x4x4xf32>
  return %y : tensor<?x2x4x4xf32>
}

// CHECK-LABEL: @row_after_conv_stays
// CHECK: onnx.node "Conv"
// CHECK: onnx.node "Add"
func.func @row_after_conv_stays(%x: tensor<?x1x4x4xf32>) -> tensor<?x2x4x4xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 1, 4, 4]]} {
  %w = arith.constant dense<[[[[3.0]]], [[[5.0]]]]> : tensor<2x1x1x1xf32>
  %c = onnx.node "Conv"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x4x4xf32>
  %row = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %y = onnx.node "Add"(%c, %row) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x4x4xf32>, tensor<4xf32>) -> tensor<?x2x4x4xf32>
  return %y : tensor<?x2x4x4xf32>
}

// CHECK-LABEL: @batch_norm_of_gemm
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[2.000000e+00, 8.000000e+00], [6.000000e+00, 1.600000e+01]]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[2.000000e+00, 8.000000e+00]>
// CHECK: onnx.node "Gemm"(%arg0, %[[W]], %[[B]]) {transB = 0 : i64}
func.func @batch_norm_of_gemm(%x: tensor<?x2xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 2]]} {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c = onnx.node "Gemm"(%x, %w, %b) {transB = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %gamma = arith.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %beta = arith.constant dense<0.0> : tensor<2xf32>
  %mean = arith.constant dense<0.0> : tensor<2xf32>
  %var = arith.constant dense<0.0> : tensor<2xf32>
  %y = onnx.node "BatchNormalization"(%c, %gamma, %beta, %mean, %var) {epsilon = 1.0 : f32} attributes {domain = "", since_version = 15 : i64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: @batch_norm_of_matmul
// CHECK: %[[P:.*]] = onnx.node "MatMul"(%arg0,
// CHECK-NEXT: onnx.node "Add"(%[[P]],
func.func @batch_norm_of_matmul(%x: tensor<?x2xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 2]]} {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %c = onnx.node "MatMul"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %gamma = arith.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %beta = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %mean = arith.constant dense<0.0> : tensor<2xf32>
  %var = arith.constant dense<0.0> : tensor<2xf32>
  %y = onnx.node "BatchNormalization"(%c, %gamma, %beta, %mean, %var) {epsilon = 1.0 : f32} attributes {domain = "", since_version = 15 : i64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: @common_subexpressions
// CHECK-COUNT-1: onnx.node "Relu"
// CHECK-NOT: onnx.node "Relu"
func.func @common_subexpressions(%x: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [["n", 8]]} {
  %a = onnx.node "Relu"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = onnx.node "Relu"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// The declared result type stays, although the input is known better.
// CHECK-LABEL: @declared_type
// CHECK: onnx.node "Identity"
func.func @declared_type(%x: tensor<4x8xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.dims = [[4, 8]]} {
  %y = onnx.node "Identity"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<4x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
