#!/usr/bin/env python3
"""Perplexity or top-1, size and speed of weights and activations in a few bits, beside the figures of BASELINES.md.

usage: activation_tables.py TOOLS MODELS [--models NAME ...] [--rows NAME ...] [--outlier FILE] [--limit N] [--samples N]
                            [--runs N] [--quiet COMMAND] [--out FILE]

Weights: 8 bits by rounding (recipe int8), 4 and 3 bits by gptq with a scale for 128 columns; calibration on --samples windows
of wt2_train.npy or images of fmnist_calib. Of language models the dev half of the test data counts, of images 5000; --limit
takes the first N of them. --outlier FILE adds the model that eval/make_outlier_variant.py makes of opt-wt2. `ms` is the best of
--runs runs of 256 tokens or 32 images on one thread, behind the words of --quiet: say a command that keeps other processes
away. A row that is in the file --out (one JSON object a line) is not measured again, so a stopped run continues; one that fails
is reported, and the others go on. Rows that would only repeat others are left out: in a convolution network neither what tokens
share nor clusters nor rotations have anything to act on.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np

from tables import find, read_images, read_labels, recall, run_tool

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--models", nargs="*", default=["opt-wt2", "llama-wt2", "vit-fmnist", "resnet-fmnist"])
parser.add_argument("--rows", nargs="*")
parser.add_argument("--outlier")
parser.add_argument("--limit", type=int, default=0)
parser.add_argument("--samples", type=int, default=128)
parser.add_argument("--runs", type=int, default=10)
parser.add_argument("--quiet", default="", help="words to put in front of what is timed")
parser.add_argument("--out", default="activation_tables.jsonl")
arguments = parser.parse_args()
dev = os.path.join(arguments.models_folder, "dev")
data = os.path.join(dev, "data")

WEIGHTS = {8: "int8{{act={}}}", 4: "gptq{{bits=4 group=128 act={}}}", 3: "gptq{{bits=3 group=128 act={}}}"}
# What is in front of the weights' recipe, and what shares a scale of the activations.
FORMS = {"tensor": ("", "tensor"), "tensor minmax": ("", "tensor act-range=minmax"), "token": ("", "token"),
         "rptq": ("rptq,", "cluster"), "smooth tensor": ("smooth,", "tensor"), "smooth token": ("smooth,", "token"),
         "searched token": ("smooth{bits=WEIGHT act-bits=ACTIVATION},", "token"),
         "rotate tensor": ("rotate,", "tensor"), "rotate token": ("rotate,", "token"),
         "rotate online token": ("rotate{online},", "token"),
         "rptq after smooth": ("smooth,rptq,", "cluster"), "corrected token": ("", "token correct-bias"),
         "corrected rotate token": ("rotate,", "token correct-bias")}
# BASELINES.md, of opt-wt2, llama-wt2 and the outlier variant: weights rounded to nearest (4 bits: groups of 128).
REFERENCE = {"W8A8 token": (30.33, 30.40, 33.41), "W8A8 tensor minmax": (30.35, 30.94, 73.83),
             "W4A8 token": (30.81, 30.87, 34.55), "W4A4 token": (32.64, 36.26, 4.95e4)}
COLUMNS = {"opt-wt2": 0, "llama-wt2": 1, "outlier": 2}
ROWS = {"float": None}
for weight, activation in ((8, 8), (4, 8), (4, 4), (3, 8)):
    for form, (prefix, sharing) in FORMS.items():
        prefix = prefix.replace("WEIGHT", str(weight)).replace("ACTIVATION", str(activation))
        ROWS[f"W{weight}A{activation} {form}"] = prefix + WEIGHTS[weight].format(f"int{activation}-{sharing}")


def is_language(model):
    return model == "outlier" or model.endswith("-wt2")


def acts(model, recipe):
    """Whether all of the recipe has something to act on."""
    return model != "resnet-fmnist" or not recipe or not any(word in recipe for word in ("-token", "-cluster", "rotate"))


def tool(name, *words, prefix=()):
    return run_tool(arguments.tools, name, *words, prefix=prefix)


def measure(model, recipe, scratch):
    library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
    path = arguments.outlier if model == "outlier" else os.path.join(dev, model, "model.onnx")
    language = is_language(model)
    calibration = os.path.join(data, "wt2_train.npy") if language else os.path.join(scratch, "calib.npz")
    words = ["--recipe", recipe, "--calib", calibration, "--calib-samples", str(arguments.samples)] if recipe else []
    tool("quantc", path, "-o", library, "--report", report, *words)
    task = (["--task", "perplexity", "--tokens", os.path.join(data, "wt2_test_dev.npy")] if language
            else ["--task", "top1", "--data", os.path.join(scratch, "test.npz")])
    limit = ["--limit", str(arguments.limit)] if arguments.limit else []
    result = json.loads(tool("quant-eval", library, *task, *limit, "--json"))
    inputs = os.path.join(scratch, "in.npz")
    if language:
        np.savez(inputs, input_ids=np.load(os.path.join(data, "wt2_test_dev.npy"))[None, :256].astype(np.int64))
    else:
        np.savez(inputs, input=np.load(os.path.join(scratch, "test.npz"))["input"][:32])
    timing = json.loads(tool("quant-run", library, "--inputs", inputs, "--threads=1", "--bench", str(arguments.runs), "--json",
                             prefix=arguments.quiet.split()))
    return {"value": result["perplexity"] if language else 100 * result["top1"],
            "bits": json.load(open(report))["bits_per_weight"], "bytes": os.path.getsize(library),
            "ms": find(timing, "min_ms")}


def print_row(model, name, row):
    reference = REFERENCE.get(name, (None,) * 3)[COLUMNS[model]] if model in COLUMNS else None
    print(f"{model:<13} {name:<24} {'perplexity' if is_language(model) else 'top-1':<10} {row['value']:9.3f}  "
          f"reference {'–' if reference is None else format(reference, '.2f'):>8}  bits {row['bits']:6.3f}  "
          f"{row['bytes'] / 1e6:6.2f} MB  {row['ms']:8.2f} ms", flush=True)


failed = 0
with tempfile.TemporaryDirectory() as scratch:
    np.savez(os.path.join(scratch, "test.npz"), input=read_images(data, "test_dev"), label=read_labels(data, "test_dev"))
    np.savez(os.path.join(scratch, "calib.npz"), input=read_images(data, "calib"))
    for model in arguments.models + (["outlier"] if arguments.outlier else []):
        for name in arguments.rows or ROWS:
            recipe = ROWS.get(name, name)
            if not acts(model, recipe):
                continue
            if recipe and model == "resnet-fmnist":
                recipe = recipe.replace("group=128", "group=row")
            key = f"{model} | {name} | {arguments.limit} | {arguments.samples}"
            try:
                print_row(model, name, recall(arguments.out, key, lambda: measure(model, recipe, scratch)))
            except SystemExit as error:  # what run_tool says of a tool that failed
                failed += 1
                print(f"{model:<13} {name:<24} failed: {error}", flush=True)
sys.exit(f"{failed} rows failed" if failed else 0)
