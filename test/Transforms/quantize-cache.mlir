// RUN: quant-opt %s -split-input-file --quanta-quantize-cache="bits=8 only=first" --quanta-quantize-cache="bits=2 group=64 window=16" | FileCheck %s
// RUN: not quant-opt %s -split-input-file --quanta-quantize-cache="only=(" 2>&1 | FileCheck %s --check-prefix=PATTERN
// RUN: not quant-opt %s -split-input-file --quanta-quantize-cache="bits=9" 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not quant-opt %s -split-input-file --quanta-quantize-cache="group=40" 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not quant-opt %s -split-input-file --quanta-quantize-cache="bits=4/x" 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not quant-opt %s -split-input-file --quanta-quantize-cache="bits=4,2" 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: quant-opt %s -split-input-file --quanta-quantize-cache="bits=4/2 window=0" | FileCheck %s --check-prefix=PAIR
// RUN: quant-opt %s -split-input-file --quanta-quantize-cache="bits=2 group=64 window=16" --quanta-outline-kernels --canonicalize --cse | FileCheck %s --check-prefix=MEMORY

// PATTERN: option 'only' is not a regular expression
// BITS: expected 1 to 8 bits but got 9
// WORD: error: option 'bits' must be numbers, or KEYS/VALUES, where keys may also be 'sketch' or 'sketch2' to 'sketch8', separated by commas, but is '4/x'
// LIST: error: option 'bits' has 2 widths, but the model has 1 layers with a cache; give one for each, or one for all
// PAIR-DAG: #quanta.cache<channel, bits = 4, group = 32>
// PAIR-DAG: #quanta.cache<token, bits = 2>
// GROUP: expected a group of a multiple of 32 positions but got 40

// Keys by channel, values by position; a cache that is encoded already stays as it is.
// CHECK-DAG: #[[FIRST:.*]] = #quanta.cache<channel, bits = 8, group = 32, window = 32>
// CHECK-DAG: #[[VALUES:.*]] = #quanta.cache<token, bits = 2, window = 16>
// CHECK: quanta.cache @first.key : tensor<1x2x200x40xf32, #[[FIRST]]>
// CHECK: quanta.cache @value : tensor<1x2x200x24xf32, #[[VALUES]]>
// CHECK: %[[K:.*]] = quanta.cache_read @first.key, %{{.*}} : tensor<1x2x?x40xf32, #[[FIRST]]>
// CHECK: quanta.attention %{{.*}}, %[[K]]

// 200 positions are four groups of 64; 16 + 64 positions in floats take two groups.
// MEMORY: quanta.kernel "cache_append" ins({{.*}}) outs({{.*}} : memref<1x2x16x4x16xi32>, memref<1x2x4x48xf16>, memref<1x2x4x48xf16>, memref<1x2x8x40x16xf32>)
// MEMORY: quanta.kernel "attention" {{.*}}key = tensor<1x2x200x40xf32, #{{.*}}>
// MEMORY-DAG: quanta.states @first.key.codes memref<1x2x16x4x16xi32>
// MEMORY-DAG: quanta.states @value.codes memref<1x2x7x4x16xi32>
// MEMORY-DAG: quanta.states @value.scales memref<1x2x7x1x32xf16>
// MEMORY-DAG: quanta.states @value.recent memref<1x2x64x32xf32>
quanta.cache @first.key : tensor<1x2x200x40xf32>
quanta.cache @value : tensor<1x2x200x24xf32>
func.func @main(%q: tensor<1x6x?x40xf32>, %new: tensor<1x2x?x40xf32>, %n: index) -> tensor<1x6x?x24xf32> {
  quanta.cache_append @first.key, %new : tensor<1x2x?x40xf32>
  %k = quanta.cache_read @first.key, %n : tensor<1x2x?x40xf32>
  %v = quanta.cache_read @value, %n : tensor<1x2x?x24xf32>
  %y = quanta.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x6x?x40xf32>, tensor<1x2x?x40xf32>, tensor<1x2x?x24xf32>) -> tensor<1x6x?x24xf32>
  return %y : tensor<1x6x?x24xf32>
}
