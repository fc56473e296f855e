// RUN: quant-opt %s -split-input-file --quanta-use-cache="capacity=40" -verify-diagnostics
// RUN: not quant-opt %s -split-input-file --quanta-use-cache 2>&1 | FileCheck %s
// RUN: not quant-opt %s -split-input-file --quanta-use-cache="capacity=1073741824 batch=1000000000" 2>&1 | FileCheck %s --check-prefix=SIZE
// SIZE: a cache of 1073741824 positions for 'past' would take more than 1 TiB; choose a smaller capacity or batch

// CHECK: expected a capacity and a batch from 1 to 1073741824
// expected-error@+1 {{no key/value cache was found}}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

func.func @main(%p: tensor<1x2x?x8xf32>, %k: tensor<1x2x?x8xf32>) -> (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>)
    attributes {quanta.inputs = ["past", "k"]} {
  %keys = tensor.concat dim(2) %p, %k : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  // expected-error@+1 {{reads the keys or values of 'past', which only attention can do once they are a cache}}
  %s = quanta.softmax %keys : tensor<1x2x?x8xf32>
  return %keys, %s : tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>
}

// -----

func.func @main(%p: tensor<1x?x?x8xf32>, %k: tensor<1x?x?x8xf32>) -> tensor<1x?x?x8xf32> attributes {quanta.inputs = ["past", "k"]} {
  // expected-error@+1 {{expected the past 'past' to be f32 with fixed heads and channels but got 'tensor<1x?x?x8xf32>'; fix named dimensions with --dim NAME=VALUE}}
  %keys = tensor.concat dim(2) %p, %k : (tensor<1x?x?x8xf32>, tensor<1x?x?x8xf32>) -> tensor<1x?x?x8xf32>
  return %keys : tensor<1x?x?x8xf32>
}

// -----

func.func @main(%p: tensor<1x2x3x8xf32>, %k: tensor<1x2x1x8xf32>) -> tensor<1x2x4x8xf32> attributes {quanta.inputs = ["past", "k"]} {
  // expected-error@+1 {{expected the past 'past' to have any number of positions but got 'tensor<1x2x3x8xf32>'}}
  %keys = tensor.concat dim(2) %p, %k : (tensor<1x2x3x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x4x8xf32>
  return %keys : tensor<1x2x4x8xf32>
}

// -----

// expected-error@+1 {{the model has a key/value cache already}}
module attributes {quanta.cache_capacity = 8 : i64} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    return %x : tensor<4xf32>
  }
}

// -----

func.func @main(%q: tensor<1x2x?x8xf32>, %p: tensor<1x2x?x8xf32>, %k: tensor<1x2x?x8xf32>) -> (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>)
    attributes {quanta.inputs = ["q", "past", "k"]} {
  %keys = tensor.concat dim(2) %p, %k : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  %y = quanta.attention %q, %keys, %keys {scale = 0.5 : f32} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y, %keys : tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>
}
