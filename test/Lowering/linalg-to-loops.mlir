// RUN: quant-opt %s --quanta-linalg-to-loops -split-input-file | FileCheck %s
// RUN: quant-opt %s --quanta-linalg-to-loops=vector-bits=128 -split-input-file | FileCheck %s --check-prefix=NARROW

// All operands are contiguous: one long dimension, tasks over ranges of it, a masked tail.
// CHECK-LABEL: func @elementwise
// CHECK: memref.collapse_shape {{.*}} : memref<?x?xf32> into memref<?xf32>
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: vector.load {{.*}} vector<16xf32>
// CHECK: math.exp {{.*}} : vector<16xf32>
// CHECK: vector.store
// CHECK: vector.create_mask
// CHECK: vector.maskedload
// CHECK: vector.maskedstore
// NARROW-LABEL: func @elementwise
// NARROW: vector<4xf32>
// NARROW-NOT: mask
// NARROW: memref.store
func.func @elementwise(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
    iterator_types = ["parallel", "parallel"]} ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = math.exp %a : f32
    linalg.yield %0 : f32
  }
  return
}

// -----

// A small op of static size stays serial; 32 columns leave no tail; the row's factor is loaded once.
// CHECK-LABEL: func @broadcast
// CHECK-NOT: scf.parallel
// CHECK: scf.for
// CHECK:   %[[F:.*]] = memref.load
// CHECK:   scf.for
// CHECK:     vector.load
// CHECK:     vector.broadcast %[[F]]
// CHECK:     vector.store
// CHECK-NOT: mask
func.func @broadcast(%x: memref<8x32xf32>, %f: memref<8xf32>, %y: memref<8x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>],
    iterator_types = ["parallel", "parallel"]} ins(%x, %f : memref<8x32xf32>, memref<8xf32>) outs(%y : memref<8x32xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// -----

// Sums of rows: partial sums in lanes.
// CHECK-LABEL: func @row_sums
// CHECK: scf.parallel
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>)
// CHECK: arith.select {{.*}} : vector<16xi1>, vector<16xf32>
// CHECK: vector.reduction <add>, {{.*}} fastmath<reassoc>
func.func @row_sums(%x: memref<?x?xf32>, %y: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>],
    iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// -----

// Sums of columns: a vector of columns, the sum in a register.
// CHECK-LABEL: func @column_sums
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>)
// CHECK-NOT: vector.reduction
func.func @column_sums(%x: memref<?x?xf32>, %y: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>],
    iterator_types = ["reduction", "parallel"]} ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  }
  return
}

// -----

// CHECK-LABEL: func @transposed
// CHECK: vector.gather
// CHECK: vector.store
// NARROW-LABEL: func @transposed
// NARROW-NOT: vector.gather
func.func @transposed(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  linalg.transpose ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) permutation = [1, 0]
  return
}

// -----

// Every second element: neighbours are loaded, and half of them left out; 16 lanes of 31 elements, those from the 15th on in the second vector.
// CHECK-LABEL: func @second
// CHECK-NOT: vector.gather
// CHECK: %[[LOW:.*]] = vector.load %{{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: %[[HIGH:.*]] = vector.load %{{.*}} : memref<?xf32>, vector<16xf32>
// CHECK: vector.shuffle %[[LOW]], %[[HIGH]] [0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31]
// CHECK: vector.maskedload
func.func @second(%x: memref<?xf32>, %y: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0 * 2)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
    ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  }
  return
}

// -----

// Rows of a table: contiguous in the column, so no gather.
// CHECK-LABEL: func @rows
// CHECK-NOT: vector.gather
// CHECK: vector.load {{.*}} : memref<100x64xf32>, vector<16xf32>
// CHECK: vector.store
func.func @rows(%t: memref<100x64xf32>, %i: memref<?xi64>, %y: memref<?x64xf32>) {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>],
    iterator_types = ["parallel", "parallel"]} ins(%i : memref<?xi64>) outs(%y : memref<?x64xf32>) {
  ^bb0(%a: i64, %b: f32):
    %row = arith.index_cast %a : i64 to index
    %column = linalg.index 1 : index
    %0 = memref.load %t[%row, %column] : memref<100x64xf32>
    linalg.yield %0 : f32
  }
  return
}

// -----

// A body that can fail runs on the calling thread, element by element.
// CHECK-LABEL: func @checked
// CHECK-NOT: scf.parallel
// CHECK-NOT: vector
// CHECK: cf.assert
func.func @checked(%x: memref<?xi64>, %y: memref<?xi64>) {
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
    ins(%x : memref<?xi64>) outs(%y : memref<?xi64>) {
  ^bb0(%a: i64, %b: i64):
    %zero = arith.constant 0 : i64
    %0 = arith.cmpi sge, %a, %zero : i64
    cf.assert %0, "negative"
    linalg.yield %a : i64
  }
  return
}

// -----

// CHECK-LABEL: func @copied
// CHECK-NOT: memref.copy
// CHECK: vector.load {{.*}} : memref<4x32xf32, strided<[64, 1]>>, vector<16xf32>
func.func @copied(%x: memref<4x32xf32, strided<[64, 1]>>, %y: memref<4x32xf32>) {
  memref.copy %x, %y : memref<4x32xf32, strided<[64, 1]>> to memref<4x32xf32>
  return
}
