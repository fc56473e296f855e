"""Writes a model whose one weight, 4x8 floats, is in another file: external-data.py MODEL LOCATION [OFFSET [LENGTH]]"""
import os
import sys

import onnx
from onnx import TensorProto, helper

model, location, *rest = sys.argv[1:]
target = os.path.join(os.path.dirname(model), location)
if not os.path.exists(target):
    with open(target, "wb") as data:
        data.write(bytes(128))
weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 8], data_location=TensorProto.EXTERNAL)
for key, value in zip(("location", "offset", "length"), (location, *rest)):
    weight.external_data.add(key=key, value=value)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "external",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
    [weight],
)
with open(model, "wb") as file:
    file.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
