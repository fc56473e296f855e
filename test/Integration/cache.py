# REQUIRES: onnx
# RUN: %python %s
"""Attention over a cache in the model, in floats and in a few bits, at odd sizes, against numpy: appending, lengths, reset,
capacity, instances, threads."""
import tempfile
from pathlib import Path

import numpy as np
import onnx
import quanta
from onnx import TensorProto, helper

rng = np.random.default_rng(0)
FLOAT = TensorProto.FLOAT


def make(path, heads, width, value_width, masked):
    """y = softmax(q·kᵀ/2 + mask)·v, where k and v are the past ones and the new ones."""
    def port(name, *shape):
        return helper.make_tensor_value_info(name, FLOAT, shape)

    inputs = [port("q", "batch", heads, "new", width), port("k", "batch", heads, "new", width), port("v", "batch", heads, "new", value_width),
              port("past_key", "batch", heads, "past", width), port("past_value", "batch", heads, "past", value_width)]
    outputs = [port("y", "batch", heads, "new", value_width), port("key", "batch", heads, "all", width),
               port("value", "batch", heads, "all", value_width)]
    nodes = [helper.make_node("Concat", ["past_key", "k"], ["key"], axis=2), helper.make_node("Concat", ["past_value", "v"], ["value"], axis=2),
             helper.make_node("Transpose", ["key"], ["kt"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "kt"], ["raw"]),
             helper.make_node("Mul", ["raw", "half"], ["scores"]), helper.make_node("Softmax", ["masked" if masked else "scores"], ["p"], axis=-1),
             helper.make_node("MatMul", ["p", "value"], ["y"])]
    if masked:
        inputs.append(port("mask", "batch", 1, "new", "all"))
        nodes.insert(5, helper.make_node("Add", ["scores", "mask"], ["masked"]))
    half = helper.make_tensor("half", FLOAT, [], [0.5])
    graph = helper.make_graph(nodes, "g", inputs, outputs, [half])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def rounded(x, axis, bits):
    """As #quanta.cache stores it, with one scale along an axis; in the kernel's own precision, so that codes agree."""
    low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
    scale = ((high - low) * np.float32(1 / np.float32((1 << bits) - 1))).astype(np.float16).astype(np.float32)
    offset = low.astype(np.float16).astype(np.float32)
    inverse = np.where(scale > 0, np.float32(1) / np.where(scale > 0, scale, 1), np.float32(0)).astype(np.float32)
    codes = np.clip(np.floor((x - offset) * inverse + np.float32(0.5)), 0, (1 << bits) - 1)
    return codes * scale + offset


class Reference:
    def __init__(self, bits=0, group=0, window=0):
        self.k = self.v = None
        self.bits, self.group, self.window = bits, group, window

    def stored(self, x, group):
        """Blocks older than the window are rounded, by channel over `group` positions, or each position by itself."""
        if not self.bits:
            return x
        block, x = group or 32, x.copy()
        for at in range(0, max(0, x.shape[2] - self.window) // block * block, block):
            x[:, :, at:at + block] = rounded(x[:, :, at:at + block], 2 if group else 3, self.bits)
        return x

    def run(self, q, k, v, mask=None):
        self.k = k if self.k is None else np.concatenate([self.k, k], 2)
        self.v = v if self.v is None else np.concatenate([self.v, v], 2)
        keys, values = self.stored(self.k, self.group), self.stored(self.v, 0)
        scores = q.astype(np.float64) @ keys.transpose(0, 1, 3, 2) / 2 + (0 if mask is None else mask)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True) @ values


def feed(batch, heads, width, value_width, new, total, masked):
    arrays = {name: rng.standard_normal((batch, heads, new, size)).astype(np.float32)
              for name, size in (("q", width), ("k", width), ("v", value_width))}
    if masked:  # causal, with the fill that exporters use; the first positions of the last row are padding
        mask = np.where(np.arange(total)[None] > np.arange(total - new, total)[:, None], np.finfo(np.float32).min, 0)
        mask = np.repeat(mask[None, None].astype(np.float32), batch, 0)
        if total > 40:
            mask[-1, :, :, :35] = -np.inf
        arrays["mask"] = mask
    return arrays


folder = Path(tempfile.mkdtemp())
STEPS = [70, 1, 1, 95, 31, 1, 1]
for case, (batch, heads, width, value_width, capacity, steps, masked, *encoding) in enumerate([
        (1, 2, 64, 64, 200, STEPS, True, 8, 32, 32), (1, 2, 64, 64, 200, STEPS, True, 4, 32, 0), (2, 1, 20, 13, 200, STEPS, True, 3, 64, 40),
        (1, 2, 33, 47, 200, STEPS, False, 2, 32, 32), (1, 2, 64, 80, 200, STEPS, False, 1, 0, 0), (1, 1, 40, 33, 200, STEPS, False, 7, 0, 5),
        (1, 1, 8, 8, 200, STEPS, False, 5, 96, 1), (1, 1, 64, 64, 200, [1] * 200, False, 6, 32, 32),
        (1, 1, 8, 16, 33, [1, 1, 15, 16], False), (2, 3, 20, 13, 70, [5, 1, 33, 1, 30], True), (1, 2, 64, 64, 700, [150, 1, 370, 1, 178], True),
        (1, 2, 33, 47, 41, [40, 1], False)]):
    path = folder / f"m{case}.onnx"
    make(path, heads, width, value_width, masked)
    options = " bits={} group={} window={}".format(*encoding) if encoding else ""
    model = quanta.compile(path, recipe=f"kv{{capacity={capacity} batch={batch}{options}}}", threads=1)
    assert [port.name for port in model.inputs] == ["q", "k", "v"] + ["mask"] * masked, model.inputs
    assert [port.name for port in model.outputs] == ["y"], model.outputs
    threaded = quanta.load(model.path, threads=2)
    for _ in range(2):
        reference, total = Reference(*encoding), 0
        for new in steps:
            total += new
            arrays = feed(batch, heads, width, value_width, new, total, masked)
            y = model.run(arrays)["y"]
            expected = reference.run(**arrays)
            assert np.abs(y - expected).max() < 2e-5, (case, new, np.abs(y - expected).max())
            assert np.array_equal(y, threaded.run(arrays)["y"])  # an instance of its own, with other threads
        assert total == capacity
        # Full: nothing is written, and the model goes on after a reset.
        try:
            model.run(feed(batch, heads, width, value_width, 1, total + 1, masked))
            raise AssertionError("a full cache took another position")
        except quanta.RunError as error:
            assert f"room for {capacity} positions" in str(error), error
        model.reset()
        threaded.reset()

# What does not fit leaves the cache as it was.
reference, model = Reference(), quanta.load(model.path)
for new in (3, 2):
    arrays = feed(batch, heads, width, value_width, new, 0, False)
    y, expected = model.run(arrays)["y"], reference.run(**arrays)
    assert np.abs(y - expected).max() < 2e-5
    try:
        model.run(feed(batch, heads, width, value_width, 39, 0, False))
        raise AssertionError("39 positions fit behind 3")
    except quanta.RunError:
        pass
