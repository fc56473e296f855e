// RUN: sed 's|INPUTS|%S/Inputs|' %s | quant-opt -split-input-file --quanta-quantize-weights="method=gptq bits=2 group=0" -verify-diagnostics
// RUN: not quant-opt %s --quanta-quantize-weights="method=gptq group=-1" 2>&1 | FileCheck %s --check-prefix=TENSOR
// RUN: not quant-opt %s --quanta-quantize-weights="levels=3" 2>&1 | FileCheck %s --check-prefix=LEVELS
// RUN: not quant-opt %s --quanta-quantize-weights="bits=4 group=2 zero=symmetric multiples=5" 2>&1 | FileCheck %s --check-prefix=MULTIPLES
// RUN: not quant-opt %s --quanta-quantize-weights="bits=4 group=2 zero=offset multiples=4" 2>&1 | FileCheck %s --check-prefix=OFFSET

// OFFSET: expected multiples of groups of columns, with a zero that is symmetric or a point, but got group = 2 and zero = offset
// MULTIPLES: expected multiples of at most 4 bits
// LEVELS: expected 0 levels, or 3 with 2 bits and no integer zero point, but got 3 with 4 bits
// TENSOR: method 'gptq' solves rows by themselves: expected a group of 0 or more but got -1
func.func @missing(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  %w = arith.constant dense<1.0> : tensor<1x8xf32>
  // expected-error-re@+1 {{'{{.*}}absent.moments' cannot be read: No such file or directory}}
  %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/absent.moments"} : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

func.func @foreign(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %w = arith.constant dense<1.0> : tensor<1x4xf32>
  // expected-error-re@+1 {{statistics '{{.*}}dead.moments' are of 1 times 8 inputs, but the weight has 1 times 4}}
  %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/dead.moments"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

func.func @empty(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  %w = arith.constant dense<1.0> : tensor<1x8xf32>
  // expected-error@+1 {{no calibration data reached the layer; calibrate with data that does, or keep it in float (keep=REGEX)}}
  %y = quanta.linear %x, %w {quanta.selected, quanta.statistics = "INPUTS/empty.moments"} : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}
