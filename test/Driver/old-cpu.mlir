// REQUIRES: x86_64
// A processor without fused multiply-add multiplies and adds; an exact fma would be a call of libm for each lane.
// RUN: quantc %s --mcpu=x86-64-v2 --name old -o %t.s && FileCheck %s --implicit-check-not=fmaf < %t.s
// RUN: quantc %s --mcpu=x86-64-v3 --name new -o %t.s && FileCheck %s --check-prefix=NEW < %t.s
// CHECK: mulps
// NEW: vfmadd{{.*}}ymm
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = quanta.constant {codes = dense<1> : tensor<32x64xi8>, scales = dense<1.0> : tensor<32x1xf16>} : tensor<32x64xf32, #quanta.uniform<bits = 3>>
  %y = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xf32, #quanta.uniform<bits = 3>>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
