#!/usr/bin/env python3
"""Perplexity of language models whose weights are products of two thin matrices, by method and share of the weights.

usage: low_rank_tables.py TOOLS MODELS [--limit WINDOWS] [--models NAME...] [--ratios R...]
Exit code 1 unless whitened < asvd < svd at every ratio.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models_folder")
parser.add_argument("--limit", type=int, default=0, help="windows of the test data; 0: all")
parser.add_argument("--models", nargs="+", default=["opt-wt2", "llama-wt2"])
parser.add_argument("--ratios", nargs="+", type=float, default=[0.95, 0.9, 0.8])
arguments = parser.parse_args()
dev = os.path.join(arguments.models_folder, "dev")
data = os.path.join(dev, "data")


def tool(name, *words):
    return subprocess.run([os.path.join(arguments.tools, name), *words], check=True, stdout=subprocess.PIPE, text=True).stdout


unordered = 0
with tempfile.TemporaryDirectory() as scratch:
    library = os.path.join(scratch, "m.so")
    limit = ["--limit", str(arguments.limit)] if arguments.limit else []
    for model in arguments.models:
        for ratio in arguments.ratios:
            row = []
            for recipe in ("svd", "asvd", "whitened-svd"):
                calibration = [] if recipe == "svd" else ["--calib", os.path.join(data, "wt2_train.npy")]
                tool("quantc", os.path.join(dev, model, "model.onnx"), "-o", library, "--recipe", f"{recipe}{{ratio={ratio}}}", *calibration)
                result = tool("quant-eval", library, "--task", "perplexity", "--tokens", os.path.join(data, "wt2_test_dev.npy"), *limit, "--json")
                row.append(json.loads(result)["perplexity"])
            wrong = not row[2] < row[1] < row[0]
            unordered += wrong
            print(f"{model:<10} {100 * ratio:g} % of the weights: svd {row[0]:.2f}, asvd {row[1]:.2f}, whitened {row[2]:.2f}"
                  f"{'  <-- out of order' if wrong else ''}", flush=True)
sys.exit(unordered != 0)
