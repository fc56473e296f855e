// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-rotate='data=%S/Inputs/calibrate.npz samples=16 threads=1' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-rotate 2>&1 >/dev/null | FileCheck %s --check-prefix=UNCHECKED
// UNCHECKED: stream is rotated: {{.*}}; not verified: there is no data

// REMARK: stream is not rotated: a norm's parameters do not move into its readers: the nonlinearity gelu does not commute with it
// REMARK: stream is rotated: 1 group of 4 channels, absorbed by 3 constants; the model's outputs differ by {{[0-9.]+}}e-0{{[5-9]}}

// A layer norm of a stream that only linear layers write becomes an RMS norm of centered values. A channel whose scale is zero
// stays zero.
// CHECK-LABEL: func.func @main
// CHECK: quanta.linear {{.*}} bias
// CHECK: quanta.rms_norm {{.*}} {epsilon = 9.99999974E-6 : f32}
// CHECK: quanta.linear {{.*}} bias
// CHECK: quanta.layer_norm
func.func @main(%x: tensor<?x6xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"]} {
  %w1 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0, -0.5, 2.0], [0.0, 0.5, 0.75, -1.0, -0.5, 2.0],
                              [1.0, 0.5, 0.25, -1.0, 0.5, 2.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]> : tensor<4x6xf32>
  %b1 = arith.constant dense<[0.1, 0.2, 0.3, 0.4]> : tensor<4xf32>
  %g = arith.constant dense<[0.5, 0.0, 2.0, 3.0]> : tensor<4xf32>
  %b = arith.constant dense<[0.5, 0.25, -1.0, 0.125]> : tensor<4xf32>
  %w2 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0], [0.3, 0.5, 0.25, -1.0], [1.0, 0.25, 0.25, -1.0], [1.0, 0.5, 0.15, -1.0]]> : tensor<4x4xf32>
  %w3 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0], [0.3, 0.5, 0.25, -1.0]]> : tensor<2x4xf32>
  %h = quanta.linear %x, %w1 bias %b1 : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %n = quanta.layer_norm %h, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = quanta.linear %n, %w2 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r = quanta.linear %x, %w1 : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  // The model returns this norm's readers through GELU of its own result: no reader absorbs its scale.
  %m = quanta.layer_norm %r, %g bias %b {epsilon = 1.0e-5 : f32} : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %gelu = quanta.activation gelu %m : tensor<?x4xf32>
  %z = quanta.linear %gelu, %w3 : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x2xf32>
}

// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-rotate='data=%S/Inputs/calibrate.npz online threads=1' 2> %t.online | FileCheck %s --check-prefix=ONLINE
// RUN: FileCheck %s --check-prefix=TURNED < %t.online
// The input behind GELU, seen as 2 × 2 matrices.
// TURNED: input is rotated at run time: 2 times 2 channels, absorbed by 1 weights; the model's outputs differ by {{[0-9.]+}}e-0{{[5-9]}}
// ONLINE: quanta.activation gelu
// ONLINE: %[[X:.*]] = tensor.expand_shape {{.*}} : tensor<?x4xf32> into tensor<?x2x2xf32>
// ONLINE: %[[XH:.*]] = quanta.matmul %[[X]], %{{.*}} : (tensor<?x2x2xf32>, tensor<1x2x2xf32>) -> tensor<?x2x2xf32>
// ONLINE: quanta.matmul %{{.*}}, %[[XH]] : (tensor<1x2x2xf32>, tensor<?x2x2xf32>) -> tensor<?x2x2xf32>
// ONLINE: tensor.collapse_shape
// ONLINE: quanta.linear
