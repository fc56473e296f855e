# REQUIRES: onnx
# RUN: %python %s
"""Weight-only kernels at every bit-width, with groups that divide the row and that do not, against numpy in f64."""
import platform
import sys

import numpy as np
import onnx
import quanta
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
LINEAR = {"a": (37, 100), "b": (16, 33), "c": (5, 300), "d": (64, 512)}  # name -> (outputs, inputs)
CONV = (10, 3, 3, 5)


def weights():
    values = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in LINEAR.items()}
    values["a"][3] = 0  # a row without range
    values["b"][:, :7] += 4  # a range that does not contain 0 by itself
    values["conv"] = rng.standard_normal(CONV).astype(np.float32)
    return values


def model(values):
    nodes = [helper.make_node("Gemm", [f"x_{n}", f"w_{n}"], [f"y_{n}"], transB=1, name=f"/{n}") for n in LINEAR]
    nodes.append(helper.make_node("Conv", ["x_conv", "w_conv"], ["y_conv"], name="/conv", pads=[1, 2, 1, 2]))
    # The first output is the head; an identity of an input keeps every layer out of it.
    nodes.append(helper.make_node("Relu", ["x_a"], ["first"], name="/first"))
    inputs = [helper.make_tensor_value_info(f"x_{n}", TensorProto.FLOAT, ["rows", shape[1]]) for n, shape in LINEAR.items()]
    inputs.append(helper.make_tensor_value_info("x_conv", TensorProto.FLOAT, ["rows", 3, 7, 19]))
    outputs = [helper.make_tensor_value_info("first", TensorProto.FLOAT, ["rows", 100])]
    outputs += [helper.make_tensor_value_info(f"y_{n}", TensorProto.FLOAT, None) for n in [*LINEAR, "conv"]]
    initializers = [numpy_helper.from_array(value, f"w_{name}") for name, value in values.items()]
    graph = helper.make_graph(nodes, "layers", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantize(w, bits, group, symmetric):
    """The definition: min-max with f16 scales, zero inside the range, half to even."""
    matrix = w.reshape(len(w), -1).astype(np.float64)
    out = np.empty_like(matrix)
    columns = matrix.shape[1]
    top = 2**bits - 1
    size = columns if group in ("row", "tensor") else min(int(group), columns)
    for begin in range(0, columns, size):
        part = matrix[:, begin:begin + size]
        axis = None if group == "tensor" else 1
        low = np.minimum(part.min(axis=axis, keepdims=True), 0)
        high = np.maximum(part.max(axis=axis, keepdims=True), 0)
        if symmetric and bits == 1:
            scale = (2 * np.abs(part).mean(axis=axis, keepdims=True)).astype(np.float16).astype(np.float64)
            out[:, begin:begin + size] = np.where(part >= 0, 0.5, -0.5) * scale
            continue
        if symmetric:
            limit = 2 ** (bits - 1) - 1
            scale = (np.maximum(high, -low) / limit).astype(np.float16).astype(np.float64)
            zero = np.zeros_like(scale)
            least, most = -limit, limit
        else:
            exact = (high - low) / top
            scale = exact.astype(np.float16).astype(np.float64)
            zero = np.clip(np.round(np.divide(-low, scale, out=np.zeros_like(low), where=scale > 0)), 0, top)
            least, most = 0, top
        q = np.clip(np.round(np.divide(part, scale, out=np.zeros_like(part), where=scale > 0)) + zero, least, most)
        out[:, begin:begin + size] = (q - zero) * scale
    return out.reshape(w.shape)


def convolve(x, w):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (2, 2)))
    rows, columns = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    y = np.zeros((len(x), len(w), rows, columns))
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            y += np.einsum("ncij,oc->noij", x[:, :, i:i + rows, j:j + columns], w[:, :, i, j])
    return y


values = weights()
proto = model(values)
failed = 0
cases = [(bits, group, symmetric) for bits in range(1, 9) for group, symmetric in (("32", False), ("20", True), ("row", False), ("tensor", True))]
cases = [case + (None,) for case in cases]
# Narrower vectors of the same target, whatever the machine has.
cases += [(bits, group, False, cpu) for cpu in ("x86-64-v3", "x86-64-v2") for bits, group in ((None, None), (3, "20"), (4, "32"))
          if platform.machine() == "x86_64"]
cases += [(None, None, None, None), (4, "row", True, None), (3, "1", False, None), (2, "100", False, None), (8, "512", True, None)]
for bits, group, symmetric, cpu in cases:
    recipe = None if bits is None else f"rtn{{bits={bits} group={group} sym={str(symmetric).lower()}}}"
    compiled = quanta.compile(proto, recipe=recipe, cpu=cpu)
    worst = 0.0
    for rows in (1, 3, 140):
        feed = {f"x_{n}": rng.standard_normal((rows, shape[1])).astype(np.float32) for n, shape in LINEAR.items()}
        feed["x_conv"] = rng.standard_normal((rows, 3, 7, 19)).astype(np.float32)
        got = compiled.run(feed)
        for name, value in values.items():
            decoded = value.astype(np.float64) if bits is None else quantize(value, bits, group, symmetric)
            x = feed[f"x_{name}"].astype(np.float64)
            want = convolve(x, decoded) if name == "conv" else x @ decoded.T
            # f32 sums of up to 512 terms: a few ulp of the sum of magnitudes.
            bound = np.abs(x).max() * np.abs(decoded).reshape(len(decoded), -1).sum(1).max()
            worst = max(worst, np.abs(got[f"y_{name}"] - want).max() / bound)
    if worst > 1e-6:
        failed += 1
        print(f"bits={bits} group={group} symmetric={symmetric} cpu={cpu}: error {worst:.3e} of the largest possible sum")
print(f"{len(cases)} cases, {failed} failed")
sys.exit(failed != 0)
