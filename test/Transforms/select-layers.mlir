// RUN: quant-opt %s --quanta-select-layers | FileCheck %s
// RUN: quant-opt %s --quanta-select-layers="head=true" | FileCheck %s --check-prefix=HEAD
// RUN: quant-opt %s --quanta-select-layers="keep=first only=v|first" | FileCheck %s --check-prefix=KEEP
// A later selection takes what an earlier one has left, and nothing else.
// RUN: quant-opt %s --pass-pipeline='builtin.module(quanta-select-layers{only=w},quanta-quantize-weights{bits=2 group=0},quanta-select-layers{only=v head=true})' | FileCheck %s --check-prefix=TWICE
// RUN: not quant-opt %s --quanta-select-layers="keep=(" 2>&1 | FileCheck %s --check-prefix=PATTERN

// PATTERN: option 'keep' is not a regular expression

// CHECK-LABEL: func @main
// CHECK: quanta.linear {{.*}} {quanta.selected} :
// CHECK: quanta.linear {{.*}} {quanta.note = "in float: its weight is not a constant"} :
// CHECK: quanta.linear {{.*}} {quanta.note = "in float: output head"} :
// HEAD: quanta.linear {{.*}} {quanta.selected} :
// HEAD: quanta.linear {{.*}} {quanta.note = "in float: its weight is not a constant"} :
// HEAD: quanta.linear {{.*}} {quanta.selected} :
// KEEP: quanta.linear {{.*}} {quanta.note = "in float: kept by request"} :
// KEEP: quanta.linear {{.*}} {quanta.note = "in float: its weight is not a constant"} :
// KEEP: quanta.linear {{.*}} {quanta.note = "in float: output head"} :
// TWICE: quanta.linear {{.*}} {quanta.weight_error = {{[^,]*}}} :
// TWICE: quanta.linear {{.*}} {quanta.note = "in float: its weight is not a constant"} :
// TWICE: quanta.linear {{.*}} {quanta.selected} :
func.func @main(%x: tensor<?x4xf32>, %u: tensor<2x2xf32>) -> tensor<?x3xf32> {
  %w = arith.constant dense<[[3.0, -1.0, 0.0, 1.0], [0.0, 0.0, -1.0, 1.0]]> : tensor<2x4xf32> loc("w")
  %v = arith.constant dense<0.5> : tensor<3x2xf32> loc("v")
  %y = quanta.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32> loc("first")
  %z = quanta.linear %y, %u : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("second")
  %h = quanta.linear %z, %v : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32> loc("head")
  %p = quanta.softmax %h : tensor<?x3xf32>
  return %p : tensor<?x3xf32>
}
