#!/usr/bin/env python3
"""Linear layers with random weights beside ONNX Runtime's, on one machine, in turns.

usage: linear_layers.py TOOLS [--shape MxNxK ...] [--threads 1,2] [--rounds N] [--cold-mib N] [--mcpu CPU] [--quiet COMMAND]

Ours: quant-bench's rows with activations of 8 bits (float: f32). ONNX Runtime's: `MatMul`; `DynamicQuantizeMatMul`, its dynamic int8, with
a scale a row; `MatMulNBits` in symmetric blocks of 128 with int8 arithmetic (accuracy_level 4). Both walk over layers of --cold-mib MiB
of stored weights when M is 1, else over two layers: K = N, each layer reading the one before. A time is the median over
--rounds turns of a process's median.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from tables import run_tool

# Row: our format, theirs.
ROWS = {"float": ("f32/f32", "f32"), "8 bits": ("s8g128/int8-token", 8), "8 bits, a scale a row": ("s8/int8-token", "dynamic"),
        "4 bits": ("s4g128/int8-token", 4), "2 bits": ("s2g128/int8-token", 2), "ternary": ("t2/int8-token", None),
        "1 bit": ("s1g128/int8-token", None)}
BLOCK = 128


def child(path, m, threads, seconds):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((m, session.get_inputs()[0].shape[1])).astype(np.float32)
    times = []
    begin = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        session.run(None, {"x": x})
        times.append(time.perf_counter() - at)
    print(json.dumps(statistics.median(times[1:])))


def make_model(path, kind, m, n, layers):
    """A chain of square layers. Codes are random; the products' size does not matter."""
    from onnx import TensorProto, helper, numpy_helper, save
    random = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        def constant(name, array):
            weights.append(numpy_helper.from_array(array, f"{name}{i}"))
            return f"{name}{i}"
        result = "y" if i == layers - 1 else f"h{i}"
        if kind == "f32":
            nodes.append(helper.make_node("MatMul", [last, constant("w", (random.standard_normal((n, n)) / n ** 0.5).astype(np.float32))], [result]))
        elif kind == "dynamic":
            codes = constant("w", random.integers(-127, 128, (n, n), dtype=np.int8))
            nodes.append(helper.make_node("DynamicQuantizeMatMul", [last, codes, constant("s", np.full(n, 1e-4, np.float32)),
                                                                    constant("z", np.zeros(n, np.int8))], [result], domain="com.microsoft"))
        else:
            codes = constant("w", random.integers(0, 256, (n, n // BLOCK, BLOCK * kind // 8), dtype=np.uint8))
            nodes.append(helper.make_node("MatMulNBits", [last, codes, constant("s", np.full(n * n // BLOCK, 1e-4, np.float32))], [result],
                                          domain="com.microsoft", K=n, N=n, bits=kind, block_size=BLOCK, accuracy_level=4))
        last = result
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [m, n])
    graph = helper.make_graph(nodes, "layers", [value("x")], [value("y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)
    save(model, path, save_as_external_data=True, location=os.path.basename(path) + ".data")


if len(sys.argv) > 1 and sys.argv[1] == "--child":
    child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    sys.exit()

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("--shape", nargs="*", default=["1x4096x4096", "32x4096x4096", "512x4096x4096"])
parser.add_argument("--rows", nargs="*", default=list(ROWS))
parser.add_argument("--threads", default="1,2")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--cold-mib", type=int, default=256)
parser.add_argument("--mcpu", default="native")
parser.add_argument("--quiet", default="", help="words to put in front of what is timed")
arguments = parser.parse_args()
quiet = arguments.quiet.split()


def time_ours(pattern, shape, threads):
    suite = "gemv-cold" if shape.startswith("1x") else "gemm"
    text = run_tool(arguments.tools, "quant-bench", "--suite", suite, "--format", f"^{pattern}$", "--shape", shape, f"--threads={threads}",
                    "--repeats=5", f"--mcpu={arguments.mcpu}", f"--cold-mib={arguments.cold_mib}", "--json", prefix=quiet)
    return json.loads(text)["rows"][0]["ns"]


def time_theirs(path, m, threads, layers):
    command = [*quiet, sys.executable, "-B", os.path.abspath(__file__), "--child", path, str(m), str(threads), "1"]
    return 1e9 * json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout) / layers


print("| layer, threads | row | ours, µs | ONNX Runtime, µs | ratio |\n| --- | --- | --- | --- | --- |")
for shape in arguments.shape:
    m, n, k = map(int, shape.split("x"))
    if n != k:
        sys.exit(f"{shape}: N and K must be equal, as each layer reads the one before")
    for row in arguments.rows:
        ours, theirs = ROWS[row]
        with tempfile.TemporaryDirectory() as scratch:
            stored = n * k * {"f32": 32, "dynamic": 8}.get(theirs, theirs or 0) / 8
            layers = max(2, int(arguments.cold_mib * 2 ** 20 // stored)) if m == 1 and theirs else 2
            path = os.path.join(scratch, "layers.onnx")
            if theirs:
                make_model(path, theirs, m, n, layers)
            for threads in map(int, arguments.threads.split(",")):
                times = [(time_ours(ours, shape, threads), time_theirs(path, m, threads, layers) if theirs else None)
                         for _ in range(arguments.rounds)]
                mine = statistics.median(time for time, _ in times)
                other = statistics.median(time for _, time in times) if theirs else None
                print(f"| {shape}, {threads} | {row} | {mine / 1e3:.0f} | {'' if other is None else f'{other / 1e3:.0f}'} | "
                      f"{'' if other is None else f'{other / mine:.2f}'} |", flush=True)
