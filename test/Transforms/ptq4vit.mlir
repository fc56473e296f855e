// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=16 threads=1 bits=4 act-bits=6 method=twin' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: quant-opt %s --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=16 threads=1 method=base' 2>/dev/null | FileCheck %s --check-prefix=BASE
// RUN: quant-opt %s --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=16 threads=1 method=twin-hessian probes=2' 2>/dev/null | FileCheck %s --check-prefix=HESSIAN
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=16 threads=1 method=repq' 2> %t.repq | FileCheck %s --check-prefix=REPQ
// RUN: FileCheck %s --check-prefix=NORM < %t.repq
// RUN: not quant-opt %s --quanta-ptq4vit='data=%S/Inputs/calibrate.npz method=three' 2>&1 | FileCheck %s --check-prefix=METHOD
// RUN: not quant-opt %s --quanta-ptq4vit='data=%S/Inputs/calibrate.npz act-bits=9' 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not quant-opt %s --quanta-ptq4vit 2>&1 | FileCheck %s --check-prefix=NODATA
// RUN: not quant-opt %s --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate-nan.npz' 2>&1 | FileCheck %s --check-prefix=NAN

// METHOD: error: option 'method' must be base, twin, twin-hessian or repq but is 'three'
// BITS: error: option 'act-bits' must be 2 to 8 but is 9
// NODATA: error: quanta-ptq4vit looks at activations: give it data=FILE
// NAN: error: {{.*}}calibrate-nan.npz{{.*}}

// What the model is given stays in float; each operand of a product gets a grid of its own.
// CHECK-LABEL: func.func @main
// CHECK: quanta.linear %arg0, %{{.*}} : (tensor<?x6xf32>, tensor<4x6xf32, #u4row>, tensor<4xf32>) -> tensor<?x4xf32>
// CHECK: %[[N:.*]] = quanta.layer_norm
// CHECK: %[[QN:.*]] = quanta.quantize %[[N]] : tensor<?x4xf32> to tensor<?x4xf32, #a6x1{{.*}}>
// CHECK: quanta.linear %[[QN]], %{{.*}} : (tensor<?x4xf32, #a6x1{{.*}}>, tensor<4x4xf32, #u4row>, tensor<4xf32>)
// CHECK: %[[G:.*]] = quanta.activation gelu
// CHECK: quanta.quantize %[[G]] : tensor<?x4xf32> to tensor<?x4xf32, #{{twin|a}}6{{.*}}>
// CHECK: quanta.softmax
// CHECK: quanta.quantize %{{.*}} : tensor<?x2x2xf32> to tensor<?x2x2xf32, #{{twin|a}}6{{.*}}>
// CHECK: quanta.matmul %{{.*}}, %{{.*}} : (tensor<?x2x2xf32, #{{.*}}>, tensor<?x2x2xf32, #a6x1{{.*}}>) -> tensor<?x2x2xf32>
// REMARK-DAG: loc("first"): relative error {{.*}}e-0
// REMARK-DAG: loc("second"): relative error {{.*}}e-0{{.*}}, left operand #quanta.affine<bits = 6,
// REMARK-DAG: loc("product"): relative error {{.*}}, left operand {{.*}}, right operand #quanta.affine<bits = 6,

// REMARK-DAG: on 4 batches that were kept, method twin changes the output by {{.*}}e-0{{.*}}, base by
// A search with few bits and samples finds what is worse for the model.
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=16 threads=1 bits=3 act-bits=3 probes=2' 2>&1 | FileCheck %s --check-prefix=GUARD
// GUARD: on 4 batches that were kept, method twin-hessian changes the output by {{.*}}, base by {{.*}}: base is taken
// GUARD-NOT: quanta.quantize {{.*}}twin

// With too few samples to keep any the method's own grids stay.
// RUN: quant-opt %s --mlir-print-op-on-diagnostic=false --quanta-select-layers=head --quanta-ptq4vit='data=%S/Inputs/calibrate.npz samples=3 threads=1 act-bits=4 method=twin' 2>&1 | FileCheck %s --check-prefix=TWIN
// TWIN-NOT: were kept
// TWIN: #[[TWIN:.*]] = #quanta.twin<bits = 4
// TWIN: quanta.quantize {{.*}}#[[TWIN]]>

// BASE-NOT: #quanta.twin
// BASE: quanta.quantize
// HESSIAN: quanta.quantize

// REPQ: #quanta.log2<bits = 7, scale = {{.*}}, root = true>
// NORM: loc("norm"): its channels' grids became one, of factors from {{.*}} to {{.*}}
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w1 = arith.constant dense<[[1.0, 0.5, 0.25, -1.0, -0.5, 2.0], [0.0, 0.5, 0.75, -1.0, -0.5, 2.0],
                              [0.5, 0.5, -0.25, 1.0, 0.5, 0.3], [0.7, -0.5, 0.75, 0.1, -0.5, 0.0]]> : tensor<4x6xf32>
  %w2 = arith.constant dense<[[1.0, 0.5, -0.3, 0.1], [0.25, -1.0, 0.2, 0.9], [0.2, 0.3, 0.4, -0.5], [1.0, -0.1, 0.0, 0.6]]> : tensor<4x4xf32>
  %b = arith.constant dense<[0.1, -0.2, 0.3, 0.0]> : tensor<4xf32>
  %gamma = arith.constant dense<[1.0, 3.0, 0.25, 0.5]> : tensor<4xf32>
  %beta = arith.constant dense<[0.0, 1.0, -0.5, 0.1]> : tensor<4xf32>
  %a = quanta.linear %x, %w1 bias %b : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("first")
  %n = quanta.layer_norm %a, %gamma bias %beta {epsilon = 1.0e-5 : f32} : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("norm")
  %c = quanta.linear %n, %w2 bias %b : (tensor<?x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("second")
  %g = quanta.activation gelu %c : tensor<?x4xf32>
  %d = quanta.linear %g, %w2 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> loc("third")
  %zero = arith.constant 0 : index
  %rows = tensor.dim %d, %zero : tensor<?x4xf32>
  %e = tensor.expand_shape %d [[0], [1, 2]] output_shape [%rows, 2, 2] : tensor<?x4xf32> into tensor<?x2x2xf32>
  %p = quanta.softmax %e : tensor<?x2x2xf32>
  %y = quanta.matmul %p, %e : (tensor<?x2x2xf32>, tensor<?x2x2xf32>) -> tensor<?x2x2xf32> loc("product")
  return %y : tensor<?x2x2xf32>
}
