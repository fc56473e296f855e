#!/usr/bin/env python3
"""Perplexity of language models whose weights are products of two thin matrices, by method and share of the weights.

usage: low_rank_tables.py TOOLS MODELS [--limit WINDOWS] [--models NAME...] [--ratios R...] [--spread WORD...] [--residual BITS...]
                          [--ranks R...] [--low-rank OPTIONS...] [--samples N]

With --spread also whitened-svd with the ranks chosen as these words say (knapsack, strs). With --residual also quantized weights with a quantized product of low rank beside them (low-rank), and without one at about
the same bits (gptq with groups of 128 or 64 columns). Bits are all that is stored for a weight of the model.
Exit code 1 unless whitened < asvd < svd at every ratio.
"""
import argparse
import json
import math
import os
import sys
import tempfile

from tables import run_tool

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models_folder")
parser.add_argument("--limit", type=int, default=0, help="windows of the test data; 0: all")
parser.add_argument("--models", nargs="+", default=["opt-wt2", "llama-wt2"])
parser.add_argument("--ratios", nargs="*", type=float, default=[0.95, 0.9, 0.8])
parser.add_argument("--residual", nargs="*", type=int, default=[], help="bits of the weights beside a product of low rank")
parser.add_argument("--spread", nargs="*", default=[], help="values of whitened-svd's option ranks")
parser.add_argument("--ranks", nargs="+", type=int, default=[8, 16])
parser.add_argument("--low-rank", nargs="+", default=[""], help="more options of low-rank, say 'iterations=5 factor-bits=4'")
parser.add_argument("--samples", type=int, default=128, help="windows of the training data")
arguments = parser.parse_args()
dev = os.path.join(arguments.models_folder, "dev")
data = os.path.join(dev, "data")


def tool(name, *words):
    return run_tool(arguments.tools, name, *words)


def measure(model, recipe, scratch):
    """Perplexity, stored bits and weights of the layers that the recipe has encoded."""
    library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
    calibration = [] if recipe.startswith("svd") else ["--calib", os.path.join(data, "wt2_train.npy"), "--calib-samples", str(arguments.samples)]
    tool("quantc", os.path.join(dev, model, "model.onnx"), "-o", library, "--recipe", recipe, "--report", report, *calibration)
    limit = ["--limit", str(arguments.limit)] if arguments.limit else []
    result = tool("quant-eval", library, "--task", "perplexity", "--tokens", os.path.join(data, "wt2_test_dev.npy"), *limit, "--json")
    encoded = [layer for layer in json.load(open(report))["layers"] if layer["encoding"] != "f32"]
    counts = [math.prod(layer["shape"]) for layer in encoded]
    return json.loads(result)["perplexity"], sum(n * layer["bits_per_weight"] for n, layer in zip(counts, encoded)), sum(counts)


unordered = 0
with tempfile.TemporaryDirectory() as scratch:
    for model in arguments.models:
        for ratio in arguments.ratios:
            row = [measure(model, f"{recipe}{{ratio={ratio}}}", scratch)[0] for recipe in ("svd", "asvd", "whitened-svd")]
            wrong = not row[2] < row[1] < row[0]
            unordered += wrong
            print(f"{model:<10} {100 * ratio:g} % of the weights: svd {row[0]:.2f}, asvd {row[1]:.2f}, whitened {row[2]:.2f}"
                  f"{'  <-- out of order' if wrong else ''}", flush=True)
            for ranks in arguments.spread:
                perplexity = measure(model, f"whitened-svd{{ratio={ratio} ranks={ranks}}}", scratch)[0]
                print(f"{model:<10} {100 * ratio:g} % of the weights: whitened, ranks by {ranks} {perplexity:.2f}", flush=True)
        for bits in arguments.residual:
            weights = None  # of the model
            for recipe in ([f"gptq{{bits={bits} group={group}}}" for group in ("row", 128, 64)]
                           + [f"low-rank{{bits={bits} rank={rank}{' ' * bool(more)}{more}}}" for rank in arguments.ranks
                              for more in arguments.low_rank]):
                perplexity, stored, count = measure(model, recipe, scratch)
                weights = weights or count
                print(f"{model:<10} {recipe:<42} {stored / weights:.3f} bits: {perplexity:.2f}", flush=True)
sys.exit(unordered != 0)
