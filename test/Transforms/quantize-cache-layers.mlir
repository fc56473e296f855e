// RUN: quant-opt %s --quanta-quantize-cache="bits=8/4,3" | FileCheck %s

// Layers in the order of the model, not of the definitions.
// CHECK-DAG: quanta.cache @second.key : tensor<1x2x64x32xf32, #channel3w32>
// CHECK-DAG: quanta.cache @second.value : tensor<1x2x64x32xf32, #token3w32>
// CHECK-DAG: quanta.cache @first.key : tensor<1x2x64x32xf32, #channel8w32>
// CHECK-DAG: quanta.cache @first.value : tensor<1x2x64x32xf32, #token4w32>
quanta.cache @second.key : tensor<1x2x64x32xf32>
quanta.cache @second.value : tensor<1x2x64x32xf32>
quanta.cache @first.key : tensor<1x2x64x32xf32>
quanta.cache @first.value : tensor<1x2x64x32xf32>
func.func @layers(%q: tensor<1x2x?x32xf32>, %n: index) -> tensor<1x2x?x32xf32> {
  %k = quanta.cache_read @first.key, %n : tensor<1x2x?x32xf32>
  %v = quanta.cache_read @first.value, %n : tensor<1x2x?x32xf32>
  %y = quanta.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x2x?x32xf32>
  %k2 = quanta.cache_read @second.key, %n : tensor<1x2x?x32xf32>
  %v2 = quanta.cache_read @second.value, %n : tensor<1x2x?x32xf32>
  %z = quanta.attention %y, %k2, %v2 {scale = 0.5 : f32} : (tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x2x?x32xf32>
  return %z : tensor<1x2x?x32xf32>
}
