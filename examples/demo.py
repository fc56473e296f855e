#!/usr/bin/env python3
"""Compiles a classifier at several bit-widths and prints size, accuracy and speed beside float and ONNX Runtime.

usage: demo.py TOOLS MODEL_DIRECTORY     (model.onnx, calib.npz with `image`, test.npz with `image` and `label`)
"""
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

logging.disable(logging.WARNING)  # ONNX Runtime's quantizer recommends preprocessing
tools, folder = sys.argv[1:]
model, data = os.path.join(folder, "model.onnx"), os.path.join(folder, "test.npz")
test = np.load(data)
BATCH = 32
BYTES = ", int8 activations"
RECIPES = [("Quanta, float", None), ("Quanta, 8 bits" + BYTES, "int8{act=int8-token}"),
           ("Quanta, rtn 4 bits", "rtn{bits=4 group=row sym=true}"), ("Quanta, rtn 4 bits" + BYTES, "rtn{bits=4 group=row sym=true act=int8-token}"),
           ("Quanta, rtn 2 bits, group 32", "rtn{bits=2 group=32}"), ("Quanta, gptq 2 bits", "gptq{bits=2 group=row}"),
           ("Quanta, gptq 2 bits" + BYTES, "gptq{bits=2 group=row act=int8-token}"), ("Quanta, ternary" + BYTES, "ternary{act=int8-token}"),
           ("Quanta, binary" + BYTES, "binary{act=int8-token}")]


def tool(name, *arguments):
    process = subprocess.run([os.path.join(tools, name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(process.stderr)
    return process.stdout


def onnx_runtime(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    logits = session.run(None, {name: test["image"]})[0]
    batch = {name: test["image"][:BATCH]}
    session.run(None, batch)
    times = []
    for _ in range(100):
        begin = time.perf_counter()
        session.run(None, batch)
        times.append(time.perf_counter() - begin)
    return 100 * (logits.argmax(1) == test["label"]).mean(), 1e3 * statistics.median(times)


def row(name, bits, size, accuracy, latency):
    print(f"{name:<38}{bits:>12}{size:>12}{accuracy:>10.2f} %{latency:>12.3f} ms", flush=True)


with tempfile.TemporaryDirectory() as scratch:
    print(f"{folder}: {len(test['label'])} test images; latency of a batch of {BATCH}, one thread\n")
    print(f"{'':<38}{'bits/weight':>12}{'object':>12}{'top-1':>12}{'latency':>15}")
    accuracy, latency = onnx_runtime(model)
    row("ONNX Runtime, float", "32", f"{os.path.getsize(model) / 1024:.0f} KiB *", accuracy, latency)
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        int8 = os.path.join(scratch, "int8.onnx")
        quantize_dynamic(model, int8, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
        accuracy, latency = onnx_runtime(int8)
        row("ONNX Runtime, dynamic int8", "8", f"{os.path.getsize(int8) / 1024:.0f} KiB *", accuracy, latency)
    except Exception as error:  # its quantizer needs packages of its own
        print(f"ONNX Runtime, dynamic int8: not available ({error})")
    bench = os.path.join(scratch, "batch.npz")
    np.savez(bench, image=test["image"][:BATCH])
    for name, recipe in RECIPES:
        stem = os.path.join(scratch, "model")
        calibration = ["--calib", os.path.join(folder, "calib.npz"), "--calib-samples", "200"] if recipe and not recipe.startswith(("rtn", "int8")) else []
        tool("quantc", model, "-o", stem + ".mlirbc", "--compile-to", "quantize", *(["--recipe", recipe] if recipe else []), *calibration)
        tool("quantc", stem + ".mlirbc", "--compile-from", "lower", "-o", stem + ".o", "--report", stem + ".json")
        tool("quantc", stem + ".mlirbc", "--compile-from", "lower", "-o", stem + ".so")
        report = json.load(open(stem + ".json"))
        accuracy = json.loads(tool("quant-eval", stem + ".so", "--task", "top1", "--data", data, "--json"))["top1"]
        timing = json.loads(tool("quant-run", stem + ".so", "--inputs", bench, "--bench", "100", "--threads", "1", "--json"))
        row(name, f"{report['bits_per_weight']:.2f}", f"{os.path.getsize(stem + '.o') / 1024:.0f} KiB", 100 * accuracy,
            timing["cases"][0]["bench"]["median_ms"])
    print("\n* the model file; the runtime library (about 20 MB) comes on top. Quanta's object needs nothing but libc, libm and pthreads.")
