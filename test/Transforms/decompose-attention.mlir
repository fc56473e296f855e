// RUN: quant-opt %s --quanta-decompose-attention | FileCheck %s

// CHECK: #[[MASK:.*]] = affine_map<(d0, d1, d2, d3) -> (0, 0, d2, d3)>
// CHECK-LABEL: func @masked
// CHECK: %[[Q:.*]] = linalg.generic {{.*}} ins(%arg0 : tensor<?x2x5x8xf32>)
// CHECK: arith.mulf %{{.*}}, %{{.*}}
// CHECK: %[[S:.*]] = quanta.matmul %[[Q]], %arg1 {transpose_rhs} : (tensor<?x2x5x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x5x?xf32>
// CHECK: %[[M:.*]] = linalg.generic {indexing_maps = [#{{.*}}, #[[MASK]], #{{.*}}]{{.*}} ins(%[[S]], %arg3 : tensor<?x2x5x?xf32>, tensor<1x1x5x?xf32>)
// CHECK: %[[P:.*]] = quanta.softmax %[[M]] : tensor<?x2x5x?xf32>
// CHECK: %[[Y:.*]] = quanta.matmul %[[P]], %arg2 : (tensor<?x2x5x?xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x5x4xf32>
// CHECK: return %[[Y]]
func.func @masked(%q: tensor<?x2x5x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x4xf32>, %mask: tensor<1x1x5x?xf32>) -> tensor<?x2x5x4xf32> {
  %y = quanta.attention %q, %k, %v mask %mask {scale = 0.125 : f32}
    : (tensor<?x2x5x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x4xf32>, tensor<1x1x5x?xf32>) -> tensor<?x2x5x4xf32>
  return %y : tensor<?x2x5x4xf32>
}

// Query heads that share keys are left alone.
// CHECK-LABEL: func @grouped
// CHECK: quanta.attention
func.func @grouped(%q: tensor<?x4x5x8xf32>, %k: tensor<?x2x5x8xf32>) -> tensor<?x4x5x8xf32> {
  %y = quanta.attention %q, %k, %k {scale = 0.125 : f32} : (tensor<?x4x5x8xf32>, tensor<?x2x5x8xf32>, tensor<?x2x5x8xf32>) -> tensor<?x4x5x8xf32>
  return %y : tensor<?x4x5x8xf32>
}
