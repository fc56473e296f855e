// RUN: sed 's|INPUTS|%S/Inputs|' %s > %t.mlir
// RUN: quant-opt %t.mlir --quanta-low-rank="method=svd ratio=0.5" 2>%t.log | FileCheck %s --check-prefixes=CHECK,PLAIN
// RUN: FileCheck %s --check-prefix=REMARK < %t.log
// RUN: quant-opt %t.mlir --quanta-low-rank="method=whitened rank=2" 2>&1 | FileCheck %s --check-prefix=WHITE
// RUN: quant-opt %t.mlir --quanta-low-rank="method=asvd rank=2 statistic=max alpha=1" 2>&1 | FileCheck %s --check-prefix=ASVD
// What comes out is linear layers, which another recipe takes.
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-low-rank{method=svd ratio=0.5},quanta-select-layers{head=true},quanta-quantize-weights{bits=8 group=0})' 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not quant-opt %t.mlir --quanta-low-rank="method=qr" 2>&1 | FileCheck %s --check-prefix=METHOD
// RUN: not quant-opt %t.mlir --quanta-low-rank="ratio=1.5" 2>&1 | FileCheck %s --check-prefix=RATIO
// RUN: not quant-opt %t.mlir --quanta-low-rank="method=asvd statistic=median" 2>&1 | FileCheck %s --check-prefix=STATISTIC

// Ranks for all layers: the one of rank 1 needs no more, so the other can have the rest.
// RUN: quant-opt %t.mlir --quanta-measure-spectrum 2>/dev/null | FileCheck %s --check-prefix=SPECTRUM
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-measure-spectrum,quanta-choose-ranks{ratio=0.7 align=1},quanta-low-rank{method=whitened})' 2>%t.log | FileCheck %s --check-prefix=RANKS
// RUN: FileCheck %s --check-prefix=CHOSEN < %t.log
// RUN: not quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-measure-spectrum,quanta-choose-ranks{ratio=0.1 align=4})' 2>&1 | FileCheck %s --check-prefix=LITTLE
// RUN: not quant-opt %t.mlir --quanta-choose-ranks="ratio=0" 2>&1 | FileCheck %s --check-prefix=SHARE
// SPECTRUM: quanta.linear {{.*}}quanta.selected, quanta.spectrum = array<f64: {{[0-9.]+}}, {{.*}}>
// CHOSEN: remark: {{.*}}gets rank
// CHOSEN: remark: {{.*}}layers keep {{.*}} of their weights; sum of relative errors
// RANKS: quanta.note = "rank {{[1-3]}} (whitened)"
// LITTLE: factors of rank 4 have more than {{.*}} of the weights; raise the ratio or lower align
// SHARE: expected a ratio above 0, at most 1

// METHOD: expected method 'svd', 'asvd' or 'whitened' but got 'qr'
// RATIO: expected a ratio between 0 and 1, {{.*}} but got 1.5
// STATISTIC: expected statistic 'mean' or 'max' but got 'median'

// A matrix of rank 1 loses nothing; layers that share it share its factors.
// CHECK-LABEL: func @main
// CHECK-DAG: %[[A:.*]] = arith.constant dense_resource<w.A> : tensor<5x1xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense_resource<w.B> : tensor<1x8xf32>
// CHECK: %[[Z:.*]] = quanta.linear %[[X:.*]], %[[B]] : (tensor<?x8xf32>, tensor<1x8xf32>) -> tensor<?x1xf32>
// CHECK: quanta.linear %[[Z]], %[[A]] bias %{{.*}} {quanta.note = "rank 1 (svd)", {{.*}}quanta.weight_error = {{.*}}E-1{{[0-9]}} : f64} : (tensor<?x1xf32>, tensor<5x1xf32>, tensor<5xf32>) -> tensor<?x5xf32>
// PLAIN: %[[Y:.*]] = quanta.linear %[[X]], %[[B]]
// PLAIN: quanta.linear %[[Y]], %[[A]]
// Two numbers for four, a convolution, a layer that is not selected.
// CHECK: quanta.linear {{.*}}quanta.note = "in float: factors of rank 0 would be no smaller, or nothing"
// CHECK: quanta.conv2d {{.*}}quanta.note = "in float: only linear layers have factors"
// CHECK: quanta.linear %[[X]], %{{[^ ]*}} : (tensor<?x8xf32>, tensor<5x8xf32>)
// REMARK: remark: {{.*}}rank 1 of 5, 32.5 % of the weights; error {{.*}} in the weights

// The methods that look at the input leave layers without statistics alone.
// WHITE: remark: {{.*}}rank 2 of 5, 65 % of the weights; error {{.*}} in the weights; error {{.*}} in calibration; error {{.*}} on held-out data
// WHITE: quanta.linear {{.*}}{quanta.error_calibration = {{.*}}, quanta.error_held_out = {{.*}}, quanta.note = "rank 2 (whitened)", quanta.seconds = {{.*}}, quanta.weight_error = {{.*}}}
// WHITE: quanta.conv2d {{.*}}quanta.selected
// ASVD: quanta.note = "rank 2 (asvd)"
// TWICE-DAG: quanta.constant {codes = dense_resource<w.B.codes> : tensor<1x8xi8>
// TWICE-DAG: quanta.constant {codes = dense_resource<w.A.codes> : tensor<5x1xi8>
func.func @main(%x: tensor<?x8xf32>, %s: tensor<?x2xf32>, %i: tensor<?x1x1x1xf32>)
    -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x2xf32>, tensor<?x1x1x1xf32>, tensor<?x5xf32>) {
  %w = arith.constant dense<[[1.0, 2.0, 0.5, -1.0, 0.0, 0.25, 4.0, 1.0], [2.0, 4.0, 1.0, -2.0, 0.0, 0.5, 8.0, 2.0], [-1.0, -2.0, -0.5, 1.0, 0.0, -0.25, -4.0, -1.0], [0.5, 1.0, 0.25, -0.5, 0.0, 0.125, 2.0, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<5x8xf32> loc("w")
  %b = arith.constant dense<1.0> : tensor<5xf32>
  %v = arith.constant dense<[[1.0, 2.0], [2.0, 1.0]]> : tensor<2x2xf32> loc("v")
  %k = arith.constant dense<2.0> : tensor<1x1x1x1xf32> loc("k")
  %y = quanta.linear %x, %w bias %b {quanta.selected, quanta.statistics = "INPUTS/dead.moments"} : (tensor<?x8xf32>, tensor<5x8xf32>, tensor<5xf32>) -> tensor<?x5xf32> loc("first")
  %z = quanta.linear %x, %w {quanta.selected} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32> loc("second")
  %t = quanta.linear %s, %v {quanta.selected} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("small")
  %c = quanta.conv2d %i, %k {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64, quanta.selected} : (tensor<?x1x1x1xf32>, tensor<1x1x1x1xf32>) -> tensor<?x1x1x1xf32>
  %u = quanta.linear %x, %w : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32> loc("third")
  return %y, %z, %t, %c, %u : tensor<?x5xf32>, tensor<?x5xf32>, tensor<?x2xf32>, tensor<?x1x1x1xf32>, tensor<?x5xf32>
}
