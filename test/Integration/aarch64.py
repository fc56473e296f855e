# REQUIRES: onnx, aarch64-emulator
# RUN: %python %s %t %aarch64
"""Every kernel family at odd sizes, compiled for Arm and run in an emulator as old and new cores, against this machine."""
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder, emulator = pathlib.Path(sys.argv[1]), sys.argv[2:]
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
rng = np.random.default_rng(0)

WIDTH, HEADS = 68, 4
initializers = {}


def weight(name, *shape):
    initializers[name] = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
    return name


def constant(name, values, dtype=np.int64):
    initializers[name] = np.array(values, dtype=dtype)
    return name


nodes = []


def add(op, inputs, output, **attributes):
    nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
    return output


# Convolutions: strided, depthwise, pointwise; then a sequence of pixels with an embedding, attention and a linear part.
add("Conv", ["image", weight("w1", 10, 3, 3, 5), weight("b1", 10)], "strided", strides=[2, 1], pads=[1, 2, 1, 2])
add("Conv", ["strided", weight("w2", 10, 1, 3, 3)], "depthwise", group=10, pads=[1, 1, 1, 1])
add("Relu", ["depthwise"], "relu")
add("Conv", ["relu", weight("w3", WIDTH, 10, 1, 1)], "pointwise")
add("Reshape", ["pointwise", constant("sequence", [0, WIDTH, -1])], "flat")
add("Transpose", ["flat"], "tokens", perm=[0, 2, 1])
add("Gather", [weight("table", 11, WIDTH), "index"], "embedded")
add("Add", ["tokens", "embedded"], "x")
add("LayerNormalization", ["x", weight("gain", WIDTH), weight("shift", WIDTH)], "norm", axis=-1)
for part in "qkv":
    add("MatMul", ["norm", weight(f"w{part}", WIDTH, WIDTH)], f"{part}0")
    add("Reshape", [f"{part}0", constant(f"s{part}", [0, 0, HEADS, WIDTH // HEADS])], f"{part}1")
    add("Transpose", [f"{part}1"], part, perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3])
add("MatMul", ["q", "k"], "scores")
add("Mul", ["scores", constant("scale", 0.25, np.float32)], "scaled")
add("Softmax", ["scaled"], "weights", axis=-1)
add("MatMul", ["weights", "v"], "mixed")
add("Transpose", ["mixed"], "mixed1", perm=[0, 2, 1, 3])
add("Reshape", ["mixed1", constant("join", [0, 0, WIDTH])], "joined")
add("Add", ["joined", "x"], "residual")
add("Pow", ["residual", constant("two", 2.0, np.float32)], "square")
add("ReduceMean", ["square"], "mean", axes=[-1])
add("Add", ["mean", constant("epsilon", 1e-5, np.float32)], "mean1")
add("Sqrt", ["mean1"], "root")
add("Div", ["residual", "root"], "unit")
add("Mul", ["unit", weight("rms", WIDTH)], "rmsnorm")
add("MatMul", ["rmsnorm", weight("wu", WIDTH, 131)], "up")
add("Sigmoid", ["up"], "gate")
add("Mul", ["up", "gate"], "silu")
add("MatMul", ["silu", weight("wd", 131, 37)], "y")
add("Exp", ["y"], "first")

graph = helper.make_graph(
    nodes, "families",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 6, 7]),
     helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 21])],
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("first", "y")],
    [numpy_helper.from_array(value, name) for name, value in initializers.items()])
model = folder / "families.onnx"
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
inputs = folder / "in.npz"
np.savez(inputs, image=rng.standard_normal((3, 3, 6, 7)).astype(np.float32), index=rng.integers(-11, 11, (3, 21)))


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {result.returncode}\n{result.stdout}{result.stderr}")


# Recipe, core that is compiled for, cores that run it.
LENGTHS = [f"max,sve-max-vq={bits // 128}" for bits in (128, 256, 512, 2048)]
CASES = [(None, "generic", ["cortex-a72", "neoverse-n1"]), (None, "neoverse-v1", LENGTHS), ("rtn{bits=8 head=true}", "neoverse-v1", LENGTHS),
         ("rtn{bits=7 group=20}", "neoverse-n1", ["neoverse-n1", "max"]), ("rtn{bits=4 group=32 act=int8-token}", "neoverse-v1", LENGTHS),
         ("rtn{bits=3 group=32}", "a64fx", ["a64fx"])]
for recipe, compiled, cores in CASES:
    options = ["--recipe", recipe] if recipe else []
    run("quantc", model, *options, "-o", folder / "host.so")
    run("quantc", model, *options, "--mtriple=aarch64-linux-gnu", f"--mcpu={compiled}", "-o", folder / "arm")
    for core in cores:
        run(*emulator, "-cpu", core, folder / "arm", "--inputs", inputs, "--outputs", folder / "out.npz", "--threads", 2)
        run("quant-run", folder / "host.so", "--inputs", inputs, "--expect", folder / "out.npz", "--rtol", "1e-5")
print(f"{len(CASES)} cases")
