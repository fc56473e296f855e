// RUN: sed 's|INPUTS|%S/Inputs|' %s > %t.mlir
// RUN: quant-opt %t.mlir --quanta-binarize 2>%t.log | FileCheck %s --check-prefix=BINARY
// RUN: FileCheck %s --check-prefix=REMARK < %t.log
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-saliency-mask{form=columns salient=0.25},quanta-binarize{high-bits=4})' 2>%t.log | FileCheck %s --check-prefix=COLUMNS
// RUN: FileCheck %s --check-prefix=COLUMNS-REMARK < %t.log
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-saliency-mask{form=tiles tile=4 kept=1},quanta-binarize{high-bits=8})' 2>/dev/null | FileCheck %s --check-prefix=TILES
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-saliency-mask{form=elements salient=0.125},quanta-binarize{high-bits=8 group=4})' 2>/dev/null | FileCheck %s --check-prefix=ELEMENTS
// A mask without ones, or of ones alone, leaves one format.
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-saliency-mask{form=tiles tile=4 kept=0},quanta-binarize{high-bits=3})' 2>/dev/null | FileCheck %s --check-prefix=BINARY
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-saliency-mask{form=tiles tile=4 kept=4},quanta-binarize{high-bits=3})' 2>/dev/null | FileCheck %s --check-prefix=HIGH
// RUN: not quant-opt %t.mlir --quanta-binarize="high-bits=9" 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: sed 's|quanta.selected|quanta.selected, quanta.mask = {}|' %t.mlir | not quant-opt --quanta-binarize 2>&1 | FileCheck %s --check-prefix=MASK

// BITS: expected 1 to 8 high bits, as many low bits and a group of 0 or more but got 9, 1 and 0
// MASK: expected a mask of zeros and ones for 8 columns or 5x8 weights
// BINARY: #[[E:.*]] = #quanta.uniform<bits = 1, zero = offset>
// BINARY: quanta.constant {codes = dense_resource<w.codes> : tensor<5x8xi8>, offsets = dense_resource<w.offsets> : tensor<5x1xf16>, scales = dense_resource<w.scales> : tensor<5x1xf16>}
// BINARY: quanta.linear {{.*}}quanta.error_calibration
// BINARY-NOT: quanta.mask
// REMARK: remark: binary; 700 rows of data
// COLUMNS: #quanta.split<columns, count = 2, high = #{{.*}}, low = #{{.*}}>
// COLUMNS: quanta.constant {high.codes = dense_resource<w.high.codes> : tensor<5x2xi8>, high.offsets = dense_resource<w.high.offsets> : tensor<5x1xf16>,
// COLUMNS-SAME: low.codes = dense_resource<w.low.codes> : tensor<5x6xi8>
// COLUMNS-SAME: mask = dense_resource<w.mask{{.*}}> : tensor<8xi8>
// COLUMNS-NOT: quanta.selected
// COLUMNS-REMARK: remark: 2 of 8 columns with 4 bits, the others binary
// TILES: #quanta.split<mask, count = 10, tile = 4, kept = 1, high = #{{.*}}, low = #{{.*}}>
// TILES: quanta.constant {codes = dense_resource<w.codes> : tensor<5x8xi8>, high.offsets = dense_resource<w.high.offsets> : tensor<5x1xf16>
// TILES-SAME: mask = dense_resource<w.mask{{.*}}> : tensor<5x8xi8>
// ELEMENTS: #quanta.split<mask, count = {{[45]}}, high = #{{.*}}, low = #{{.*}}>
// ELEMENTS: low.offsets = dense_resource<w.low.offsets> : tensor<5x2xf16>
// HIGH: #quanta.uniform<bits = 3, zero = offset>
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x5xf32> {
  %w = arith.constant dense<[[0.187, 1.267, 0.548, 0.557, 0.324, 0.192, 0.343, -0.002], [-0.348, -0.431, -0.559, 0.170, 0.334, 0.881, 0.309, 0.195], [0.391, 0.049, -0.901, 0.591, -0.178, 0.169, -0.081, 1.544], [0.642, 0.269, -0.527, 0.513, -0.404, 0.651, -0.724, 0.011], [0.537, -0.383, 0.114, 0.142, 0.546, -0.193, 0.417, 1.134]]> : tensor<5x8xf32> loc("w")
  %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/correlated.moments"} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
