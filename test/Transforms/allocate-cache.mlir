// RUN: not quant-opt %s --quanta-allocate-cache="data=none.npz" 2>&1 | FileCheck %s --check-prefix=BUDGET
// BUDGET: error: expected a budget of bytes above 0 but got 0
// RUN: not quant-opt %s --quanta-allocate-cache="bytes=1000 candidates=" 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: expected candidates, as 'candidates=8/4,4,2'
// RUN: not quant-opt %s --quanta-allocate-cache="bytes=1000" 2>&1 | FileCheck %s --check-prefix=LAYERS
// LAYERS: error: the model has no layers with a cache; run quanta-use-cache before
// RUN: not quant-opt %s --quanta-use-cache="capacity=32" --canonicalize --quanta-allocate-cache="bytes=1000 data=none.npz" 2>&1 | FileCheck %s --check-prefix=DATA
// DATA: none.npz
func.func @main(%q: tensor<1x1x?x8xf32>, %k: tensor<1x1x?x8xf32>, %v: tensor<1x1x?x8xf32>, %pk: tensor<1x1x?x8xf32>, %pv: tensor<1x1x?x8xf32>)
    -> (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>)
    attributes {quanta.inputs = ["q", "k", "v", "past_key", "past_value"], quanta.outputs = ["y", "key", "value"],
                quanta.dims = [[1, 1, "new", 8], [1, 1, "new", 8], [1, 1, "new", 8], [1, 1, "past", 8], [1, 1, "past", 8]]} {
  %keys = tensor.concat dim(2) %pk, %k : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x1x?x8xf32>
  %values = tensor.concat dim(2) %pv, %v : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x1x?x8xf32>
  %y = quanta.attention %q, %keys, %values {scale = 0.5 : f32} : (tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x1x?x8xf32>
  return %y, %keys, %values : tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>
}
