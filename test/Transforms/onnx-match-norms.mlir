// RUN: quant-opt --onnx-match-norms %s | FileCheck %s

// CHECK-LABEL: @rms_div
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>, %[[S:[a-z0-9]+]]:
// CHECK-NEXT: %[[Y:.*]] = onnx.node "RMSNormalization"(%[[X]], %[[S]]) {axis = -1 : i64, epsilon = 9.99999974E-6 : f32}
// CHECK-SAME: since_version = 23
// CHECK-NEXT: return %[[Y]]
func.func @rms_div(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_recip
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %arg1)
// CHECK-NEXT: return
func.func @rms_recip(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Mul"(%x, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%eps, %mean) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.node "Reciprocal"(%root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Mul"(%r, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%s, %q) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_one
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %arg1)
// CHECK-NEXT: return
func.func @rms_one(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.node "Div"(%one, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Mul"(%x, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%s, %q) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_pow
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %arg1)
// CHECK-NEXT: return
func.func @rms_pow(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Mul"(%x, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%eps, %mean) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %minus = arith.constant dense<-0.5> : tensor<f32>
  %r = onnx.node "Pow"(%var, %minus) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %q = onnx.node "Mul"(%x, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%s, %q) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @scale_in_the_reciprocal
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %arg1)
func.func @scale_in_the_reciprocal(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.node "Reciprocal"(%root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %rs = onnx.node "Mul"(%r, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %rs) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_without_scale
// CHECK-NEXT: %[[ONES:.*]] = arith.constant dense<1.0{{.*}}> : tensor<8xf32>
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %[[ONES]])
func.func @rms_without_scale(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %q : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_in_f32_of_f16
// CHECK-NEXT: onnx.node "RMSNormalization"(%arg0, %arg1)
// CHECK-SAME: -> tensor<?x8xf16>
func.func @rms_in_f32_of_f16(%h: tensor<?x8xf16>, %s: tensor<8xf16>) -> tensor<?x8xf16> {
  %x = onnx.node "Cast"(%h) {to = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf16>) -> tensor<?x8xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.node "Reciprocal"(%root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Mul"(%r, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %c = onnx.node "Cast"(%q) {to = 10 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf16>
  %y = onnx.node "Mul"(%s, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf16>, tensor<?x8xf16>) -> tensor<?x8xf16>
  return %y : tensor<?x8xf16>
}

// CHECK-LABEL: @layer_norm
// CHECK-NEXT: onnx.node "LayerNormalization"(%arg0, %arg1, %arg2) {axis = -1 : i64, epsilon = 9.99999974E-6 : f32}
// CHECK-SAME: since_version = 17
// CHECK-NEXT: return
func.func @layer_norm(%x: tensor<?x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %mu = onnx.node "ReduceMean"(%x) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %d = onnx.node "Sub"(%x, %mu) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%d, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%d, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Add"(%b, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @layer_norm_without_bias
// CHECK-NEXT: onnx.node "LayerNormalization"(%arg0, %arg1)
func.func @layer_norm_without_bias(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %mu = onnx.node "ReduceMean"(%x) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %d = onnx.node "Sub"(%x, %mu) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Mul"(%d, %d) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%eps, %mean) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %r = onnx.node "Reciprocal"(%root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Mul"(%r, %d) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%s, %q) attributes {domain = "", since_version = 13 : i64} : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %m : tensor<?x8xf32>
}

// CHECK-LABEL: @opset_18_axes
// CHECK-NEXT: onnx.node "RMSNormalization"
func.func @opset_18_axes(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %ax = arith.constant dense<-1> : tensor<1xi64>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq, %ax) {keepdims = 1 : i64} attributes {domain = "", since_version = 18 : i64} : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %v = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

//===- Look-alikes -------------------------------------------------------------------------------------------------------===//

// CHECK-LABEL: @cube
// CHECK-NOT: Normalization
func.func @cube(%x: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<3.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @first_axis
// CHECK-NOT: Normalization
func.func @first_axis(%x: tensor<8x8xf32>, %s: tensor<8xf32>) -> tensor<8x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<8x8xf32>, tensor<f32>) -> tensor<8x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: 0>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<8x8xf32>) -> tensor<1x8xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<8x8xf32>, tensor<1x8xf32>) -> tensor<8x8xf32>
  %y = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<8x8xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// CHECK-LABEL: @of_another_value
// CHECK-NOT: Normalization
func.func @of_another_value(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%z, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_with_bias_is_no_layer_norm
// CHECK-NEXT: onnx.node "RMSNormalization"
// CHECK-NEXT: onnx.node "Add"
func.func @rms_with_bias_is_no_layer_norm(%x: tensor<?x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%x, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%x, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Add"(%m, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @unrelated_mean
// CHECK-NOT: LayerNormalization
// CHECK: onnx.node "RMSNormalization"
// CHECK-NOT: LayerNormalization
func.func @unrelated_mean(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %mu = onnx.node "ReduceMean"(%z) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %d = onnx.node "Sub"(%x, %mu) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-05> : tensor<f32>
  %sq = onnx.node "Pow"(%d, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %mean = onnx.node "ReduceMean"(%sq) {axes = array<i64: -1>, keepdims = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %var = onnx.node "Add"(%mean, %eps) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %root = onnx.node "Sqrt"(%var) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %q = onnx.node "Div"(%d, %root) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%q, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Add"(%m, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
