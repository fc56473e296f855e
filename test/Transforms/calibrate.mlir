// Stages, what the nested pipeline sees of them, and what is left.
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz pipeline="quanta-quantize-weights{bits=2 group=0}"' \
// RUN:   --mlir-print-ir-before=quanta-quantize-weights 2> %t.stages | FileCheck %s
// RUN: FileCheck %s --check-prefix=STAGES < %t.stages

// Nothing of the result but its time depends on threads; without `sequential` round-to-nearest gives the same weights, as it
// does not look at data, but other errors.
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz threads=1 pipeline="quanta-quantize-weights{bits=2 group=0}"' > %t.one
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz threads=2 pipeline="quanta-quantize-weights{bits=2 group=0}"' > %t.two
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz sequential=false batch=3 pipeline="quanta-quantize-weights{bits=2 group=0}"' > %t.whole
// RUN: sed -i 's/quanta.seconds = [^ ]* : f64, //' %t.one %t.two %t.whole
// RUN: diff %t.one %t.two
// RUN: sed 's/quanta.error_[a-z_]* = [^ ]* : f64, //g' %t.one > %t.bare
// RUN: sed 's/quanta.error_[a-z_]* = [^ ]* : f64, //g' %t.whole | diff %t.bare -

// A store keeps what was done; a second run has nothing left to do.
// RUN: rm -rf %t.store
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz store=%t.store pipeline="quanta-quantize-weights{bits=2 group=0}"' > %t.stored
// RUN: sed 's/quanta.seconds = [^ ]* : f64, //' %t.stored | diff %t.one -
// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz store=%t.store resume pipeline="quanta-quantize-weights{bits=2 group=0}"' \
// RUN:   2> %t.resumed | diff %t.stored -
// RUN: FileCheck %s --check-prefix=RESUMED < %t.resumed
// RESUMED: 3 of 3 stages were solved before
// RESUMED-NOT: stage

// RUN: quant-opt %s --quanta-calibrate='data=%S/Inputs/calibrate.npz dry-run pipeline="quanta-quantize-weights{bits=2 group=0}"' | FileCheck %s --check-prefix=DRY
// DRY: 3 stages
// DRY: stage 1:
// DRY-NEXT: first: tensor<4x6xf32>
// DRY-NEXT: side: tensor<4x6xf32>
// DRY: stage 2:
// DRY-NEXT: second: tensor<4x4xf32>
// DRY: 20 samples in 3 batches
// DRY: memory: {{[0-9.]+}} MB
// DRY: disk: {{[0-9.]+}} MB
// DRY: time without the solvers'
// DRY: quanta.linear {{.*}}quanta.selected

// A stage is the layers that read one value; the others are hidden from passes that act on all selected layers.
// STAGES: quanta.linear %arg0, {{.*}}{quanta.calibration_layer = 0 : i64, quanta.selected, quanta.statistics = "{{.*}}/moments-0.qmom"}
// STAGES: quanta.linear {{.*}}{quanta.calibration_layer = 1 : i64} :
// STAGES: quanta.linear %arg0, {{.*}}{quanta.calibration_layer = 2 : i64, quanta.selected, quanta.statistics = "{{.*}}/moments-0.qmom"}
// STAGES: quanta.conv2d {{.*}}{dilations{{.*}}quanta.calibration_layer = 3 : i64, strides
// STAGES: calibrate: stage 1/3: first, side: {{.*}} to run, {{.*}} to solve; about {{.*}} left
// STAGES: quanta.linear {{.*}}{quanta.calibration_layer = 0 : i64, {{.*}}quanta.weight_error
// STAGES: quanta.linear {{.*}}{quanta.calibration_layer = 1 : i64, quanta.selected, quanta.statistics = "{{.*}}/moments-1.qmom"}
// STAGES: calibrate: stage 2/3: second:
// STAGES: calibrate: stage 3/3: pixels:

// CHECK-LABEL: func.func @main
// CHECK-COUNT-3: quanta.linear {{.*}}quanta.weight_error = {{.*}}, #u2row>
// CHECK: quanta.conv2d {{.*}}#u2row>
// CHECK: quanta.linear {{.*}} : (tensor<?x4xf32>, tensor<4x4xf32>)
// CHECK-NOT: quanta.calibration_layer
func.func @main(%x: tensor<?x6xf32>) -> (tensor<?x4xf32>, tensor<?x2x2x1xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"]} {
  %w1 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0, -0.5, 2.0], [0.0, 0.5, 0.75, -1.0, -0.5, 2.0],
                              [1.0, 0.5, 0.25, -1.0, -0.5, 2.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]> : tensor<4x6xf32>
  %w2 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0], [0.3, 0.5, 0.25, -1.0], [1.0, 0.25, 0.25, -1.0], [1.0, 0.5, 0.15, -1.0]]> : tensor<4x4xf32>
  %w3 = arith.constant dense<[[0.9, 0.5, 0.25, -1.0, -0.5, 2.0], [0.0, 0.7, 0.75, -1.0, -0.5, 2.0],
                              [1.0, 0.5, 0.45, -1.0, -0.5, 2.0], [0.1, 0.2, 0.3, 0.4, 0.6, 0.6]]> : tensor<4x6xf32>
  %k = arith.constant dense<[[[[0.5]]], [[[0.25]]]]> : tensor<2x1x1x1xf32>
  %c0 = arith.constant 0 : index
  %a = quanta.linear %x, %w1 {quanta.selected} : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32> loc("first")
  %r = quanta.activation relu %a : tensor<?x4xf32>
  // A size that comes from a value, not from an input's shape, crosses the second cut.
  %n = tensor.dim %a, %c0 : tensor<?x4xf32>
  %s = quanta.linear %r, %w2 {quanta.selected} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> loc("second")
  // Not in the order of the data: lies behind "second" but reads what "first" reads.
  %b = quanta.linear %x, %w3 {quanta.selected} : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32> loc("side")
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %y = linalg.add ins(%s, %b : tensor<?x4xf32>, tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %p = tensor.expand_shape %y [[0], [1, 2, 3]] output_shape [%n, 2, 2, 1] : tensor<?x4xf32> into tensor<?x2x2x1xf32>
  %q = quanta.conv2d %p, %k {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 2 : i64, quanta.selected}
    : (tensor<?x2x2x1xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x2x1xf32> loc("pixels")
  // Not selected: stays as it is.
  %h = quanta.linear %y, %w2 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> loc("head")
  return %h, %q : tensor<?x4xf32>, tensor<?x2x2x1xf32>
}
