// RUN: quant-opt %s --quanta-quantize-activations='act=int8-tensor data=%S/Inputs/calibrate.npz samples=16 range=minmax threads=1' | FileCheck %s
// RUN: quant-opt %s --quanta-quantize-activations='act=int4-cluster data=%S/Inputs/calibrate.npz samples=16 threads=1' | FileCheck %s --check-prefix=CLUSTER
// RUN: not quant-opt %s --quanta-quantize-activations=act=int8-tensor 2>&1 | FileCheck %s --check-prefix=NODATA
// RUN: not quant-opt %s --quanta-quantize-activations='act=int8-tensor range=best data=x' 2>&1 | FileCheck %s --check-prefix=RANGE
// NODATA: error: act=int8-tensor chooses ranges on data: give quanta-quantize-activations data=FILE
// RANGE: error: option 'range' must be mse or minmax but is 'best'

// The input is not negative behind a rectifier: its zero is the least code. Each layer's range is seen behind encoded weights.
// CHECK: #[[FIRST:.*]] = #quanta.affine<bits = 8, scales = [{{.*}}], zeros = [{{-?[0-9]+}}]>
// CHECK: #[[SECOND:.*]] = #quanta.affine<bits = 8, scales = [{{.*}}], zeros = [-127]>
// CHECK: quanta.quantize %{{.*}} : tensor<?x6xf32> to tensor<?x6xf32, #[[FIRST]]>
// CHECK: %[[RECTIFIED:.*]] = quanta.activation relu
// CHECK: %[[Q:.*]] = quanta.quantize %[[RECTIFIED]] : tensor<?x4xf32> to tensor<?x4xf32, #[[SECOND]]>
// CHECK: quanta.linear %[[Q]]
// CLUSTER: #quanta.affine<bits = 4, splits = [2], scales = [{{[^,]*}}, {{[^,]*}}], zeros = [{{[^,]*}}, {{[^,]*}}]>
#u8 = #quanta.uniform<bits = 8>
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w1 = quanta.constant {codes = dense<[[-127, -126, -125, 127, 120, -116], [100, 101, 90, -106, -96, -86], [-128, -127, -128, 127, 126, -128],
      [-128, -127, 127, -128, -128, -127]]> : tensor<4x6xi8>, scales = dense<0.5> : tensor<4x1xf16>} : tensor<4x6xf32, #u8>
  %w2 = quanta.constant {codes = dense<[[-127, -126, -125, 127], [100, 101, 90, -106]]> : tensor<2x4xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x4xf32, #u8>
  %a = quanta.linear %x, %w1 : (tensor<?x6xf32>, tensor<4x6xf32, #u8>) -> tensor<?x4xf32> loc("first")
  %g = quanta.activation relu %a : tensor<?x4xf32>
  %y = quanta.linear %g, %w2 {quanta.input_clusters = array<i64: 2, 2>} : (tensor<?x4xf32>, tensor<2x4xf32, #u8>) -> tensor<?x2xf32> loc("second")
  return %y : tensor<?x2xf32>
}
