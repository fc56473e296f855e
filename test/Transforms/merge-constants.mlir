// RUN: quant-opt %s --quanta-merge-constants --cse | FileCheck %s

// Equal bytes of one type become one constant; another type or other bytes do not.
// CHECK-LABEL: func @main
// CHECK-DAG: %[[A:.*]] = arith.constant dense_resource<a> : tensor<4xf32>
// CHECK-DAG: %[[C:.*]] = arith.constant dense_resource<c> : tensor<4xf32>
// CHECK-DAG: %[[D:.*]] = arith.constant dense_resource<d> : tensor<4xi32>
// CHECK: return %[[A]], %[[A]], %[[C]], %[[D]]
// CHECK-NOT: b: "0x
func.func @main() -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xi32>) {
  %a = arith.constant dense_resource<a> : tensor<4xf32>
  %b = arith.constant dense_resource<b> : tensor<4xf32>
  %c = arith.constant dense_resource<c> : tensor<4xf32>
  %d = arith.constant dense_resource<d> : tensor<4xi32>
  return %a, %b, %c, %d : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xi32>
}
{-#
  dialect_resources: { builtin: {
    a: "0x400000000000803F000000400000404000008040",
    b: "0x400000000000803F000000400000404000008040",
    c: "0x400000000000803F000000400000404000008041",
    d: "0x400000000000803F000000400000404000008040"
  } }
#-}
