# REQUIRES: onnx
# RUN: %python %s
"""Keys cached before their rotary embedding, and as signs of projections, against numpy and the numbers of the reference."""
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import quanta
from onnx import TensorProto, helper

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
STEPS = [70, 1, 1, 95, 31, 1, 1]


def decoder(path, heads, width, rotary):
    """y = softmax(q·kᵀ/2)·v over past and new keys and values; new keys are rotated by inputs cos and sin."""
    def port(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [port(name, 1, heads, "new", width) for name in ("q", "k", "v")]
    inputs += [port(name, 1, heads, "past", width) for name in ("past_key", "past_value")]
    nodes, keys = [], "k"
    constants = [helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])]
    if rotary:
        inputs += [port(name, 1, 1, "new", width) for name in ("cos", "sin")]
        for name, value in (("zero", 0), ("middle", width // 2), ("end", width), ("axis", 3)):
            constants.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
        nodes = [helper.make_node("Slice", ["k", "zero", "middle", "axis"], ["low"]), helper.make_node("Slice", ["k", "middle", "end", "axis"], ["high"]),
                 helper.make_node("Neg", ["high"], ["minus"]), helper.make_node("Concat", ["minus", "low"], ["turned"], axis=3),
                 helper.make_node("Mul", ["k", "cos"], ["straight"]), helper.make_node("Mul", ["turned", "sin"], ["across"]),
                 helper.make_node("Add", ["straight", "across"], ["rotated"])]
        keys = "rotated"
    nodes += [helper.make_node("Concat", ["past_key", keys], ["key"], axis=2), helper.make_node("Concat", ["past_value", "v"], ["value"], axis=2),
              helper.make_node("Transpose", ["key"], ["kt"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "kt"], ["raw"]),
              helper.make_node("Mul", ["raw", "half"], ["scores"]), helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
              helper.make_node("MatMul", ["p", "value"], ["y"])]
    outputs = [port("y", 1, heads, "new", width), port("key", 1, heads, "all", width), port("value", 1, heads, "all", width)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)]), path)


def attend(q, keys, values, scale):
    scores = q.astype(np.float64) @ keys.transpose(0, 1, 3, 2) * scale
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) @ values


def draw(heads, new, width):
    return {name: rng.standard_normal((1, heads, new, width)).astype(np.float32) for name in ("q", "k", "v")}


def by_channel(x, bits):
    """A group of positions as #quanta.cache<channel> stores it."""
    low, high = x.min(2, keepdims=True), x.max(2, keepdims=True)
    scale = ((high - low) * np.float32(1 / np.float32((1 << bits) - 1))).astype(np.float16).astype(np.float32)
    offset, inverse = low.astype(np.float16).astype(np.float32), np.float32(1) / scale
    return np.clip(np.floor((x - offset) * inverse + np.float32(0.5)), 0, (1 << bits) - 1) * scale + offset


def encoded(length, window):
    return max(0, length - window) // 32 * 32


def test_unrotated(heads, width, bits, window):
    path = folder / f"rotary{width}.onnx"
    decoder(path, heads, width, rotary=True)
    floats = quanta.compile(path, recipe="kv{capacity=200}", threads=1)
    before = quanta.compile(path, recipe="kv{capacity=200 keys=unrotated}", threads=1)
    few = quanta.compile(path, recipe=f"kv{{capacity=200 keys=unrotated bits={bits}/8 window={window}}}", threads=1)
    threaded = quanta.load(few.path, threads=2)
    stored = {name: np.zeros((1, heads if name in "kv" else 1, 0, width), np.float32) for name in ("k", "v", "cos", "sin")}
    for new in STEPS:
        arrays, past = draw(heads, new, width), stored["k"].shape[2]
        angles = (past + np.arange(new))[:, None] * np.exp(-rng.permutation(width) / 4)[None]  # the two halves differ
        arrays["cos"], arrays["sin"] = (f(angles)[None, None].astype(np.float32) for f in (np.cos, np.sin))
        stored = {name: np.concatenate([stored[name], arrays[name]], 2) for name in stored}
        exact = floats.run(arrays)["y"]
        assert np.array_equal(before.run(arrays)["y"], exact)
        y = few.run(arrays)["y"]
        assert np.array_equal(threaded.run(arrays)["y"], y)
        keys = stored["k"].copy()
        for at in range(0, encoded(keys.shape[2], window), 32):
            keys[:, :, at:at + 32] = by_channel(keys[:, :, at:at + 32], bits)
        turned = np.concatenate([-keys[..., width // 2:], keys[..., :width // 2]], 3)
        expected = attend(arrays["q"], keys * stored["cos"] + turned * stored["sin"], stored["v"], 0.5)
        assert np.abs(y - expected).max() < 0.05, np.abs(y - expected).max()  # values have 8 bits
        if bits == 2:
            assert np.array_equal(y, exact) == (encoded(keys.shape[2], window) == 0)


test_unrotated(2, 64, 8, 32)
test_unrotated(1, 20, 2, 0)
test_unrotated(3, 34, 3, 40)


def sketched_cache(width, capacity, window, scale):
    """A cache whose keys are given as they are to be sketched."""
    keys, values = f"tensor<1x2x?x{width}xf32>", "tensor<1x2x?x16xf32>"
    sketch = f"#quanta.cache<sketch, bits = 1, window = {window}>"
    text = f"""
module attributes {{quanta.cache_capacity = {capacity} : i64, quanta.name = "sketch"}} {{
  func.func @main(%q: {keys}, %k: {keys}, %v: {values}) -> {values}
      attributes {{quanta.inputs = ["q", "k", "v"], quanta.outputs = ["y"],
                  quanta.dims = [[1, 2, "new", {width}], [1, 2, "new", {width}], [1, 2, "new", 16]]}} {{
    %c2 = arith.constant 2 : index
    %new = tensor.dim %k, %c2 : {keys}
    %past = quanta.cache_length : index
    %all = arith.addi %past, %new : index
    quanta.cache_advance %new
    quanta.cache_append @key, %k : {keys}
    quanta.cache_append @value, %v : {values}
    %keys = quanta.cache_read @key, %all : tensor<1x2x?x{width}xf32, {sketch}>
    %values = quanta.cache_read @value, %all : {values}
    %y = quanta.attention %q, %keys, %values {{scale = {scale:e} : f32}} : ({keys}, tensor<1x2x?x{width}xf32, {sketch}>, {values}) -> {values}
    return %y : {values}
  }}
  quanta.cache @key : tensor<1x2x{capacity}x{width}xf32, {sketch}>
  quanta.cache @value : tensor<1x2x{capacity}x16xf32>
}}"""
    path = folder / "sketch.mlir"
    path.write_text(text)
    return quanta.compile(path, threads=1)


def signs(x):
    """As #quanta.cache<sketch> stores it."""
    length = np.sqrt((x.astype(np.float64) ** 2).sum(-1, keepdims=True))
    magnitude = (np.sqrt(np.pi / 2 / x.shape[-1]) * length).astype(np.float16).astype(np.float64)
    return np.where(x >= 0, magnitude, -magnitude)


for width, window in ((64, 32), (20, 0), (33, 5)):
    model, keys, values = sketched_cache(width, 200, window, 0.5), np.zeros((1, 2, 0, width), np.float32), np.zeros((1, 2, 0, 16), np.float32)
    for new in STEPS:
        arrays = draw(2, new, width)
        arrays["v"] = arrays["v"][..., :16]
        if width < 16:
            arrays["v"] = np.zeros((1, 2, new, 16), np.float32)
        keys, values = np.concatenate([keys, arrays["k"]], 2), np.concatenate([values, arrays["v"]], 2)
        end = encoded(keys.shape[2], window)
        whole = np.concatenate([signs(keys[:, :, :end]), keys[:, :, end:]], 2)
        y, expected = model.run(arrays)["y"], attend(arrays["q"], whole, values, 0.5)
        assert np.abs(y - expected).max() < 5e-3, (width, np.abs(y - expected).max())  # a rounding of f16 may differ

# The reference's key as m bits and a length: attention between it and keys of zeros tells its score. Zeros have code 1 and
# length 0; 31 of them and the key make a block.
oracle = json.loads((Path(__file__).parents[1] / "Unit/Solver/Oracles/kv.json").read_text())["qjl"]
q, k, s = (np.array(oracle[name]) for name in "qkS")
x = s @ k
x *= np.linalg.norm(k) / np.linalg.norm(x)  # the length that is stored is the key's own
arrays = {"q": np.zeros((1, 2, 32, 16), np.float32), "k": np.zeros((1, 2, 32, 16), np.float32), "v": np.zeros((1, 2, 32, 16), np.float32)}
arrays["q"][0, 0, 0], arrays["k"][0, 0, 0] = s @ q, x
arrays["v"][0, 0, 0, 0] = 1  # the probability of that key
p = sketched_cache(16, 64, 0, 1 / 4).run(arrays)["y"][0, 0, 0, 0]  # 1/√m
score = np.log(p / (1 - p) * 31)
assert abs(score - oracle["score"]) < 1e-3 * abs(oracle["score"]), (score, oracle["score"])

# The projection leaves products as they are, and more signs leave less error.
path = folder / "plain.onnx"
decoder(path, 2, 24, rotary=False)
exact = quanta.compile(path, recipe="kv{capacity=200}", threads=1)
recent = quanta.compile(path, recipe="kv{capacity=200 bits=sketch2/8 window=200}", threads=1)
models = {n: quanta.compile(path, recipe=f"kv{{capacity=200 bits=sketch{n}/8 window=0}}", threads=1) for n in (1, 8)}
errors = dict.fromkeys(models, 0.0)
for new in STEPS:
    arrays = draw(2, new, 24)
    y = exact.run(arrays)["y"]
    assert np.abs(recent.run(arrays)["y"] - y).max() < 1e-5
    for n, model in models.items():
        errors[n] += np.abs(model.run(arrays)["y"] - y).mean()
assert 0 < errors[8] < errors[1] / 2, errors
for recipe, message in (("kv{bits=sketch}", "'sketch'"), ("kv{bits=sketch9/2}", "the first maybe 'sketch'"), ("kv{bits=2/sketch}", "the first maybe 'sketch'")):
    try:
        quanta.compile(path, recipe=recipe)
        raise AssertionError(recipe)
    except quanta.CompileError as error:
        assert message in str(error), error
