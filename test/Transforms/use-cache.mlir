// RUN: quant-opt %s --quanta-use-cache="capacity=40" --canonicalize --cse | FileCheck %s
// The caches stay where they are: a step allocates queries, results and lengths, never what grows with positions or capacity.
// RUN: quant-opt %s --quanta-use-cache="capacity=40" --canonicalize --cse --quanta-outline-kernels --canonicalize --cse --quanta-bufferize \
// RUN:   | FileCheck %s --check-prefix=BUFFERS

// Both ports of the pair go, the batch becomes that of the cache, sizes of the past are the length.
// CHECK: module attributes {quanta.cache_capacity = 40 : i64}
// CHECK: func.func @main(%[[Q:.*]]: tensor<1x4x?x8xf32>, %[[K:.*]]: tensor<1x2x?x8xf32>, %[[V:.*]]: tensor<1x2x?x6xf32>) -> (tensor<?x4x?x6xf32>, index)
// CHECK-SAME: quanta.dims = {{\[}}[1, 4, "new", 8], [1, 2, "new", 8], [1, 2, "new", 6]]
// CHECK-SAME: quanta.inputs = ["q", "k", "v"], quanta.output_dims = {{\[}}["batch", 4, "new", 6], []], quanta.outputs = ["y", "past"]
// CHECK-DAG: %[[CAPACITY:.*]] = arith.constant 40 : index
// CHECK-DAG: %[[PAST:.*]] = quanta.cache_length : index
// CHECK: %[[TOTAL:.*]] = arith.addi %[[PAST]], %{{.*}}
// CHECK: %[[FITS:.*]] = arith.cmpi sle, %[[TOTAL]], %[[CAPACITY]]
// CHECK: cf.assert %[[FITS]], "the key/value cache has room for 40 positions
// CHECK: quanta.cache_advance
// CHECK: quanta.cache_append @past_key, %{{.*}} : tensor<?x2x?x8xf32>
// CHECK: %[[KEYS:.*]] = quanta.cache_read @past_key, %[[TOTAL]] : tensor<?x2x?x8xf32>
// CHECK: quanta.cache_append @past_value
// CHECK: %[[VALUES:.*]] = quanta.cache_read @past_value, %[[TOTAL]] : tensor<?x2x?x6xf32>
// CHECK: %[[Y:.*]] = quanta.attention %{{.*}}, %[[KEYS]], %[[VALUES]]
// CHECK: return %[[Y]], %[[PAST]]
// CHECK: quanta.cache @past_key : tensor<1x2x40x8xf32>
// CHECK: quanta.cache @past_value : tensor<1x2x40x6xf32>

// BUFFERS: func.func @main
// BUFFERS-NOT: memref.copy
// BUFFERS: %[[MEMORY:.*]] = quanta.state @past_key.memory : memref<1x2x4x8x16xf32>
// BUFFERS-NOT: memref.copy
// BUFFERS: quanta.kernel "cache_append" ins({{.*}}) outs(%[[MEMORY]] : memref<1x2x4x8x16xf32>)
// BUFFERS-NOT: memref.copy
// BUFFERS: memref.alloc(%{{.*}}) {{.*}} : memref<1x2x?x6xf32>
// BUFFERS-NOT: memref.alloc
// BUFFERS-NOT: memref.copy
// BUFFERS: quanta.kernel "attention" {{.*}} weights(%{{.*}}, %{{.*}} : memref<1x2x4x8x16xf32>, memref<1x2x64x16xf32>)
// BUFFERS-NOT: memref.alloc
// BUFFERS-NOT: memref.copy
// BUFFERS: quanta.states @past_key.memory memref<1x2x4x8x16xf32>
// BUFFERS: quanta.states @past_value.memory memref<1x2x64x16xf32>
func.func @main(%q: tensor<?x4x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x6xf32>, %pk: tensor<?x2x?x8xf32>, %pv: tensor<?x2x?x6xf32>)
    -> (tensor<?x4x?x6xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>, index)
    attributes {quanta.inputs = ["q", "k", "v", "past_key", "past_value"], quanta.outputs = ["y", "key", "value", "past"],
                quanta.dims = [["batch", 4, "new", 8], ["batch", 2, "new", 8], ["batch", 2, "new", 6], ["batch", 2, "past", 8], ["batch", 2, "past", 6]],
                quanta.output_dims = [["batch", 4, "new", 6], ["batch", 2, "all", 8], ["batch", 2, "all", 6], []]} {
  %c2 = arith.constant 2 : index
  %past = tensor.dim %pk, %c2 : tensor<?x2x?x8xf32>
  %keys = tensor.concat dim(2) %pk, %k : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %values = tensor.concat dim(2) %pv, %v : (tensor<?x2x?x6xf32>, tensor<?x2x?x6xf32>) -> tensor<?x2x?x6xf32>
  %y = quanta.attention %q, %keys, %values {scale = 0.5 : f32} : (tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>) -> tensor<?x4x?x6xf32>
  return %y, %keys, %values, %past : tensor<?x4x?x6xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>, index
}
