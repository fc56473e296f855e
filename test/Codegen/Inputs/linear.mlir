func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = quanta.constant {codes = dense<1> : tensor<32x64xi8>, scales = dense<1.0> : tensor<32x1xf16>}
    : tensor<32x64xf32, #quanta.uniform<bits = 4>>
  %y = quanta.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xf32, #quanta.uniform<bits = 4>>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
