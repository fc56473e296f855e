// RUN: quant-opt %s --quanta-observe-to-outputs --quanta-outline-parallel --quanta-convert-to-llvm -split-input-file -verify-diagnostics

func.func @main(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    // expected-error @below {{expected no allocation or assertion inside a parallel loop}}
    %a = memref.alloc() : memref<4xf32>
    scf.reduce
  }
  return
}

// -----

// expected-error @below {{expected @main with the runtime handle}}
module {}

// -----

func.func @main(%x: memref<4xf32>) -> memref<4xf32> {
  // expected-error @below {{expected result 0 to be an allocation of its own}}
  return %x : memref<4xf32>
}

// -----

func.func @main() {
  // expected-error @below {{expected quanta.weights named 'w'}}
  %w = quanta.weight @w : memref<4xf32>
  return
}

// -----

func.func @main(%x: tensor<4xf32>, %c: i1) -> tensor<4xf32> {
  %y = scf.if %c -> tensor<4xf32> {
    // expected-error @below {{expected an observation in the entry block of @main}}
    %0 = quanta.observe %x, "p" : tensor<4xf32>
    scf.yield %0 : tensor<4xf32>
  } else {
    scf.yield %x : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}
