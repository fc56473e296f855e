// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-reorder='data=%S/Inputs/calibrate.npz samples=16 clusters=2 align=1 threads=1' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: quant-opt %s --quanta-reorder='data=%S/Inputs/calibrate.npz clusters=2 align=2 threads=1' 2>/dev/null | FileCheck %s --check-prefix=ALIGN
// RUN: not quant-opt %s --quanta-reorder='clusters=2' 2>&1 | FileCheck %s --check-prefix=NODATA
// NODATA: error: quanta-reorder looks at activations: give it data=FILE

// REMARK: loc("first"): input is not reordered: it comes from an input of the model
// REMARK: loc("second"): input is reordered: 4 channels in 2 clusters, absorbed by 3 constants, for 1 values; the model's outputs differ by

// Rows 0 and 2 of the first weight are a hundred times the others: their channels come last, columns of the second alike.
// CHECK-LABEL: func.func @main
// CHECK-DAG: dense<[2.000000e+00, 4.000000e+00, 1.000000e+00, 3.000000e+00]> : tensor<4xf32>
// CHECK-DAG: dense<{{\[}}[2.000000e+00, 4.000000e+00, 1.000000e+00, 3.000000e+00], [6.000000e+00, 8.000000e+00, 5.000000e+00, 7.000000e+00]]> : tensor<2x4xf32>
// CHECK: quanta.linear {{.*}} {quanta.input_clusters = array<i64: 2, 2>}
// Nothing is gathered.
// CHECK-NOT: tensor.extract
// CHECK-NOT: linalg.generic
// ALIGN: quanta.input_clusters = array<i64: 2, 2>
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w1 = arith.constant dense<[[100.0, 50.0, 25.0, -100.0, -50.0, 200.0], [0.0, 0.5, 0.75, -1.0, -0.5, 2.0],
                              [100.0, 50.0, 25.0, -100.0, -50.0, 200.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]> : tensor<4x6xf32>
  %b1 = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %w2 = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %a = quanta.linear %x, %w1 bias %b1 : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("first")
  %g = quanta.activation gelu %a : tensor<?x4xf32>
  %y = quanta.linear %g, %w2 : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32> loc("second")
  return %y : tensor<?x2xf32>
}
