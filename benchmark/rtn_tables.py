#!/usr/bin/env python3
"""Float metrics and round-to-nearest tables of the shared models, beside the reference figures in BASELINES.md.

usage: rtn_tables.py TOOLS MODELS [--limit WINDOWS_OR_IMAGES]
Exit code 1 if a perplexity is more than 1 % or a top-1 more than 0.2 points from its reference (only without --limit).
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np

from tables import read_images, read_labels, run_tool

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models")
parser.add_argument("--limit", type=int, default=0)
arguments = parser.parse_args()
dev = os.path.join(arguments.models, "dev")

REFERENCE = {  # bits -> figure; None is float
    "opt-wt2": {None: 30.31, 8: 30.32, 4: 30.80, 3: 32.30, 2: 56.60},
    "llama-wt2": {None: 30.37, 8: 30.37, 4: 30.85, 3: 32.31, 2: 54.86},
    "bitnet-wt2": {None: 34.50},
    "vit-fmnist": {None: 90.82, 8: 90.86, 4: 90.20, 3: 90.36, 2: 81.14},
    "resnet-fmnist": {None: 94.36, 8: 94.34, 4: 94.00, 3: 85.52, 2: 31.22},
    "bnn-fmnist": {None: 92.68},
}


def tool(name, *words):
    return run_tool(arguments.tools, name, *words)


bad = 0
with tempfile.TemporaryDirectory() as scratch:
    images = os.path.join(scratch, "images.npz")
    data = os.path.join(dev, "data")
    np.savez(images, input=read_images(data, "test_dev"), label=read_labels(data, "test_dev"))
    limit = ["--limit", str(arguments.limit)] if arguments.limit else []
    for model, rows in REFERENCE.items():
        language = model.endswith("-wt2")
        for bits, reference in rows.items():
            library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
            recipe = ([] if bits is None else ["--recipe", f"rtn{{bits={bits} group=128}}" if language else f"rtn{{bits={bits} group=row head=true}}"])
            tool("quantc", os.path.join(dev, model, "model.onnx"), "-o", library, "--report", report, *recipe)
            if language:
                task = ["--task", "perplexity", "--tokens", os.path.join(dev, "data", "wt2_test_dev.npy")]
            else:
                task = ["--task", "top1", "--data", images]
            result = json.loads(tool("quant-eval", library, *task, *limit, "--json"))
            value = result["perplexity"] if language else 100 * result["top1"]
            wrong = abs(value / reference - 1) > 0.01 if language else abs(value - reference) > 0.2
            bad += wrong and not arguments.limit
            print(f"{model:<14} {'float' if bits is None else f'{bits} bits':<7} bits/weight {json.load(open(report))['bits_per_weight']:6.3f}  "
                  f"{'perplexity' if language else 'top-1':<10} {value:8.3f}  reference {reference:6.2f}{'  <-- differs' if wrong else ''}", flush=True)
sys.exit(bad != 0)
