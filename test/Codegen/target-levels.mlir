// RUN: not quant-opt %s --quanta-emit-kernels=target=x86-avx3 2>&1 | FileCheck %s
// CHECK: error: there is no target level 'x86-avx3'; there are: x86-amx, x86-avx512-bf16, x86-avx512-vpopcnt, x86-avx512-vnni-bf16, x86-avx512-vnni, x86-avx512, x86-avx-vnni, x86-avx2, x86, arm-sve512-i8mm, arm-sve512, arm-sve256-i8mm, arm-sve256, arm-i8mm, arm-dotprod, arm, generic
module {}
