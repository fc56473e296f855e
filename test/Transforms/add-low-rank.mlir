// A thin product beside a weight: one layer of two kinds of columns, which one solver quantizes.
// RUN: cp %S/Inputs/correlated.moments %t.moments && sed 's|MOMENTS|%t.moments|' %s > %t.mlir
// RUN: quant-opt %t.mlir --quanta-add-low-rank="rank=2 bits=2" 2>%t.log | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.log
// RUN: quant-opt %t.mlir --pass-pipeline='builtin.module(quanta-add-low-rank{rank=2 bits=2 iterations=2},quanta-binarize{low-bits=2 high-bits=8})' 2>%t.log | FileCheck %s --check-prefix=SOLVED
// RUN: FileCheck %s --check-prefix=COLUMNS < %t.log
// What is left is less than without the branch.
// RUN: quant-opt %t.mlir --quanta-binarize=low-bits=2 2>/dev/null | FileCheck %s --check-prefix=ALONE
// RUN: not quant-opt %t.mlir --quanta-add-low-rank="rank=0" 2>&1 | FileCheck %s --check-prefix=RANK
// RUN: not quant-opt %t.mlir --quanta-binarize="low-bits=9" 2>&1 | FileCheck %s --check-prefix=BITS

// CHECK-LABEL: func @main
// CHECK: %[[Z:.*]] = quanta.linear %[[X:.*]], %{{.*}} : (tensor<?x3x8xf32>, tensor<2x8xf32, #{{.*}}>) -> tensor<?x3x2xf32>
// CHECK: %[[C:.*]] = tensor.concat dim(2) %[[X]], %[[Z]] : (tensor<?x3x8xf32>, tensor<?x3x2xf32>) -> tensor<?x3x10xf32>
// CHECK: quanta.linear %[[C]], %{{[^ ]*}} bias %{{.*}} {quanta.mask = {values = dense_resource<{{.*}}> : tensor<10xi8>}, quanta.note = "low-rank branch, rank 2", quanta.selected, quanta.statistics = "{{.*}}.branch"}
// CHECK-SAME: (tensor<?x3x10xf32>, tensor<5x10xf32>, tensor<5xf32>) -> tensor<?x3x5xf32>
// A weight that another layer has, too.
// CHECK: quanta.linear %[[X]], %[[W:[^ ]*]] {quanta.selected
// CHECK: quanta.linear %[[X]], %[[W]] :
// REMARK: remark: {{.*}}has no low-rank branch: it must be a linear layer with a weight of its own and more than 2 rows and columns
// SOLVED: quanta.linear %concat, {{.*}}quanta.error_calibration = {{[1-9.0-9]+}}E-4 : f64, {{.*}}tensor<5x10xf32, #u8row_columns_u2row>
// COLUMNS: 2 of 10 columns with 8 bits, the others with 2
// ALONE: quanta.error_calibration = 0.00{{[1-9][0-9]*}} : f64, {{.*}}tensor<5x8xf32, #u2row>
// RANK: expected a rank of at least 1
// BITS: expected 1 to 8 high bits, as many low bits
func.func @main(%x: tensor<?x3x8xf32>) -> (tensor<?x3x5xf32>, tensor<?x3x5xf32>, tensor<?x3x5xf32>) {
  %w = arith.constant dense<[[0.047, 0.625, -0.466, 0.496, -0.130, -0.131, 0.950, 0.079], [-0.021, 0.365, 0.563, -0.015, 0.294, -0.487, -0.183, -0.219], [-0.666, -0.754, -0.813, -0.119, -0.086, -0.160, 0.035, -0.668], [-0.040, 0.119, 0.376, -0.423, -0.200, -1.008, -0.252, -1.098], [-0.710, 0.551, -1.101, 0.399, 0.164, -0.156, 0.230, 0.264]]> : tensor<5x8xf32> loc("w")
  %d = arith.constant dense<[[0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, 0.5], [-1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0], [0.5, -0.5, 0.5, -0.5, -0.5, -0.5, 0.5, -0.5], [-1.0, 1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0], [-0.5, 0.5, 0.5, -0.5, -0.5, -0.5, -0.5, -0.5]]> : tensor<5x8xf32> loc("d")
  %b = arith.constant dense<1.0> : tensor<5xf32>
  %a = quanta.linear %x, %w bias %b {quanta.selected, quanta.statistics = "MOMENTS"} : (tensor<?x3x8xf32>, tensor<5x8xf32>, tensor<5xf32>) -> tensor<?x3x5xf32>
  %c = quanta.linear %x, %d {quanta.selected, quanta.statistics = "MOMENTS"} : (tensor<?x3x8xf32>, tensor<5x8xf32>) -> tensor<?x3x5xf32>
  %e = quanta.linear %x, %d : (tensor<?x3x8xf32>, tensor<5x8xf32>) -> tensor<?x3x5xf32>
  return %a, %c, %e : tensor<?x3x5xf32>, tensor<?x3x5xf32>, tensor<?x3x5xf32>
}
