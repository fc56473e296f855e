// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @embedding
// CHECK:         quanta.embedding %{{.+}}, %arg0 : (tensor<3x2xf32>, tensor<?x?xi64>) -> tensor<?x?x2xf32>
func.func @embedding(%i: tensor<?x?xi64>) -> tensor<?x?x2xf32> attributes {quanta.inputs = ["i"], quanta.outputs = ["y"], quanta.dims = [["b", "s"]]} {
  %t = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %y = onnx.node "Gather"(%t, %i) attributes {domain = "", since_version = 13 : i64} : (tensor<3x2xf32>, tensor<?x?xi64>) -> tensor<?x?x2xf32>
  return %y : tensor<?x?x2xf32>
}

// -----

// Positions that come with the data are checked, then counted from the end if negative.
// CHECK-LABEL: func.func @general
// CHECK:         linalg.generic {{.*}}iterator_types = ["reduction"]
// CHECK:         cf.assert {{.*}}, "node Gather: index out of range"
// CHECK:         linalg.generic
// CHECK:           arith.select
// CHECK:           tensor.extract
func.func @general(%x: tensor<?x4xf32>, %i: tensor<?xi64>) -> tensor<?x?xf32>
    attributes {quanta.inputs = ["x", "i"], quanta.outputs = ["y"], quanta.dims = [["n", 4], ["k"]]} {
  %y = onnx.node "Gather"(%x, %i) {axis = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----

// Constant positions at a constant distance are a slice.
// CHECK-LABEL: func.func @constant
// CHECK-NOT:     cf.assert
// CHECK:         tensor.extract_slice %arg0[0, 3] [%{{.+}}, 1] [1, 1]
// CHECK:         tensor.extract_slice %arg0[0, 0] [%{{.+}}, 2] [1, 2]
func.func @constant(%x: tensor<?x4xf32>) -> (tensor<?xf32>, tensor<?x2xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"], quanta.dims = [["n", 4]]} {
  %i = arith.constant dense<-1> : tensor<i64>
  %j = arith.constant dense<[0, 2]> : tensor<2xi64>
  %y = onnx.node "Gather"(%x, %i) {axis = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<?xf32>
  %z = onnx.node "Gather"(%x, %j) {axis = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  return %y, %z : tensor<?xf32>, tensor<?x2xf32>
}

// -----

// Whole repetitions need no positions; the rest computes them.
// CHECK-LABEL: func.func @resize
// CHECK-NOT:     tensor.extract
// CHECK:         linalg.generic
// CHECK:         } -> tensor<?x1x4x2x4x2xf32>
// CHECK:         tensor.collapse_shape
// CHECK:         linalg.generic
// CHECK-COUNT-4:   tensor.extract
func.func @resize(%x: tensor<?x1x4x4xf32>) -> tensor<?x1x12x12xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 1, 4, 4]]} {
  %s = arith.constant dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>
  %t = arith.constant dense<[1.0, 1.0, 1.5, 1.5]> : tensor<4xf32>
  %0 = onnx.node "Resize"(%x, _, %s) {mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"}
    attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4x4xf32>, tensor<4xf32>) -> tensor<?x1x8x8xf32>
  %1 = onnx.node "Resize"(%0, _, %t) {mode = "linear"} attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x8x8xf32>, tensor<4xf32>) -> tensor<?x1x12x12xf32>
  return %1 : tensor<?x1x12x12xf32>
}
