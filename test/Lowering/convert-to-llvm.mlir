// RUN: quant-opt %s --quanta-outline-parallel --quanta-convert-to-llvm -split-input-file | FileCheck %s

// Two weights of 12 and 8 bytes; a kernel function gets the handle because it launches.
// CHECK: module attributes {quanta.model = {
// CHECK-SAME: inputs = [{name = "x", shape = array<i64: -1, 4>, symbols = array<i32: 0, -1>, type = "f32"}]
// CHECK-SAME: name = "model"
// CHECK-SAME: outputs = [{name = "y", shape = array<i64: -1, 4>, symbols = array<i32: 0, -1>, type = "f32"}]
// CHECK-SAME: symbols = ["batch"]
module {
  quanta.weights @a memref<3xf32> = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  quanta.weights @b memref<2xf32> = dense<[1.0, 2.0]> : tensor<2xf32>

  // CHECK: llvm.func @quanta_entry(%[[RT:.*]]: !llvm.ptr) -> i32
  // CHECK: %[[BASE:.*]] = llvm.call @quanta_rt_weights(%[[RT]])
  // CHECK: llvm.call @quanta_rt_alloc(%[[RT]]
  // CHECK: llvm.getelementptr %[[BASE]][64]
  // CHECK: llvm.call @quanta_rt_fail(%[[RT]]
  // CHECK: llvm.call @kernel(%[[RT]]
  // CHECK: llvm.call @quanta_rt_output(%[[RT]]
  func.func @main(%x: memref<?x4xf32>) -> memref<?x4xf32>
      attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["batch", 4]], quanta.output_dims = [["batch", 4]]} {
    %c0 = arith.constant 0 : index
    %n = memref.dim %x, %c0 : memref<?x4xf32>
    %y = memref.alloc(%n) : memref<?x4xf32>
    %w = quanta.weight @b : memref<2xf32>
    %some = arith.cmpi ne, %n, %c0 : index
    cf.assert %some, "empty"
    func.call @kernel(%x, %w, %y) : (memref<?x4xf32>, memref<2xf32>, memref<?x4xf32>) -> ()
    return %y : memref<?x4xf32>
  }

  // CHECK: llvm.func internal @kernel(%[[RT2:[^:]*]]: !llvm.ptr
  // CHECK-DAG: %[[GRAIN:.*]] = llvm.mlir.constant(5 : i64) : i64
  // CHECK-DAG: %[[FN:.*]] = llvm.mlir.addressof @kernel_tasks
  // CHECK: llvm.call @quanta_rt_parallel(%[[RT2]], %[[FN]], %{{.*}}, %{{.*}}, %[[GRAIN]])
  // CHECK: llvm.func internal @kernel_tasks(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
  func.func private @kernel(%x: memref<?x4xf32>, %w: memref<2xf32>, %y: memref<?x4xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %n = memref.dim %x, %c0 : memref<?x4xf32>
    %f = memref.load %w[%c1] : memref<2xf32>
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      scf.parallel (%j) = (%c0) to (%c4) step (%c1) {
        %a = memref.load %x[%i, %j] : memref<?x4xf32>
        %b = arith.mulf %a, %f : f32
        memref.store %b, %y[%i, %j] : memref<?x4xf32>
        scf.reduce
      }
      scf.reduce
    } {quanta.grain = 5 : i64}
    return
  }
}

// -----

// Equal loops share one function.
// CHECK: llvm.func @quanta_entry
// CHECK-COUNT-2: llvm.call @quanta_rt_parallel
// CHECK: llvm.func internal @main_tasks(
// CHECK-NOT: llvm.func internal
func.func @main(%x: memref<?xi32>, %y: memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %x, %c0 : memref<?xi32>
  %z = arith.constant 7 : i32
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %z, %x[%i] : memref<?xi32>
    scf.reduce
  }
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %z, %y[%i] : memref<?xi32>
    scf.reduce
  }
  return
}

// -----

// State lies behind one base address, asked of the instance; its size is in the model's description.
// CHECK: module attributes {quanta.cache_capacity = 32 : i64, quanta.model = {cache = array<i64: 32, 192>
module attributes {quanta.cache_capacity = 32 : i64} {
  quanta.states @a memref<3xf32>
  quanta.states @b memref<17xf32>
  // CHECK: llvm.func @quanta_entry(%[[RT:.*]]: !llvm.ptr) -> i32
  // CHECK-DAG: %[[BASE:.*]] = llvm.call @quanta_rt_state(%[[RT]])
  // CHECK-DAG: %[[LENGTH:.*]] = llvm.call @quanta_rt_cache_length(%[[RT]])
  // CHECK: llvm.call @quanta_rt_cache_advance(%[[RT]], %[[LENGTH]])
  // CHECK: llvm.getelementptr %[[BASE]][64]
  // CHECK-NOT: quanta.states
  func.func @main() -> memref<f32> {
    %c0 = arith.constant 0 : index
    %length = quanta.cache_length : index
    quanta.cache_advance %length
    %b = quanta.state @b : memref<17xf32>
    %x = memref.load %b[%c0] : memref<17xf32>
    %y = memref.alloc() : memref<f32>
    memref.store %x, %y[] : memref<f32>
    return %y : memref<f32>
  }
}
