#!/usr/bin/env python3
"""Predicted and measured time of the layers that `auto{ms=...}` chooses formats for.

usage: latency_tables.py TOOLS MODELS [--models NAME ...] [--tokens N ...] [--budgets FACTOR ...] [--threads N] [--samples N]
                         [--runs N] [--auto OPTIONS] [--store DIR] [--quiet COMMAND] [--out FILE]

quant-bench measures the cost table on the layers and candidates that a first `auto` reports. A budget is a multiple of what the
fastest candidates take. Predicted is the sum over these layers that the allocation kept within the budget. Measured is what
remains of a run of the whole object, the median of --runs as in the table, when the rest of the model is subtracted: the same model
compiled with these layers as products of rank 1, which take next to no time but keep all else (attention, norms, the output head) as
it is. The table's rows read weights from as far away as a model of this size lies; between two runs they may be nearer.
What is timed, tables and runs, runs behind the words of --quiet, if any: say a command that keeps other processes away.
Exit code 1 if an allocation predicts more than its budget.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np

from tables import find, recall, run_tool

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--models", nargs="*", default=["opt-wt2"])
parser.add_argument("--tokens", nargs="*", type=int, default=[1, 256])
parser.add_argument("--budgets", nargs="*", type=float, default=[1.02, 1.1, 1.25], help="multiples of the fastest candidates' time")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--samples", type=int, default=64)
parser.add_argument("--runs", type=int, default=30)
parser.add_argument("--auto", default="", help="more options of the recipe, say 'sequential=false', which solves faster")
parser.add_argument("--store", default="latency_store")
parser.add_argument("--quiet", default="", help="words to put in front of what is timed")
parser.add_argument("--out", default="latency_tables.jsonl")
arguments = parser.parse_args()
data = os.path.join(arguments.models_folder, "dev", "data")


def tool(name, *words, timed=False):
    return run_tool(arguments.tools, name, *words, prefix=arguments.quiet.split() if timed else [])


def compile_model(model, recipe, folder, name):
    """The object, its report."""
    library, report = os.path.join(folder, name + ".so"), os.path.join(folder, name + ".json")
    stored = (["--calib", os.path.join(data, "wt2_train.npy"), "--calib-samples", str(arguments.samples), "--store",
               os.path.join(arguments.store, model), "--resume"] if recipe.startswith("auto") else [])
    tool("quantc", os.path.join(arguments.models_folder, "dev", model, "model.onnx"), "-o", library, "--recipe", recipe, "--report",
         report, *stored)
    return library, json.load(open(report))


def time_model(library, tokens, folder):
    """Milliseconds."""
    inputs = os.path.join(folder, f"{tokens}.npz")
    np.savez(inputs, input_ids=np.load(os.path.join(data, "wt2_test_dev.npy"))[None, :tokens].astype(np.int64))
    result = tool("quant-run", library, "--inputs", inputs, "--threads", str(arguments.threads), "--bench", str(arguments.runs), "--json",
                  timed=True)
    return find(json.loads(result), "median_ms")


def fastest(report, table):
    """Milliseconds of the layers if each has its fastest candidate."""
    known = {(row["encoding"] or "f32", *row["shape"][1:]): row["ns"] for row in table["rows"]}
    return 1e-6 * sum(min(sum(known[(weight["encoding"], *weight["shape"])] for weight in candidate["weights"])
                          for candidate in layer["candidates"])
                      for layer in report["budget"]["layers"])


def measure(model, tokens, folder):
    """`folder` has the report of a first allocation and the rest of the model."""
    report = json.load(open(os.path.join(folder, "first.json")))
    text = tool("quant-bench", "--layers", os.path.join(folder, "first.json"), "--tokens", str(tokens), "--threads",
                str(arguments.threads), "--repeats", "5", "--json", timed=True)
    table = os.path.join(folder, f"table{tokens}.json")
    with open(table, "w") as file:
        file.write(text)
    least = fastest(report, json.loads(text))
    rest, rows = time_model(os.path.join(folder, "rest.so"), tokens, folder), []
    for factor in arguments.budgets:
        recipe = f"auto{{ms={factor * least:.6f} tokens={tokens} cores={arguments.threads} cost-table={table} {arguments.auto}}}"
        library, chosen = compile_model(model, recipe, folder, "chosen")
        rows.append({"budget": factor * least, "predicted": 1e-6 * chosen["budget"]["ns_predicted"],
                     "whole": time_model(library, tokens, folder), "bits": chosen["budget"]["bits_per_weight_used"]})
    return {"least": least, "rest": rest, "rows": rows}


def prepare(model, folder):
    report = compile_model(model, f"auto{{bpw=3 {arguments.auto}}}", folder, "first")[1]
    # Rank 1 of any layer here: the ratio is just above (rows + columns)/(rows · columns) of the smallest.
    shapes = [layer["shape"] for layer in report["layers"] if layer["error_calibration"] is not None]
    ratio = max((rows + columns) / (rows * columns) for rows, columns in shapes) * 1.02
    compile_model(model, f"svd{{ratio={ratio:.5f}}}", folder, "rest")


exceeded = 0
for model in arguments.models:
    with tempfile.TemporaryDirectory() as folder:
        for tokens in arguments.tokens:
            def run():
                if not os.path.exists(os.path.join(folder, "rest.so")):
                    prepare(model, folder)
                return measure(model, tokens, folder)

            key = f"{model} | {tokens} | {arguments.threads} | {arguments.samples} | {arguments.budgets} | {arguments.auto}"
            result = recall(arguments.out, key, run)
            for row in result["rows"]:
                layers = row["whole"] - result["rest"]
                exceeded += row["predicted"] > row["budget"]
                print(f"{model:<10} {tokens:4} tokens: budget {row['budget']:8.4f} ms, {row['bits']:.3f} bits, predicted "
                      f"{row['predicted']:8.4f}, measured {layers:8.4f} ({row['whole']:.4f} less {result['rest']:.4f}), "
                      f"measured/predicted {layers / row['predicted']:.3f}", flush=True)
sys.exit(exceeded != 0)
