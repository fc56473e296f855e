#!/usr/bin/env python3
"""Writes an ONNX model with about N GiB of weights in an external data file, a little at a time.

usage: make_large_model.py OUT.onnx [--gib 1] [--width 4096]
"""
import argparse
import os

import numpy as np
import onnx
from onnx import TensorProto, helper

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--gib", type=float, default=1)
parser.add_argument("--width", type=int, default=4096)
arguments = parser.parse_args()

width = arguments.width
layers = max(1, round(arguments.gib * 2**30 / (4 * width * width)))
data = os.path.basename(arguments.out) + ".data"
nodes, initializers, value = [], [], "x"
rng = np.random.default_rng(0)
with open(os.path.join(os.path.dirname(arguments.out) or ".", data), "wb") as file:
    for layer in range(layers):
        tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[width, width], data_location=TensorProto.EXTERNAL)
        for key, entry in (("location", data), ("offset", str(file.tell())), ("length", str(4 * width * width))):
            tensor.external_data.add(key=key, value=entry)
        (rng.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5)).tofile(file)
        initializers.append(tensor)
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}"], [f"y{layer}"], transB=1, name=f"/layer{layer}"))
        value = f"y{layer}"
graph = helper.make_graph(nodes, "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
                          [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["rows", width])], initializers)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), arguments.out)
print(f"{arguments.out}: {layers} layers, {layers * 4 * width * width / 2**30:.2f} GiB")
