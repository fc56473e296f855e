// Every encoding prints and parses; constants have the components that the encoding says.
// RUN: quant-opt %s | quant-opt | FileCheck %s
// RUN: quant-opt %s --emit-bytecode | quant-opt | FileCheck %s

// CHECK-DAG: #b2g8 = #quanta.planes<count = 2, group = 8, mean = true, scale = f32>
// CHECK-DAG: #s4g8m4 = #quanta.uniform<bits = 4, group = 8, multiples = 4>
// CHECK-DAG: #u2g8m5 = #quanta.uniform<bits = 2, group = 8, zero = point, multiples = 5>
// CHECK-DAG: #trow = #quanta.uniform<bits = 2, levels = 3>
// CHECK-DAG: #s2row_plus_trow = #quanta.sum<#s2row, #trow>
// CHECK-DAG: #s4row_columns_b1row = #quanta.split<columns, count = 3, high = #s4row, low = #b1row>
// CHECK-DAG: #u8row_mask_b1g8 = #quanta.split<mask, count = 24, tile = 8, kept = 2, high = #u8row, low = #b1g8>
// CHECK-DAG: #twin8m5 = #quanta.twin<bits = 8, scale = 2.44140625E-4 : f32, shift = 5>
// CHECK-DAG: #twin4m1 = #quanta.twin<bits = 4, scale = 2.500000e-01 : f32, shift = 1, negative = true>
// CHECK-DAG: #log4 = #quanta.log2<bits = 4, scale = 1.000000e+00 : f32>
// CHECK-DAG: #logroot7 = #quanta.log2<bits = 7, scale = 5.000000e-01 : f32, root = true>
// CHECK-DAG: #narrow_bf16 = #quanta.narrow<bf16>
#ternary = #quanta.uniform<bits = 2, levels = 3>
#planes = #quanta.planes<count = 2, group = 8, mean = true, scale = f32>
#columns = #quanta.split<columns, count = 3, high = #quanta.uniform<bits = 4>, low = #quanta.planes<count = 1>>
#mask = #quanta.split<mask, count = 20, tile = 8, kept = 2, high = #quanta.uniform<bits = 8, zero = point>,
                      low = #quanta.planes<count = 1, group = 8, mean = true>>
#sum = #quanta.sum<#quanta.uniform<bits = 2>, #ternary>

// CHECK-LABEL: func @constants
func.func @constants() {
  // CHECK: quanta.constant {{.*}} : tensor<4x20xf32, #trow>
  %0 = quanta.constant {codes = dense<1> : tensor<4x20xi8>, scales = dense<1.0> : tensor<4x1xf16>} : tensor<4x20xf32, #ternary>
  // CHECK: tensor<4x20xf32, #b2g8>
  %1 = quanta.constant {codes = dense<1> : tensor<4x20xi8>, scales = dense<1.0> : tensor<4x6xf32>,
                        means = dense<0.0> : tensor<4x3xf32>} : tensor<4x20xf32, #planes>
  // CHECK: tensor<4x20xf32, #s4row_columns_b1row>
  %2 = quanta.constant {mask = dense<0> : tensor<20xi8>, high.codes = dense<1> : tensor<4x3xi8>,
                        high.scales = dense<1.0> : tensor<4x1xf16>, low.codes = dense<1> : tensor<4x17xi8>,
                        low.scales = dense<1.0> : tensor<4x1xf16>} : tensor<4x20xf32, #columns>
  // Two of each eight columns, and two of the last four.
  // CHECK: tensor<4x5x2x2xf32, #u8row_mask_b1g8>
  %3 = quanta.constant {mask = dense<0> : tensor<4x20xi8>, codes = dense<1> : tensor<4x20xi8>,
                        high.scales = dense<1.0> : tensor<4x1xf16>, high.zeros = dense<1> : tensor<4x1xi8>,
                        low.scales = dense<1.0> : tensor<4x3xf16>, low.means = dense<1.0> : tensor<4x3xf16>}
    : tensor<4x5x2x2xf32, #quanta.split<mask, count = 24, tile = 8, kept = 2, high = #quanta.uniform<bits = 8, zero = point>,
                                        low = #quanta.planes<count = 1, group = 8, mean = true>>>
  // CHECK: tensor<4x20xf32, #s2row_plus_trow>
  %4 = quanta.constant {"0.codes" = dense<1> : tensor<4x20xi8>, "0.scales" = dense<1.0> : tensor<4x1xf16>,
                        "1.codes" = dense<1> : tensor<4x20xi8>, "1.scales" = dense<1.0> : tensor<4x1xf16>} : tensor<4x20xf32, #sum>
  // Groups multiply the scale of their row.
  // CHECK: tensor<4x20xf32, #s4g8m4>
  %5 = quanta.constant {codes = dense<1> : tensor<4x20xi8>, scales = dense<1.0> : tensor<4x1xf16>,
                        multiples = dense<15> : tensor<4x3xi8>} : tensor<4x20xf32, #quanta.uniform<bits = 4, group = 8, multiples = 4>>
  // CHECK: tensor<4x20xf32, #u2g8m5>
  %6 = quanta.constant {codes = dense<1> : tensor<4x20xi8>, scales = dense<1.0> : tensor<4x1xf16>, zeros = dense<2> : tensor<4x3xi8>,
                        multiples = dense<31> : tensor<4x3xi8>}
    : tensor<4x20xf32, #quanta.uniform<bits = 2, group = 8, zero = point, multiples = 5>>
  return
}

func.func private @declared(tensor<10x8xf32, #mask>)
func.func private @activations(tensor<?x3x50x50xf32, #quanta.twin<bits = 8, scale = 2.44140625e-04 : f32, shift = 5>>,
                               tensor<?x8xf32, #quanta.twin<bits = 4, scale = 0.25 : f32, shift = 1, negative = true>>,
                               tensor<?x8xf32, #quanta.log2<bits = 4, scale = 1.0 : f32>>,
                               tensor<?x8xf32, #quanta.log2<bits = 7, scale = 0.5 : f32, root = true>>,
                               tensor<?x8xf32, #quanta.narrow<bf16>>)
