// RUN: quant-opt %s --quanta-leave-float | FileCheck %s
// CHECK: quanta.linear {{.*}} {quanta.note = "in float: by choice"} :
// CHECK: quanta.linear {{.*}} : (tensor<2x8xf32>
func.func @main(%x: tensor<2x8xf32>, %w: tensor<5x8xf32>) -> (tensor<2x5xf32>, tensor<2x5xf32>) {
  %y = quanta.linear %x, %w {quanta.selected} : (tensor<2x8xf32>, tensor<5x8xf32>) -> tensor<2x5xf32>
  %z = quanta.linear %x, %w : (tensor<2x8xf32>, tensor<5x8xf32>) -> tensor<2x5xf32>
  return %y, %z : tensor<2x5xf32>, tensor<2x5xf32>
}
