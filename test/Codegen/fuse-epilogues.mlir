// RUN: quant-opt %s -split-input-file --quanta-fuse-epilogues | FileCheck %s

#a = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#packed = #quanta.packed<base = #quanta.uniform<bits = 8>>
#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#last = affine_map<(d0, d1, d2) -> (d2)>

// A layer, its rectifier and the codes that the next one reads: no floats are stored.
// CHECK-LABEL: func @codes
// CHECK: %[[Q:.*]] = quanta.kernel "linear" ins(%{{.*}}, %{{.*}}, %{{.*}}) weights(%{{.*}}) outs(%{{.*}} : tensor<?x64xi8>) {activation = {{.*}}, epilogue = @epilogue, operands = array<i64: 1>, result_encoding = #{{.*}} -> tensor<?x64xi8>
// CHECK-NOT: linalg.generic
// CHECK: return %[[Q]]
// CHECK: func.func private @epilogue(%[[SUM:.*]]: f32, %[[BY:.*]]: f32) -> f32 attributes {quanta.epilogue}
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.0
// CHECK-DAG: %[[R:.*]] = arith.maximumf %[[SUM]], %[[ZERO]]
// CHECK: %[[M:.*]] = arith.mulf %[[R]], %[[BY]]
// CHECK: return %[[M]]
func.func @codes(%x: tensor<?x64xi8>, %bias: tensor<64xf32>, %by: tensor<64xf32>, %w: memref<4x16x16xi32>, %n: index) -> tensor<?x64xi8> {
  %zero = arith.constant 0.0 : f32
  %four = arith.constant 4 : index
  %rows = arith.divui %n, %four : index
  %e = tensor.empty(%n) : tensor<?x64xf32>
  %y = quanta.kernel "linear" ins(%x, %bias : tensor<?x64xi8>, tensor<64xf32>) weights(%w : memref<4x16x16xi32>) outs(%e : tensor<?x64xf32>)
    {activation = #a, encoding = #packed, shape = array<i64: 64, 64>} -> tensor<?x64xf32>
  %s = tensor.expand_shape %y [[0, 1], [2]] output_shape [%rows, 4, 64] : tensor<?x64xf32> into tensor<?x4x64xf32>
  %f = tensor.empty(%rows) : tensor<?x4x64xf32>
  %r = linalg.generic {indexing_maps = [#id, #last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%s, %by : tensor<?x4x64xf32>, tensor<64xf32>)
    outs(%f : tensor<?x4x64xf32>) {
  ^bb0(%in: f32, %factor: f32, %out: f32):
    %m = arith.maximumf %in, %zero : f32
    %p = arith.mulf %m, %factor : f32
    linalg.yield %p : f32
  } -> tensor<?x4x64xf32>
  %c = tensor.collapse_shape %r [[0, 1], [2]] : tensor<?x4x64xf32> into tensor<?x64xf32>
  %g = tensor.empty(%n) : tensor<?x64xi8>
  %q = quanta.kernel "quantize" ins(%c : tensor<?x64xf32>) outs(%g : tensor<?x64xi8>) {activation = #a} -> tensor<?x64xi8>
  return %q : tensor<?x64xi8>
}

// -----

#a = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#packed = #quanta.packed<base = #quanta.uniform<bits = 8>>
#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>

// The end of a residual block: the sum is stored for the next block, and its codes for the next convolution.
// CHECK-LABEL: func @residual
// CHECK-SAME: %[[CODES:.*]]: tensor<1x16x6x6xi8>, %[[SKIP:.*]]: tensor<1x16x4x4xf32>
// CHECK: %[[Y:.*]]:2 = quanta.kernel "integer_conv2d" ins(%[[CODES]], %[[SKIP]] : {{.*}} outs(%{{.*}}, %{{.*}} : tensor<1x16x4x4xf32>, tensor<1x16x9x6xi8>) {{.*}} operands = array<i64: 0>, {{.*}} result_left = 1 : i64, result_size = array<i64: 4, 4>, result_top = 1 : i64
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @residual(%x: tensor<1x16x6x6xi8>, %skip: tensor<1x16x4x4xf32>, %w: memref<1x36x16xi32>) -> (tensor<1x16x9x6xi8>, tensor<1x16x4x4xf32>) {
  %e = tensor.empty() : tensor<1x16x4x4xf32>
  %y = quanta.kernel "integer_conv2d" ins(%x : tensor<1x16x6x6xi8>) weights(%w : memref<1x36x16xi32>) outs(%e : tensor<1x16x4x4xf32>)
    {activation = #a, encoding = #packed, shape = array<i64: 16, 16, 3, 3>, top = 1 : i64, left = 1 : i64} -> tensor<1x16x4x4xf32>
  %s = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
    ins(%skip, %y : tensor<1x16x4x4xf32>, tensor<1x16x4x4xf32>) outs(%e : tensor<1x16x4x4xf32>) {
  ^bb0(%in: f32, %sum: f32, %out: f32):
    %t = arith.addf %in, %sum : f32
    linalg.yield %t : f32
  } -> tensor<1x16x4x4xf32>
  %g = tensor.empty() : tensor<1x16x9x6xi8>
  %q = quanta.kernel "quantize_image" ins(%s : tensor<1x16x4x4xf32>) outs(%g : tensor<1x16x9x6xi8>) {activation = #a, top = 1 : i64, left = 1 : i64} -> tensor<1x16x9x6xi8>
  return %q, %s : tensor<1x16x9x6xi8>, tensor<1x16x4x4xf32>
}

// -----

#token = #quanta.uniform<bits = 8, scale = f32>
#packed = #quanta.packed<base = #quanta.uniform<bits = 8>>

// A scale that is found while the model runs needs the whole row.
// CHECK-LABEL: func @token
// CHECK: quanta.kernel "linear"
// CHECK: quanta.kernel "quantize"
func.func @token(%x: tensor<?x64xi8>, %s: tensor<?xf32>, %w: memref<4x16x16xi32>, %n: index) -> tensor<?x64xi8> {
  %e = tensor.empty(%n) : tensor<?x64xf32>
  %y = quanta.kernel "linear" ins(%x, %s : tensor<?x64xi8>, tensor<?xf32>) weights(%w : memref<4x16x16xi32>) outs(%e : tensor<?x64xf32>)
    {activation = #token, encoding = #packed, shape = array<i64: 64, 64>} -> tensor<?x64xf32>
  %g = tensor.empty(%n) : tensor<?x64xi8>
  %f = tensor.empty(%n) : tensor<?xf32>
  %q:2 = quanta.kernel "quantize" ins(%y : tensor<?x64xf32>) outs(%g, %f : tensor<?x64xi8>, tensor<?xf32>) {activation = #token} -> tensor<?x64xi8>, tensor<?xf32>
  return %q#0 : tensor<?x64xi8>
}

// -----

#segments = #quanta.affine<bits = 8, splits = [32], scales = [0.5, 2.0], zeros = [0, -3]>

// A norm stores the codes of its clusters.
// CHECK-LABEL: func @norm
// CHECK-SAME: %[[X:.*]]: tensor<?x40xf32>, %[[G:.*]]: tensor<40xf32>
// CHECK-DAG: %[[INVERSE:.*]] = arith.constant dense<5.0
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<-3.0
// CHECK: %[[Q:.*]] = quanta.kernel "rms_norm" ins(%[[X]], %[[G]], %[[INVERSE]], %[[ZERO]] : {{.*}} outs(%{{.*}} : tensor<?x64xi8>) {epsilon = {{.*}}, result_encoding = #{{.*}}} -> tensor<?x64xi8>
// CHECK-NOT: "quantize"
// CHECK: return %[[Q]]
func.func @norm(%x: tensor<?x40xf32>, %g: tensor<40xf32>, %n: index) -> tensor<?x64xi8> {
  %e = tensor.empty(%n) : tensor<?x40xf32>
  %y = quanta.kernel "rms_norm" ins(%x, %g : tensor<?x40xf32>, tensor<40xf32>) outs(%e : tensor<?x40xf32>) {epsilon = 1.0e-5 : f32} -> tensor<?x40xf32>
  %inverse = arith.constant dense<5.0> : tensor<40xf32>
  %zero = arith.constant dense<-3.0> : tensor<40xf32>
  %f = tensor.empty(%n) : tensor<?x64xi8>
  %q = quanta.kernel "quantize" ins(%y, %inverse, %zero : tensor<?x40xf32>, tensor<40xf32>, tensor<40xf32>) outs(%f : tensor<?x64xi8>)
    {activation = #segments} -> tensor<?x64xi8>
  return %q : tensor<?x64xi8>
}

// -----

#a = #quanta.affine<bits = 8, scales = [0.5], zeros = [3]>
#packed = #quanta.packed<>
#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>

// A float convolution is rectified in registers, and stores floats only.
// CHECK-LABEL: func @floats
// CHECK: %[[Y:.*]] = quanta.kernel "conv2d" {{.*}} epilogue = @epilogue
// CHECK-NOT: linalg.generic
// CHECK: quanta.kernel "quantize_image" ins(%[[Y]]
func.func @floats(%x: tensor<1x16x4x4xf32>, %w: memref<1x144x16xf32>) -> tensor<1x16x9x6xi8> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x16x4x4xf32>
  %y = quanta.kernel "conv2d" ins(%x : tensor<1x16x4x4xf32>) weights(%w : memref<1x144x16xf32>) outs(%e : tensor<1x16x4x4xf32>)
    {encoding = #packed, shape = array<i64: 16, 16, 3, 3>} -> tensor<1x16x4x4xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
    ins(%y : tensor<1x16x4x4xf32>) outs(%e : tensor<1x16x4x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %m = arith.maximumf %in, %zero : f32
    linalg.yield %m : f32
  } -> tensor<1x16x4x4xf32>
  %g = tensor.empty() : tensor<1x16x9x6xi8>
  %q = quanta.kernel "quantize_image" ins(%r : tensor<1x16x4x4xf32>) outs(%g : tensor<1x16x9x6xi8>) {activation = #a, top = 1 : i64, left = 1 : i64} -> tensor<1x16x9x6xi8>
  return %q : tensor<1x16x9x6xi8>
}

// -----

#packed = #quanta.packed<base = #quanta.uniform<bits = 1, scale = f32>>
#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>

// The end of a binary residual block: the sum is stored for the next block, and its signs for the next product. The product of signs takes
// the sum, though that of floats is made later.
// CHECK-LABEL: func @signs
// CHECK-SAME: %[[X:.*]]: tensor<?x2x4x4xi32>, %[[DOWN:.*]]: tensor<?x16x4x4xf32>
// CHECK: %[[F:.*]] = quanta.kernel "conv2d"
// CHECK-NOT: epilogue
// CHECK: %[[Y:.*]]:2 = quanta.kernel "sign_conv2d" ins(%[[X]], %[[F]] : {{.*}} outs(%{{.*}}, %{{.*}} : tensor<?x40x4x4xf32>, tensor<?x4x4x4xi32>) {{.*}} epilogue = @epilogue{{.*}} result_signs = 0 : i64
// CHECK-NOT: "signs"
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @signs(%x: tensor<?x2x4x4xi32>, %down: tensor<?x16x4x4xf32>, %w: memref<3x9x16xi32>, %v: memref<3x16x16xf32>, %n: index) -> (tensor<?x4x4x4xi32>, tensor<?x40x4x4xf32>) {
  %e = tensor.empty(%n) : tensor<?x40x4x4xf32>
  %y = quanta.kernel "sign_conv2d" ins(%x : tensor<?x2x4x4xi32>) weights(%w : memref<3x9x16xi32>) outs(%e : tensor<?x40x4x4xf32>)
    {encoding = #packed, shape = array<i64: 40, 20, 3, 3>, matrix = array<i64: 40, 288>} -> tensor<?x40x4x4xf32>
  %f = quanta.kernel "conv2d" ins(%down : tensor<?x16x4x4xf32>) weights(%v : memref<3x16x16xf32>) outs(%e : tensor<?x40x4x4xf32>)
    {shape = array<i64: 40, 16, 1, 1>} -> tensor<?x40x4x4xf32>
  %s = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
    ins(%y, %f : tensor<?x40x4x4xf32>, tensor<?x40x4x4xf32>) outs(%e : tensor<?x40x4x4xf32>) {
  ^bb0(%in: f32, %sum: f32, %out: f32):
    %t = arith.addf %in, %sum : f32
    linalg.yield %t : f32
  } -> tensor<?x40x4x4xf32>
  %g = tensor.empty(%n) : tensor<?x4x4x4xi32>
  %q = quanta.kernel "signs" ins(%s : tensor<?x40x4x4xf32>) outs(%g : tensor<?x4x4x4xi32>) {of_zero = 0 : i64} -> tensor<?x4x4x4xi32>
  return %q, %s : tensor<?x4x4x4xi32>, tensor<?x40x4x4xf32>
}

// -----

#packed = #quanta.packed<base = #quanta.uniform<bits = 1, scale = f32>>

// Signs alone: no floats are stored.
// CHECK-LABEL: func @rows
// CHECK-SAME: %[[X:.*]]: tensor<?x1x2xi32>
// CHECK: %[[Q:.*]] = quanta.kernel "sign_linear" ins(%[[X]] : {{.*}} outs(%{{.*}} : tensor<?x1x2xi32>) {{.*}} result_signs = 1 : i64
// CHECK: return %[[Q]]
func.func @rows(%x: tensor<?x1x2xi32>, %w: memref<3x2x16xi32>, %n: index) -> tensor<?x1x2xi32> {
  %e = tensor.empty(%n) : tensor<?x40xf32>
  %y = quanta.kernel "sign_linear" ins(%x : tensor<?x1x2xi32>) weights(%w : memref<3x2x16xi32>) outs(%e : tensor<?x40xf32>)
    {columns = 64 : i64, encoding = #packed, matrix = array<i64: 40, 64>} -> tensor<?x40xf32>
  %g = tensor.empty(%n) : tensor<?x1x2xi32>
  %q = quanta.kernel "signs" ins(%y : tensor<?x40xf32>) outs(%g : tensor<?x1x2xi32>) {of_zero = 1 : i64} -> tensor<?x1x2xi32>
  return %q : tensor<?x1x2xi32>
}
