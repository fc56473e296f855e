// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @layer_norm
// CHECK:         %[[R:.+]] = tensor.collapse_shape %arg0 {{\[\[}}0], [1, 2]] : tensor<?x3x4xf32> into tensor<?x12xf32>
// CHECK:         %[[Y:.+]] = quanta.layer_norm %[[R]], %{{.+}} bias %{{.+}} {epsilon = 9.99999974E-6 : f32}
// CHECK:         tensor.expand_shape %[[Y]]
func.func @layer_norm(%x: tensor<?x3x4xf32>, %s: tensor<3x4xf32>, %b: tensor<3x4xf32>) -> tensor<?x3x4xf32>
    attributes {quanta.inputs = ["x", "s", "b"], quanta.outputs = ["y"], quanta.dims = [["n", 3, 4], [3, 4], [3, 4]]} {
  %y = onnx.node "LayerNormalization"(%x, %s, %b) {axis = 1 : i64} attributes {domain = "", since_version = 17 : i64}
    : (tensor<?x3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @softmax
// CHECK:         %[[T:.+]] = linalg.transpose {{.*}} permutation = [0, 2, 1]
// CHECK:         %[[S:.+]] = quanta.softmax %[[T]] : tensor<?x4x3xf32>
// CHECK:         linalg.transpose ins(%[[S]]
// Before version 13 everything from the axis on is one row.
// CHECK:         tensor.collapse_shape {{.*}} into tensor<?x12xf32>
// CHECK:         quanta.softmax {{.*}} : tensor<?x12xf32>
func.func @softmax(%x: tensor<?x3x4xf32>) -> tensor<?x3x4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 3, 4]]} {
  %0 = onnx.node "Softmax"(%x) {axis = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %1 = onnx.node "Softmax"(%0) {axis = 1 : i64} attributes {domain = "", since_version = 11 : i64} : (tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  return %1 : tensor<?x3x4xf32>
}

// -----

// Kernels are in f32.
// CHECK-LABEL: func.func @half
// CHECK:         arith.extf {{.*}} : f16 to f32
// CHECK:         quanta.rms_norm {{.*}} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
// CHECK:         arith.truncf {{.*}} : f32 to f16
func.func @half(%x: tensor<?x4xf16>) -> tensor<?x4xf16> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %s = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf16>
  %y = onnx.node "RMSNormalization"(%x, %s) attributes {domain = "", since_version = 23 : i64} : (tensor<?x4xf16>, tensor<4xf16>) -> tensor<?x4xf16>
  return %y : tensor<?x4xf16>
}

// -----

// CHECK-LABEL: func.func @attention
// CHECK:         quanta.rotary
// CHECK:         %[[M:.+]] = tensor.expand_shape %arg5 {{.*}} : tensor<?x?xf32> into tensor<1x1x?x?xf32>
// CHECK:         quanta.attention %{{.+}}, %arg1, %arg2 mask %[[M]] {scale = 1.250000e-01 : f32}
func.func @attention(%q: tensor<?x6x?x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>, %c: tensor<?x1x?x64xf32>, %s: tensor<?x1x?x64xf32>,
                     %m: tensor<?x?xf32>) -> tensor<?x6x?x64xf32>
    attributes {quanta.inputs = ["q", "k", "v", "c", "s", "m"], quanta.outputs = ["y"],
      quanta.dims = [["b", 6, "s", 64], ["b", 2, "t", 64], ["b", 2, "t", 64], ["b", 1, "s", 64], ["b", 1, "s", 64], ["s", "t"]]} {
  %r = onnx.node "Rotary"(%q, %c, %s) attributes {domain = "quanta", since_version = 1 : i64}
    : (tensor<?x6x?x64xf32>, tensor<?x1x?x64xf32>, tensor<?x1x?x64xf32>) -> tensor<?x6x?x64xf32>
  %y = onnx.node "Attention"(%r, %k, %v, %m) {scale = 0.125 : f32} attributes {domain = "quanta", since_version = 1 : i64}
    : (tensor<?x6x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x?xf32>) -> tensor<?x6x?x64xf32>
  return %y : tensor<?x6x?x64xf32>
}

// -----

// CHECK-LABEL: func.func @batch_norm
// CHECK-DAG:     dense<{{\[\[}}5.000000e-01], [1.000000e+00]]> : tensor<2x1xf32>
// CHECK-DAG:     dense<{{\[\[}}5.000000e-01], [-1.000000e+00]]> : tensor<2x1xf32>
// CHECK:         linalg.generic
// CHECK:           arith.mulf
// CHECK-NEXT:      arith.addf
func.func @batch_norm(%x: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 2, 4]]} {
  %s = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = arith.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %m = arith.constant dense<[1.0, 1.0]> : tensor<2xf32>
  %v = arith.constant dense<[4.0, 4.0]> : tensor<2xf32>
  %y = onnx.node "BatchNormalization"(%x, %s, %b, %m, %v) {epsilon = 0.0 : f32} attributes {domain = "", since_version = 15 : i64}
    : (tensor<?x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2x4xf32>
  return %y : tensor<?x2x4xf32>
}
