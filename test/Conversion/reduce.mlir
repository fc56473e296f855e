// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @mean
// CHECK:         linalg.generic {{.*}}iterator_types = ["parallel", "reduction", "parallel"]
// CHECK:           arith.addf
// CHECK:         tensor.dim
// CHECK:         arith.sitofp
// CHECK:         linalg.generic
// CHECK:           arith.divf
// CHECK:         tensor.expand_shape {{.*}} into tensor<3x1x4xf32>
func.func @mean(%x: tensor<3x?x4xf32>) -> tensor<3x1x4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[3, "n", 4]]} {
  %y = onnx.node "ReduceMean"(%x) {axes = array<i64: -2>} attributes {domain = "", since_version = 13 : i64} : (tensor<3x?x4xf32>) -> tensor<3x1x4xf32>
  return %y : tensor<3x1x4xf32>
}

// -----

// CHECK-LABEL: func.func @max_unsigned
// CHECK:         linalg.fill ins(%c0_i8
// CHECK:         arith.maxui
func.func @max_unsigned(%x: tensor<?x4xui8>) -> tensor<?xui8> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %y = onnx.node "ReduceMax"(%x) {axes = array<i64: 1>, keepdims = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xui8>) -> tensor<?xui8>
  return %y : tensor<?xui8>
}

// -----

// CHECK-LABEL: func.func @arg_max
// CHECK:         linalg.generic {{.*}} outs(%{{.+}}, %{{.+}} : tensor<?xf32>, tensor<?xi64>)
// CHECK:           arith.cmpf ogt
func.func @arg_max(%x: tensor<?x4xf32>) -> tensor<?xi64> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %y = onnx.node "ArgMax"(%x) {axis = 1 : i64, keepdims = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4xf32>) -> tensor<?xi64>
  return %y : tensor<?xi64>
}

// -----

// CHECK: #[[$IN:.+]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
// CHECK-LABEL: func.func @max_pool
// CHECK:         %[[P:.+]] = tensor.pad %arg0 low[0, 0, 1, 1] high[0, 0, 0, 0]
// CHECK:         %[[W:.+]] = tensor.empty() : tensor<3x3xf32>
// CHECK:         linalg.generic {indexing_maps = [#[[$IN]], {{.*}} ins(%[[P]], %[[W]]
// CHECK:           arith.maximumf
func.func @max_pool(%x: tensor<?x8x6x6xf32>) -> tensor<?x8x3x3xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 8, 6, 6]]} {
  %y = onnx.node "MaxPool"(%x) {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>}
    attributes {domain = "", since_version = 12 : i64} : (tensor<?x8x6x6xf32>) -> tensor<?x8x3x3xf32>
  return %y : tensor<?x8x3x3xf32>
}

// -----

// Windows at the border cover fewer elements.
// CHECK-LABEL: func.func @average_pool
// CHECK-DAG:     arith.constant dense<[1.000000e+00, 2.000000e+00, 2.000000e+00]> : tensor<3xf32>
// CHECK:         arith.divf
func.func @average_pool(%x: tensor<1x1x5xf32>) -> tensor<1x1x3xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[1, 1, 5]]} {
  %y = onnx.node "AveragePool"(%x) {kernel_shape = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 1, 0>}
    attributes {domain = "", since_version = 11 : i64} : (tensor<1x1x5xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}

// -----

// CHECK-LABEL: func.func @cumulate
// CHECK:         scf.for
// CHECK:           tensor.extract_slice
// CHECK:           tensor.insert_slice
func.func @cumulate(%x: tensor<?x4xf32>) -> tensor<?x4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["n", 4]]} {
  %a = arith.constant dense<1> : tensor<i64>
  %y = onnx.node "CumSum"(%x, %a) attributes {domain = "", since_version = 14 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
