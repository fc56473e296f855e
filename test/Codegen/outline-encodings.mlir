// RUN: quant-opt %s -split-input-file --quanta-outline-kernels -verify-diagnostics | FileCheck %s

// Every array that a kernel reads is a constant of its own, named after the component that it comes from.
#ternary = #quanta.uniform<bits = 2, levels = 3>
#planes = #quanta.planes<count = 3, group = 32, mean = true>

// Twenty ternary columns a word, 32 columns of 3 bits in three words; of each group three scales and a mean.
// CHECK-LABEL: func @sum
// CHECK-DAG: quanta.weight @w.0.codes : memref<2x4x16xi32>
// CHECK-DAG: quanta.weight @w.0.scales : memref<2x1x16xf16>
// CHECK-DAG: quanta.weight @w.1.codes : memref<2x9x16xi32>
// CHECK-DAG: quanta.weight @w.1.scales : memref<2x9x16xf16>
// CHECK-DAG: quanta.weight @w.1.means : memref<2x3x16xf16>
// CHECK-DAG: quanta.weights @w.1.codes {{.*}} {component = "1.codes", shape = array<i64: 20, 70>}
func.func @sum(%x: tensor<?x70xf32>) -> tensor<?x20xf32> {
  %w = quanta.constant {"0.codes" = dense<1> : tensor<20x70xi8>, "0.scales" = dense<1.0> : tensor<20x1xf16>,
    "1.codes" = dense<1> : tensor<20x70xi8>, "1.scales" = dense<1.0> : tensor<20x9xf16>, "1.means" = dense<1.0> : tensor<20x3xf16>}
    : tensor<20x70xf32, #quanta.sum<#ternary, #planes>>
  %y = quanta.linear %x, %w : (tensor<?x70xf32>, tensor<20x70xf32, #quanta.sum<#ternary, #planes>>) -> tensor<?x20xf32>
  return %y : tensor<?x20xf32>
}

// -----

#columns = #quanta.split<columns, count = 2, high = #quanta.uniform<bits = 8>, low = #quanta.planes<count = 1>>

// CHECK-LABEL: func @columns
// CHECK: %[[ORDER:.*]] = quanta.weight @w.order : memref<5xi32>
// CHECK: %[[HIGH:.*]] = quanta.weight @w.high.codes : memref<1x1x16xi32>
// CHECK: %[[LOW:.*]] = quanta.weight @w.low.codes : memref<1x1x16xi32>
// CHECK: quanta.kernel "linear" {{.*}} weights(%[[ORDER]], %[[HIGH]], %{{.*}}, %[[LOW]],
func.func @columns(%x: tensor<?x5xf32>) -> tensor<?x3xf32> {
  %w = quanta.constant {mask = dense<[0, 1, 0, 0, 1]> : tensor<5xi8>, high.codes = dense<1> : tensor<3x2xi8>, high.scales = dense<1.0> : tensor<3x1xf16>,
    low.codes = dense<1> : tensor<3x3xi8>, low.scales = dense<1.0> : tensor<3x1xf16>} : tensor<3x5xf32, #columns>
  %y = quanta.linear %x, %w : (tensor<?x5xf32>, tensor<3x5xf32, #columns>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

#mask = #quanta.split<mask, count = 3, high = #quanta.uniform<bits = 8>, low = #quanta.planes<count = 1>>

// The longest row of the block has two high weights: two entries.
// CHECK-LABEL: func @mask
// CHECK: quanta.weight @w.offsets : memref<2xi32>
// CHECK: quanta.weight @w.entries : memref<2x16xi16>
// CHECK: quanta.weight @w.low.codes : memref<1x1x16xi32>
// CHECK: quanta.weight @w.low.scales : memref<1x1x16xf16>
// CHECK: quanta.weight @w.high.scales : memref<1x1x16xf16>
func.func @mask(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = quanta.constant {mask = dense<[[0, 1, 0, 0], [1, 0, 1, 0]]> : tensor<2x4xi8>, codes = dense<1> : tensor<2x4xi8>,
    high.scales = dense<1.0> : tensor<2x1xf16>, low.scales = dense<1.0> : tensor<2x1xf16>} : tensor<2x4xf32, #mask>
  %y = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32, #mask>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
