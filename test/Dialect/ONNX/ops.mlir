// RUN: quant-opt %s | quant-opt | FileCheck %s
// RUN: quant-opt %s --emit-bytecode -o %t.mlirbc && quant-opt %t.mlirbc | FileCheck %s

// CHECK-LABEL: func @optional_input
func.func @optional_input(%x: tensor<?xf32>, %max: tensor<f32>) -> tensor<?xf32> {
  // CHECK: onnx.node "Clip"(%{{.*}}, _, %{{.*}}) attributes {domain = "", since_version = 13 : i64} : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  %0 = onnx.node "Clip"(%x, _, %max) attributes {domain = "", since_version = 13 : i64} : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func @subgraphs
func.func @subgraphs(%c: tensor<i1>, %x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: onnx.node "If"
  // CHECK: onnx.yield
  %0 = onnx.node "If"(%c) attributes {domain = "", since_version = 13 : i64} : (tensor<i1>) -> tensor<4xf32> ({
    %1 = onnx.node "Softmax"(%x) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<4xf32>) -> tensor<4xf32>
    onnx.yield %1 : tensor<4xf32>
  }, {
    onnx.yield %x : tensor<4xf32>
  })
  return %0 : tensor<4xf32>
}
