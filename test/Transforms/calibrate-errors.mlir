// RUN: not quant-opt %s --quanta-calibrate='pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=NODATA
// NODATA: error: no calibration data; give an .npz file

// RUN: not quant-opt %s --quanta-calibrate='data=%t.none.npz pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: '{{.*}}.none.npz' does not exist

// RUN: not quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate-nan.npz batch=4 pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=NAN
// NAN: error: '{{.*}}calibrate-nan.npz', batch 2: input 'x' holds NaN at element 9; remove the sample or repair the data

// RUN: not quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate-tokens.npy window=4 pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=TOKENS
// TOKENS: error: {{.*}} is a token stream, but input 'x' is ?x6xf32

// RUN: sed 's/?x6xf32/?x5xf32/g; s/4x6xf32/4x5xf32/g; s/, 6.0//g' %s > %t.shape.mlir
// RUN: not quant-opt %t.shape.mlir --quanta-calibrate='data=%S/Inputs/calibrate.npz pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=SHAPE
// SHAPE: error: {{.*}}batch 0: input 'x' is 8x6xf32, but the model takes ?x5xf32

// The layer overflows on this data.
// RUN: sed 's/, 6.0/, 3.0e38/g' %s > %t.overflow.mlir
// RUN: not quant-opt %t.overflow.mlir --quanta-calibrate='data=%S/Inputs/calibrate.npz pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=OVERFLOW
// OVERFLOW: error: batch 0: the input of layer 'second' holds an infinity or NaN

// RUN: not quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz pipeline="no-such-pass"' 2>&1 | FileCheck %s --check-prefix=PIPELINE
// PIPELINE: error: in the pipeline 'no-such-pass' of quanta-calibrate: {{.*}}'no-such-pass' does not refer to a registered pass

// RUN: sed 's/@main/@other/' %s > %t.other.mlir
// RUN: not quant-opt %t.other.mlir --quanta-calibrate='data=%S/Inputs/calibrate.npz pipeline="quanta-quantize-weights"' 2>&1 | FileCheck %s --check-prefix=MAIN
// MAIN: error: expected a function @main of one block to calibrate

func.func @main(%x: tensor<?x6xf32>) -> tensor<?x4xf32> attributes {quanta.inputs = ["x"]} {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]> : tensor<4x6xf32>
  %v = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]> : tensor<4x4xf32>
  %a = quanta.linear %x, %w {quanta.selected} : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32> loc("first")
  %m = arith.mulf %a, %a : tensor<?x4xf32>
  %b = quanta.linear %m, %v {quanta.selected} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> loc("second")
  return %b : tensor<?x4xf32>
}
