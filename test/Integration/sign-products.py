# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""Signs times weights of one bit, in convolutions and linear layers: channels that fill words and that do not, borders, strides,
dilations, all spellings of the sign, zeros among the activations, each level of instructions, one thread and more. Results are exact, but
for the last layer, whose results do not depend on the number of tokens."""
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx
from sign_layers import SignLayers, constant, shape_of, signs

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
# Channels, height, width, rows, kernel, strides, pads, dilations.
CONVS = [(64, 12, 17, 37, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), (37, 7, 7, 16, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
         (5, 9, 6, 3, (2, 3), (1, 2), (0, 2, 1, 0), (2, 1)), (96, 5, 5, 20, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))]
LINEARS = [(100, 37), (64, 16), (2100, 40), (33, 50), (70, 20)]  # columns, rows
ROUNDED = len(CONVS) + len(LINEARS) - 1  # the layer whose scales are no powers of two
TOKENS = [37, 5]  # enough for a matrix unit, and too few
CPUS = ["native", amx.CPU, "x86-64-v2,skylake-avx512", "x86-64-v3", "x86-64-v2"]  # two CPUs share weights


layers = SignLayers()
body, rng = layers.body, layers.rng
arguments, results, dims, wants, feeds = [], [], [], [], {}


def output(index, operands, kinds, attributes, op, sizes, want):
    bias = rng.integers(-4, 4, sizes[1]).astype(np.float32) if index % 2 or index == ROUNDED else None
    extra, kind = "", ""
    if bias is not None:
        body.append(f"%b{index} = arith.constant {constant(bias)}")
        extra, kind = f" bias %b{index}", f", tensor<{sizes[1]}xf32>"
        want = want + bias.reshape([1, -1] + [1] * (len(sizes) - 2))
    results.append(shape_of(sizes))
    body.append(f"%y{index} = quanta.{op} {operands}{extra}{attributes} : ({kinds}{kind}) -> {results[-1]}")
    wants.append(want)


for index, (channels, height, width, rows, kernel, strides, pads, dilations) in enumerate(CONVS):
    of_zero, name = [0, 1, -1, 0][index], f"x{index}"
    x = feeds[name] = layers.values(3, channels, height, width)
    arguments.append(f"%{name}: {shape_of((None, channels, height, width))}")
    dims.append(f'["n", {channels}, {height}, {width}]')
    layers.sign(name, (None, channels, height, width), of_zero)
    decoded, kind = layers.weight(index, rows, (channels, *kernel))
    decoded = decoded.reshape(rows, channels, *kernel)
    padded = np.pad(signs(x, of_zero), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    extents = [(padded.shape[2 + d] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1 for d in (0, 1)]
    want = np.zeros((3, rows, *extents))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilations[0], j * dilations[1]
            part = padded[:, :, top:top + strides[0] * extents[0]:strides[0], left:left + strides[1] * extents[1]:strides[1]][:, :, :extents[0], :extents[1]]
            want += np.einsum("nchw,oc->nohw", part, decoded[:, :, i, j])
    listed = lambda numbers: ", ".join(map(str, numbers))
    output(index, f"%s{name}, %w{index}", f"{shape_of((None, channels, height, width))}, {kind}",
           f" {{strides = array<i64: {listed(strides)}>, pads = array<i64: {listed(pads)}>, dilations = array<i64: {listed(dilations)}>}}", "conv2d",
           (None, rows, *extents), want)
for index, (columns, rows) in enumerate(LINEARS, len(CONVS)):
    of_zero, name = index % 3 - 1, f"x{index}"
    x = feeds[name] = layers.values(max(TOKENS), columns)
    arguments.append(f"%{name}: {shape_of((None, columns))}")
    dims.append(f'["m", {columns}]')
    layers.sign(name, (None, columns), of_zero)
    decoded, kind = layers.weight(index, rows, (columns,), exact=index != ROUNDED)
    output(index, f"%s{name}, %w{index}", f"{shape_of((None, columns))}, {kind}", "", "linear", (None, rows), signs(x, of_zero) @ decoded.T)
quoted = lambda letter: ", ".join(f'"{letter}{i}"' for i in range(len(results)))
(folder / "model.mlir").write_text(
    f"#one = #quanta.uniform<bits = 1, scale = f32>\nfunc.func @main({', '.join(arguments)}) -> ({', '.join(results)}) attributes {{\n"
    f"    quanta.inputs = [{quoted('x')}], quanta.outputs = [{quoted('y')}], quanta.dims = [{', '.join(dims)}]}} {{\n"
    "  %c0 = arith.constant 0 : index\n  %zero = arith.constant 0.0 : f32\n  %plus = arith.constant 1.0 : f32\n  %minus = arith.constant -1.0 : f32\n  " +
    "\n  ".join(body) + f"\n  return {', '.join(f'%y{i}' for i in range(len(results)))} : {', '.join(results)}\n}}\n")
is_tokens = lambda i: i >= len(CONVS)
np.savez(folder / "in.npz", **{f"m{count}.x{i}": feeds[f"x{i}"][:count] if is_tokens(i) else feeds[f"x{i}"]
                               for count in TOKENS for i in range(len(feeds))})

failed = 0
for cpu in CPUS:
    if "skylake-avx512" in cpu and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
        continue
    unit = amx.find(folder, cpu) if cpu in amx.NEEDED else None
    if cpu in amx.NEEDED and not unit:
        continue
    subprocess.run(["quantc", folder / "model.mlir", f"--mcpu={cpu}", "-o", folder / f"{cpu}.so"], check=True)
    if unit:
        unit.prepare(folder / f"{cpu}.so")
    for threads in (1, 3):
        subprocess.run(["quant-run", folder / f"{cpu}.so", "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", f"--threads={threads}"],
                       check=True, stdout=subprocess.DEVNULL, env=unit and unit.environment())
        assert not unit or unit.multiplications() != 0
        got = np.load(folder / "out.npz")
        for count in TOKENS:
            for i, want in enumerate(wants):
                result, want = got[f"m{count}.y{i}"], want[:count] if is_tokens(i) else want
                if not (np.allclose(result, want, atol=1e-4) and np.array_equal(result, got[f"m{TOKENS[0]}.y{i}"][:count]) if i == ROUNDED
                        else np.array_equal(result, want)):
                    failed += 1
                    print(f"{cpu}, {threads} threads: y{i} with {count} tokens differs by up to {np.abs(result - want).max()}")
# Bits are counted: none of these layers is multiplied in floats.
for cpu, instruction in (("icelake-server", "vpopcntd"), ("skylake-avx512", "vpshufb"), ("haswell", "vpshufb")):
    subprocess.run(["quantc", folder / "model.mlir", f"--mcpu={cpu}", "-o", folder / "model.s"], check=True)
    text = (folder / "model.s").read_text()
    if instruction not in text:
        failed += 1
        print(f"{cpu}: no {instruction}")
print(f"{len(wants)} layers, {failed} failed")
sys.exit(failed != 0)
