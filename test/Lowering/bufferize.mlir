// RUN: quant-opt %s --quanta-bufferize --quanta-free-buffers -split-input-file | FileCheck %s

// A kernel's strided input is copied; its output is written in place.
// CHECK-LABEL: func @main
// CHECK-SAME: %[[X:.*]]: memref<8x6xf32>
// CHECK-DAG: %[[VIEW:.*]] = memref.subview %[[X]]
// CHECK-DAG: %[[COPY:.*]] = memref.alloc() {{.*}} : memref<8x4xf32>
// CHECK: memref.copy %[[VIEW]], %[[COPY]]
// CHECK: %[[OUT:.*]] = memref.alloc() {{.*}} : memref<8x4xf32>
// CHECK: quanta.kernel "k" ins(%[[COPY]] : memref<8x4xf32>) outs(%[[OUT]] : memref<8x4xf32>) {}
// CHECK-NEXT: memref.dealloc %[[COPY]]
// CHECK-NEXT: return %[[OUT]]
func.func @main(%x: tensor<8x6xf32>) -> tensor<8x4xf32> {
  %e = tensor.empty() : tensor<8x4xf32>
  %v = tensor.extract_slice %x[0, 1] [8, 4] [1, 1] : tensor<8x6xf32> to tensor<8x4xf32>
  %y = quanta.kernel "k" ins(%v : tensor<8x4xf32>) outs(%e : tensor<8x4xf32>) {} -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}

// -----

// CHECK-LABEL: func @main
// CHECK-NOT: memref.copy
// CHECK: quanta.kernel "k" ins(%{{.*}} : memref<8x4xf32, strided<[6, 1], offset: 1>>)
func.func @main(%x: tensor<8x6xf32>) -> tensor<8x4xf32> {
  %e = tensor.empty() : tensor<8x4xf32>
  %v = tensor.extract_slice %x[0, 1] [8, 4] [1, 1] : tensor<8x6xf32> to tensor<8x4xf32>
  %y = quanta.kernel "k" ins(%v : tensor<8x4xf32>) outs(%e : tensor<8x4xf32>) {strided_ok} -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}

// -----

// Results are buffers of their own: arguments and what is returned twice are copied, a reshaped allocation is not.
// CHECK-LABEL: func @main
// CHECK-SAME: %[[X:.*]]: memref<4xf32>
// CHECK: %[[Y:.*]] = memref.alloc() {{.*}} : memref<4xf32>
// CHECK: quanta.kernel
// CHECK: %[[C:.*]] = memref.alloc
// CHECK: memref.copy %[[X]], %[[C]]
// CHECK: %[[D:.*]] = memref.alloc
// CHECK: memref.copy %[[Y]], %[[D]]
// CHECK: %[[E:.*]] = memref.expand_shape %[[Y]]
// CHECK-NOT: dealloc
// CHECK: return %[[C]], %[[E]], %[[D]]
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<2x2xf32>, tensor<4xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %y = quanta.kernel "k" ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {} -> tensor<4xf32>
  %r = tensor.expand_shape %y [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
  return %x, %r, %y : tensor<4xf32>, tensor<2x2xf32>, tensor<4xf32>
}

// -----

// Freed behind the loop that uses it, through a view.
// CHECK-LABEL: func @main
// CHECK: %[[A:.*]] = memref.alloc() : memref<16xf32>
// CHECK: scf.for
// CHECK: }
// CHECK-NEXT: memref.dealloc %[[A]]
func.func @main(%n: index) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %a = memref.alloc() : memref<16xf32>
  %v = memref.expand_shape %a [[0, 1]] output_shape [4, 4] : memref<16xf32> into memref<4x4xf32>
  scf.for %i = %c0 to %n step %c1 {
    memref.store %z, %v[%i, %i] : memref<4x4xf32>
  }
  return %z : f32
}

// -----

// Buffers of one size are allocated where they are needed, though one empty tensor stood for all of them: two live at a time.
// CHECK-LABEL: func @main
// CHECK-NEXT: %[[A:.*]] = memref.alloc
// CHECK-NEXT: quanta.kernel "k" ins(%{{.*}}) outs(%[[A]]
// CHECK-NEXT: %[[B:.*]] = memref.alloc
// CHECK-NEXT: quanta.kernel "k" ins(%[[A]] {{.*}} outs(%[[B]]
// CHECK-NEXT: memref.dealloc %[[A]]
// CHECK-NEXT: %[[C:.*]] = memref.alloc
// CHECK-NEXT: quanta.kernel "k" ins(%[[B]] {{.*}} outs(%[[C]]
// CHECK-NEXT: memref.dealloc %[[B]]
// CHECK-NEXT: return %[[C]]
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %a = quanta.kernel "k" ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {} -> tensor<4xf32>
  %b = quanta.kernel "k" ins(%a : tensor<4xf32>) outs(%e : tensor<4xf32>) {} -> tensor<4xf32>
  %c = quanta.kernel "k" ins(%b : tensor<4xf32>) outs(%e : tensor<4xf32>) {} -> tensor<4xf32>
  return %c : tensor<4xf32>
}
