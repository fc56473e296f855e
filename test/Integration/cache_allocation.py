# REQUIRES: onnx
# RUN: %python %s
"""Widths of caches within a budget of bytes: the layer that the output depends on gets the bits."""
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx
import quanta
from onnx import TensorProto, helper

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
HEADS, WIDTH = 2, 32


def port(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


# y = a · attention₀ + b · attention₁, each with a cache of its own.
def decoder(path, factors):
    inputs, outputs, nodes, parts = [], [], [], []
    constants = [helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])]
    inputs += [port(name, 1, HEADS, "new", WIDTH) for name in ("q", "k", "v")]
    for i, factor in enumerate(factors):
        constants.append(helper.make_tensor(f"f{i}", TensorProto.FLOAT, [], [factor]))
        inputs += [port(f"past{i}.{name}", 1, HEADS, "past", WIDTH) for name in ("key", "value")]
        outputs += [port(f"now{i}.{name}", 1, HEADS, "all", WIDTH) for name in ("key", "value")]
        nodes += [helper.make_node("Concat", [f"past{i}.key", "k"], [f"now{i}.key"], axis=2), helper.make_node("Concat", [f"past{i}.value", "v"], [f"now{i}.value"], axis=2),
                  helper.make_node("Transpose", [f"now{i}.key"], [f"kt{i}"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", f"kt{i}"], [f"raw{i}"]),
                  helper.make_node("Mul", [f"raw{i}", "half"], [f"scores{i}"]), helper.make_node("Softmax", [f"scores{i}"], [f"p{i}"], axis=-1),
                  helper.make_node("MatMul", [f"p{i}", f"now{i}.value"], [f"a{i}"]), helper.make_node("Mul", [f"a{i}", f"f{i}"], [f"part{i}"])]
        parts.append(f"part{i}")
    nodes.append(helper.make_node("Add", parts, ["y"]))
    graph = helper.make_graph(nodes, "g", inputs, [port("y", 1, HEADS, "new", WIDTH)] + outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


np.savez(folder / "data.npz", **{name: rng.standard_normal((1, HEADS, 64, WIDTH)).astype(np.float32) for name in "qkv"})


def compiled(factors, kind, recipe):
    """The model's IR, or the header, which tells how much its caches take."""
    path = folder / "model.onnx"
    decoder(path, factors)
    return Path(quanta.compile(path, folder / f"model.{kind}", recipe=recipe, calib=folder / "data.npz").path).read_text()


def widths(factors, options):
    """Encodings of each layer's keys and values."""
    text = compiled(factors, "mlir", f"kv{{capacity=128 window=0 {options}}}")
    found = dict(re.findall(r"quanta[.]cache @\"?(past[01][.]\w+)\"? : tensor<[^,]*, #(\w+)>", text))
    return [found[f"past{layer}.{name}"].removesuffix("w0") for layer in (0, 1) for name in ("key", "value")]


def size(bits):
    return int(re.search(r"(\d+) bytes an instance", compiled([1, 1], "h", f"kv{{capacity=128 window=0 bits={bits}}}"))[1])


between = (size("8") + size("2")) // 2
high, low = ["channel8", "token8"], ["channel2", "token2"]
assert widths([1, 0.01], f"bytes={between} bits=2,8") == high + low
assert widths([0.01, 1], f"bytes={between} bits=2,8") == low + high
# Pairs and sketches are candidates, too; with room for everything nothing is saved.
assert widths([1, 1], "bytes=1000000 bits=sketch/2,8,4/8") == high + high
assert widths([1, 1], f"bytes={size('2')} bits=2,4/2") == low + low
assert widths([1, 0.01], f"bytes={size('sketch/8')} bits=sketch/8") == ["sketch1", "token8"] * 2

for recipe, calib, message in ((f"kv{{capacity=128 bytes={size('2') - 1} window=0 bits=2,8}}", True, f"the smallest candidates take {size('2')}"),
                               ("kv{capacity=128 bytes=1000}", False, "looks at data: give --calib"),
                               ("kv{capacity=32 bytes=1000000}", True, "room for 32 positions")):
    try:
        quanta.compile(folder / "model.onnx", recipe=recipe, calib=folder / "data.npz" if calib else None)
        raise AssertionError(recipe)
    except quanta.CompileError as error:
        assert message in str(error), error
