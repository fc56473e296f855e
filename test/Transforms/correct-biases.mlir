// RUN: quant-opt %s --quanta-correct-biases='data=%S/Inputs/calibrate.npz samples=16 threads=1' 2>&1 | FileCheck %s
// RUN: quant-opt %s --quanta-measure-outputs='data=%S/Inputs/calibrate.npz samples=16 threads=1' | FileCheck %s --check-prefix=MEASURE
// What was measured is found again behind the passes that quantize.
// RUN: quant-opt %s --pass-pipeline='builtin.module(quanta-measure-outputs{data=%S/Inputs/calibrate.npz samples=16},quanta-quantize-weights{method=rtn},quanta-quantize-activations{act=int8-token},quanta-correct-biases{data=%S/Inputs/calibrate.npz samples=16})' 2>&1 | FileCheck %s --check-prefix=THROUGH
// THROUGH: remark: loc("third"): bias takes the mean error of the output, 0.0e+00 at most
// RUN: not quant-opt %s --quanta-measure-outputs 2>&1 | FileCheck %s --check-prefix=NODATA
// RUN: not quant-opt %s --quanta-correct-biases 2>&1 | FileCheck %s --check-prefix=NODATA
// NODATA: error: quanta-{{measure-outputs|correct-biases}} runs the model: give it data=FILE
// Data is matched with inputs by name, the first of which is input0 by itself.
// RUN: sed 's/quanta.inputs = ."x"., //' %s | not quant-opt --quanta-correct-biases='data=%S/Inputs/calibrate.npz' 2>&1 | FileCheck %s --check-prefix=NONAMES
// NONAMES: error: {{.*}}input0

// The first layer computes its bias, whatever its input is. The second one computes relu of it, and sees it corrected: (1.5, 0),
// so that (2, 1) needs (0.5, 1) more; without a bias it gets one. The last layer was not measured, so it stays.
// CHECK: remark: {{.*}}bias takes the mean error of the output, 3.0e+00 at most
// CHECK: remark: {{.*}}bias takes the mean error of the output, 1.0e+00 at most
// CHECK: quanta.linear %{{.*}}, %{{.*}} bias %{{.*}} :
// CHECK: %[[R:.*]] = quanta.activation relu
// CHECK: %[[B:.*]] = quanta.linear %[[R]], %{{.*}} bias %{{.*}} :
// CHECK: quanta.linear %[[B]], %{{.*}} bias %{{.*}} {quanta.selected} :
// The arrays 1.5, -2 and 0.5, 1.
// CHECK: first.bias: "0x{{[0-9]+}}0000C03F000000C0"
// CHECK: second.bias: "0x{{[0-9]+}}0000003F0000803F"

// MEASURE: quanta.output_mean = array<f64: 3.000000e+00, -1.000000e+00>, quanta.selected
#u8 = #quanta.uniform<bits = 8>
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w1 = quanta.constant {codes = dense<-128> : tensor<2x6xi8>, scales = dense<1.0> : tensor<2x1xf16>} : tensor<2x6xf32, #u8>
  %w2 = quanta.constant {codes = dense<[[-127, -128], [-128, -127]]> : tensor<2x2xi8>, scales = dense<1.0> : tensor<2x1xf16>} : tensor<2x2xf32, #u8>
  %w3 = arith.constant dense<0.0> : tensor<2x2xf32>
  %b1 = arith.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %b3 = arith.constant dense<[3.0, -1.0]> : tensor<2xf32>
  %a = quanta.linear %x, %w1 bias %b1 {quanta.output_mean = array<f64: 1.5, -2.0>} : (tensor<?x6xf32>, tensor<2x6xf32, #u8>, tensor<2xf32>) -> tensor<?x2xf32> loc("first")
  %r = quanta.activation relu %a : tensor<?x2xf32>
  %b = quanta.linear %r, %w2 {quanta.output_mean = array<f64: 2.0, 1.0>} : (tensor<?x2xf32>, tensor<2x2xf32, #u8>) -> tensor<?x2xf32> loc("second")
  %y = quanta.linear %b, %w3 bias %b3 {quanta.selected} : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32> loc("third")
  return %y : tensor<?x2xf32>
}
