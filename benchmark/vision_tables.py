#!/usr/bin/env python3
"""Top-1 accuracy of the vision models with weights and activations of 8, 6 and 4 bits, by each method of recipe ptq4vit.

usage: vision_tables.py TOOLS MODELS [--images 5000] [--samples 32] [--models NAME ...] [--methods NAME ...] [--widths N ...]

Calibrates on the first `--samples` calibration images, evaluates on the first `--images` test images (dev half).
"""
import argparse
import json
import os
import tempfile
import time

import numpy as np

from tables import read_images, read_labels, run_tool

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--images", type=int, default=5000)
parser.add_argument("--samples", type=int, default=32)
parser.add_argument("--models", nargs="*", default=["vit-fmnist", "resnet-fmnist"])
parser.add_argument("--methods", nargs="*", default=["base", "twin", "twin-hessian", "repq"])
parser.add_argument("--widths", nargs="*", type=int, default=[8, 6, 4])
arguments = parser.parse_args()
data = os.path.join(arguments.models_folder, "dev", "data")


def tool(name, *words):
    return run_tool(arguments.tools, name, *words)


def top1(model, folder, recipe):
    """Percent, and seconds that compiling took."""
    library = os.path.join(folder, "m.so")
    begin = time.time()
    words = ["--recipe", recipe, "--calib", os.path.join(folder, "calib.npz"), "--calib-samples", str(arguments.samples)] if recipe else []
    tool("quantc", os.path.join(arguments.models_folder, "dev", model, "model.onnx"), "-o", library, *words)
    seconds = time.time() - begin
    return json.loads(tool("quant-eval", library, "--task", "top1", "--data", os.path.join(folder, "test.npz"), "--json")), seconds


print("| model | method | " + " | ".join(f"W{width}A{width}" for width in arguments.widths) + " | compiling, s |")
print("| --- " * (len(arguments.widths) + 3) + "|", flush=True)
with tempfile.TemporaryDirectory() as folder:
    np.savez(os.path.join(folder, "calib.npz"), input=read_images(data, "calib", arguments.samples))
    np.savez(os.path.join(folder, "test.npz"), input=read_images(data, "test_dev", arguments.images),
             label=read_labels(data, "test_dev", arguments.images))
    for model in arguments.models:
        result, seconds = top1(model, folder, None)
        print(f"| {model} | float | " + " | ".join([f"{100 * result['top1']:.2f}"] * len(arguments.widths)) + f" | {seconds:.0f} |", flush=True)
        for method in arguments.methods:
            cells, total = [], 0
            for width in arguments.widths:
                result, seconds = top1(model, folder, f"ptq4vit{{bits={width} act-bits={width} method={method}}}")
                cells.append(f"{100 * result['top1']:.2f}")
                total += seconds
            print(f"| {model} | {method} | " + " | ".join(cells) + f" | {total:.0f} |", flush=True)
