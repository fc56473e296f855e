// RUN: quant-opt %s | quant-opt | FileCheck %s
// RUN: quant-opt %s --mlir-print-op-generic | quant-opt | FileCheck %s
// RUN: quant-opt %s --emit-bytecode -o %t.mlirbc && quant-opt %t.mlirbc | FileCheck %s

// CHECK-DAG: #[[U4:.*]] = #quanta.uniform<bits = 4, group = 128, zero = point>
#u4 = #quanta.uniform<bits = 4, group = 128, zero = point>
#s1 = #quanta.uniform<bits = 1, group = -1, scale = f32>
#o8 = #quanta.uniform<bits = 8, zero = offset>
// CHECK-DAG: #[[PACKED:.*]] = #quanta.packed<base = #[[U4]]>
#packed = #quanta.packed<base = #u4>

// CHECK: quanta.weights @table memref<4x8xf32> = dense<0.000000e+00> : tensor<4x8xf32>
quanta.weights @table memref<4x8xf32> = dense<0.0> : tensor<4x8xf32>
// CHECK: quanta.weights @codes memref<1x1x16xi32> = dense<0> : tensor<8x8xi8> layout #[[PACKED]]
quanta.weights @codes memref<1x1x16xi32> = dense<0> : tensor<8x8xi8> layout #packed

// CHECK: quanta.cache @past : tensor<1x2x32x8xf32>
quanta.cache @past : tensor<1x2x32x8xf32>
// CHECK: quanta.cache @few : tensor<1x2x64x8xf32, #[[FEW:.*]]>
quanta.cache @few : tensor<1x2x64x8xf32, #quanta.cache<channel, bits = 2, group = 32, window = 32>>
// CHECK: quanta.states @memory memref<4x16xf32>
quanta.states @memory memref<4x16xf32>

// CHECK-LABEL: func @state
func.func @state(%new: tensor<1x2x?x8xf32>) -> (tensor<1x2x?x8xf32>, memref<4x16xf32>) {
  // CHECK: %[[LENGTH:.*]] = quanta.cache_length : index
  %length = quanta.cache_length : index
  // CHECK: quanta.cache_advance %[[LENGTH]]
  quanta.cache_advance %length
  // CHECK: quanta.cache_append @past, %{{.*}} : tensor<1x2x?x8xf32>
  quanta.cache_append @past, %new : tensor<1x2x?x8xf32>
  // CHECK: quanta.cache_read @past, %[[LENGTH]] : tensor<1x2x?x8xf32>
  %all = quanta.cache_read @past, %length : tensor<1x2x?x8xf32>
  // CHECK: %memory = quanta.state @memory : memref<4x16xf32>
  %memory = quanta.state @memory : memref<4x16xf32>
  return %all, %memory : tensor<1x2x?x8xf32>, memref<4x16xf32>
}

// CHECK-LABEL: func @compute
func.func @compute(%x: tensor<?x384xf32>, %w: tensor<64x384xf32, #u4>, %b: tensor<64xf32>, %scale: tensor<64xf32>) -> tensor<?x64xf32> {
  // CHECK: quanta.linear %{{.*}}, %{{.*}} bias %{{.*}} : (tensor<?x384xf32>, tensor<64x384xf32, #[[U4]]>, tensor<64xf32>) -> tensor<?x64xf32>
  %0 = quanta.linear %x, %w bias %b : (tensor<?x384xf32>, tensor<64x384xf32, #u4>, tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: quanta.activation gelu %{{.*}} : tensor<?x64xf32>
  %1 = quanta.activation gelu %0 : tensor<?x64xf32>
  // CHECK: quanta.layer_norm %{{.*}}, %{{.*}} bias %{{.*}} {epsilon = 9.99999974E-6 : f32}
  %2 = quanta.layer_norm %1, %scale bias %b {epsilon = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: quanta.rms_norm
  %3 = quanta.rms_norm %2, %scale {epsilon = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: quanta.softmax
  %4 = quanta.softmax %3 : tensor<?x64xf32>
  // CHECK: quanta.observe %{{.*}}, "layer0"
  %5 = quanta.observe %4, "layer0" : tensor<?x64xf32>
  return %5 : tensor<?x64xf32>
}

// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<?x6x?x64xf32>, %k: tensor<?x2x?x64xf32>, %m: tensor<1x1x?x?xf32>, %c: tensor<1x1x?x64xf32>) -> tensor<?x6x?x64xf32> {
  // CHECK: quanta.rotary
  %0 = quanta.rotary %q, %c, %c : (tensor<?x6x?x64xf32>, tensor<1x1x?x64xf32>, tensor<1x1x?x64xf32>) -> tensor<?x6x?x64xf32>
  // CHECK: quanta.attention %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} {scale = 1.250000e-01 : f32}
  %1 = quanta.attention %0, %k, %k mask %m {scale = 0.125 : f32} : (tensor<?x6x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>, tensor<1x1x?x?xf32>) -> tensor<?x6x?x64xf32>
  // CHECK: quanta.matmul %{{.*}}, %{{.*}} {transpose_rhs}
  %2 = quanta.matmul %1, %1 {transpose_rhs} : (tensor<?x6x?x64xf32>, tensor<?x6x?x64xf32>) -> tensor<?x6x?x?xf32>
  return %1 : tensor<?x6x?x64xf32>
}

// CHECK-LABEL: func @conv_and_embedding
func.func @conv_and_embedding(%x: tensor<?x3x28x28xf32>, %w: tensor<8x3x3x3xf32>, %t: tensor<100x16xf32, #o8>, %i: tensor<?x?xi64>) -> tensor<?x?x16xf32> {
  // CHECK: quanta.conv2d
  %0 = quanta.conv2d %x, %w {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64} : (tensor<?x3x28x28xf32>, tensor<8x3x3x3xf32>) -> tensor<?x8x14x14xf32>
  // CHECK: quanta.embedding
  %1 = quanta.embedding %t, %i : (tensor<100x16xf32, #o8>, tensor<?x?xi64>) -> tensor<?x?x16xf32>
  return %1 : tensor<?x?x16xf32>
}

// CHECK-LABEL: func @constants
func.func @constants() -> (tensor<8x256xf32, #u4>, tensor<8x256xf32, #s1>) {
  // CHECK: quanta.constant {codes = dense<3> : tensor<8x256xi8>, scales = dense<1.000000e+00> : tensor<8x2xf16>, zeros = dense<8> : tensor<8x2xi8>} : tensor<8x256xf32, #[[U4]]>
  %0 = quanta.constant {codes = dense<3> : tensor<8x256xi8>, scales = dense<1.0> : tensor<8x2xf16>, zeros = dense<8> : tensor<8x2xi8>} : tensor<8x256xf32, #u4>
  %1 = quanta.constant {codes = dense<1> : tensor<8x256xi8>, scales = dense<1.0> : tensor<1x1xf32>} : tensor<8x256xf32, #s1>
  return %0, %1 : tensor<8x256xf32, #u4>, tensor<8x256xf32, #s1>
}

// CHECK-LABEL: func @kernel
func.func @kernel(%x: memref<?x8xf32>, %t: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[W:.*]] = quanta.weight @table : memref<4x8xf32>
  %w = quanta.weight @table : memref<4x8xf32>
  // CHECK: quanta.kernel "linear" ins(%{{.*}} : memref<?x8xf32>) weights(%[[W]] : memref<4x8xf32>) outs(%{{.*}} : memref<?x8xf32>) {shape = array<i64: 8, 8>}
  quanta.kernel "linear" ins(%x : memref<?x8xf32>) weights(%w : memref<4x8xf32>) outs(%x : memref<?x8xf32>) {shape = array<i64: 8, 8>}
  // CHECK: quanta.kernel "softmax" outs(%{{.*}} : tensor<?x8xf32>) {} -> tensor<?x8xf32>
  %0 = quanta.kernel "softmax" outs(%t : tensor<?x8xf32>) {} -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
