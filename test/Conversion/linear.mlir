// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @bias
// CHECK-DAG:     %[[B:.+]] = arith.constant dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>
// CHECK-DAG:     %[[W:.+]] = arith.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00, 5.000000e+00], [2.000000e+00, 4.000000e+00, 6.000000e+00]]> : tensor<2x3xf32>
// CHECK:         %[[Y:.+]] = quanta.linear %{{.+}}, %[[W]] bias %[[B]] : (tensor<?x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<?x2xf32>
// CHECK-NEXT:    return %[[Y]]
func.func @bias(%x: tensor<?x3xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 3]]} {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %p = onnx.node "MatMul"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
  %b = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %y = onnx.node "Add"(%b, %p) attributes {domain = "", since_version = 14 : i64} : (tensor<2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// The transpose of a constant is the weight as it is stored; data that nothing refers to any more is freed.
// CHECK-LABEL: func.func @tied
// CHECK:         %[[W:.+]] = arith.constant dense_resource<table> : tensor<6x3xf32>
// CHECK:         quanta.linear %{{.+}}, %[[W]]
// CHECK:         quanta.linear %{{.+}}, %{{.+}} : (tensor<?x6xf32>, tensor<3x6xf32>) -> tensor<?x3xf32>
// CHECK-NOT:     linalg.transpose
// CHECK:         dialect_resources
// CHECK-DAG:       table:
// CHECK-DAG:       other_1:
// CHECK-NOT:       other:
func.func @tied(%x: tensor<?x3xf32>) -> tensor<?x3xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 3]]} {
  %w = arith.constant dense_resource<table> : tensor<6x3xf32>
  %v = arith.constant dense_resource<other> : tensor<6x3xf32>
  %t = onnx.node "Transpose"(%w) {perm = array<i64: 1, 0>} attributes {domain = "", since_version = 13 : i64} : (tensor<6x3xf32>) -> tensor<3x6xf32>
  %p = onnx.node "MatMul"(%x, %t) attributes {domain = "", since_version = 13 : i64} : (tensor<?x3xf32>, tensor<3x6xf32>) -> tensor<?x6xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x6xf32>, tensor<6x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
{-#
  dialect_resources: {
    builtin: {
      table: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F",
      other: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F"
    }
  }
#-}

// -----

// CHECK-LABEL: func.func @gemm
// CHECK-DAG:     dense<{{\[\[}}2.000000e+00, 4.000000e+00], [6.000000e+00, 8.000000e+00]]>
// CHECK-DAG:     dense<3.000000e+00> : tensor<2xf32>
// CHECK:         quanta.linear %arg0, %{{.+}} bias %{{.+}}
func.func @gemm(%x: tensor<?x2xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 2]]} {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %c = arith.constant dense<6.0> : tensor<1xf32>
  %y = onnx.node "Gemm"(%x, %w, %c) {alpha = 2.0 : f32, beta = 0.5 : f32, transB = 1 : i64} attributes {domain = "", since_version = 13 : i64}
    : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @transposed_rhs
// CHECK:         quanta.matmul %arg0, %arg1 {transpose_rhs} : (tensor<?x6x?x64xf32>, tensor<?x6x?x64xf32>) -> tensor<?x6x?x?xf32>
// The innermost dimension stays where it is.
// CHECK:         %[[T:.+]] = linalg.transpose ins(%arg2 : tensor<?x?x6x64xf32>) {{.*}} permutation = [0, 2, 1, 3]
// CHECK:         quanta.matmul %arg0, %[[T]] {transpose_rhs}
func.func @transposed_rhs(%q: tensor<?x6x?x64xf32>, %k: tensor<?x6x?x64xf32>, %l: tensor<?x?x6x64xf32>) -> (tensor<?x6x?x?xf32>, tensor<?x6x?x?xf32>)
    attributes {quanta.inputs = ["q", "k", "l"], quanta.outputs = ["y", "z"], quanta.dims = [["b", 6, "s", 64], ["b", 6, "t", 64], ["b", "t", 6, 64]]} {
  %kt = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x6x?x64xf32>) -> tensor<?x6x64x?xf32>
  %y = onnx.node "MatMul"(%q, %kt) attributes {domain = "", since_version = 13 : i64} : (tensor<?x6x?x64xf32>, tensor<?x6x64x?xf32>) -> tensor<?x6x?x?xf32>
  %lt = onnx.node "Transpose"(%l) {perm = array<i64: 0, 2, 3, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x?x6x64xf32>) -> tensor<?x6x64x?xf32>
  %z = onnx.node "MatMul"(%q, %lt) attributes {domain = "", since_version = 13 : i64} : (tensor<?x6x?x64xf32>, tensor<?x6x64x?xf32>) -> tensor<?x6x?x?xf32>
  return %y, %z : tensor<?x6x?x?xf32>, tensor<?x6x?x?xf32>
}

// -----

// CHECK-LABEL: func.func @ranks
// CHECK:         %[[B:.+]] = tensor.expand_shape %arg1 {{.*}} : tensor<4x5xf32> into tensor<1x4x5xf32>
// CHECK:         quanta.matmul %arg0, %[[B]]
func.func @ranks(%a: tensor<?x3x4xf32>, %b: tensor<4x5xf32>) -> tensor<?x3x5xf32>
    attributes {quanta.inputs = ["a", "b"], quanta.outputs = ["y"], quanta.dims = [["n", 3, 4], [4, 5]]} {
  %y = onnx.node "MatMul"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x3x4xf32>, tensor<4x5xf32>) -> tensor<?x3x5xf32>
  return %y : tensor<?x3x5xf32>
}
