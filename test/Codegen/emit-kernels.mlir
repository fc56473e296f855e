// RUN: quant-opt %s -split-input-file --quanta-emit-kernels -verify-diagnostics | FileCheck %s
// RUN: quant-opt %s -split-input-file --quanta-emit-kernels=target=x86-avx2 -verify-diagnostics | FileCheck %s --check-prefix=HALF
// RUN: quant-opt %s -split-input-file --quanta-emit-kernels=target=arm -verify-diagnostics | FileCheck %s --check-prefix=HALF

// With 16 registers of 256 bits, or 32 of 128, 6 rows by one tile of 2 or 4 registers.
// HALF-LABEL: func @shared
// HALF: scf.for {{.*}} -> ({{(vector<16xf32>, ){5}vector<16xf32>[)]}}

#u4 = #quanta.uniform<bits = 4, group = 32, zero = point>
#p4 = #quanta.packed<base = #u4>

// Kernels of one signature share a function.
// CHECK-LABEL: func @shared
// CHECK: call @kernel_linear(%arg0, %arg1, %arg2)
// CHECK: call @kernel_linear(%arg2, %arg1, %arg0)
// CHECK: call @kernel_linear_0(
// CHECK: func private @kernel_linear(
// CHECK: scf.parallel
// The register-tiled core: 8 rows by 2 tiles of 16 columns.
// CHECK: scf.for {{.*}} -> ({{(vector<16xf32>, ){15}vector<16xf32>[)]}}
// CHECK-NOT: func private @kernel_linear_1
func.func @shared(%x: memref<?x16xf32>, %w: memref<1x16x16xf32>, %y: memref<?x16xf32>, %z: memref<8x16xf32>) {
  quanta.kernel "linear" ins(%x : memref<?x16xf32>) weights(%w : memref<1x16x16xf32>) outs(%y : memref<?x16xf32>) {encoding = #quanta.packed<>, shape = array<i64: 16, 16>}
  quanta.kernel "linear" ins(%y : memref<?x16xf32>) weights(%w : memref<1x16x16xf32>) outs(%x : memref<?x16xf32>) {encoding = #quanta.packed<>, shape = array<i64: 16, 16>}
  quanta.kernel "linear" ins(%z : memref<8x16xf32>) weights(%w : memref<1x16x16xf32>) outs(%z : memref<8x16xf32>) {encoding = #quanta.packed<>, shape = array<i64: 16, 16>}
  return
}

// -----

#u4 = #quanta.uniform<bits = 4, group = 32, zero = point>
#p4 = #quanta.packed<base = #u4>

// Codes are unpacked a chunk at a time into a buffer on the stack, never into memory of the weight's size.
// CHECK-LABEL: func @encoded
// CHECK: func private @kernel_linear
// CHECK: memref.alloca() {{.*}} : memref<2x545x16xf32>
// CHECK: arith.shrui
// CHECK: arith.andi
// CHECK: math.fma
// CHECK-NOT: memref.alloc()
func.func @encoded(%x: memref<?x1024xf32>, %c: memref<2x128x16xi32>, %s: memref<2x32x16xf16>, %z: memref<2x32x16xi8>, %y: memref<?x32xf32>) {
  quanta.kernel "linear" ins(%x : memref<?x1024xf32>) weights(%c, %s, %z : memref<2x128x16xi32>, memref<2x32x16xf16>, memref<2x32x16xi8>) outs(%y : memref<?x32xf32>) {encoding = #p4, shape = array<i64: 32, 1024>}
  return
}

// -----

func.func @family(%x: memref<4xf32>) {
  // expected-error@+1 {{no kernel family is called 'lineal'}}
  quanta.kernel "lineal" outs(%x : memref<4xf32>) {}
  return
}

// -----

func.func @tensors(%x: tensor<1x1x1x4xf32>) {
  // expected-error@+1 {{expected operands in memory; bufferize first}}
  %0 = quanta.kernel "softmax" outs(%x : tensor<1x1x1x4xf32>) {} -> tensor<1x1x1x4xf32>
  return
}
