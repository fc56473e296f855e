// RUN: quantc %s --emit=linalg -o - | FileCheck %s

// The last form on tensors: kernels with their weights apart, everything else fused linalg.
// CHECK: quanta.kernel "linear"
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK: quanta.weights
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %y = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %z = quanta.activation silu %y : tensor<?x2xf32>
  return %z : tensor<?x2xf32>
}
