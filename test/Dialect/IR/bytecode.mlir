// A weight in bytecode is aligned; a small file, and one from a pipe, is not where it is read to.
// RUN: quant-opt %s --emit-bytecode -o %t.mlirbc
// RUN: quant-opt %t.mlirbc | FileCheck %s
// RUN: cat %t.mlirbc | quant-opt | FileCheck %s
// RUN: cat %t.mlirbc | quant-opt --emit-bytecode | quant-opt | FileCheck %s

// CHECK: dense_resource<w> : tensor<2xf32>
// CHECK: w: "0x400000000000803F00000040"
func.func @main() -> tensor<2xf32> {
  %w = arith.constant dense_resource<w> : tensor<2xf32>
  return %w : tensor<2xf32>
}
{-#
  dialect_resources: { builtin: { w: "0x400000000000803F00000040" } }
#-}
