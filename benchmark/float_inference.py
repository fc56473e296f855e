#!/usr/bin/env python3
"""Float inference beside ONNX Runtime's on the shared models: interleaved repeats, medians, one JSON line a row.

usage: float_inference.py TOOLS MODELS [--repeats 7] [--threads 1,2] [--only NAME]
"""
import argparse
import json
import os
import statistics
import sys
import time

import numpy as np
import onnxruntime

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models")
parser.add_argument("--repeats", type=int, default=7)
parser.add_argument("--threads", default="1,2")
parser.add_argument("--only", default="")
parser.add_argument("--recipe")
arguments = parser.parse_args()

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "python-bindings", "src"))
os.environ.setdefault("QUANTA_LIBRARY", os.path.join(arguments.tools, "..", "lib", "libQuantaC.so"))
onnxruntime.set_default_logger_severity(3)
import quanta  # noqa: E402


def feeds(folder, session):
    """Inputs large enough to mean something: 8 windows of 256 tokens, 100 images; else the reference case."""
    name = os.path.basename(folder)
    rng = np.random.default_rng(0)
    if name.endswith("-wt2"):
        return {"input_ids": rng.integers(2, 4096, (8, 256), dtype=np.int64)}
    if name.endswith("-fmnist"):
        return {"input": rng.standard_normal((100, 1, 28, 28), dtype=np.float32)}
    inputs = np.load(os.path.join(folder, "inputs.npz"))
    names = [i.name for i in session.get_inputs()]
    case = inputs.files[0][: -len(names[0]) - 1] if not inputs.files[0] in names else None
    case = next(k[: -len(n) - 1] for k in inputs.files for n in names if k.endswith("." + n)) if case is not None else None
    return {n: inputs[f"{case}.{n}" if case else n] for n in names}


def measure(run, seconds=0.2):
    run()
    times, begin = [], time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


for name in sorted(os.listdir(os.path.join(arguments.models, "dev"))):
    folder = os.path.join(arguments.models, "dev", name)
    model = os.path.join(folder, "model.onnx")
    if not os.path.exists(model) or arguments.only not in name:
        continue
    try:
        compiled = {int(t): quanta.compile(model, recipe=arguments.recipe) if i == 0 else None for i, t in enumerate(arguments.threads.split(","))}
    except quanta.CompileError as error:
        print(json.dumps({"model": name, "error": str(error).splitlines()[0]}))
        continue
    path = next(iter(compiled.values())).path
    for threads in map(int, arguments.threads.split(",")):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        feed = feeds(folder, session)
        ours = quanta.load(path, threads=threads)
        mine, theirs = [], []
        for _ in range(arguments.repeats):
            mine.append(measure(lambda: ours.run(feed)))
            theirs.append(measure(lambda: session.run(None, feed)))
        a, b = statistics.median(mine), statistics.median(theirs)
        print(json.dumps({"model": name, "threads": threads, "quanta_ms": round(1e3 * a, 3), "onnxruntime_ms": round(1e3 * b, 3),
                          "ratio": round(b / a, 3)}), flush=True)
