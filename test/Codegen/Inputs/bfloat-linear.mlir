#w = #quanta.uniform<bits = 4>
#p = #quanta.packed<base = #w>
func.func @main(%x: tensor<?x4096xf32>) -> tensor<?x64xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["rows", 4096]]} {
  %q = quanta.quantize %x : tensor<?x4096xf32> to tensor<?x4096xf32, #quanta.narrow<bf16>>
  %w = quanta.constant {codes = dense<3> : tensor<64x4096xi8>, scales = dense<1.0> : tensor<64x1xf16>} : tensor<64x4096xf32, #w>
  %y = quanta.linear %q, %w : (tensor<?x4096xf32, #quanta.narrow<bf16>>, tensor<64x4096xf32, #w>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
