// Components that contradict their encoding are refused when they are packed.
// RUN: sed 's/ENCODING/columns, count = 3/; s/MASK/dense<[0, 1, 0, 0, 1]> : tensor<5xi8>/' %s > %t.mlir
// RUN: not quantc %t.mlir -o %t.o 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: its mask has 2 ones, but its encoding says 3
func.func @main(%x: tensor<?x5xf32>) -> tensor<?x3xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = quanta.constant {mask = MASK, high.codes = dense<1> : tensor<3x3xi8>, high.scales = dense<1.0> : tensor<3x1xf16>,
    low.codes = dense<3> : tensor<3x2xi8>, low.scales = dense<1.0> : tensor<3x1xf16>}
    : tensor<3x5xf32, #quanta.split<ENCODING, high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 2, levels = 3>>>
  %y = quanta.linear %x, %w : (tensor<?x5xf32>,
    tensor<3x5xf32, #quanta.split<ENCODING, high = #quanta.uniform<bits = 8>, low = #quanta.uniform<bits = 2, levels = 3>>>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
// RUN: sed 's/ENCODING/columns, count = 3/; s/MASK/dense<[1, 1, 0, 0, 1]> : tensor<5xi8>/' %s > %t.mlir
// RUN: not quantc %t.mlir -o %t.o 2>&1 | FileCheck %s --check-prefix=LEVELS
// LEVELS: has codes of 3 or more in component 'low.codes'
// RUN: sed 's/ENCODING/columns, count = 3/; s/MASK/dense<[1, 1, 0, 0, 1]> : tensor<5xi8>/; s/levels = 3/group = 1, multiples = 2/; s/low.codes/low.multiples = dense<4> : tensor<3x2xi8>, low.codes/' %s > %t.mlir
// RUN: not quantc %t.mlir -o %t.o 2>&1 | FileCheck %s --check-prefix=MULTIPLES
// MULTIPLES: has integers above 3 in component 'low.multiples'
