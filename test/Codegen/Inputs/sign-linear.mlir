#w = #quanta.uniform<bits = 1>
#map = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%x: tensor<4x1024xf32>) -> tensor<4x64xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [[4, 1024]]} {
  %e = tensor.empty() : tensor<4x1024xf32>
  %s = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x1024xf32>) outs(%e : tensor<4x1024xf32>) {
  ^bb0(%in: f32, %out: f32):
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %minus = arith.constant -1.0 : f32
    %p = arith.cmpf oge, %in, %zero : f32
    %v = arith.select %p, %one, %minus : f32
    linalg.yield %v : f32
  } -> tensor<4x1024xf32>
  %w = quanta.constant {codes = dense<1> : tensor<64x1024xi8>, scales = dense<1.0> : tensor<64x1xf16>} : tensor<64x1024xf32, #w>
  %y = quanta.linear %s, %w : (tensor<4x1024xf32>, tensor<64x1024xf32, #w>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}
