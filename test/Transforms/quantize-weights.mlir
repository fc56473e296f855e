// RUN: quant-opt %s --quanta-quantize-weights="bits=2 group=2 zero=symmetric" | FileCheck %s
// RUN: quant-opt %s --quanta-quantize-weights="bits=2 levels=3 group=0 zero=symmetric" | FileCheck %s --check-prefix=TERNARY
// RUN: quant-opt %s --quanta-quantize-weights="bits=3 group=2 zero=symmetric multiples=5" | FileCheck %s --check-prefix=MULTIPLES

// MULTIPLES: quanta.constant {codes = dense_resource<w.codes> : tensor<2x4xi8>, multiples = dense_resource<w.multiples> : tensor<2x2xi8>, scales = dense_resource<w.scales> : tensor<2x1xf16>}
// MULTIPLES-SAME: tensor<2x4xf32, #[[E:.*]]>
// TERNARY: #quanta.uniform<bits = 2, levels = 3>
// CHECK-LABEL: func @main
// One scale for two columns: 3/1 = 3 and 1; codes are offset by 2.
// CHECK: %[[W:.*]] = quanta.constant {codes = dense_resource<w.codes> : tensor<2x4xi8>, scales = dense_resource<w.scales> : tensor<2x2xf16>}
// CHECK-SAME: tensor<2x4xf32, #[[E:.*]]>
// Selected layers share the encoded weight; others keep the float one.
// CHECK: quanta.linear %{{.*}}, %[[W]] {quanta.weight_error = {{.*}} : f64}
// CHECK: quanta.linear %{{.*}}, %[[W]] :
// CHECK: quanta.linear %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<2x4xf32>)
func.func @main(%x: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[3.0, -1.0, 0.0, 1.0], [0.0, 0.0, -1.0, 1.0]]> : tensor<2x4xf32> loc("w")
  %y = quanta.linear %x, %w {quanta.selected} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %z = quanta.linear %x, %w {quanta.selected} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %u = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y, %z, %u : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}
// Four bytes of alignment, then f16 scales 3, 1, 0 (a group of zeros) and 1.
// CHECK: w.codes: "0x400000000302020302020103"
// CHECK: w.scales: "0x400000000042003C0000003C"
// Multiples −1, 0 and 1 of 3 and of 1, offset by 1.
// TERNARY: w.codes: "0x400000000201010101010002"
