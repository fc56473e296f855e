#!/usr/bin/env python3
"""WikiText-2 perplexity of the calibrated recipes, beside the reference figures in BASELINES.md.

usage: calibrated_tables.py TOOLS MODELS [--recipes NAME ...] [--models NAME ...] [--outlier FILE] [--valid] [--layers] [--out FILE]

Calibrates on 512 windows of wt2_train.npy, evaluates on wt2_test_dev.npy, or with --valid on wt2_valid.npy (to choose
options). A row that is in the file --out (one JSON object a line) is not measured again, so a stopped run continues.
--outlier FILE adds the model that eval/make_outlier_variant.py makes of opt-wt2. --layers prints, in place of perplexities,
the mean error on held-out data that rtn, rtn with a range search and gptq leave in the layers at 2, 3 and 4 bits, and how
many layers are out of order, all on the inputs of the float model.
"""
import argparse
import json
import math
import os
import sys
import tempfile

from tables import recall, run_tool

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--recipes", nargs="*")
parser.add_argument("--models", nargs="*", default=["opt-wt2", "llama-wt2"])
parser.add_argument("--outlier")
parser.add_argument("--valid", action="store_true")
parser.add_argument("--layers", action="store_true")
parser.add_argument("--samples", type=int, default=512)
parser.add_argument("--out", default="calibrated_tables.jsonl")
arguments = parser.parse_args()
data = os.path.join(arguments.models_folder, "dev", "data")

# Name -> recipe, and figures for opt-wt2, llama-wt2 and the outlier variant: "GPTQ g128", "PB 10% GPTQ", "sign" of BASELINES.md.
RECIPES = {
    "float": (None, (30.31, 30.37, 30.31)),
    "rtn 2 row": ("rtn{bits=2 group=row}", (92.84, 91.88, 96.64)),
    "rtn 2 row range": ("rtn{bits=2 group=row range}", (92.84, 91.88, 96.64)),
    "gptq 2": ("gptq{bits=2 group=row}", (40.97, 45.04, 42.16)),
    "gptq 2 g128": ("gptq{bits=2 group=128}", (40.97, 45.04, 42.16)),
    "gptq 3": ("gptq{bits=3 group=row}", (31.40, 31.66, 31.73)),
    "gptq 4": ("gptq{bits=4 group=row}", (30.53, 30.65, 30.76)),
    "ternary": ("ternary{group=row}", (None, None, None)),
    "pb-llm 3 of 32": ("pb-llm{tile=32 kept=3 high-bits=8}", (38.35, 40.03, 1.04e4)),
    "pb-llm 10 %": ("pb-llm{salient=0.1 high-bits=8}", (38.35, 40.03, 1.04e4)),
    "structured 16 %": ("structured{salient=0.16 high-bits=4}", (None, None, None)),
    "binary": ("binary{group=row}", (229.81, 159.24, 6.36e4)),
}


def model_path(model):
    return arguments.outlier if model == "outlier" else os.path.join(arguments.models_folder, "dev", model, "model.onnx")


def tool(name, *words):
    return run_tool(arguments.tools, name, *words)


def compile_model(model, recipe, scratch):
    library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
    words = [] if recipe is None else ["--recipe", recipe]
    if recipe and not recipe.startswith("rtn"):
        words += ["--calib", os.path.join(data, "wt2_train.npy"), "--calib-samples", str(arguments.samples)]
    tool("quantc", model_path(model), "-o", library, "--report", report, *words)
    return library, json.load(open(report))


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def measure(model, name, scratch):
    recipe = RECIPES[name][0] if name in RECIPES else name
    library, report = compile_model(model, recipe, scratch)
    tokens = os.path.join(data, "wt2_valid.npy" if arguments.valid else "wt2_test_dev.npy")
    result = json.loads(tool("quant-eval", library, "--task", "perplexity", "--tokens", tokens, "--json"))
    # As BASELINES.md counts them: every stored bit of the quantized layers, without the head, which stays in float.
    quantized = [layer for layer in report["layers"] if layer["bits_per_weight"] < 16] or report["layers"]
    count = [math.prod(layer["shape"]) for layer in quantized]
    bits = sum(n * layer["bits_per_weight"] for n, layer in zip(count, quantized)) / sum(count)
    return {"perplexity": result["perplexity"], "bits": bits, "seconds": report["seconds"].get("quantize", 0),
            "solve": sum(layer["time_s"] or 0 for layer in report["layers"]), "peak": report["peak_bytes"] >> 20,
            "held_out": mean(layer["error_held_out"] for layer in report["layers"]),
            "calibration": mean(layer["error_calibration"] for layer in report["layers"])}


def layer_errors(model, bits, scratch):
    """Held-out error of each layer by each method, all with the moments of the float model's inputs."""
    errors = {}
    for method in ("rtn", "rtn-range", "gptq"):
        report = os.path.join(scratch, "l.json")
        # The zero point of rtn is an integer, as in its recipe.
        zero = "point" if method == "rtn" else "offset"
        calibrate = (f"data={os.path.join(data, 'wt2_train.npy')} samples={arguments.samples} sequential=false "
                     f"pipeline='quanta-quantize-weights{{method={method} bits={bits} group=0 zero={zero}}}'")
        tool("quantc", model_path(model), "-o", os.path.join(scratch, "l.mlirbc"), "--emit=quant-ir", "--pass-pipeline",
             f"quanta-select-layers,quanta-calibrate{{{calibrate}}}", "--report", report)
        for layer in json.load(open(report))["layers"]:
            if layer["error_held_out"] is not None:
                errors.setdefault(layer["name"], []).append(layer["error_held_out"])
    return errors


with tempfile.TemporaryDirectory() as scratch:
    models = arguments.models + (["outlier"] if arguments.outlier else [])
    if arguments.layers:
        for model in models:
            for bits in (2, 3, 4):
                errors = layer_errors(model, bits, scratch)
                means = [mean(column) for column in zip(*errors.values())]
                wrong = sum(not (e[0] > e[1] > e[2]) for e in errors.values())
                print(f"{model:<10} {bits} bits  rtn {means[0]:.4g}  range {means[1]:.4g}  gptq {means[2]:.4g}  "
                      f"layers out of order {wrong} of {len(errors)}", flush=True)
        sys.exit()
    columns = {"opt-wt2": 0, "llama-wt2": 1, "outlier": 2}
    for name in arguments.recipes or RECIPES:
        for model in models:
            key = f"{model} | {name} | {'valid' if arguments.valid else 'test_dev'} | {arguments.samples}"
            row = recall(arguments.out, key, lambda: measure(model, name, scratch))
            reference = RECIPES[name][1][columns[model]] if name in RECIPES else None
            held_out = f"{row['held_out']:.4f}" if row["held_out"] is not None else "     –"
            print(f"{model:<10} {name:<18} bits {row['bits']:6.3f}  perplexity {row['perplexity']:9.3f}  "
                  f"reference {'–' if reference is None else format(reference, '.2f'):>9}  held-out error {held_out}  "
                  f"quantize {row['seconds']:6.1f} s, of that solve {row['solve']:6.1f} s  peak {row['peak']} MiB", flush=True)
