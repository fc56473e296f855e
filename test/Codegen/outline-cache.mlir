// RUN: quant-opt %s -split-input-file --quanta-outline-kernels --canonicalize --cse -verify-diagnostics | FileCheck %s

// The query heads of a group are rows of one matrix; keys lie in tiles of 16 positions, values in rows of whole tiles.
// CHECK-LABEL: func @attention
// CHECK-DAG: %[[KEYS:.*]] = quanta.state @k.memory : memref<1x2x2x8x16xf32>
// CHECK-DAG: %[[PAST:.*]] = quanta.cache_length
// CHECK: quanta.kernel "cache_append" ins(%{{.*}}, %[[PAST]] : tensor<1x2x?x8xf32>, index) outs(%[[KEYS]] : {{.*}}) {cache = tensor<1x2x20x8xf32>, key}
// CHECK: %[[VALUES:.*]] = quanta.state @v.memory : memref<1x2x32x16xf32>
// CHECK: quanta.kernel "cache_append" ins(%{{.*}}, %[[PAST]] : tensor<1x2x?x6xf32>, index) outs(%[[VALUES]] : {{.*}}) {cache = tensor<1x2x20x6xf32>}
// CHECK: quanta.kernel "attention" ins({{.*}} : tensor<1x2x?x8xf32>, index, tensor<1x1x1x?xf32>) weights(%[[KEYS]], %[[VALUES]]
// CHECK-SAME: {key = tensor<1x2x20x8xf32>, repeats = 3 : i64, scale = 5.000000e-01 : f32, value = tensor<1x2x20x6xf32>} -> tensor<1x2x?x6xf32>
// CHECK-NOT: quanta.cache @
quanta.cache @k : tensor<1x2x20x8xf32>
quanta.cache @v : tensor<1x2x20x6xf32>
func.func @attention(%q: tensor<1x6x?x8xf32>, %a: tensor<1x2x?x8xf32>, %b: tensor<1x2x?x6xf32>, %n: index, %m: tensor<1x1x1x?xf32>) -> tensor<1x6x?x6xf32> {
  quanta.cache_append @k, %a : tensor<1x2x?x8xf32>
  quanta.cache_append @v, %b : tensor<1x2x?x6xf32>
  %k = quanta.cache_read @k, %n : tensor<1x2x?x8xf32>
  %v = quanta.cache_read @v, %n : tensor<1x2x?x6xf32>
  %y = quanta.attention %q, %k, %v mask %m {scale = 0.5 : f32} : (tensor<1x6x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x6xf32>, tensor<1x1x1x?xf32>) -> tensor<1x6x?x6xf32>
  return %y : tensor<1x6x?x6xf32>
}

// -----

quanta.cache @k : tensor<1x2x20x8xf32>
func.func @both_roles(%q: tensor<1x2x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
  // expected-error@+1 {{expected only attention to read a cache}}
  %k = quanta.cache_read @k, %n : tensor<1x2x?x8xf32>
  %y = quanta.attention %q, %k, %k {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}

// -----

quanta.cache @k : tensor<1x2x20x8xf32>
func.func @half(%q: tensor<1x2x?x8xf32>, %v: tensor<1x2x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
  %k = quanta.cache_read @k, %n : tensor<1x2x?x8xf32>
  // expected-error@+1 {{expected keys and values to come from caches both}}
  %y = quanta.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}

// -----

quanta.cache @k : tensor<1x2x20x8xf32>
func.func @other_reader(%n: index) -> tensor<1x2x?x8xf32> {
  // expected-error@+1 {{expected only attention to read a cache}}
  %k = quanta.cache_read @k, %n : tensor<1x2x?x8xf32>
  return %k : tensor<1x2x?x8xf32>
}

// -----

quanta.cache @k : tensor<1x2x20x8xf32>
quanta.cache @v : tensor<1x2x20x8xf32>
func.func @codes(%q: tensor<1x2x?x8xf32>, %n: index) -> tensor<1x2x?x8xf32> {
  %k = quanta.cache_read @k, %n : tensor<1x2x?x8xf32>
  %v = quanta.cache_read @v, %n : tensor<1x2x?x8xf32>
  // expected-error@+1 {{over a cache multiplies floats: leave out the recipe 'attention' for it}}
  %y = quanta.attention %q, %k, %v {quanta.attention_bits = 8 : i64, scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}
