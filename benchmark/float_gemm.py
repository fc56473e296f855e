#!/usr/bin/env python3
"""Products of matrices of floats beside OpenBLAS, the one of numpy, on one thread. OpenBLAS takes the core type that it is told
(OPENBLAS_CORETYPE) and may guess a slow one, so each of --cores runs in a process of its own; the best counts. Runs are interleaved, medians of
all rounds and best runs compared.

usage: float_gemm.py TOOLS [--shapes 1024x1024x1024,2048x2048x2048] [--cores SkylakeX,Cooperlake,Zen,Haswell] [--rounds 5] [--runs 3]

Of each shape (rows x columns x contraction) two lines: the right factor a constant, which is packed when the model is compiled, and both factors
inputs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from tables import run_tool


def serve_products():
    """A line "M N K RUNS" on the standard input: the seconds of each run on a line."""
    random = np.random.default_rng(0)
    factors = {}
    for line in sys.stdin:
        m, n, k, runs = map(int, line.split())
        if (m, n, k) not in factors:
            factors = {(m, n, k): (random.standard_normal((m, k), dtype=np.float32), random.standard_normal((k, n), dtype=np.float32))}
        a, b = factors[m, n, k]
        out = np.empty((m, n), np.float32)
        np.matmul(a, b, out=out)
        seconds = []
        for _ in range(runs):
            begin = time.perf_counter()
            np.matmul(a, b, out=out)
            seconds.append(time.perf_counter() - begin)
        print(*seconds, flush=True)


if sys.argv[1:] == ["--serve-products"]:
    sys.exit(serve_products())

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("--shapes", default="1024x1024x1024,2048x2048x2048")
parser.add_argument("--cores", default="SkylakeX,Cooperlake,Zen,Haswell")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--runs", type=int, default=3)
arguments = parser.parse_args()


def module(m, n, k, weights):
    """x · b of constant b in the blob `weights`, or of two inputs if that is None."""
    x, y = f"tensor<{m}x{k}xf32>", f"tensor<{m}x{n}xf32>"
    if weights is None:
        b = f"tensor<{k}x{n}xf32>"
        return (f'func.func @main(%x: {x}, %b: {b}) -> {y} attributes {{quanta.inputs = ["x", "b"], quanta.outputs = ["y"]}} {{\n'
                f"  %y = quanta.matmul %x, %b : ({x}, {b}) -> {y}\n  return %y : {y}\n}}\n")
    b = f"tensor<{n}x{k}xf32>"
    return (f'func.func @main(%x: {x}) -> {y} attributes {{quanta.inputs = ["x"], quanta.outputs = ["y"]}} {{\n'
            f"  %w = arith.constant dense_resource<weights> : {b}\n  %y = quanta.linear %x, %w : ({x}, {b}) -> {y}\n  return %y : {y}\n}}\n"
            f'{{-# dialect_resources: {{builtin: {{weights: "0x40000000{weights.tobytes().hex().upper()}"}}}} #-}}\n')


def start(core):
    environment = dict(os.environ, OPENBLAS_CORETYPE=core, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve-products"], env=environment, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def measure_library(process, shape):
    process.stdin.write(" ".join(map(str, (*shape, arguments.runs))) + "\n")
    process.stdin.flush()
    return [float(word) for word in process.stdout.readline().split()]


workers = {core: start(core) for core in arguments.cores.split(",")}
with tempfile.TemporaryDirectory() as scratch:
    for text in arguments.shapes.split(","):
        shape = m, n, k = tuple(map(int, text.split("x")))
        random = np.random.default_rng(0)
        a, b = random.standard_normal((m, k), dtype=np.float32), random.standard_normal((k, n), dtype=np.float32)
        ours = {}
        for name, weights in (("constant", np.ascontiguousarray(b.T)), ("inputs", None)):
            path, library, inputs = (os.path.join(scratch, name + end) for end in (".mlir", ".so", ".npz"))
            with open(path, "w") as file:
                file.write(module(m, n, k, weights))
            run_tool(arguments.tools, "quantc", path, "-o", library)
            np.savez(inputs, x=a, **({"b": b} if weights is None else {}))
            outputs = os.path.join(scratch, "out.npz")
            run_tool(arguments.tools, "quant-run", library, "--inputs", inputs, "--outputs", outputs)
            error = np.abs(np.load(outputs)["y"] - a @ b).max() / np.sqrt(k)
            if not error < 1e-4:
                sys.exit(f"{text}, {name}: wrong by {error}")
            ours[name] = (library, inputs)
        seconds = {}
        for _ in range(arguments.rounds):
            for name, (library, inputs) in ours.items():
                words = (library, "--inputs", inputs, "--threads=1", "--bench", str(arguments.runs), "--json")
                bench = json.loads(run_tool(arguments.tools, "quant-run", *words))["cases"][0]["bench"]
                seconds.setdefault(name, []).append((bench["median_ms"] / 1000, bench["min_ms"] / 1000))
            for core, worker in workers.items():
                times = measure_library(worker, shape)
                seconds.setdefault(core, []).append((float(np.median(times)), min(times)))
        rates = {}
        for name, times in seconds.items():
            rates[name] = tuple(2e-9 * m * n * k / value for value in (np.median([median for median, _ in times]), min(best for _, best in times)))
        best = max(workers, key=lambda core: rates[core][0])
        print(f"{text}: OpenBLAS " + ", ".join(f"{core} {rates[core][0]:.1f}" for core in workers) + " GFLOP/s", flush=True)
        for name in ours:
            print(f"{text}, {name}: {rates[name][0]:.1f} GFLOP/s (best {rates[name][1]:.1f}), {rates[name][0] / rates[best][0]:.0%} of {best} "
                  f"(best {rates[name][1] / max(rates[core][1] for core in workers):.0%})", flush=True)
for worker in workers.values():
    worker.stdin.close()
    worker.wait()
