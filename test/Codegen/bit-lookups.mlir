// One row of bytes times single bits with AVX2: tables of sums are made once, looked up by all tasks, and freed behind them.
// RUN: quant-opt %s --quanta-outline-kernels --quanta-bufferize --quanta-emit-kernels=target=x86-avx2 | FileCheck %s
#b1 = #quanta.uniform<bits = 1, scale = f32>
#a8 = #quanta.affine<bits = 8, splits = [], scales = [0.5], zeros = [0]>
// CHECK: func private @kernel_linear
// CHECK: %[[TABLES:.*]] = memref.alloc() {{.*}} : memref<{{[0-9]+}}x16xi8>
// CHECK: scf.parallel
// CHECK: llvm.x86.avx2.pshuf.b
// CHECK-NOT: dealloc
// CHECK: scf.reduce
// CHECK-NEXT: }
// CHECK-NEXT: memref.dealloc %[[TABLES]]
func.func @main(%x: tensor<1x64xf32>) -> tensor<1x96xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = quanta.constant {codes = dense<1> : tensor<96x64xi8>, scales = dense<1.0> : tensor<96x1xf32>} : tensor<96x64xf32, #b1>
  %q = quanta.quantize %x : tensor<1x64xf32> to tensor<1x64xf32, #a8>
  %y = quanta.linear %q, %w : (tensor<1x64xf32, #a8>, tensor<96x64xf32, #b1>) -> tensor<1x96xf32>
  return %y : tensor<1x96xf32>
}
