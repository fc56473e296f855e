// Blocks that add to what they read are scored by how much they change it: the second one, whose weights are large, matters more.
// RUN: quantc %s -o - --emit=quant-ir --recipe 'auto{bpw=13 candidates=gptq{bits=2},gptq{bits=8} samples=20 head loss=lim}' --calib %S/../Transforms/Inputs/calibrate.npz 2>%t.log \
// RUN:   | FileCheck %s
// RUN: FileCheck %s --check-prefix=SCORES < %t.log
// SCORES: 'first': score -0.9{{[0-9]+}}, 0 of 2 layers are below
// SCORES: 'second': score {{-?0.[0-8][0-9]+}}, 1 of 2 layers are below
// CHECK: quanta.linear {{.*}}#u2row>
// CHECK: quanta.linear {{.*}}#u8row>
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x6xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"],
    quanta.dims = [["batch", 6]], quanta.output_dims = [["batch", 6]]} {
  %w = arith.constant dense<[[0.10, 0.053, 0.025, -0.10, -0.052, 0.20], [0.011, 0.053, 0.075, -0.13, -0.05, 0.20], [0.10, 0.05, 0.025, -0.10, -0.057, 0.20],
                             [0.01, 0.022, 0.03, 0.041, 0.05, 0.06], [0.03, -0.071, 0.02, 0.013, -0.05, 0.10], [-0.11, 0.044, 0.02, 0.09, 0.077, 0.025]]> : tensor<6x6xf32> loc("w")
  %v = arith.constant dense<[[1.0, 5.1, 2.3, -1.2, -5.0, 2.0], [7.1, 5.0, 7.7, -1.0, -5.9, 2.0], [1.3, 5.0, 2.5, -1.0, -5.2, 2.4],
                             [1.2, 2.0, 3.3, 4.0, 5.1, 6.0], [0.7, 0.20, 0.33, -0.40, 0.11, 0.61], [3.0, -7.1, 2.0, 1.3, -5.0, 1.0]]> : tensor<6x6xf32> loc("v")
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x6xf32>
  %e = tensor.empty(%n) : tensor<?x6xf32>
  %y = quanta.linear %x, %w : (tensor<?x6xf32>, tensor<6x6xf32>) -> tensor<?x6xf32> loc("first")
  %r = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %y : tensor<?x6xf32>, tensor<?x6xf32>) outs(%e : tensor<?x6xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<?x6xf32>
  %z = quanta.linear %r, %v : (tensor<?x6xf32>, tensor<6x6xf32>) -> tensor<?x6xf32> loc("second")
  %t = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%r, %z : tensor<?x6xf32>, tensor<?x6xf32>) outs(%e : tensor<?x6xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<?x6xf32>
  return %t : tensor<?x6xf32>
}
