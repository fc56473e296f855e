// RUN: quant-opt %s -split-input-file --quanta-quantize-activations="keep=/kept" | FileCheck %s
// RUN: quant-opt %s -split-input-file --quanta-quantize-activations=act=f32 | FileCheck %s --check-prefix=FLOAT
// RUN: quant-opt %s -split-input-file --quanta-quantize-activations=act=int4-token | FileCheck %s --check-prefix=INT4
// RUN: quant-opt %s -split-input-file --quanta-quantize-activations=act=bf16 | FileCheck %s --check-prefix=NARROW
// RUN: not quant-opt %s -split-input-file --quanta-quantize-activations=act=int9-token 2>&1 | FileCheck %s --check-prefix=ACT
// RUN: not quant-opt %s -split-input-file "--quanta-quantize-activations=only=(" 2>&1 | FileCheck %s --check-prefix=REGEX
// RUN: quant-opt %s -split-input-file "--quanta-quantize-activations=act=int8-attention keep=/kept" | FileCheck %s --check-prefix=ATTENTION
// RUN: not quant-opt %s -split-input-file --quanta-quantize-activations=act=int1-attention 2>&1 | FileCheck %s --check-prefix=BITS

// FLOAT-NOT: quanta.quantize
// INT4: #{{.*}} = #quanta.uniform<bits = 4, zero = offset, scale = f32>
// NARROW: #[[NARROW:.*]] = #quanta.narrow<bf16>
// NARROW-LABEL: func @shared
// NARROW: quanta.quantize %{{.*}} : tensor<?x8xf32> to tensor<?x8xf32, #[[NARROW]]>
// NARROW-NOT: quanta.quantize
// NARROW: func @named
// ACT: error: option 'act' must be f32, bf16 or intN-token, intN-tensor, intN-cluster, intN-attention with N from 2 to 8 but is 'int9-token'
// REGEX: error: option 'only' is not a regular expression
// BITS: error: option 'act' must be f32, bf16 or intN-token, intN-tensor, intN-cluster, intN-attention with N from 2 to 8 but is 'int1-attention'

#u4 = #quanta.uniform<bits = 4>

// Layers that read the same value share its encoded form; leading dimensions are one dimension of tokens.
// CHECK: #[[TOKENS:.*]] = #quanta.uniform<bits = 8, scale = f32>
// CHECK-LABEL: func @shared
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape %arg0 {{\[\[}}0, 1], [2]] : tensor<?x?x8xf32> into tensor<?x8xf32>
// CHECK: %[[Q:.*]] = quanta.quantize %[[FLAT]] : tensor<?x8xf32> to tensor<?x8xf32, #[[TOKENS]]>
// CHECK: %[[Y:.*]] = quanta.linear %[[Q]], %{{.*}} {quanta.weight_error = 1.000000e+00 : f64} : (tensor<?x8xf32, #[[TOKENS]]>, {{.*}}) -> tensor<?x2xf32>
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]] output_shape [%{{.*}}, %{{.*}}, 2] : tensor<?x2xf32> into tensor<?x?x2xf32>
// CHECK: quanta.linear %[[Q]],
// CHECK: quanta.linear %arg0, %{{.*}} : (tensor<?x?x8xf32>, tensor<2x8xf32>)
func.func @shared(%x: tensor<?x?x8xf32>, %f: tensor<2x8xf32>) -> (tensor<?x?x2xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) {
  %w = quanta.constant {codes = dense<5> : tensor<2x8xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x8xf32, #u4>
  %a = quanta.linear %x, %w {quanta.weight_error = 1.0 : f64} : (tensor<?x?x8xf32>, tensor<2x8xf32, #u4>) -> tensor<?x?x2xf32>
  %b = quanta.linear %x, %w : (tensor<?x?x8xf32>, tensor<2x8xf32, #u4>) -> tensor<?x?x2xf32>
  %c = quanta.linear %x, %f : (tensor<?x?x8xf32>, tensor<2x8xf32>) -> tensor<?x?x2xf32>
  return %a, %b, %c : tensor<?x?x2xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
}

// -----

#u4 = #quanta.uniform<bits = 4>

// CHECK-LABEL: func @named
// CHECK: quanta.quantize %arg1
// CHECK-NOT: quanta.quantize
func.func @named(%x: tensor<3x8xf32>, %z: tensor<3x8xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %w = quanta.constant {codes = dense<5> : tensor<2x8xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x8xf32, #u4>
  %a = quanta.linear %x, %w : (tensor<3x8xf32>, tensor<2x8xf32, #u4>) -> tensor<3x2xf32> loc("/kept")
  %b = quanta.linear %z, %w : (tensor<3x8xf32>, tensor<2x8xf32, #u4>) -> tensor<3x2xf32> loc("/other")
  return %a, %b : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

quanta.cache @keys : tensor<1x2x8x4xf32>
quanta.cache @values : tensor<1x2x8x4xf32>

// Attention over a cache stays in floats, and what `keep` names.
// CHECK-LABEL: func @attention
// CHECK-NOT: attention_bits
// ATTENTION-LABEL: func @attention
// ATTENTION: quanta.attention {{.*}} {quanta.attention_bits = 8 : i64, scale = 5.000000e-01 : f32}
// ATTENTION: quanta.attention {{.*}} {scale = 5.000000e-01 : f32}
// ATTENTION: quanta.attention {{.*}} {scale = 5.000000e-01 : f32}
func.func @attention(%q: tensor<1x2x3x4xf32>, %n: index) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) {
  %a = quanta.attention %q, %q, %q {scale = 0.5 : f32} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %b = quanta.attention %q, %q, %q {scale = 0.5 : f32} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> loc("/kept")
  %k = quanta.cache_read @keys, %n : tensor<1x2x?x4xf32>
  %v = quanta.cache_read @values, %n : tensor<1x2x?x4xf32>
  %c = quanta.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x3x4xf32>
  return %a, %b, %c : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
}
