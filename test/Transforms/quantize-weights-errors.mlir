// RUN: quant-opt %s -split-input-file --quanta-quantize-weights -verify-diagnostics
// RUN: not quant-opt %s --quanta-quantize-weights="method=best" 2>&1 | FileCheck %s --check-prefix=METHOD
// RUN: not quant-opt %s --quanta-quantize-weights="bits=9" 2>&1 | FileCheck %s --check-prefix=BITS

// METHOD: expected method 'rtn', 'rtn-range' or 'gptq' but got 'best'
// BITS: expected 1 to 8 bits and a group of -1, 0 or more but got 9 and 128
func.func @infinite(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[1.0, 0x7F800000], [1.0, 1.0]]> : tensor<2x2xf32> loc("w")
  // expected-error@+1 {{weight 'w' holds an infinity or NaN; keep it in float (keep=REGEX) or mend the model}}
  %y = quanta.linear %x, %w {quanta.selected} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @half(%x: tensor<2x2xf16>) -> tensor<2x2xf16> {
  %w = arith.constant dense<1.0> : tensor<2x2xf16>
  // expected-error@+1 {{expected a constant f32 weight but got 'tensor<2x2xf16>'}}
  %y = quanta.linear %x, %w {quanta.selected} : (tensor<2x2xf16>, tensor<2x2xf16>) -> tensor<2x2xf16>
  return %y : tensor<2x2xf16>
}
