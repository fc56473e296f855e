// A recipe is a pass pipeline; stopping and resuming gives the same; the report counts every stored bit.
// RUN: quantc %s -o %t.mlir --recipe 'rtn{bits=3 group=16 keep="b.*" only=w}' --keep 'c{1,2}' --dump-pass-pipeline 2>&1 \
// RUN:   | FileCheck %s --check-prefix=PIPELINE
// PIPELINE: // quantize
// PIPELINE: quanta-select-layers{head=false keep={{.*}}(b.*)|(c{1,2}){{.*}} only=w},
// PIPELINE-NEXT: quanta-quantize-weights{bits=3 {{.*}}group=16 levels=0 method=rtn multiples=0 zero=point}
// RUN: quantc %s -o - --emit=quant-ir --recipe 'rtn{bits=4 group=32},int8' --report %t.json | FileCheck %s
// CHECK: quanta.constant
// CHECK: quanta.linear
// RUN: FileCheck %s --check-prefix=REPORT < %t.json
// 64·64 codes of 4 bits, and for each of 128 groups a scale of 16 and a zero point of 4 bits: 4.625 bits a weight.
// REPORT: "bits_per_weight": 4.625
// REPORT: "encoding": "#quanta.uniform<bits = 4, group = 32, zero = point>"
// REPORT: "shape": [
// REPORT-NEXT: 64
// The same groups with integers of 4 bits and a scale for each row of 64: 4 + 4/32 + 16/64 bits.
// RUN: quantc %s -o - --emit=quant-ir --recipe 'rtn{bits=4 group=32 sym multiples=4}' --report %t.json | FileCheck %s
// RUN: FileCheck %s --check-prefix=MULTIPLES < %t.json
// MULTIPLES: "bits_per_weight": 4.375
// MULTIPLES: "encoding": "#quanta.uniform<bits = 4, group = 32, multiples = 4>"
// RUN: not quantc %s -o %t.o --recipe 'rtn{bits=4 group=32 multiples=4}' 2>&1 | FileCheck %s --check-prefix=POINT
// POINT: expected multiples of at most 3 bits, which leave a signed byte for multiple · (q - zero), but got 4
// RUN: not quantc %s -o %t.o --recipe 'rtn{bits=4 group=row multiples=3}' 2>&1 | FileCheck %s --check-prefix=NOGROUPS
// NOGROUPS: expected multiples of groups of columns, with a zero that is symmetric or a point, but got group = 0 and zero = point
// RUN: quantc %s -o - --emit=quant-ir --recipe 'rtn{act=int8-token}' --report %t.json | FileCheck %s --check-prefix=ACT
// ACT: quanta.quantize
// RUN: FileCheck %s --check-prefix=ACTREPORT < %t.json
// ACTREPORT: "act": "int8-token"
// RUN: not quantc %s -o %t.o --recipe 'rtn{act=int9}' 2>&1 | FileCheck %s --check-prefix=WRONG
// WRONG: recipe 'rtn': option 'act' must be 'f32', 'bf16', or 'int' with 2 to 8 bits and '-token', '-tensor' or '-cluster', as 'int8-token', got 'int9'
// RUN: not quantc %s -o %t.o --recipe 'rtn{act=int8-tensor}' 2>&1 | FileCheck %s --check-prefix=NODATA
// NODATA: recipe 'rtn' with act=int8-tensor looks at data: give --calib=FILE
// RUN: not quantc %s -o %t.mlir --calib not-there.npz --recipe 'rtn{act=int4-cluster}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=STATIC
// STATIC: quanta-quantize-activations{act=int4-cluster data=not-there.npz {{.*}}range=mse samples=128
// RUN: not quantc %s -o %t.mlir --calib not-there.npz --recipe 'rtn{act=int4-token correct-bias}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=BIAS
// BIAS: quanta-select-layers
// BIAS-NEXT: quanta-measure-outputs{data=not-there.npz
// BIAS-NEXT: quanta-quantize-weights
// BIAS-NEXT: quanta-quantize-activations
// BIAS-NEXT: quanta-correct-biases{data=not-there.npz
// RUN: not quantc %s -o %t.o --recipe 'rtn{correct-bias}' 2>&1 | FileCheck %s --check-prefix=NOBIASDATA
// NOBIASDATA: recipe 'rtn' with correct-bias looks at data: give --calib=FILE
// RUN: quantc %s -o %t.mlir --recipe 'rtn,attention{bits=6 keep=x}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=ATTENTION
// ATTENTION: quanta-quantize-activations{act=int6-attention {{.*}}keep=x
// RUN: quantc %s -o %t.html.mlir --recipe rtn --report %t.html && FileCheck %s --check-prefix=HTML < %t.html
// HTML: <svg

// RUN: quantc %s -o %t.mlirbc --recipe 'rtn{sym}' && quantc %t.mlirbc -o %t.1.o --name m --compile-from=lower
// RUN: quantc %s -o %t.2.o --name m --recipe 'rtn{sym}'
// RUN: quant-opt %s --pass-pipeline='builtin.module(quanta-select-layers,quanta-quantize-weights{method=rtn bits=4 group=128 zero=symmetric})' -o %t.3.mlir
// RUN: quantc %t.3.mlir -o %t.3.o --name m --compile-from=lower && cmp %t.1.o %t.3.o

func.func @main(%x: tensor<?x64xf32>) -> tensor<?x64xf32>
    attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["batch", 64]], quanta.output_dims = [["batch", 64]]} {
  %w = arith.constant dense<0.5> : tensor<64x64xf32> loc("w")
  %s = arith.constant dense<1.0> : tensor<64xf32>
  %b = arith.constant dense<0.0> : tensor<64xf32>
  %h = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32> loc("layer")
  %a = quanta.layer_norm %h, %s bias %b {epsilon = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
