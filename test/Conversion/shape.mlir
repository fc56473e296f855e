// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// The shape arithmetic of an exporter's reshape leaves nothing behind.
// CHECK-LABEL: func.func @heads
// CHECK-DAG:     tensor.dim %arg0, %c0
// CHECK-DAG:     tensor.dim %arg0, %c1
// CHECK-NEXT:    %[[E:.+]] = tensor.expand_shape %arg0 {{\[\[}}0], [1], [2, 3]] output_shape [%{{.+}}, %{{.+}}, 6, 64] : tensor<?x?x384xf32> into tensor<?x?x6x64xf32>
// CHECK-NEXT:    return %[[E]]
func.func @heads(%x: tensor<?x?x384xf32>) -> tensor<?x?x6x64xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["b", "s", 384]]} {
  %0 = arith.constant dense<0> : tensor<1xi64>
  %1 = arith.constant dense<1> : tensor<1xi64>
  %tail = arith.constant dense<[6, -1]> : tensor<2xi64>
  %s = onnx.node "Shape"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x?x384xf32>) -> tensor<3xi64>
  %b = onnx.node "Gather"(%s, %0) attributes {domain = "", since_version = 13 : i64} : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
  %n = onnx.node "Gather"(%s, %1) attributes {domain = "", since_version = 13 : i64} : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
  %t = onnx.node "Concat"(%b, %n, %tail) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<2xi64>) -> tensor<4xi64>
  %y = onnx.node "Reshape"(%x, %t) attributes {domain = "", since_version = 14 : i64} : (tensor<?x?x384xf32>, tensor<4xi64>) -> tensor<?x?x6x64xf32>
  return %y : tensor<?x?x6x64xf32>
}

// -----

// A known tensor is made only for someone who reads it.
// CHECK-LABEL: func.func @shape_output
// CHECK:         %[[I:.+]] = arith.index_cast %{{.+}} : index to i64
// CHECK:         tensor.from_elements %[[I]], %{{.+}} : tensor<2xi64>
func.func @shape_output(%x: tensor<?x4xf32>) -> tensor<2xi64> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %y = onnx.node "Shape"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>) -> tensor<2xi64>
  return %y : tensor<2xi64>
}

// -----

// Moving a dimension of size 1 moves no data.
// CHECK-LABEL: func.func @transpose
// CHECK-NOT:     linalg.transpose
// CHECK:         tensor.collapse_shape
// CHECK:         linalg.transpose {{.*}} permutation = [1, 0]
func.func @transpose(%x: tensor<?x1x4xf32>) -> (tensor<1x?x4xf32>, tensor<4x?xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"], quanta.dims = [["n", 1, 4]]} {
  %y = onnx.node "Transpose"(%x) {perm = array<i64: 1, 0, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x4xf32>) -> tensor<1x?x4xf32>
  %s = onnx.node "Squeeze"(%y) {axes = array<i64: 0>} attributes {domain = "", since_version = 11 : i64} : (tensor<1x?x4xf32>) -> tensor<?x4xf32>
  %z = onnx.node "Transpose"(%s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  return %y, %z : tensor<1x?x4xf32>, tensor<4x?xf32>
}

// -----

// CHECK-LABEL: func.func @pieces
// CHECK:         tensor.extract_slice %arg0[0, 0] [%{{.+}}, 3] [1, 1]
// CHECK:         tensor.extract_slice %arg0[0, 3] [%{{.+}}, 3] [1, 1]
// CHECK:         tensor.concat dim(0)
// A negative step reads backwards.
// CHECK:         linalg.generic
// CHECK:           tensor.extract
func.func @pieces(%x: tensor<?x6xf32>) -> tensor<?x3xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 6]]} {
  %a, %b = onnx.node "Split"(%x) {axis = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x6xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>)
  %c = onnx.node "Concat"(%b, %a) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %start = arith.constant dense<-1> : tensor<1xi64>
  %end = arith.constant dense<-100> : tensor<1xi64>
  %axis = arith.constant dense<1> : tensor<1xi64>
  %y = onnx.node "Slice"(%c, %start, %end, %axis, %start) attributes {domain = "", since_version = 13 : i64}
    : (tensor<?x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// CHECK-LABEL: func.func @pad
// CHECK:         tensor.pad %arg0 low[0, 1] high[0, 2]
// CHECK:         linalg.generic
// CHECK:           linalg.index 1
// CHECK:           arith.maxsi
// CHECK:           arith.minsi
// CHECK:           tensor.extract
func.func @pad(%x: tensor<?x4xf32>) -> tensor<?x9xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %p = arith.constant dense<[0, 1, 0, 2]> : tensor<4xi64>
  %q = arith.constant dense<[0, 1, 0, 1]> : tensor<4xi64>
  %0 = onnx.node "Pad"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x7xf32>
  %1 = onnx.node "Pad"(%0, %q) {mode = "reflect"} attributes {domain = "", since_version = 13 : i64} : (tensor<?x7xf32>, tensor<4xi64>) -> tensor<?x9xf32>
  return %1 : tensor<?x9xf32>
}

// -----

// CHECK-LABEL: func.func @repeat
// CHECK:         linalg.generic
// CHECK:         tensor.collapse_shape {{.*}} into tensor<?x8xf32>
func.func @repeat(%x: tensor<?x4xf32>) -> tensor<?x8xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %r = arith.constant dense<[1, 2]> : tensor<2xi64>
  %y = onnx.node "Tile"(%x, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
