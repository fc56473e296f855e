// RUN: not quantc %s --compile-from=codegen -o %t.o 2>&1 | FileCheck %s
// CHECK: weights 'b': the code looks for it at 32, but it lies at 64
module attributes {quanta.model = {name = "m", recipe = "", inputs = [], outputs = [], symbols = []}} {
  quanta.weights @a memref<4xf32> = dense<1.0> : tensor<4xf32> {offset = 0 : i64}
  quanta.weights @b memref<4xf32> = dense<2.0> : tensor<4xf32> {offset = 32 : i64}
  llvm.func @quanta_entry(%rt: !llvm.ptr) -> i32 {
    %0 = llvm.mlir.constant(0 : i32) : i32
    llvm.return %0 : i32
  }
}
