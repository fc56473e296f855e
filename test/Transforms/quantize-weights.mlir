// RUN: quant-opt %s --quanta-quantize-weights="bits=2 group=2 zero=symmetric" | FileCheck %s
// RUN: quant-opt %s --quanta-quantize-weights="bits=2 group=0 head=true" | FileCheck %s --check-prefix=HEAD
// RUN: quant-opt %s --quanta-quantize-weights="bits=2 keep=layer only=." | FileCheck %s --check-prefix=KEEP

// CHECK-LABEL: func @main
// One scale for two columns: 3/1 = 3 and 1; codes are offset by 2.
// CHECK: %[[W:.*]] = quanta.constant {codes = dense_resource<w.codes> : tensor<2x4xi8>, scales = dense_resource<w.scales> : tensor<2x2xf16>}
// CHECK-SAME: tensor<2x4xf32, #[[E:.*]]>
// CHECK: quanta.linear %{{.*}}, %[[W]] {quanta.weight_error = {{.*}} : f64}
// The head keeps its float weight and says why.
// CHECK: quanta.linear %{{.*}}, %{{.*}} {quanta.note = "in float: output head"} : (tensor<?x2xf32>, tensor<3x2xf32>)
// HEAD: quanta.linear {{.*}}quanta.weight_error
// HEAD: quanta.linear {{.*}}quanta.weight_error
// KEEP: quanta.linear {{.*}}quanta.note = "in float: kept by request"
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
  %w = arith.constant dense<[[3.0, -1.0, 0.0, 1.0], [0.0, 0.0, -1.0, 1.0]]> : tensor<2x4xf32> loc("w")
  %v = arith.constant dense<0.5> : tensor<3x2xf32> loc("v")
  %y = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32> loc("layer")
  %z = quanta.linear %y, %v : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32> loc("head")
  %p = quanta.softmax %z : tensor<?x3xf32>
  return %p : tensor<?x3xf32>
}
// Four bytes of alignment, then f16 scales 3, 1, 0 (a group of zeros) and 1.
// CHECK: w.codes: "0x400000000302020302020103"
// CHECK: w.scales: "0x400000000042003C0000003C"
