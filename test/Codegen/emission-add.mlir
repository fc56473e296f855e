// The smallest model: y = x + a + b, with weights stored as they are, as tiles and as packed codes. A C program links two
// objects of it, shares a pool between them and looks at every kind of weight.

// REQUIRES: x86_64
// RUN: rm -rf %t && mkdir -p %t
// RUN: quantc %s -o %t/first.o && quantc %s --name second -o %t/other.o
// RUN: quantc %s -o %t/first.h && quantc %s -o %t/second.h
// RUN: cc -std=c11 -Wall -Wextra -Werror -I%t %S/Inputs/two-models.c %t/first.o %t/other.o -o %t/two -lm -lpthread
// RUN: %t/two | FileCheck %s --check-prefix=PROGRAM
// PROGRAM: first: 12 23 34 45 56 67 78 89
// PROGRAM: second: 12 23 34 45 56 67 78 89
// PROGRAM: wrong type: model 'first': input 'x' must be f32, got i32

// Headers are C and C++, and do not collide.
// RUN: cc -x c++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I%t -include %t/first.h %t/second.h
// RUN: FileCheck %s --check-prefix=HEADER < %t/first.h
// HEADER: [0] x: f32 [batch]

// The object needs libc alone, and shows its own functions only.
// RUN: cc -shared -nostdlib -Wl,-z,defs %t/first.o -o %t/libc-only.so -lm -lpthread -lc
// RUN: nm -g --defined-only %t/first.o | FileCheck %s --check-prefix=SYMBOLS
// SYMBOLS-COUNT-1: T first_create
// SYMBOLS-NEXT: T first_destroy
// SYMBOLS-NEXT: T first_info
// SYMBOLS-NEXT: T first_last_error
// SYMBOLS-NEXT: T first_reset
// SYMBOLS-NEXT: T first_run
// SYMBOLS-NEXT: R first_weights
// SYMBOLS-NEXT: V quanta_api_table
// SYMBOLS-NEXT: W quanta_pool_create
// SYMBOLS-NEXT: W quanta_pool_destroy
// SYMBOLS-NOT: {{.}}

// The library exports the interface alone and needs nothing but libc.
// RUN: quantc %s -o %t/first.so
// RUN: nm -D --defined-only %t/first.so | FileCheck %s --check-prefix=EXPORTS
// EXPORTS-NOT: weights
// EXPORTS: quanta_api_table
// RUN: ldd %t/first.so | not grep -v -E 'linux-vdso|libc\.so|libm\.so|ld-linux'

// The same bytes every time, whatever the output's name is.
// RUN: quantc %s --name first -o %t/again.o && cmp %t/first.o %t/again.o
// RUN: quantc %s --name first -o %t/again.so && cmp %t/first.so %t/again.so
// RUN: quantc %s --name first --threads 1 -o %t/again.o && cmp %t/first.o %t/again.o
// RUN: ls -A %t | not grep tmp

// The executable reads and writes .npz.
// RUN: quantc %s -o %t/runner
// RUN: %python -c "import numpy as n; n.savez('%t/in.npz', x=n.arange(1, 9, dtype=n.float32))"
// RUN: %t/runner --inputs %t/in.npz --outputs %t/out.npz --threads 2
// RUN: %python -c "import numpy as n; y = n.load('%t/out.npz')['y']; print(y.dtype, y.tolist())" | FileCheck %s --check-prefix=NPZ
// NPZ: float32 [12.0, 23.0, 34.0, 45.0, 56.0, 67.0, 78.0, 89.0]
// RUN: not %t/runner --inputs %s 2>&1 | FileCheck %s --check-prefix=NOTNPZ
// NOTNPZ: runner: error: '{{.*}}' is not an .npz file

// Weights beyond 2 GiB are far from code; weights of their own are found again, and others refused.
// RUN: quantc %s --weights=large --name large -o %t/large.o && readelf -SW %t/large.o | FileCheck %s --check-prefix=LARGE
// LARGE: .lrodata.quanta.large {{.*}} Al {{.*}} 64
// RUN: quantc %s --weights=large --name first -o %t/first.o
// RUN: cc -fuse-ld=lld -I%t %S/Inputs/two-models.c %t/first.o %t/other.o -o %t/two -lm -lpthread
// RUN: %t/two | FileCheck %s --check-prefix=PROGRAM
// RUN: readelf -rW %t/first.o | grep first_weights | FileCheck %s --check-prefix=RELOCATIONS
// RELOCATIONS-NOT: PC32
// RELOCATIONS: R_X86_64_64
// RELOCATIONS-NOT: PC32
// RUN: quantc %s --weights=file -o %t/apart && %t/apart --inputs %t/in.npz --weights %t/apart.weights
// RUN: not %t/apart --inputs %t/in.npz 2>&1 | FileCheck %s --check-prefix=APART
// APART: apart: error: model 'apart': its weights are in a file of their own

module attributes {quanta.model = {name = "", recipe = "rtn",
    inputs = [{name = "x", type = "f32", shape = array<i64: -1>, symbols = array<i32: 0>}],
    outputs = [{name = "y", type = "f32", shape = array<i64: -1>, symbols = array<i32: 0>}], symbols = ["batch"]}} {
  quanta.weights @a memref<8xf32> = dense<[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]> : tensor<8xf32>
  // 3 rows in tiles of 2: [tile][column][row] = 0 2 1 3 4 0 5 0
  quanta.weights @tiles memref<2x2x2xf32> = dense<[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]> : tensor<3x2xf32>
    layout #quanta.packed<rows = 2>
  quanta.weights @b memref<8xf32> = dense<1.0> : tensor<8xf32>
  quanta.weights @codes memref<64xi8> = {codes = dense<5> : tensor<1x8xi8>, scales = dense<0.5> : tensor<1x1xf16>}
    layout #quanta.packed<base = #quanta.uniform<bits = 4>, rows = 16> {component = "codes", shape = array<i64: 1, 8>}
  quanta.weights @scales memref<1x1x16xf16> = {codes = dense<5> : tensor<1x8xi8>, scales = dense<0.5> : tensor<1x1xf16>}
    layout #quanta.packed<base = #quanta.uniform<bits = 4>, rows = 16> {component = "scales", shape = array<i64: 1, 8>}

  llvm.func @quanta_rt_weights(!llvm.ptr) -> !llvm.ptr
  llvm.func @quanta_rt_input(!llvm.ptr, i32) -> !llvm.ptr
  llvm.func @quanta_rt_symbol(!llvm.ptr, i32) -> i64
  llvm.func @quanta_rt_alloc(!llvm.ptr, i64) -> !llvm.ptr
  llvm.func @quanta_rt_output(!llvm.ptr, i32, !llvm.ptr, i32, !llvm.ptr)
  llvm.func @quanta_rt_fail(!llvm.ptr, !llvm.ptr)
  llvm.mlir.global private constant @wrong("a weight is not where it should be\00")

  // Weights behind `at`, as 32-bit words, must be these.
  llvm.func @expect(%rt: !llvm.ptr, %base: !llvm.ptr, %at: i64, %word: i32) attributes {sym_visibility = "private"} {
    %address = llvm.getelementptr %base[%at] : (!llvm.ptr, i64) -> !llvm.ptr, i8
    %found = llvm.load %address : !llvm.ptr -> i32
    %equal = llvm.icmp "eq" %found, %word : i32
    llvm.cond_br %equal, ^done, ^fail
  ^fail:
    %message = llvm.mlir.addressof @wrong : !llvm.ptr
    llvm.call @quanta_rt_fail(%rt, %message) : (!llvm.ptr, !llvm.ptr) -> ()
    llvm.br ^done
  ^done:
    llvm.return
  }

  llvm.func @quanta_entry(%rt: !llvm.ptr) -> i32 {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %one = llvm.mlir.constant(1 : i64) : i64
    %zero = llvm.mlir.constant(0 : i64) : i64
    %four = llvm.mlir.constant(4 : i64) : i64
    %rank = llvm.mlir.constant(1 : i32) : i32
    %w = llvm.call @quanta_rt_weights(%rt) : (!llvm.ptr) -> !llvm.ptr

    // @tiles is at 64: its second word is 2.0 and its sixth is the padding.
    %at_tiles = llvm.mlir.constant(68 : i64) : i64
    %two = llvm.mlir.constant(0x40000000 : i32) : i32
    llvm.call @expect(%rt, %w, %at_tiles, %two) : (!llvm.ptr, !llvm.ptr, i64, i32) -> ()
    %at_padding = llvm.mlir.constant(84 : i64) : i64
    llvm.call @expect(%rt, %w, %at_padding, %c0) : (!llvm.ptr, !llvm.ptr, i64, i32) -> ()
    // @codes is at 192: eight 4-bit codes of row 0, then the rows that do not exist. @scales is at 256.
    %at_codes = llvm.mlir.constant(192 : i64) : i64
    %fives = llvm.mlir.constant(0x55555555 : i32) : i32
    llvm.call @expect(%rt, %w, %at_codes, %fives) : (!llvm.ptr, !llvm.ptr, i64, i32) -> ()
    %at_none = llvm.mlir.constant(196 : i64) : i64
    llvm.call @expect(%rt, %w, %at_none, %c0) : (!llvm.ptr, !llvm.ptr, i64, i32) -> ()
    %at_scales = llvm.mlir.constant(256 : i64) : i64
    %half = llvm.mlir.constant(0x3800 : i32) : i32
    llvm.call @expect(%rt, %w, %at_scales, %half) : (!llvm.ptr, !llvm.ptr, i64, i32) -> ()

    %x = llvm.call @quanta_rt_input(%rt, %c0) : (!llvm.ptr, i32) -> !llvm.ptr
    %size = llvm.call @quanta_rt_symbol(%rt, %c0) : (!llvm.ptr, i32) -> i64
    %bytes = llvm.mul %size, %four : i64
    %y = llvm.call @quanta_rt_alloc(%rt, %bytes) : (!llvm.ptr, i64) -> !llvm.ptr
    %b = llvm.getelementptr %w[128] : (!llvm.ptr) -> !llvm.ptr, i8
    llvm.br ^head(%zero : i64)
  ^head(%i: i64):
    %more = llvm.icmp "slt" %i, %size : i64
    llvm.cond_br %more, ^body, ^done
  ^body:
    %x_at = llvm.getelementptr %x[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %a_at = llvm.getelementptr %w[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %b_at = llvm.getelementptr %b[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %y_at = llvm.getelementptr %y[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %xv = llvm.load %x_at : !llvm.ptr -> f32
    %av = llvm.load %a_at : !llvm.ptr -> f32
    %bv = llvm.load %b_at : !llvm.ptr -> f32
    %s = llvm.fadd %xv, %av : f32
    %t = llvm.fadd %s, %bv : f32
    llvm.store %t, %y_at : f32, !llvm.ptr
    %next = llvm.add %i, %one : i64
    llvm.br ^head(%next : i64)
  ^done:
    %shape = llvm.alloca %one x i64 : (i64) -> !llvm.ptr
    llvm.store %size, %shape : i64, !llvm.ptr
    llvm.call @quanta_rt_output(%rt, %c0, %y, %rank, %shape) : (!llvm.ptr, i32, !llvm.ptr, i32, !llvm.ptr) -> ()
    llvm.return %c0 : i32
  }
}
