#!/usr/bin/env python3
"""Compiles a model with much external data and runs it: time, anonymous memory, proportional memory at run time.

usage: large_model.py TOOLS [--gib 1] [--directory DIR]     (the model is made there by make_large_model.py if it is absent)
"""
import argparse
import os
import subprocess
import sys
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("--gib", type=float, default=1)
parser.add_argument("--directory", default=".")
arguments = parser.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "python-bindings", "src"))
os.environ.setdefault("QUANTA_LIBRARY", os.path.join(arguments.tools, "..", "lib", "libQuantaC.so"))
import quanta  # noqa: E402

model, library = (os.path.join(arguments.directory, name) for name in ("large.onnx", "large.so"))
if not os.path.exists(model):
    subprocess.run([sys.executable, os.path.join(here, "make_large_model.py"), model, "--gib", str(arguments.gib)], check=True)
weights = np.memmap(model + ".data", dtype=np.float32, mode="r").reshape(-1, 4096, 4096)
weights.sum(dtype=np.float64)  # in the page cache

for attempt in range(3):
    begin, peak = time.perf_counter(), 0
    process = subprocess.Popen([os.path.join(arguments.tools, "quantc"), model, "-o", library])
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                peak = max([peak] + [int(line.split()[1]) for line in status if line.startswith("RssAnon")])
        except OSError:
            pass
        time.sleep(0.005)
    print(f"compiled in {time.perf_counter() - begin:.1f} s, at most {peak / 1024:.0f} MiB of anonymous memory", flush=True)
    assert process.returncode == 0


def proportional():
    with open("/proc/self/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024


x = np.random.default_rng(0).standard_normal((4, 4096), dtype=np.float32)
want = x.astype(np.float64)
for layer in weights:
    want = want @ layer.T.astype(np.float64)
size = weights.nbytes
del weights, layer
before = proportional()
compiled = quanta.load(library)
for _ in range(2):
    (got,) = compiled.run({"x": x}).values()
growth = proportional() - before
print(f"proportional memory grew by {growth / 2**20:.0f} MiB, {growth / size:.3f} of the weights; "
      f"error {np.abs(got - want).max() / np.abs(want).max():.1e} of the largest output")
