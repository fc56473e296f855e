// Code for Arm: products keep 6 rows by 16 columns in registers and multiply by a lane; decoding and everything else in the
// loops is vectors of 128 bits. Nothing spills to the stack between the loads and the last sum.
// RUN: split-file %s %t
// RUN: quantc %t/float.mlir --mtriple aarch64-linux-gnu --mcpu neoverse-n1 --name m -o %t/float.s
// RUN: sed -n '/^kernel_linear_tasks:/,$p' %t/float.s | FileCheck %s --check-prefixes=GEMM
// RUN: quantc %t/encoded.mlir --mtriple aarch64-linux-gnu --mcpu neoverse-n1 --name m -o %t/encoded.s
// RUN: FileCheck %s --check-prefixes=DECODE,GEMM < %t/encoded.s
// Nothing scalar is left of fused arithmetic, no half-precision conversion or fma is a call.
// RUN: not grep -E '\bfmadd\b|bl[[:space:]]+(fma|__)' %t/float.s %t/encoded.s

// DECODE: {{^}}kernel_linear_tasks:
// DECODE: ldp {{q[0-9]+, q[0-9]+}}
// DECODE: and {{v[0-9]+}}.16b
// DECODE: ucvtf {{v[0-9]+}}.4s
// DECODE: fmla {{v[0-9]+}}.4s, {{v[0-9]+}}.4s, {{v[0-9]+}}.4s
// DECODE: stp q
// DECODE: ushr {{v[0-9]+}}.4s, {{v[0-9]+}}.4s, #

// GEMM: Inner Loop Header: Depth=3
// GEMM: ldp {{q[0-9]+, q[0-9]+}}
// GEMM-NOT: {{stp|str|sp\]}}
// GEMM-COUNT-14: fmla {{v[0-9]+}}.4s, {{v[0-9]+}}.4s, {{v[0-9]+}}.s[0]
// GEMM-NOT: {{stp|str|sp\]}}
// GEMM: b.{{ne|lt|hi}}

//--- float.mlir
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = arith.constant dense<1.0> : tensor<32x64xf32>
  %y = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
//--- encoded.mlir
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = quanta.constant {codes = dense<1> : tensor<32x64xi8>, scales = dense<1.0> : tensor<32x1xf16>} : tensor<32x64xf32, #quanta.uniform<bits = 4>>
  %y = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xf32, #quanta.uniform<bits = 4>>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
