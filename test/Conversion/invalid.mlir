// RUN: quant-opt --convert-onnx-to-quanta --split-input-file --verify-diagnostics %s

func.func @volume(%x: tensor<1x1x4x4x4xf32>) -> tensor<1x1x4x4x4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[1, 1, 4, 4, 4]]} {
  %w = arith.constant dense<1.0> : tensor<1x1x1x1x1xf32>
  // expected-error @+1 {{node Conv: Conv with 3 spatial dimensions is not supported}}
  %y = onnx.node "Conv"(%x, %w) attributes {domain = "", since_version = 11 : i64} : (tensor<1x1x4x4x4xf32>, tensor<1x1x1x1x1xf32>) -> tensor<1x1x4x4x4xf32>
  return %y : tensor<1x1x4x4x4xf32>
}

// -----

func.func @several(%x: tensor<2x3xi32>, %w: tensor<3x2xi32>) -> (tensor<2x2xi32>, tensor<2x2xi32>)
    attributes {quanta.inputs = ["x", "w"], quanta.outputs = ["y", "z"], quanta.dims = [[2, 3], [3, 2]]} {
  // expected-error @+1 {{node MatMul: a product of integer matrices is not supported}}
  %y = onnx.node "MatMul"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xi32>, tensor<3x2xi32>) -> tensor<2x2xi32>
  // expected-error @+1 {{node MatMul: a product of integer matrices is not supported}}
  %z = onnx.node "MatMul"(%x, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<2x3xi32>, tensor<3x2xi32>) -> tensor<2x2xi32>
  return %y, %z : tensor<2x2xi32>, tensor<2x2xi32>
}

// -----

// All of them at once.
func.func @unknown(%x: tensor<4xf32>) -> tensor<4xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[4]]} {
  // expected-error @+1 {{node Det: no conversion of operator Det (schema 11)}}
  %0 = onnx.node "Det"(%x) attributes {domain = "", since_version = 11 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  // expected-error @+1 {{node Fancy: no conversion of operator Fancy (schema 1 of com.example)}}
  %1 = onnx.node "Fancy"(%0) attributes {domain = "com.example", since_version = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
