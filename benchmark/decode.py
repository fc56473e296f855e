#!/usr/bin/env python3
"""One step of decoding with a cache, and a prompt, beside ONNX Runtime's float model: interleaved, medians, one thread.

usage: decode.py TOOLS MODELS [--repeats 40]
"""
import argparse
import os
import statistics
import sys
import time

import numpy as np
import onnxruntime

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models")
parser.add_argument("--repeats", type=int, default=40)
arguments = parser.parse_args()
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python-bindings", "src"))
os.environ.setdefault("QUANTA_LIBRARY", os.path.join(arguments.tools, "..", "lib", "libQuantaC.so"))
import quanta  # noqa: E402

model = os.path.join(arguments.models, "dev", "llama-wt2", "model_kv.onnx")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)


def feed(past, tokens):
    arrays = {"input_ids": rng.integers(2, 4096, (1, tokens)), "attention_mask": np.ones((1, past + tokens), np.int64),
              "position_ids": np.arange(past, past + tokens, dtype=np.int64)[None]}
    for port in session.get_inputs():
        if port.name.startswith("past_key_values"):
            arrays[port.name] = rng.standard_normal((1, 2, past, 64)).astype(np.float32)
    return arrays


for recipe in (None, "rtn{bits=4 group=128}", "rtn{bits=2 group=128}"):
    compiled = quanta.compile(model, recipe=recipe, threads=1)
    for past, tokens in ((16, 1), (256, 1), (0, 128)):
        arrays, mine, theirs = feed(past, tokens), [], []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            compiled.run(arrays)
            middle = time.perf_counter()
            session.run(None, arrays)
            mine.append(middle - start)
            theirs.append(time.perf_counter() - middle)
        a, b = 1e3 * statistics.median(mine), 1e3 * statistics.median(theirs)
        print(f"{recipe or 'float':<24} cache {past:3}, tokens {tokens:3}: {a:7.3f} ms, ONNX Runtime float {b:7.3f} ms, ratio {b / a:.2f}", flush=True)
