// Bits for each layer within a budget: measured, chosen, solved. The model's first output, which is what counts, comes from the
// first layer.
// RUN: quantc %s -o - --emit=quant-ir --recipe 'auto{bpw=11 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head}' --calib %S/../Transforms/Inputs/calibrate.npz \
// RUN:   --report %t.json 2>/dev/null | FileCheck %s
// RUN: FileCheck %s --check-prefix=REPORT < %t.json
// RUN: quantc %s -o - --emit=quant-ir --recipe 'auto{bpw=11 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head loss=kl}' --calib %S/../Transforms/Inputs/calibrate.npz 2>/dev/null \
// RUN:   | FileCheck %s
// RUN: quantc %s -o %t.html.mlir --recipe 'auto{bpw=11 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head}' --calib %S/../Transforms/Inputs/calibrate.npz --report %t.html 2>/dev/null
// RUN: FileCheck %s --check-prefix=HTML < %t.html
// RUN: not quantc %s -o %t.o --recipe 'auto{bpw=3 candidates=gptq{bits=2},gptq{bits=4} samples=20 head}' --calib %S/../Transforms/Inputs/calibrate.npz 2>&1 | FileCheck %s --check-prefix=SMALL
// RUN: not quantc %s -o %t.o --recipe auto 2>&1 | FileCheck %s --check-prefix=DATA
// RUN: not quantc %s -o %t.o --recipe 'auto{bpw=none}' 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not quantc %s -o %t.o --recipe 'auto{candidates=gptq{bits=nine}}' 2>&1 | FileCheck %s --check-prefix=NUMBERS

// RUN: not quantc %s -o %t.o --recipe 'auto{candidates=svd}' 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not quantc %s -o %t.o --recipe 'auto{candidates=whitened-svd{ranks=strs}}' 2>&1 | FileCheck %s --check-prefix=SPREAD
// RUN: not quantc %s -o %t.o --recipe 'whitened-svd{ranks=strs factor-bits=4}' 2>&1 | FileCheck %s --check-prefix=COUNTS
// RUN: not quantc %s -o %t.o --recipe 'auto{candidates=gptq{bits=3 head}}' 2>&1 | FileCheck %s --check-prefix=WHICH
// A budget of predicted latency.
// RUN: quantc %s -o %t.5.mlir --emit=quant-ir --recipe 'auto{ms=8e-6 bandwidth=10 peak=1000 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head}' \
// RUN:   --calib %S/../Transforms/Inputs/calibrate.npz --report %t.5.json 2>/dev/null && FileCheck %s --check-prefix=TIMED < %t.5.json
// TIMED: "ns": 8,
// TIMED-NEXT: "ns_predicted": {{[78]$}}
// A cost table of the layers and encodings that such a report names.
// RUN: quant-bench --layers %t.5.json --tokens 2 --threads 1 --cold-mib 1 --repeats 1 --json > %t.table.json
// RUN: quantc %s -o %t.6.mlir --emit=quant-ir --recipe 'auto{ms=1000 cost-table=%t.table.json tokens=2 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head}' \
// RUN:   --calib %S/../Transforms/Inputs/calibrate.npz --report %t.6.json 2>/dev/null && FileCheck %s --check-prefix=TABLE < %t.6.json
// TABLE: "ns": 1000000000,
// TABLE-NEXT: "ns_predicted": {{[0-9]+$}}
// Other estimates of what layers matter; the second output does not count, so the first layer matters more by what is measured.
// RUN: quantc %s -o - --emit=quant-ir --recipe 'auto{bpw=11 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head loss=fisher}' --calib %S/../Transforms/Inputs/calibrate.npz 2>%t.fisher.log \
// RUN:   | FileCheck %s && FileCheck %s --check-prefix=FISHER < %t.fisher.log
// RUN: quantc %s -o - --emit=quant-ir --recipe 'auto{bpw=11 candidates=gptq{bits=2},gptq{bits=4},gptq{bits=8} samples=20 head loss=pairwise}' --calib %S/../Transforms/Inputs/calibrate.npz 2>%t.pair.log \
// RUN:   | FileCheck %s && FileCheck %s --check-prefix=PAIR < %t.pair.log
// FISHER: Fisher information of the output: {{[0-9.e-]+}}
// FISHER: Fisher information of the output: 0
// PAIR: switched with the layer before: divergence {{[0-9.e-]+}}, {{[0-9.e-]+}} more than each alone
// Factors and branches as candidates, which compile; ranks by the search of ASVD.
// RUN: quantc %s -o %t.9.mlir --emit=quant-ir --recipe 'auto{bpw=27 candidates=float,low-rank{rank=2 bits=2},whitened-svd{ratio=0.5 factor-bits=8} samples=20 head loss=kl}' \
// RUN:   --calib %S/../Transforms/Inputs/calibrate.npz --report %t.9.json 2>/dev/null && FileCheck %s --check-prefix=FORMS < %t.9.json && quantc %t.9.mlir -o %t.9.o --compile-from=lower
// FORMS: "weights": [
// FORMS: "encoding": "#quanta.uniform<bits = 8
// RUN: quantc %s -o %t.10.mlir --emit=quant-ir --recipe 'whitened-svd{ratio=0.85 ranks=strs samples=20 head}' --calib %S/../Transforms/Inputs/calibrate.npz --report %t.10.json 2>/dev/null
// RUN: FileCheck %s --check-prefix=STRS < %t.10.json
// STRS: "bits_per_weight": 27.
// STRS: "bits_per_weight_used": 2{{[0-7]}}
// Losses and candidates are measured once for all budgets.
// RUN: rm -rf %t.losses
// RUN: quantc %s -o %t.3.mlir --emit=quant-ir --recipe 'auto{bpw=12 candidates=ternary,pb-llm{tile=6 kept=1},gptq{bits=8} samples=20 head}' \
// RUN:   --calib %S/../Transforms/Inputs/calibrate.npz --store %t.losses 2>&1 | FileCheck %s --check-prefix=MEASURES
// RUN: quantc %s -o %t.4.mlir --emit=quant-ir --recipe 'auto{bpw=16 candidates=ternary,pb-llm{tile=6 kept=1},gptq{bits=8} samples=20 head}' \
// RUN:   --calib %S/../Transforms/Inputs/calibrate.npz --store %t.losses --resume 2>&1 | FileCheck %s --check-prefix=KNOWN
// RUN: FileCheck %s --check-prefix=EIGHT < %t.4.mlir
// RUN: cat %t.losses/*/losses.txt | FileCheck %s --check-prefix=LOSSES
// MEASURES-NOT: solved before
// KNOWN: calibrate: 2 of 2 stages were solved before
// KNOWN-NOT: solved before
// EIGHT: quanta.linear {{.*}}#u8row>
// EIGHT: quanta.linear {{.*}}#trow>
// LOSSES: {{^}}0 {{[01]}} {{[0-9.e-]+$}}
// LOSSES-NEXT: {{^}}1 {{[01]}} {{[0-9.e-]+$}}

// Factors of the same layers.
// RUN: quantc %s -o - --emit=quant-ir --recipe 'svd{ratio=0.5 head}' 2>/dev/null | FileCheck %s --check-prefix=SVD
// RUN: quantc %s -o - --emit=quant-ir --recipe 'asvd{ratio=0.5 head alpha=1}' --calib %S/../Transforms/Inputs/calibrate.npz 2>/dev/null | FileCheck %s --check-prefix=SVD
// RUN: quantc %s -o - --emit=quant-ir --recipe 'whitened-svd{ratio=0.5 head},int8{head}' --calib %S/../Transforms/Inputs/calibrate.npz 2>/dev/null \
// RUN:   | FileCheck %s --check-prefix=FACTORS
// A run that resumes finds the factors of the layers that were solved.
// RUN: rm -rf %t.store
// RUN: quantc %s -o %t.1.mlir --emit=quant-ir --recipe 'whitened-svd{ratio=0.5 head}' --calib %S/../Transforms/Inputs/calibrate.npz --store %t.store 2>/dev/null
// RUN: quantc %s -o %t.2.mlir --emit=quant-ir --recipe 'whitened-svd{ratio=0.5 head}' --calib %S/../Transforms/Inputs/calibrate.npz --store %t.store \
// RUN:   --resume 2>/dev/null && FileCheck %s --check-prefix=SVD < %t.2.mlir && diff %t.1.mlir %t.2.mlir
// RUN: quantc %s -o - --emit=quant-ir --recipe 'svd{ratio=0.5 head},int8{head}' 2>/dev/null | FileCheck %s --check-prefix=FACTORS

// A branch of low rank beside two bits, also for a run that resumes.
// RUN: rm -rf %t.branch
// RUN: quantc %s -o %t.7.mlir --emit=quant-ir --recipe 'low-rank{rank=2 bits=2 iterations=3 head}' --calib %S/../Transforms/Inputs/calibrate.npz --store %t.branch 2>/dev/null
// RUN: FileCheck %s --check-prefix=BRANCH < %t.7.mlir
// RUN: quantc %s -o %t.8.mlir --emit=quant-ir --recipe 'low-rank{rank=2 bits=2 iterations=3 head}' --calib %S/../Transforms/Inputs/calibrate.npz --store %t.branch \
// RUN:   --resume 2>/dev/null && FileCheck %s --check-prefix=BRANCH < %t.8.mlir
// RUN: not ls %t.branch/*/*.branch
// It compiles and runs.
// RUN: quantc %t.7.mlir -o %t.7.o --compile-from=lower

// BRANCH: %[[Z:.*]] = quanta.linear %[[X:.*]], %{{.*}} : (tensor<?x6xf32>, tensor<2x6xf32, #{{.*}}>) -> tensor<?x2xf32>
// BRANCH: %[[C:.*]] = tensor.concat dim(1) %[[X]], %[[Z]]
// BRANCH: quanta.linear %[[C]], {{.*}}quanta.error_held_out{{.*}}quanta.note = "low-rank branch, rank 2"{{.*}}tensor<6x8xf32, #u8row_columns_u2row>
// CHECK: quanta.linear {{.*}}quanta.error_calibration{{.*}}#u8row>
// CHECK: quanta.linear {{.*}}quanta.error_calibration{{.*}}#u2row>
// CHECK-NOT: quanta.{{selected|solver|encoding|candidates|statistics}}
// REPORT: "bits": 726,
// REPORT-NEXT: "bits_per_weight": 11,
// REPORT-NEXT: "bits_per_weight_used": 10.6060{{[0-9]*}},
// REPORT-NEXT: "bits_used": 700,
// REPORT-NEXT: "frontier": [
// REPORT: "layers": [
// REPORT: "chosen": 2,
// REPORT-NEXT: "name": "first"
// REPORT: "loss":
// REPORT: "lower_bound":
// HTML: <h2>Budget</h2><p>10.6061 of 11.0000 bits a weight
// SMALL: error: {{.*}}a budget of 198 bits (3 a weight) is too small: the smallest candidates take 484 (7.333); offer smaller candidates or raise it
// DATA: recipe 'auto' looks at data: give --calib=FILE
// NUMBER: option 'bpw' must be a number above 0, at most 64, got 'none'
// NUMBERS: recipe 'gptq': option 'bits' must be a number from 1 to 8, got 'nine'
// KIND: recipe 'svd' cannot be a candidate; these can: rtn, int8, gptq, ternary, binary, pb-llm, structured, asvd, whitened-svd, low-rank, float
// SPREAD: candidate 'whitened-svd': give option 'ranks' to the recipe that chooses
// COUNTS: ranks=strs counts float factors
// WHICH: candidate 'gptq': give option 'head' to the recipe that chooses

// SVD: quanta.linear %{{.*}} : (tensor<?x6xf32>, tensor<1x6xf32>) -> tensor<?x1xf32>
// SVD: quanta.linear %{{.*}} : (tensor<?x1xf32>, tensor<6x1xf32>) -> tensor<?x6xf32>
// FACTORS: quanta.linear %{{.*}} : (tensor<?x6xf32>, tensor<1x6xf32, #{{.*}}>) -> tensor<?x1xf32>
// FACTORS: quanta.linear %{{.*}} : (tensor<?x1xf32>, tensor<6x1xf32, #{{.*}}>) -> tensor<?x6xf32>
func.func @main(%x: tensor<?x6xf32>) -> (tensor<?x6xf32>, tensor<?x5xf32>) attributes {quanta.inputs = ["x"], quanta.outputs = ["y", "z"],
    quanta.dims = [["batch", 6]], quanta.output_dims = [["batch", 6], ["batch", 5]]} {
  %w = arith.constant dense<[[1.0, 0.53, 0.25, -1.0, -0.52, 2.0], [0.11, 0.53, 0.75, -1.3, -0.5, 2.0], [1.0, 0.5, 0.25, -1.0, -0.57, 2.0],
                             [0.1, 0.22, 0.3, 0.41, 0.5, 0.6], [0.3, -0.71, 0.2, 0.13, -0.5, 1.0], [-1.1, 0.44, 0.2, 0.9, 0.77, 0.25]]> : tensor<6x6xf32> loc("w")
  %v = arith.constant dense<[[1.0, 0.51, 0.23, -1.2, -0.50, 2.0], [0.71, 0.50, 0.77, -1.0, -0.59, 2.0], [1.3, 0.50, 0.25, -1.0, -0.52, 2.4],
                             [0.12, 0.20, 0.33, 0.40, 0.51, 0.60], [0.7, 0.20, 0.33, -0.40, 0.11, 0.61]]> : tensor<5x6xf32> loc("v")
  %y = quanta.linear %x, %w : (tensor<?x6xf32>, tensor<6x6xf32>) -> tensor<?x6xf32> loc("first")
  %z = quanta.linear %y, %v : (tensor<?x6xf32>, tensor<5x6xf32>) -> tensor<?x5xf32> loc("second")
  return %y, %z : tensor<?x6xf32>, tensor<?x5xf32>
}
