// RUN: quant-opt %s -split-input-file -verify-diagnostics

func.func @present(%x: tensor<4xf32>) {
  // expected-error@+1 {{expected 2 operands as marked present but got 1}}
  %0 = "onnx.node"(%x) {op_type = "Add", domain = "", since_version = 14 : i64, node_attributes = {}, present = array<i1: true, true>} : (tensor<4xf32>) -> tensor<4xf32>
  return
}
