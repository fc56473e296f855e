// RUN: sed 's|INPUTS|%S/Inputs|' %s > %t.mlir
// RUN: quant-opt %t.mlir --quanta-quantize-weights="method=gptq bits=2 group=0 zero=offset" 2>%t.log | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.log
// RUN: quant-opt %t.mlir --quanta-quantize-weights="method=rtn-range bits=2 group=0 zero=offset" | FileCheck %s --check-prefix=RANGE
// Any number of threads gives the same bytes.
// RUN: quant-opt %t.mlir --quanta-quantize-weights="method=gptq bits=2 group=4" 2>/dev/null | grep -v quanta.seconds > %t.1
// RUN: quant-opt %t.mlir --quanta-quantize-weights="method=gptq bits=2 group=4" --mlir-disable-threading 2>/dev/null | grep -v quanta.seconds > %t.2
// RUN: diff %t.1 %t.2
// RUN: quant-opt %t.mlir --quanta-quantize-weights="method=gptq bits=3 group=4 multiples=4" 2>%t.log | FileCheck %s --check-prefix=MULTIPLES
// RUN: FileCheck %s --check-prefix=OFROW < %t.log
// MULTIPLES: multiples = dense_resource<w.multiples> : tensor<5x2xi8>, scales = dense_resource<w.scales> : tensor<5x1xf16>, zeros =
// OFROW: remark: 8 levels, a multiple of the row's scale for each group of columns; {{.*}}error 0.0

// CHECK-LABEL: func @main
// CHECK-DAG: %[[W:.*]] = quanta.constant {codes = dense_resource<w.codes> : tensor<5x8xi8>, offsets = dense_resource<w.offsets> : tensor<5x1xf16>, scales = dense_resource<w.scales> : tensor<5x1xf16>}
// Relative errors of the output, in calibration and on other data, and of the weights.
// CHECK: quanta.linear %{{.*}}, %[[W]] {quanta.error_calibration = [[E:.*]] : f64, quanta.error_held_out = [[H:.*]] : f64, quanta.seconds = {{.*}} : f64, quanta.statistics = "{{.*}}correlated.moments", quanta.weight_error = {{.*}} : f64}
// CHECK: quanta.linear {{.*}}quanta.note = "1 of 8 inputs were always zero: their weights are rounded to nearest"
// CHECK: quanta.linear {{.*}}quanta.note = "the input's moments are not positive definite: only their diagonal is used"
// A block of moments for each group of the convolution.
// CHECK: quanta.conv2d {{.*}}quanta.error_calibration
// CHECK-SAME: tensor<4x2x1x2xf32, #
// Without statistics there is nothing to do for this method.
// CHECK: quanta.linear {{.*}}{quanta.selected}
// Rounding needs no statistics, but where they are it is measured by them.
// RANGE: quanta.linear {{.*}}quanta.error_calibration
// RANGE: quanta.linear %{{[^ ]*}}, %{{[^ ]*}} {quanta.weight_error
// RANGE-NOT: quanta.selected

// REMARK: remark: 4 levels, a scale for each row; 700 rows of data, damping 0.0137; error 0.00{{[0-9]+}} in calibration, 0.00{{[0-9]+}} on held-out data
// REMARK: remark: {{.*}}1 of 8 inputs were always zero
// REMARK: remark: {{.*}}not positive definite
func.func @main(%x: tensor<?x8xf32>, %i: tensor<?x4x1x2xf32>)
    -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x4x1x1xf32>, tensor<?x5xf32>) {
  %w = arith.constant dense<[[0.047, 0.625, -0.466, 0.496, -0.130, -0.131, 0.950, 0.079], [-0.021, 0.365, 0.563, -0.015, 0.294, -0.487, -0.183, -0.219], [-0.666, -0.754, -0.813, -0.119, -0.086, -0.160, 0.035, -0.668], [-0.040, 0.119, 0.376, -0.423, -0.200, -1.008, -0.252, -1.098], [-0.710, 0.551, -1.101, 0.399, 0.164, -0.156, 0.230, 0.264]]> : tensor<5x8xf32> loc("w")
  %d = arith.constant dense<[[0.523, -0.115, -0.296, -0.302, -0.493, -0.022, -0.393, 0.534], [-0.935, -0.547, -0.477, -1.046, 0.951, -1.204, -0.142, -0.263], [0.828, -0.993, 0.536, -0.366, -0.078, -0.335, 0.320, -0.569], [-0.039, 0.177, 0.920, -1.203, 0.763, 0.474, -0.242, 0.152], [-0.233, 0.823, 0.105, -0.108, -0.114, -0.100, -0.088, -0.439]]> : tensor<5x8xf32> loc("d")
  %n = arith.constant dense<[[1.029, -0.955, -1.803, -0.061, -0.073, 0.186, -0.102, -0.074], [0.166, 0.484, -0.224, -0.186, 0.970, 0.265, -0.493, 1.162], [0.388, -0.294, -0.587, 0.149, -0.416, -0.529, -0.648, -0.253], [0.554, -0.217, -0.725, 0.334, 0.033, 0.422, 0.601, -0.084], [-0.072, -0.023, -0.567, 0.334, 0.686, 0.087, -0.119, -0.130]]> : tensor<5x8xf32> loc("n")
  %g = arith.constant dense<[[[[0.411, -0.362]], [[0.040, 0.251]]], [[[-0.320, -0.060]], [[0.333, -0.895]]], [[[0.164, 0.369]], [[0.252, -0.671]]], [[[0.159, -0.432]], [[0.285, 0.302]]]]> : tensor<4x2x1x2xf32> loc("g")
  %u = arith.constant dense<[[-0.390, -0.402, -0.200, -0.421, -0.219, -0.789, 0.175, 0.025], [-0.576, -1.149, -0.004, 0.552, -0.367, -0.241, -0.284, 0.327], [-0.458, 0.493, -0.152, 0.462, 0.016, -0.116, -0.739, -0.344], [-0.131, 0.330, 0.122, -0.348, 0.205, 0.494, -0.074, -0.220], [-0.197, 0.405, 0.269, -0.465, 0.187, -0.240, -0.376, 0.620]]> : tensor<5x8xf32> loc("u")
  %a = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/correlated.moments"} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  %b = quanta.linear %x, %d {quanta.selected, quanta.statistics = "INPUTS/dead.moments"} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  %c = quanta.linear %x, %n {quanta.selected, quanta.statistics = "INPUTS/indefinite.moments"} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  %e = quanta.conv2d %i, %g {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 2 : i64,
    quanta.selected, quanta.statistics = "INPUTS/grouped.moments"} : (tensor<?x4x1x2xf32>, tensor<4x2x1x2xf32>) -> tensor<?x4x1x1xf32>
  %f = quanta.linear %x, %u {quanta.selected} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  return %a, %b, %c, %e, %f : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x4x1x1xf32>, tensor<?x5xf32>
}
