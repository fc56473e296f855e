// RUN: quant-opt --onnx-match-activations %s | FileCheck %s

// CHECK-LABEL: @gelu_product_then_half
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "none"}
// CHECK-NEXT: return
func.func @gelu_product_then_half(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_half_first
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "none"}
// CHECK-NEXT: return
func.func @gelu_half_first(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<0.707106769> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Mul"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%half, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%h, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_half_of_sum
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "none"}
// CHECK-NEXT: return
func.func @gelu_half_of_sum(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%p, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%h, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_divided_by_two
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "none"}
// CHECK-NEXT: return
func.func @gelu_divided_by_two(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %m = onnx.node "Mul"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%m, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_of_a_product
// CHECK-NEXT: onnx.node "Mul"(%arg0, %arg1){{.*}}
// CHECK-NEXT: onnx.node "Gelu"
// CHECK-NEXT: return
func.func @gelu_of_a_product(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %x = onnx.node "Mul"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_tanh_pow
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "tanh"}
// CHECK-NEXT: return
func.func @gelu_tanh_pow(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %k = arith.constant dense<0.797884583> : tensor<f32>
  %c = arith.constant dense<0.044715> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %three = arith.constant dense<3.0> : tensor<f32>
  %x3 = onnx.node "Pow"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %cx = onnx.node "Mul"(%c, %x3) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %i = onnx.node "Add"(%x, %cx) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %w = onnx.node "Mul"(%k, %i) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.node "Tanh"(%w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%one, %t) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%half, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%h, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_tanh_products
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "tanh"}
// CHECK-NEXT: return
func.func @gelu_tanh_products(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %k = arith.constant dense<0.797884583> : tensor<f32>
  %c = arith.constant dense<0.044715> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %c1 = onnx.node "Mul"(%c, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %c2 = onnx.node "Mul"(%x, %c1) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %cx = onnx.node "Mul"(%x, %c2) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %i = onnx.node "Add"(%x, %cx) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %w = onnx.node "Mul"(%k, %i) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.node "Tanh"(%w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%one, %t) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%half, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %h) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gelu_tanh_factored
// CHECK-NEXT: onnx.node "Gelu"(%arg0) {approximate = "tanh"}
// CHECK-NEXT: return
func.func @gelu_tanh_factored(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %k = arith.constant dense<0.797884583> : tensor<f32>
  %c = arith.constant dense<0.044715> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %x2 = onnx.node "Mul"(%x, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %cx = onnx.node "Mul"(%x2, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %i = onnx.node "Add"(%cx, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %kx = onnx.node "Mul"(%x, %k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %w = onnx.node "Mul"(%kx, %i) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.node "Tanh"(%w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%t, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%x, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%h, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @silu
// CHECK-NEXT: onnx.node "Silu"(%arg0) attributes {domain = "quanta"
// CHECK-NEXT: return
func.func @silu(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %s = onnx.node "Sigmoid"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @silu_commuted
// CHECK-NEXT: onnx.node "Silu"(%arg0)
// CHECK-NEXT: return
func.func @silu_commuted(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %s = onnx.node "Sigmoid"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%s, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_swish
// CHECK-NEXT: onnx.node "HardSwish"(%arg0) attributes {{{.*}}since_version = 14
// CHECK-NEXT: return
func.func @hard_swish(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<3.0> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<6.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%m, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_swish_of_unit_clip
// CHECK-NEXT: onnx.node "HardSwish"(%arg0)
// CHECK-NEXT: return
func.func @hard_swish_of_unit_clip(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %sixth = arith.constant dense<0.166666672> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<1.0> : tensor<f32>
  %m = onnx.node "Mul"(%x, %sixth) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %a = onnx.node "Add"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%k, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_swish_of_hard_sigmoid
// CHECK-NEXT: onnx.node "HardSwish"(%arg0)
// CHECK-NEXT: return
func.func @hard_swish_of_hard_sigmoid(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %k = onnx.node "HardSigmoid"(%x) {alpha = 0.166666672 : f32, beta = 0.5 : f32} attributes {domain = "", since_version = 6 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_swish_opset_6
// CHECK-NEXT: onnx.node "HardSwish"(%arg0)
// CHECK-NEXT: return
func.func @hard_swish_opset_6(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<3.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a) {max = 6.0 : f32, min = 0.0 : f32} attributes {domain = "", since_version = 6 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %d = onnx.node "Div"(%k, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %d) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_sigmoid
// CHECK-NEXT: onnx.node "HardSigmoid"(%arg0) {alpha = 0.166666672 : f32, beta = 5.000000e-01 : f32}
// CHECK-NEXT: return
func.func @hard_sigmoid(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<3.0> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<6.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%k, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @hard_sigmoid_of_unit_clip
// CHECK-NEXT: onnx.node "HardSigmoid"(%arg0)
// CHECK-NEXT: return
func.func @hard_sigmoid_of_unit_clip(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %sixth = arith.constant dense<0.166666672> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<1.0> : tensor<f32>
  %m = onnx.node "Mul"(%x, %sixth) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %a = onnx.node "Add"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  return %k : tensor<?x8xf32>
}

//===- Look-alikes -------------------------------------------------------------------------------------------------------===//

// CHECK-LABEL: @erf_of_another_scale
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @erf_of_another_scale(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @one_and_a_bit
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @one_and_a_bit(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.001> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @factor_of_another_value
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @factor_of_another_value(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.41421354> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %u = onnx.node "Div"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %e = onnx.node "Erf"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%e, %one) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%z, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%m, %half) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @another_cubic_term
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @another_cubic_term(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %k = arith.constant dense<0.797884583> : tensor<f32>
  %c = arith.constant dense<0.0447> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %three = arith.constant dense<3.0> : tensor<f32>
  %x3 = onnx.node "Pow"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %cx = onnx.node "Mul"(%c, %x3) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %i = onnx.node "Add"(%x, %cx) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %w = onnx.node "Mul"(%k, %i) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.node "Tanh"(%w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Add"(%one, %t) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = onnx.node "Mul"(%half, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%h, %p) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @quick_gelu
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @quick_gelu(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant dense<1.702> : tensor<f32>
  %u = onnx.node "Mul"(%x, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %s = onnx.node "Sigmoid"(%u) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%x, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @gate_of_another_value
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @gate_of_another_value(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %s = onnx.node "Sigmoid"(%x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Mul"(%z, %s) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @clip_from_minus_one
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @clip_from_minus_one(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<3.0> : tensor<f32>
  %lo = arith.constant dense<-1.0> : tensor<f32>
  %hi = arith.constant dense<6.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%m, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @clip_to_seven
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @clip_to_seven(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<3.0> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<7.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %m = onnx.node "Mul"(%x, %k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%m, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @plus_two
// CHECK-NOT: onnx.node "{{Gelu|Silu|HardS}}
// CHECK: return
func.func @plus_two(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %three = arith.constant dense<2.0> : tensor<f32>
  %lo = arith.constant dense<0.0> : tensor<f32>
  %hi = arith.constant dense<6.0> : tensor<f32>
  %six = arith.constant dense<6.0> : tensor<f32>
  %a = onnx.node "Add"(%x, %three) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %k = onnx.node "Clip"(%a, %lo, %hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>, tensor<f32>) -> tensor<?x8xf32>
  %y = onnx.node "Div"(%k, %six) attributes {domain = "", since_version = 13 : i64} : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
