// RUN: quant-opt %s --quanta-quantize-activations='act=int8-tensor data=%S/Inputs/calibrate.npz samples=16 threads=1' | FileCheck %s

// A convolution reads the value as it is, a linear layer its rows: the same encoding, two shapes.
// CHECK: #[[ENCODING:.*]] = #quanta.affine
// CHECK-DAG: %[[ROWS:.*]] = quanta.quantize %{{.*}} : tensor<?x3xf32> to tensor<?x3xf32, #[[ENCODING]]>
// CHECK-DAG: %[[IMAGE:.*]] = quanta.quantize %{{.*}} : tensor<?x1x2x3xf32> to tensor<?x1x2x3xf32, #[[ENCODING]]>
// CHECK-DAG: quanta.conv2d %[[IMAGE]]
// CHECK-DAG: quanta.linear %[[ROWS]]
#u8 = #quanta.uniform<bits = 8>
func.func @main(%x: tensor<?x6xf32>) -> (tensor<?x2x1x2xf32>, tensor<?x1x2x2xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"]} {
  %k = quanta.constant {codes = dense<[[-127, 64, 3, 5], [127, 8, -100, 50]]> : tensor<2x4xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x1x2x2xf32, #u8>
  %w = quanta.constant {codes = dense<[[-127, -126, -125], [100, 101, 90]]> : tensor<2x3xi8>, scales = dense<0.5> : tensor<2x1xf16>} : tensor<2x3xf32, #u8>
  %0 = arith.constant 0 : index
  %batch = tensor.dim %x, %0 : tensor<?x6xf32>
  %image = tensor.expand_shape %x [[0], [1, 2, 3]] output_shape [%batch, 1, 2, 3] : tensor<?x6xf32> into tensor<?x1x2x3xf32>
  %y = quanta.conv2d %image, %k {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<?x1x2x3xf32>, tensor<2x1x2x2xf32, #u8>) -> tensor<?x2x1x2xf32> loc("convolution")
  %z = quanta.linear %image, %w : (tensor<?x1x2x3xf32>, tensor<2x3xf32, #u8>) -> tensor<?x1x2x2xf32> loc("linear")
  return %y, %z : tensor<?x2x1x2xf32>, tensor<?x1x2x2xf32>
}
