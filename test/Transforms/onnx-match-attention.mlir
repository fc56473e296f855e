// RUN: quant-opt --onnx-match-attention %s | FileCheck %s

// CHECK-LABEL: @scaled_scores
// CHECK-NEXT: %[[Y:.*]] = onnx.node "Attention"(%arg0, %arg1, %arg2) {scale = 2.500000e-01 : f32} attributes {domain = "quanta"
// CHECK-NEXT: return %[[Y]]
func.func @scaled_scores(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %c = arith.constant dense<4.0> : tensor<f32>
  %d = onnx.node "Div"(%s, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%d) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @scaled_q
// CHECK-NEXT: onnx.node "Attention"(%arg0, %arg1, %arg2) {scale = 2.500000e-01 : f32}
func.func @scaled_q(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %c = arith.constant dense<0.25> : tensor<f32>
  %qs = onnx.node "Mul"(%c, %q) attributes {domain = "", since_version = 13 : i64} : (tensor<f32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %s = onnx.node "MatMul"(%qs, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @scaled_q_and_k
// CHECK-NEXT: onnx.node "Attention"(%arg0, %arg1, %arg2) {scale = 2.500000e-01 : f32}
func.func @scaled_q_and_k(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %c = arith.constant dense<0.5> : tensor<f32>
  %qs = onnx.node "Mul"(%q, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<f32>) -> tensor<?x4x?x16xf32>
  %ks = onnx.node "Mul"(%kT, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x16x?xf32>, tensor<f32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%qs, %ks) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @added_mask
// CHECK-NEXT: onnx.node "Attention"(%arg0, %arg1, %arg2, %arg3) {scale = 2.500000e-01 : f32}
func.func @added_mask(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x1x?x?xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["b", 1, "s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %c = arith.constant dense<0.25> : tensor<f32>
  %d = onnx.node "Mul"(%s, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %a = onnx.node "Add"(%d, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%a) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @causal_fill
// CHECK-DAG: %[[LOW:.*]] = arith.constant dense<-3.40282347E+38>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<0.0
// CHECK: %[[MASK:.*]] = onnx.node "Where"(%arg3, %[[LOW]], %[[ZERO]])
// CHECK: %[[WIDE:.*]] = onnx.node "Unsqueeze"(%[[MASK]], 
// CHECK-SAME: -> tensor<1x1x?x?xf32>
// CHECK: onnx.node "Attention"(%arg0, %arg1, %arg2, %[[WIDE]]) {scale = 1.000000e+00 : f32}
func.func @causal_fill(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x?xi1>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %low = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %a = onnx.node "Where"(%m, %low, %s) attributes {domain = "", since_version = 9 : i64} : (tensor<?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%a) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @two_masks
// CHECK: %[[FILL:.*]] = onnx.node "Where"(%arg3, %{{.*}}, %{{.*}})
// CHECK-NEXT: %[[BOTH:.*]] = onnx.node "Add"(%[[FILL]], %arg4)
// CHECK: onnx.node "Attention"(%arg0, %arg1, %arg2, %[[BOTH]])
func.func @two_masks(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %c: tensor<?x?xi1>, %m: tensor<?x1x1x?xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "c", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["s", "t"], ["b", 1, 1, "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %low = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %w = onnx.node "Where"(%c, %s, %low) attributes {domain = "", since_version = 9 : i64} : (tensor<?x?xi1>, tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %a = onnx.node "Add"(%m, %w) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x1x?xf32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%a) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @guarded_rows
// CHECK: %[[Y:.*]] = onnx.node "Attention"(%arg0, %arg1, %arg2)
// CHECK: %[[NAN:.*]] = onnx.node "IsNaN"(%[[Y]])
// CHECK: onnx.node "Where"(%[[NAN]], %{{.*}}, %[[Y]])
func.func @guarded_rows(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax"(%s) {axis = 3 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.node "IsNaN"(%p0) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %p = onnx.node "Where"(%nan, %zero, %p0) attributes {domain = "", since_version = 9 : i64} : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @softmax_in_f32
// CHECK: %[[WIDE:.*]] = onnx.node "Unsqueeze"(%arg3
// CHECK: onnx.node "Attention"(%arg0, %arg1, %arg2, %[[WIDE]])
// CHECK-SAME: -> tensor<?x4x?x16xf16>
func.func @softmax_in_f32(%q: tensor<?x4x?x16xf16>, %k: tensor<?x4x?x16xf16>, %v: tensor<?x4x?x16xf16>, %m: tensor<?x?xf16>) -> tensor<?x4x?x16xf16> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf16>) -> tensor<?x4x16x?xf16>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf16>, tensor<?x4x16x?xf16>) -> tensor<?x4x?x?xf16>
  %a = onnx.node "Add"(%s, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf16>, tensor<?x?xf16>) -> tensor<?x4x?x?xf16>
  %w = onnx.node "Cast"(%a) {to = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf16>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax"(%w) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Cast"(%p0) {to = 10 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf16>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf16>, tensor<?x4x?x16xf16>) -> tensor<?x4x?x16xf16>
  return %y : tensor<?x4x?x16xf16>
}

// CHECK-LABEL: @heads_last
// CHECK-NEXT: %[[K:.*]] = onnx.node "Transpose"(%arg1) {perm = array<i64: 0, 2, 1, 3>}
// CHECK-SAME: -> tensor<?x4x?x16xf32>
// CHECK-NEXT: onnx.node "Attention"(%arg0, %[[K]], %arg2)
func.func @heads_last(%q: tensor<?x4x?x16xf32>, %k: tensor<?x?x4x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", "t", 4, 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 2, 3, 1>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x?x4x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @repeated_heads
// CHECK: onnx.node "Attention"(%arg0, %arg1, %arg2) {scale = 1.000000e+00 : f32}
// CHECK-SAME: (tensor<?x4x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
func.func @repeated_heads(%q: tensor<?x4x?x16xf32>, %k: tensor<?x2x?x16xf32>, %v: tensor<?x2x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 2, "t", 16], ["b", 2, "t", 16]]} {
  %two = arith.constant dense<2> : tensor<1xi64>
  %b0 = arith.constant dense<0> : tensor<1xi64>
  %t2 = arith.constant dense<2> : tensor<1xi64>
  %four = arith.constant dense<4> : tensor<1xi64>
  %d = arith.constant dense<16> : tensor<1xi64>
  %shape = onnx.node "Shape"(%k) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x?x16xf32>) -> tensor<4xi64>
  %b = onnx.node "Gather"(%shape, %b0) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %t = onnx.node "Gather"(%shape, %t2) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %wide = onnx.node "Concat"(%b, %two, %two, %t, %d) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %flat = onnx.node "Concat"(%b, %four, %t, %d) {axis = 0 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k5 = onnx.node "Unsqueeze"(%k, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x?x16xf32>, tensor<1xi64>) -> tensor<?x2x1x?x16xf32>
  %ke = onnx.node "Expand"(%k5, %wide) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x1x?x16xf32>, tensor<5xi64>) -> tensor<?x2x2x?x16xf32>
  %kr = onnx.node "Reshape"(%ke, %flat) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x2x?x16xf32>, tensor<4xi64>) -> tensor<?x4x?x16xf32>
  %v5 = onnx.node "Unsqueeze"(%v, %two) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x?x16xf32>, tensor<1xi64>) -> tensor<?x2x1x?x16xf32>
  %ve = onnx.node "Expand"(%v5, %wide) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x1x?x16xf32>, tensor<5xi64>) -> tensor<?x2x2x?x16xf32>
  %vr = onnx.node "Reshape"(%ve, %flat) attributes {domain = "", since_version = 13 : i64} : (tensor<?x2x2x?x16xf32>, tensor<4xi64>) -> tensor<?x4x?x16xf32>
  %kT = onnx.node "Transpose"(%kr) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %vr) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @rotary
// CHECK: %[[COS:.*]] = onnx.node "Unsqueeze"(%arg1
// CHECK: %[[SIN:.*]] = onnx.node "Unsqueeze"(%arg2
// CHECK: onnx.node "Rotary"(%arg0, %[[COS]], %[[SIN]]) attributes {domain = "quanta"
func.func @rotary(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x16xf32>, %sin: tensor<?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["s", 16], ["s", 16]]} {
  %l0 = arith.constant dense<0> : tensor<1xi64>
  %l1 = arith.constant dense<8> : tensor<1xi64>
  %h0 = arith.constant dense<8> : tensor<1xi64>
  %h1 = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %ax = arith.constant dense<3> : tensor<1xi64>
  %st = arith.constant dense<1> : tensor<1xi64>
  %lo = onnx.node "Slice"(%x, %l0, %l1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %hi = onnx.node "Slice"(%x, %h0, %h1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %n = onnx.node "Neg"(%hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %lo) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%x, %cos) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%sin, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @rotary_split
// CHECK-NEXT: onnx.node "Rotary"(%arg0, %arg1, %arg2)
func.func @rotary_split(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x1x?x16xf32>, %sin: tensor<?x1x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["b", 1, "s", 16], ["b", 1, "s", 16]]} {
  %lo, %hi = onnx.node "Split"(%x) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>)
  %n = onnx.node "Neg"(%hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %lo) {axis = 3 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%cos, %x) attributes {domain = "", since_version = 13 : i64} : (tensor<?x1x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%r, %sin) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x1x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Add"(%b, %a) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

//===- Look-alikes -------------------------------------------------------------------------------------------------------===//

// CHECK-LABEL: @multiplied_mask
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @multiplied_mask(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x1x?x?xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["b", 1, "s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %a = onnx.node "Mul"(%s, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%a) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @softmax_over_queries
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @softmax_over_queries(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = 2 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @harmless_fill
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @harmless_fill(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x?xi1>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %low = arith.constant dense<-10.0> : tensor<f32>
  %a = onnx.node "Where"(%m, %low, %s) attributes {domain = "", since_version = 9 : i64} : (tensor<?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%a) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @scaled_mask
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @scaled_mask(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x1x?x?xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["b", 1, "s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %a = onnx.node "Add"(%s, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32>) -> tensor<?x4x?x?xf32>
  %c = arith.constant dense<0.25> : tensor<f32>
  %d = onnx.node "Mul"(%a, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%d) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @per_head_scale
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @per_head_scale(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %c: tensor<4x1x1xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "c"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], [4, 1, 1]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %d = onnx.node "Mul"(%s, %c) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<4x1x1xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%d) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @broadcast_batch
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @broadcast_batch(%q: tensor<1x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v"], quanta.dims = [[1, 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<1x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%s) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @mask_of_another_precision
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @mask_of_another_precision(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x16xf32>, %m: tensor<?x?xf16>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["q", "k", "v", "m"], quanta.dims = [["b", 4, "s", 16], ["b", 4, "t", 16], ["b", 4, "t", 16], ["s", "t"]]} {
  %kT = onnx.node "Transpose"(%k) {perm = array<i64: 0, 1, 3, 2>} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>) -> tensor<?x4x16x?xf32>
  %s = onnx.node "MatMul"(%q, %kT) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x16x?xf32>) -> tensor<?x4x?x?xf32>
  %n = onnx.node "Cast"(%s) {to = 10 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf16>
  %a = onnx.node "Add"(%n, %m) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf16>, tensor<?x?xf16>) -> tensor<?x4x?x?xf16>
  %w = onnx.node "Cast"(%a) {to = 1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf16>) -> tensor<?x4x?x?xf32>
  %p = onnx.node "Softmax"(%w) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.node "MatMul"(%p, %v) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @no_negation
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @no_negation(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x16xf32>, %sin: tensor<?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["s", 16], ["s", 16]]} {
  %l0 = arith.constant dense<0> : tensor<1xi64>
  %l1 = arith.constant dense<8> : tensor<1xi64>
  %h0 = arith.constant dense<8> : tensor<1xi64>
  %h1 = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %ax = arith.constant dense<3> : tensor<1xi64>
  %st = arith.constant dense<1> : tensor<1xi64>
  %lo = onnx.node "Slice"(%x, %l0, %l1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %hi = onnx.node "Slice"(%x, %h0, %h1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %n = onnx.node "Identity"(%hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %lo) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%x, %cos) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%sin, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @negated_low_half
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @negated_low_half(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x16xf32>, %sin: tensor<?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["s", 16], ["s", 16]]} {
  %l0 = arith.constant dense<0> : tensor<1xi64>
  %l1 = arith.constant dense<8> : tensor<1xi64>
  %h0 = arith.constant dense<8> : tensor<1xi64>
  %h1 = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %ax = arith.constant dense<3> : tensor<1xi64>
  %st = arith.constant dense<1> : tensor<1xi64>
  %lo = onnx.node "Slice"(%x, %l0, %l1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %hi = onnx.node "Slice"(%x, %h0, %h1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %n = onnx.node "Neg"(%lo) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %hi) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%x, %cos) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%sin, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @uneven_halves
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @uneven_halves(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x16xf32>, %sin: tensor<?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["s", 16], ["s", 16]]} {
  %l0 = arith.constant dense<0> : tensor<1xi64>
  %l1 = arith.constant dense<8> : tensor<1xi64>
  %h0 = arith.constant dense<4> : tensor<1xi64>
  %h1 = arith.constant dense<12> : tensor<1xi64>
  %ax = arith.constant dense<3> : tensor<1xi64>
  %st = arith.constant dense<1> : tensor<1xi64>
  %lo = onnx.node "Slice"(%x, %l0, %l1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %hi = onnx.node "Slice"(%x, %h0, %h1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %n = onnx.node "Neg"(%hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %lo) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%x, %cos) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%sin, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Add"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// CHECK-LABEL: @difference
// CHECK-NOT: domain = "quanta"
// CHECK: return
func.func @difference(%x: tensor<?x4x?x16xf32>, %cos: tensor<?x16xf32>, %sin: tensor<?x16xf32>) -> tensor<?x4x?x16xf32> attributes {quanta.inputs = ["x", "cos", "sin"], quanta.dims = [["b", 4, "s", 16], ["s", 16], ["s", 16]]} {
  %l0 = arith.constant dense<0> : tensor<1xi64>
  %l1 = arith.constant dense<8> : tensor<1xi64>
  %h0 = arith.constant dense<8> : tensor<1xi64>
  %h1 = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %ax = arith.constant dense<3> : tensor<1xi64>
  %st = arith.constant dense<1> : tensor<1xi64>
  %lo = onnx.node "Slice"(%x, %l0, %l1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %hi = onnx.node "Slice"(%x, %h0, %h1, %ax, %st) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x8xf32>
  %n = onnx.node "Neg"(%hi) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %r = onnx.node "Concat"(%n, %lo) {axis = -1 : i64} attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x16xf32>
  %a = onnx.node "Mul"(%x, %cos) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x16xf32>) -> tensor<?x4x?x16xf32>
  %b = onnx.node "Mul"(%sin, %r) attributes {domain = "", since_version = 13 : i64} : (tensor<?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  %y = onnx.node "Sub"(%a, %b) attributes {domain = "", since_version = 13 : i64} : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}
