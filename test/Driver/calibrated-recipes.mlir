// What each calibrated recipe stands for. There is no such data, so nothing runs.
// DEFINE: %{recipe} =
// DEFINE: %{dump} = not quantc %s -o %t.mlir --recipe %{recipe} --calib %t.none.npz --calib-samples 7 --dump-pass-pipeline 2>&1 | FileCheck %s
// REDEFINE: %{recipe} = 'gptq{bits=2 group=row only=layer}'
// RUN: %{dump} --check-prefix=GPTQ
// GPTQ: quanta-select-layers{{{.*}}only=layer},
// GPTQ-NEXT: quanta-calibrate{{{.*}}data={{.*}}none.npz {{.*}}pipeline={{.*}}quanta-quantize-weights{method=gptq bits=2 group=0 zero=offset}{{.*}}samples=7{{.*}}sequential=true
// REDEFINE: %{recipe} = 'gptq{bits=3 group=32 sym sequential=false}'
// RUN: %{dump} --check-prefix=SYM
// SYM: quanta-quantize-weights{method=gptq bits=3 group=32 zero=symmetric}{{.*}}sequential=false
// REDEFINE: %{recipe} = 'ternary'
// RUN: %{dump} --check-prefix=TERNARY
// TERNARY: quanta-quantize-weights{method=gptq bits=2 levels=3 group=0 zero=offset}
// REDEFINE: %{recipe} = 'gptq{bits=4 group=32 multiples=3}'
// RUN: %{dump} --check-prefix=POINTS
// POINTS: quanta-quantize-weights{method=gptq bits=4 group=32 multiples=3 zero=point}
// REDEFINE: %{recipe} = 'ternary{group=40 multiples=7}'
// RUN: %{dump} --check-prefix=TERNARIES
// TERNARIES: quanta-quantize-weights{method=gptq bits=2 levels=3 group=40 multiples=7 zero=symmetric}
// REDEFINE: %{recipe} = 'binary{group=64}'
// RUN: %{dump} --check-prefix=BINARY
// BINARY: quanta-binarize{group=64}
// REDEFINE: %{recipe} = 'pb-llm'
// RUN: %{dump} --check-prefix=TILES
// TILES: quanta-saliency-mask{form=tiles tile=32 kept=3},quanta-binarize{high-bits=8}
// REDEFINE: %{recipe} = 'pb-llm{salient=0.05 high-bits=4}'
// RUN: %{dump} --check-prefix=ELEMENTS
// ELEMENTS: quanta-saliency-mask{form=elements salient=0.05},quanta-binarize{high-bits=4}
// REDEFINE: %{recipe} = 'pb-llm{by=magnitude damping=0.03}'
// RUN: %{dump} --check-prefix=MAGNITUDE
// MAGNITUDE: quanta-saliency-mask{form=tiles tile=32 kept=3 by=magnitude damping=0.03},quanta-binarize{high-bits=8 damping=0.03}
// REDEFINE: %{recipe} = 'structured{salient=0.2}'
// RUN: %{dump} --check-prefix=COLUMNS
// COLUMNS: quanta-saliency-mask{form=columns salient=0.2},quanta-binarize{high-bits=4}
// REDEFINE: %{recipe} = 'low-rank{rank=8 bits=3}'
// RUN: %{dump} --check-prefix=BRANCH
// BRANCH: quanta-add-low-rank{rank=8 bits=3 factor-bits=8 iterations=1},quanta-binarize{low-bits=3 high-bits=8}
// RUN: quantc %s -o - --emit=quant-ir --recipe 'rtn{bits=2 group=row range}' --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: quanta-quantize-weights{bits=2 {{.*}}group=0{{.*}} method=rtn-range multiples=0 zero=point}

// REDEFINE: %{recipe} = 'gptq{group=tensor}'
// RUN: %{dump} --check-prefix=TENSOR
// TENSOR: recipe 'gptq': option 'group' must be a positive number or 'row', got 'tensor'
// REDEFINE: %{recipe} = 'structured{salient=16}'
// RUN: %{dump} --check-prefix=SHARE
// SHARE: recipe 'structured': option 'salient' must be a share from 0 to 1, got '16'
// REDEFINE: %{recipe} = 'pb-llm{by=size}'
// RUN: %{dump} --check-prefix=BY
// BY: recipe 'pb-llm': option 'by' must be one of hessian, magnitude, activation, got 'size'
// RUN: not quantc %s -o - --recipe gptq 2>&1 | FileCheck %s --check-prefix=DATA
// DATA: recipe 'gptq' looks at data: give --calib=FILE

func.func @main(%x: tensor<?x64xf32>) -> tensor<?x64xf32>
    attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["batch", 64]], quanta.output_dims = [["batch", 64]]} {
  %w = arith.constant dense<0.5> : tensor<64x64xf32> loc("w")
  %s = arith.constant dense<1.0> : tensor<64xf32>
  %b = arith.constant dense<0.0> : tensor<64xf32>
  %h = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32> loc("layer")
  %a = quanta.layer_norm %h, %s bias %b {epsilon = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
