# REQUIRES: onnx
# RUN: %python %s %t
"""Activations on affine, twin-uniform and logarithmic grids, read by products and convolutions: the nearest values that numpy finds,
at every level of instructions; and decomposed attention computes what attention does."""
import pathlib
import subprocess
import sys

import numpy as np

rng = np.random.default_rng(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
ROWS, COLUMNS = 37, 21


def affine(x, bits, scale, zero):
    low = -127 if bits == 8 else -(2 ** (bits - 1))
    return (np.clip(np.rint(x / scale + zero), low, 2 ** (bits - 1) - 1) - zero) * scale


def twin(x, bits, scale, shift, negative):
    steps, coarse = 2 ** (bits - 1), scale * 2.0**shift
    magnitude = lambda values, step: np.clip(np.rint(values / step), 0, steps - 1) * step
    return np.where(x < 0, -magnitude(-x, scale), magnitude(x, coarse)) if negative else np.where(x < steps * scale, magnitude(x, scale), magnitude(x, coarse))


def log(x, bits, scale, root):
    with np.errstate(divide="ignore"):
        code = np.rint((-2 if root else -1) * np.log2(np.maximum(x, 0) / scale))
    code = np.clip(code, 0, 2**bits - 1)
    return np.where(code == 2**bits - 1, 0, scale * 2.0 ** (-code / (2 if root else 1)))


GRIDS = {"#quanta.affine<bits = 8, scales = [0.03], zeros = [11]>": lambda x: affine(x, 8, 0.03, 11),
         "#quanta.affine<bits = 3, scales = [0.4], zeros = [-2]>": lambda x: affine(x, 3, 0.4, -2)}
for bits, scale, shift, negative in ((8, 2.0**-12, 5, False), (4, 2.0**-7, 4, False), (8, 0.0013, 4, True), (3, 0.05, 3, True)):
    flag = str(negative).lower()
    GRIDS[f"#quanta.twin<bits = {bits}, scale = {scale:e} : f32, shift = {shift}, negative = {flag}>"] = (
        lambda x, *options: twin(x, *options), bits, np.float64(np.float32(f"{scale:e}")), shift, negative)
for bits, scale, root in ((4, 1.0, False), (7, 0.8, False), (3, 1.0, True), (7, 0.8, True)):
    GRIDS[f"#quanta.log2<bits = {bits}, scale = {scale:e} : f32, root = {str(root).lower()}>"] = (
        lambda x, *options: log(x, *options), bits, np.float64(np.float32(scale)), root)

identity = ", ".join("[" + ", ".join("1.0" if i == j else "0.0" for j in range(COLUMNS)) + "]" for i in range(COLUMNS))
body, results = [f"%eye = arith.constant dense<[[{identity}]]> : tensor<1x{COLUMNS}x{COLUMNS}xf32>"], []
for i, grid in enumerate(GRIDS):
    source = f"tensor<1x?x{COLUMNS}xf32"
    body += [f"%q{i} = quanta.quantize %x : {source}> to {source}, {grid}>",
             f"%y{i} = quanta.matmul %q{i}, %eye : ({source}, {grid}>, tensor<1x{COLUMNS}x{COLUMNS}xf32>) -> {source}>"]
    results.append(f"%y{i}")
kinds = ", ".join([f"tensor<1x?x{COLUMNS}xf32>"] * len(results))
names = ", ".join(f'"y{i}"' for i in range(len(results)))
(folder / "grids.mlir").write_text(
    f'func.func @main(%x: tensor<1x?x{COLUMNS}xf32>) -> ({kinds}) attributes {{quanta.inputs = ["x"], quanta.outputs = [{names}], '
    f'quanta.dims = [[1, "rows", {COLUMNS}]]}} {{\n  ' + "\n  ".join(body) + f"\n  return {', '.join(results)} : {kinds}\n}}\n")
x = np.concatenate([rng.standard_normal(300) * 2, np.exp(rng.uniform(-14, 0, 400)), [0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, -1e30],
                    rng.uniform(0, 1, 70)]).astype(np.float32)[:ROWS * COLUMNS].reshape(1, ROWS, COLUMNS)
np.savez(folder / "in.npz", x=x)
failed = 0
for cpu in ("native", "x86-64-v2") if "x86" in __import__("platform").machine() else ("native",):
    subprocess.run(["quantc", folder / "grids.mlir", f"--mcpu={cpu}", "-o", folder / "grids.so"], check=True)
    subprocess.run(["quant-run", folder / "grids.so", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"], check=True,
                   stdout=subprocess.DEVNULL)
    outputs = np.load(folder / "out.npz")
    for i, (grid, rule) in enumerate(GRIDS.items()):
        want = rule(x.astype(np.float64)) if callable(rule) else rule[0](x.astype(np.float64), *rule[1:])
        # Single values may lie so near the middle of two levels that f32 rounds them to the other one.
        wrong = np.abs(outputs[f"y{i}"] - want) > 1e-6 * np.abs(want)
        if wrong.sum() > 1 or not np.isfinite(outputs[f"y{i}"]).all():
            failed += 1
            print(f"{cpu}: {grid}: {wrong.sum()} values differ, as {x[wrong][:3]} gives {outputs[f'y{i}'][wrong][:3]}, not {want[wrong][:3]}")

shape = "tensor<?x2x5x8xf32>"
(folder / "attention.mlir").write_text(f"""
func.func @main(%q: {shape}, %k: {shape}, %v: {shape}, %mask: tensor<1x1x5x5xf32>) -> {shape} attributes {{
    quanta.inputs = ["q", "k", "v", "mask"], quanta.outputs = ["y"],
    quanta.dims = [["batch", 2, 5, 8], ["batch", 2, 5, 8], ["batch", 2, 5, 8], [1, 1, 5, 5]]}} {{
  %y = quanta.attention %q, %k, %v mask %mask {{scale = 0.25 : f32}} : ({shape}, {shape}, {shape}, tensor<1x1x5x5xf32>) -> {shape}
  return %y : {shape}
}}
""")
feed = {name: rng.standard_normal((3, 2, 5, 8)).astype(np.float32) for name in "qkv"}
np.savez(folder / "in.npz", mask=rng.standard_normal((1, 1, 5, 5)).astype(np.float32), **feed)
outputs = []
for pipeline in ([], ["--pass-pipeline", "quanta-decompose-attention"]):
    subprocess.run(["quantc", folder / "attention.mlir", "-o", folder / "attention.so", *pipeline], check=True)
    subprocess.run(["quant-run", folder / "attention.so", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz"], check=True,
                   stdout=subprocess.DEVNULL)
    outputs.append(np.load(folder / "out.npz")["y"])
if not np.abs(outputs[0] - outputs[1]).max() < 1e-6:
    failed += 1
    print(f"decomposed attention differs by {np.abs(outputs[0] - outputs[1]).max():.3e}")
print(f"{len(GRIDS)} grids, {failed} failures")
sys.exit(failed != 0)
