// RUN: quant-opt %s -split-input-file --quanta-unrotate-keys --quanta-quantize-cache="bits=2" -verify-diagnostics | FileCheck %s
// RUN: quant-opt %s -split-input-file --quanta-unrotate-keys --quanta-outline-kernels --canonicalize --cse -verify-diagnostics | FileCheck %s --check-prefix=KERNEL

// Two layers share the tables, which stay floats; what is stored is the rotary's input.
// CHECK-LABEL: func @layers
// CHECK-SAME: %[[X:arg0]]: {{.*}}, %[[COS:arg2]]: tensor<1x1x?x8xf32>, %[[SIN:arg3]]: tensor<1x1x?x8xf32>
// CHECK: quanta.cache_append @cosines, %[[COS]]
// CHECK: quanta.cache_append @sines, %[[SIN]]
// CHECK: quanta.cache_append @first.key, %[[X]]
// CHECK: %[[K:.*]] = quanta.cache_read @first.key, %{{.*}} : tensor<1x2x?x8xf32, #[[KEYS:.*]]>
// CHECK: %[[C:.*]] = quanta.cache_read @cosines, %{{.*}} : tensor<1x1x?x8xf32>
// CHECK: %[[S:.*]] = quanta.cache_read @sines, %{{.*}} : tensor<1x1x?x8xf32>
// CHECK: %[[R:.*]] = quanta.rotary %[[K]], %[[C]], %[[S]] : (tensor<1x2x?x8xf32, #[[KEYS]]>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x2x?x8xf32>
// CHECK: quanta.attention %{{.*}}, %[[R]]
// CHECK-NOT: quanta.cache_append @cosines
// CHECK: quanta.cache_append @second.key
// CHECK: quanta.cache @cosines : tensor<1x1x64x8xf32>{{$}}

// Angles lie as keys do.
// KERNEL-LABEL: func @layers
// KERNEL-DAG: quanta.kernel "cache_append" ins(%arg2, {{.*}}) outs(%[[COS:.*]] : memref<1x1x4x8x16xf32>) {cache = tensor<1x1x64x8xf32>, key}
// KERNEL-DAG: quanta.kernel "attention" {{.*}} weights(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : memref<1x2x4x8x16xf32>, memref<1x2x64x16xf32>, memref<1x1x4x8x16xf32>, memref<1x1x4x8x16xf32>) {{.*}} {cos = tensor<1x1x64x8xf32>
// KERNEL-NOT: quanta.kernel "rotary"
quanta.cache @first.key : tensor<1x2x64x8xf32>
quanta.cache @first.value : tensor<1x2x64x8xf32>
quanta.cache @second.key : tensor<1x2x64x8xf32>
func.func @layers(%x: tensor<1x2x?x8xf32>, %q: tensor<1x2x?x8xf32>, %cos: tensor<1x1x?x8xf32>, %sin: tensor<1x1x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
  %k = quanta.rotary %x, %cos, %sin : (tensor<1x2x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x2x?x8xf32>
  quanta.cache_append @first.key, %k : tensor<1x2x?x8xf32>
  quanta.cache_append @first.value, %x : tensor<1x2x?x8xf32>
  %keys = quanta.cache_read @first.key, %n : tensor<1x2x?x8xf32>
  %values = quanta.cache_read @first.value, %n : tensor<1x2x?x8xf32>
  %y = quanta.attention %q, %keys, %values {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  %k2 = quanta.rotary %y, %cos, %sin : (tensor<1x2x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x2x?x8xf32>
  quanta.cache_append @second.key, %k2 : tensor<1x2x?x8xf32>
  %keys2 = quanta.cache_read @second.key, %n : tensor<1x2x?x8xf32>
  %z = quanta.attention %q, %keys2, %values {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %z : tensor<1x2x?x8xf32>
}

// -----

// expected-error@+1 {{no cache holds keys behind a rotary embedding that could be stored before it; leave keys as they are}}
module {
  quanta.cache @key : tensor<1x2x64x8xf32>
  func.func @no_rotary(%x: tensor<1x2x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
    quanta.cache_append @key, %x : tensor<1x2x?x8xf32>
    %v = quanta.cache_read @key, %n : tensor<1x2x?x8xf32>
    %y = quanta.attention %x, %x, %v {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
    return %y : tensor<1x2x?x8xf32>
  }
}
