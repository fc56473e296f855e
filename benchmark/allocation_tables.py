#!/usr/bin/env python3
"""WikiText-2 perplexity of `auto` within budgets, beside the best uniform configuration that fits each of them.

usage: allocation_tables.py TOOLS MODELS [--budgets BITS ...] [--uniform RECIPE ...] [--models NAME ...] [--auto OPTIONS]
                            [--samples N] [--limit WINDOWS] [--store DIR] [--out FILE]

Calibrates on windows of wt2_train.npy, evaluates on wt2_test_dev.npy. The difference to the uniform configuration has its
paired standard error over windows. Candidates and their losses are measured once for all budgets of a model, and kept in the
folder --store; "search" is what that and the choice take beside the solving that every recipe does. A row that is in the file
--out (one JSON object a line) is not measured again, so a stopped run continues.
Exit code 1 if a uniform configuration within a budget is better than `auto`.
"""
import argparse
import json
import math
import os
import sys
import tempfile

from tables import recall, run_tool

UNIFORM = ["ternary", "ternary{group=128}"] + [f"gptq{{bits={bits} group={group}}}" for bits in (2, 3) for group in ("row", 128, 64, 32)]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--budgets", nargs="*", type=float, default=[1.5, 2.0, 2.25, 2.5, 3.0, 4.0])
parser.add_argument("--uniform", nargs="*", default=UNIFORM)
parser.add_argument("--models", nargs="*", default=["opt-wt2", "llama-wt2"])
parser.add_argument("--auto", default="", help="more options of the recipe, say 'loss=kl'")
parser.add_argument("--samples", type=int, default=512)
parser.add_argument("--limit", type=int, default=0, help="windows of the test data; 0: all")
parser.add_argument("--store", default="allocation_store")
parser.add_argument("--out", default="allocation_tables.jsonl")
arguments = parser.parse_args()
data = os.path.join(arguments.models_folder, "dev", "data")


def tool(name, *words):
    return run_tool(arguments.tools, name, *words)


def measure(model, recipe):
    with tempfile.TemporaryDirectory() as scratch:
        library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
        stored = ["--store", os.path.join(arguments.store, model), "--resume"] if recipe.startswith("auto") else []
        tool("quantc", os.path.join(arguments.models_folder, "dev", model, "model.onnx"), "-o", library, "--recipe", recipe, "--calib",
             os.path.join(data, "wt2_train.npy"), "--calib-samples", str(arguments.samples), "--report", report, *stored)
        limit = ["--limit", str(arguments.limit)] if arguments.limit else []
        result = json.loads(tool("quant-eval", library, "--task", "perplexity", "--tokens", os.path.join(data, "wt2_test_dev.npy"),
                                 "--per-window", "--json", *limit))
        report = json.load(open(report))
    layers = [layer for layer in report["layers"] if layer["error_calibration"] is not None]
    counts = [math.prod(layer["shape"]) for layer in layers]
    budget = report["budget"]
    row = {"bits": sum(n * layer["bits_per_weight"] for n, layer in zip(counts, layers)) / sum(counts),
           "perplexity": result["perplexity"], "seconds": report["seconds"]["quantize"],
           "solve": sum(layer["time_s"] for layer in layers), "window_nll": result["window_nll"]}
    if budget:
        row.update({"gap": budget["loss"] - budget["lower_bound"], "loss": budget["loss"],
                    "chosen": {layer["name"]: layer["candidates"][layer["chosen"]]["bits"] for layer in budget["layers"]}})
    return row


def find(model, recipe):
    key = f"{model} | {recipe} | {arguments.samples} | {arguments.limit}"
    row = recall(arguments.out, key, lambda: measure(model, recipe))
    print(f"{key}: bits {row['bits']:.3f}, perplexity {row['perplexity']:.3f}, {row['seconds']:.0f} s", flush=True)
    return row


def compare(mine, other):
    """Difference of perplexities with its standard error, from the paired log-likelihoods of windows."""
    differences = [a - b for a, b in zip(mine["window_nll"], other["window_nll"])]
    mean = sum(differences) / len(differences)
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / max(len(differences) - 1, 1) / len(differences))
    return mine["perplexity"] - other["perplexity"], error * mine["perplexity"]


worse, lines = 0, []
for model in arguments.models:
    rows = {budget: find(model, f"auto{{bpw={budget:g}{' ' * bool(arguments.auto)}{arguments.auto}}}") for budget in arguments.budgets}
    uniform = {recipe: find(model, recipe) for recipe in arguments.uniform}
    for budget, row in rows.items():
        assert row["bits"] <= budget
        fitting = {recipe: other for recipe, other in uniform.items() if other["bits"] <= budget}
        line = f"{model:<10} {budget:<5g} auto {row['bits']:.3f} bits, perplexity {row['perplexity']:.2f}, {row['seconds']:.0f} s"
        if fitting:
            best = min(fitting, key=lambda recipe: fitting[recipe]["perplexity"])
            difference, error = compare(row, fitting[best])
            worse += difference > 0
            line += (f"; best uniform {best} {fitting[best]['bits']:.3f} bits, perplexity {fitting[best]['perplexity']:.2f}; "
                     f"difference {difference:+.2f} ± {error:.2f}{'  <-- worse' if difference > 0 else ''}")
        lines.append(line)
print("\n".join(lines))
sys.exit(worse != 0)
