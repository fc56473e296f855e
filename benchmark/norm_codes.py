#!/usr/bin/env python3
"""A layer norm that stores the codes of clusters, as quantized layers read them, beside a norm that stores floats and the codes by
themselves: the time of the first against the sum of the others. A layer of 16 rows, in the sum once, too, reads the codes.

usage: norm_codes.py TOOLS [--rows 256] [--columns 384,1024,4096] [--clusters 1,8] [--runs 200]
"""
import argparse
import json
import os
import tempfile

import numpy as np

from tables import run_tool

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("--rows", type=int, default=256)
parser.add_argument("--columns", default="384,1024,4096")
parser.add_argument("--clusters", default="1,8")
parser.add_argument("--runs", type=int, default=200)
arguments = parser.parse_args()


def numbers(text):
    return [int(part) for part in text.split(",")]


def module(rows, columns, clusters, norm, codes):
    """%x, normalized and encoded or either of these."""
    bounds = [columns * i // clusters // 32 * 32 for i in range(1, clusters)]
    encoding = f"#quanta.affine<bits = 8, splits = {bounds}, scales = {[0.02 + 0.001 * i for i in range(clusters)]}, zeros = {list(range(clusters))}>"
    plain, result = f"tensor<{rows}x{columns}xf32>", f"tensor<{rows}x16xf32>" if codes else f"tensor<{rows}x{columns}xf32>"
    weight = f"tensor<16x{columns}xf32, #quanta.uniform<bits = 8>>"
    body, value = [], "x"
    if norm:
        body += [f"%g = arith.constant dense<1.5> : tensor<{columns}xf32>",
                 f"%n = quanta.layer_norm %x, %g bias %g {{epsilon = 1.0e-5 : f32}} : ({plain}, tensor<{columns}xf32>, tensor<{columns}xf32>) -> {plain}"]
        value = "n"
    if codes:
        encoded = f"tensor<{rows}x{columns}xf32, {encoding}>"
        body += [f"%q = quanta.quantize %{value} : {plain} to {encoded}",
                 f"%w = quanta.constant {{codes = dense<3> : tensor<16x{columns}xi8>, scales = dense<1.0> : tensor<16x1xf16>}} : {weight}",
                 f"%y = quanta.linear %q, %w : ({encoded}, {weight}) -> {result}"]
        value = "y"
    return (f'func.func @main(%x: {plain}) -> {result} attributes {{quanta.inputs = ["x"], quanta.outputs = ["y"]}} {{\n  ' +
            "\n  ".join(body) + f"\n  return %{value} : {result}\n}}\n")


with tempfile.TemporaryDirectory() as scratch:
    for columns in numbers(arguments.columns):
        inputs = os.path.join(scratch, "in.npz")
        np.savez(inputs, x=np.random.default_rng(0).standard_normal((arguments.rows, columns)).astype(np.float32))
        for clusters in numbers(arguments.clusters):
            times = []
            for norm, codes in ((True, True), (True, False), (False, True)):
                path, library = os.path.join(scratch, "m.mlir"), os.path.join(scratch, "m.so")
                with open(path, "w") as file:
                    file.write(module(arguments.rows, columns, clusters, norm, codes))
                run_tool(arguments.tools, "quantc", path, "-o", library)
                text = run_tool(arguments.tools, "quant-run", library, "--inputs", inputs, "--threads=1", "--bench", str(arguments.runs), "--json")
                times.append(1000 * json.loads(text)["cases"][0]["bench"]["min_ms"])
            fused, floats, encode = times
            print(f"{arguments.rows} x {columns}, {clusters} clusters: norm with codes {fused:.1f} us, norm {floats:.1f} us, codes {encode:.1f} us, "
                  f"ratio {fused / (floats + encode):.2f}", flush=True)
