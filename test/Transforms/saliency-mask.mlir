// RUN: sed 's|INPUTS|%S/Inputs|' %s > %t.mlir
// RUN: quant-opt %t.mlir --quanta-saliency-mask="form=columns salient=0.25" | FileCheck %s --check-prefixes=CHECK,COLUMNS
// RUN: quant-opt %t.mlir --quanta-saliency-mask="form=columns salient=0.25 by=activation" | FileCheck %s --check-prefix=ACTIVATION
// RUN: quant-opt %t.mlir --quanta-saliency-mask="form=elements salient=0.25 by=magnitude" | FileCheck %s --check-prefix=ELEMENTS
// RUN: quant-opt %t.mlir --quanta-saliency-mask="form=tiles tile=4 kept=1 by=magnitude" | FileCheck %s --check-prefix=TILES
// RUN: quant-opt %t.mlir --quanta-saliency-mask="form=tiles tile=4 kept=1" | FileCheck %s --check-prefix=HESSIAN
// RUN: not quant-opt %s --quanta-saliency-mask="form=rows" 2>&1 | FileCheck %s --check-prefix=FORM
// RUN: not quant-opt %s --quanta-saliency-mask="by=luck" 2>&1 | FileCheck %s --check-prefix=BY
// RUN: not quant-opt %s --quanta-saliency-mask="salient=2" 2>&1 | FileCheck %s --check-prefix=SHARE
// RUN: not quant-opt %s --quanta-saliency-mask="kept=33" 2>&1 | FileCheck %s --check-prefix=KEPT

// FORM: expected form 'columns', 'elements' or 'tiles' but got 'rows'
// BY: expected a choice by 'hessian', 'magnitude' or 'activation' but got 'luck'
// SHARE: expected a salient share from 0 to 1 but got 2
// KEPT: expected a tile of 1 or more columns, of which at most all are kept, but got 32 and 33

// Inputs shrink as 1, 1/2, 1/3, 1, ... along the columns, and share a common part.
// CHECK-LABEL: func @main
// CHECK: quanta.linear {{.*}}quanta.mask = {values = dense_resource<w.mask> : tensor<8xi8>}
// Without statistics only magnitudes are known.
// CHECK-NEXT: quanta.linear {{.*}}{quanta.selected}
// TILES: quanta.linear {{.*}}quanta.mask = {kept = 1 : i64, tile = 4 : i64, values = dense_resource<w.mask> : tensor<2x8xi8>}
// TILES-NEXT: quanta.linear {{.*}}quanta.mask = {
func.func @main(%x: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [1.0, 1.1, 0.0, 0.0, 0.0, 0.0, 0.9, 1.2]]> : tensor<2x8xf32> loc("w")
  %v = arith.constant dense<1.0> : tensor<2x8xf32> loc("v")
  %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/correlated.moments"} : (tensor<?x8xf32>, tensor<2x8xf32>) -> tensor<?x2xf32>
  %z = quanta.linear %x, %v {quanta.selected} : (tensor<?x8xf32>, tensor<2x8xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}
// The columns with the largest H_jj times the sum of squares: 1 · 1.01 and 1 · 1.3.
// COLUMNS: w.mask: "0x400000000100000000000100"
// Three inputs are the largest, and the next one ties.
// ACTIVATION: w.mask: "0x400000000100000100000100"
// Four of sixteen weights: at least 1.
// ELEMENTS: w.mask: "0x4000000000000000000000000101000000000001"
// TILES: w.mask: "0x4000000000000001000000010001000000000001"
// Hessian: w²/U_jj² prefers columns of large inputs: 0.7 to 0.8, and 1.0 to 1.1.
// HESSIAN: w.mask: "0x4000000000000001000001000100000000000100"
