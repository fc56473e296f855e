// RUN: quant-opt --convert-onnx-to-quanta --split-input-file %s | FileCheck %s

// Sizes of 1 are read at 0; no operand is copied to the result's shape.
// CHECK-DAG: #[[$ID:.+]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// CHECK-DAG: #[[$COLUMN:.+]] = affine_map<(d0, d1, d2) -> (d1, 0)>
// CHECK-LABEL: func.func @broadcast
// CHECK:         linalg.generic {indexing_maps = [#[[$ID]], #[[$COLUMN]], #[[$ID]]]
// CHECK:           arith.addf
func.func @broadcast(%a: tensor<?x3x4xf32>, %b: tensor<3x1xf32>) -> tensor<?x3x4xf32>
    attributes {quanta.inputs = ["a", "b"], quanta.outputs = ["y"], quanta.dims = [["n", 3, 4], [3, 1]]} {
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 14 : i64}
    : (tensor<?x3x4xf32>, tensor<3x1xf32>) -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// -----

// Sizes with different names have to agree when the model runs.
// CHECK-LABEL: func.func @unequal
// CHECK-DAG:     tensor.dim %arg0
// CHECK-DAG:     tensor.dim %arg1
// CHECK:         arith.cmpi eq
// CHECK:         cf.assert {{.*}}, "node Mul: {{.*}} differ (broadcast)"
func.func @unequal(%a: tensor<?xf32>, %b: tensor<?xf32>) -> tensor<?xf32>
    attributes {quanta.inputs = ["a", "b"], quanta.outputs = ["y"], quanta.dims = [["n"], ["m"]]} {
  %y = onnx.node "Mul"(%a, %b) attributes {domain = "", since_version = 14 : i64} : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// Booleans are i8, scalars are part of the body.
// CHECK-LABEL: func.func @bool
// CHECK-SAME:    (%{{.+}}: tensor<4xf32>, %{{.+}}: tensor<4xi8>) -> tensor<4xi8>
// CHECK-SAME:    quanta.input_types = ["f32", "bool"]
// CHECK-SAME:    quanta.output_types = ["bool"]
// CHECK:         %[[TWO:.+]] = arith.constant 2.0
// CHECK:         linalg.generic {{.*}} ins(%{{.+}} : tensor<4xf32>)
// CHECK:           %[[C:.+]] = arith.cmpf ogt, %{{.+}}, %[[TWO]]
// CHECK:           arith.extui %[[C]] : i1 to i8
// CHECK:           arith.andi {{.*}} : i8
func.func @bool(%a: tensor<4xf32>, %b: tensor<4xi1>) -> tensor<4xi1>
    attributes {quanta.inputs = ["a", "b"], quanta.outputs = ["y"], quanta.dims = [[4], [4]]} {
  %two = arith.constant dense<2.0> : tensor<f32>
  %c = onnx.node "Greater"(%a, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<4xf32>, tensor<f32>) -> tensor<4xi1>
  %y = onnx.node "And"(%c, %b) attributes {domain = "", since_version = 7 : i64} : (tensor<4xi1>, tensor<4xi1>) -> tensor<4xi1>
  return %y : tensor<4xi1>
}

// -----

// CHECK-LABEL: func.func @pow
// CHECK:         arith.mulf %[[X:.+]], %[[X]]
// CHECK:         math.sqrt
// CHECK-NOT:     math.powf
func.func @pow(%a: tensor<4xf32>) -> tensor<4xf32> attributes {quanta.inputs = ["a"], quanta.outputs = ["y"], quanta.dims = [[4]]} {
  %two = arith.constant dense<2.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Pow"(%a, %two) attributes {domain = "", since_version = 15 : i64} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %y = onnx.node "Pow"(%s, %half) attributes {domain = "", since_version = 15 : i64} : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// A conversion to integers is clamped, half precision is computed in f32.
// CHECK-LABEL: func.func @cast
// CHECK-SAME:    quanta.output_types = ["u8"]
// CHECK:         arith.extf {{.*}} : f16 to f32
// CHECK:         math.exp {{.*}} : f32
// CHECK:         arith.truncf {{.*}} : f32 to f16
// CHECK:         arith.maximumf
// CHECK:         arith.minimumf
// CHECK:         arith.fptoui {{.*}} : f32 to i8
func.func @cast(%a: tensor<4xf16>) -> tensor<4xui8> attributes {quanta.inputs = ["a"], quanta.outputs = ["y"], quanta.dims = [[4]]} {
  %e = onnx.node "Exp"(%a) attributes {domain = "", since_version = 13 : i64} : (tensor<4xf16>) -> tensor<4xf16>
  %y = onnx.node "Cast"(%e) {to = 2 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<4xf16>) -> tensor<4xui8>
  return %y : tensor<4xui8>
}

// -----

// CHECK-LABEL: func.func @activations
// CHECK:         quanta.activation relu
// CHECK:         quanta.activation silu
// CHECK:         quanta.activation hard_sigmoid
// CHECK:         linalg.generic
func.func @activations(%a: tensor<?xf32>) -> tensor<?xf32> attributes {quanta.inputs = ["a"], quanta.outputs = ["y"], quanta.dims = [["n"]]} {
  %0 = onnx.node "Relu"(%a) attributes {domain = "", since_version = 14 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  %1 = onnx.node "Silu"(%0) attributes {domain = "quanta", since_version = 1 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  %2 = onnx.node "HardSigmoid"(%1) {alpha = 0.16666667 : f32} attributes {domain = "", since_version = 6 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  %3 = onnx.node "HardSigmoid"(%2) attributes {domain = "", since_version = 6 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  return %3 : tensor<?xf32>
}
