// The recipe is two passes; the header tells what the cache takes: codes, scales and offsets, and floats of 32 positions.
// RUN: quantc %s -o %t.h --name decoder --recipe 'kv{capacity=64 bits=4 window=0}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=PIPELINE
// PIPELINE: // quantize
// PIPELINE: quanta-use-cache{batch=1 capacity=64}
// PIPELINE: quanta-quantize-cache{bits=4 group=32 {{.*}}window=0}
// RUN: FileCheck %s < %t.h
// CHECK: Recipe: kv{capacity=64 bits=4 window=0}
// CHECK: [0] q: f32 [1, 4, new, 8]
// CHECK-NOT: past
// CHECK: Key/value cache of 64 positions, 9984 bytes an instance: each run continues behind the runs before.

// RUN: quantc %s -o %t.float.mlir --recipe 'kv{capacity=64}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=FLOAT
// FLOAT: quanta-use-cache
// FLOAT-NOT: quanta-quantize-cache

// Keys and values may have widths of their own, and layers.
// RUN: quantc %s -o %t.mlir --recipe 'kv{capacity=64 bits=8/3}' --emit=quant-ir
// RUN: FileCheck %s --check-prefix=PAIR < %t.mlir
// PAIR-DAG: quanta.cache @past_key : tensor<1x2x64x8xf32, #channel8w32>
// PAIR-DAG: quanta.cache @past_value : tensor<1x2x64x6xf32, #token3w32>
// RUN: not quantc %s -o %t.mlir --recipe 'kv{capacity=64 bits=8,4}' --emit=quant-ir 2>&1 | FileCheck %s --check-prefix=LAYERS
// LAYERS: option 'bits' has 2 widths, but the model has 1 layers with a cache; give one for each, or one for all
// RUN: not quantc %s -o %t.mlir --recipe 'kv{capacity=64 bits=8/4/2}' 2>&1 | FileCheck %s --check-prefix=WIDTHS
// WIDTHS: recipe 'kv': option 'bits' must be a number from 0 to 8, or two with '/' between them
func.func @main(%q: tensor<?x4x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x6xf32>, %pk: tensor<?x2x?x8xf32>, %pv: tensor<?x2x?x6xf32>)
    -> (tensor<?x4x?x6xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>)
    attributes {quanta.inputs = ["q", "k", "v", "past_key", "past_value"], quanta.outputs = ["y", "key", "value"],
                quanta.dims = [["batch", 4, "new", 8], ["batch", 2, "new", 8], ["batch", 2, "new", 6], ["batch", 2, "past", 8], ["batch", 2, "past", 6]]} {
  %keys = tensor.concat dim(2) %pk, %k : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %values = tensor.concat dim(2) %pv, %v : (tensor<?x2x?x6xf32>, tensor<?x2x?x6xf32>) -> tensor<?x2x?x6xf32>
  %y = quanta.attention %q, %keys, %values {scale = 0.5 : f32} : (tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>) -> tensor<?x4x?x6xf32>
  return %y, %keys, %values : tensor<?x4x?x6xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x6xf32>
}
