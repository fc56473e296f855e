// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-smooth='data=%S/Inputs/calibrate.npz samples=16 threads=1' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: not quant-opt %s --quanta-smooth 2>&1 | FileCheck %s --check-prefix=NODATA
// NODATA: error: quanta-smooth looks at activations: give it data=FILE
// RUN: not quant-opt %s --quanta-smooth='data=%S/Inputs/calibrate.npz alpha=2' 2>&1 | FileCheck %s --check-prefix=ALPHA
// RUN: quant-opt %s --quanta-smooth='data=%S/Inputs/calibrate.npz equalize threads=1' 2>/dev/null | FileCheck %s --check-prefix=EQUAL
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-smooth='data=%S/Inputs/calibrate.npz samples=16 threads=1 bits=3 act-bits=4 group=0' 2>&1 >/dev/null | FileCheck %s --check-prefix=SEARCH
// SEARCH: loc("second"): input is divided by scales with exponents {{[01].[0-9]+}} of activations and {{[01].[0-9]+}} of weights, which should leave 0.{{[0-9]+}} of the error; the model's outputs differ by {{[0-9.]+}}e-0{{[5-9]}}
// RUN: not quant-opt %s --quanta-smooth='data=%S/Inputs/calibrate.npz act-bits=4' 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: error: expected bits and act-bits from 0 to 8, act-bits only with bits, and not with equalize, but got bits=0 act-bits=4
// Rows of magnitude 20 and 2 and columns of magnitude 1 and 1: sqrt(20) and sqrt(2) on both sides.
// EQUAL-DAG: dense<{{\[}}[2.23606801, 1.11803401, 5.590170e-01, -2.23606801, -1.11803401, 4.47213602], [0.000000e+00, 0.353553{{.*}}, 0.530330{{.*}}, -0.707106{{.*}}, -0.353553{{.*}}, 1.414213{{.*}}]]>
// EQUAL-DAG: dense<{{\[}}[4.47213602, 0.707106{{.*}}], [1.118034{{.*}}, -1.414213{{.*}}]]>
// ALPHA: error: expected alpha from 0 to 1 but got 2

// REMARK: loc("first"): input is not scaled: it comes from an input of the model
// REMARK: loc("third"): input is not scaled: the nonlinearity gelu does not commute with it
// REMARK: loc("second"): input is divided by scales from {{.*}} to {{.*}}; the model's outputs differ by {{[0-9.]+}}e-0{{[5-9]}}

// CHECK-LABEL: func.func @main
// The scale of a channel leaves the rows of the first layer and its bias, and enters the columns of the second.
// CHECK-DAG: arith.constant dense<{{\[}}[1.000000e+00, 5.000000e-01], [2.500000e-01, 1.000000e+00]]> : tensor<2x2xf32>
// CHECK: quanta.linear
// CHECK-NOT: arith.mulf
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w1 = arith.constant dense<[[10.0, 5.0, 2.5, -10.0, -5.0, 20.0], [0.0, 0.5, 0.75, -1.0, -0.5, 2.0]]> : tensor<2x6xf32>
  %b1 = arith.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %w2 = arith.constant dense<[[1.0, 0.5], [0.25, -1.0]]> : tensor<2x2xf32>
  %w3 = arith.constant dense<[[1.0, 0.5], [0.25, 1.0]]> : tensor<2x2xf32>
  %a = quanta.linear %x, %w1 bias %b1 : (tensor<?x6xf32>, tensor<2x6xf32>, tensor<2xf32>) -> tensor<?x2xf32> loc("first")
  %r = quanta.activation relu %a : tensor<?x2xf32>
  %b = quanta.linear %r, %w2 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("second")
  %g = quanta.activation gelu %b : tensor<?x2xf32>
  %y = quanta.linear %g, %w3 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("third")
  return %y : tensor<?x2xf32>
}
