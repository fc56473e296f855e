// RUN: quant-opt %s --quanta-constants-to-weights | FileCheck %s

// Equal constants share one symbol, in the order of their first use.
// CHECK: quanta.weights @stored memref<2xf32> = dense_resource<stored> : tensor<2xf32>
// CHECK-NEXT: quanta.weights @constant memref<3xi64> = dense<[1, 2, 3]> : tensor<3xi64>
// CHECK-NOT: quanta.weights
// CHECK-LABEL: func @main
// CHECK: %[[W:.*]] = quanta.weight @stored : memref<2xf32>
// CHECK: bufferization.to_tensor %[[W]] restrict : memref<2xf32> to tensor<2xf32>
// CHECK: quanta.weight @constant
// CHECK: linalg.fill
// CHECK: quanta.weight @constant
func.func @main() -> (tensor<2xf32>, tensor<3xi64>, tensor<5xf32>, tensor<3xi64>) {
  %0 = arith.constant dense_resource<stored> : tensor<2xf32>
  %1 = arith.constant dense<[1, 2, 3]> : tensor<3xi64>
  %2 = arith.constant dense<1.5> : tensor<5xf32>
  %3 = arith.constant dense<[1, 2, 3]> : tensor<3xi64>
  return %0, %1, %2, %3 : tensor<2xf32>, tensor<3xi64>, tensor<5xf32>, tensor<3xi64>
}

{-# dialect_resources: { builtin: { stored: "0x40000000000080BF0000803F" } } #-}
