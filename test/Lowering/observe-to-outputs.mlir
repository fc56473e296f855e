// RUN: quant-opt %s --quanta-observe-to-outputs | FileCheck %s

// CHECK: func.func @main(%[[X:.*]]: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>)
// CHECK-SAME: quanta.outputs = ["y", "observe:layer.input"]
// CHECK-NEXT: %[[Y:.*]] = arith.addf %[[X]], %[[X]]
// CHECK-NEXT: return %[[Y]], %[[X]]
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> attributes {quanta.outputs = ["y"]} {
  %0 = quanta.observe %x, "layer.input" : tensor<?xf32>
  %y = arith.addf %0, %0 : tensor<?xf32>
  return %y : tensor<?xf32>
}
