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

rng = np.random.default_rng(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
# Channels, height, width, rows, kernel, strides, pads, dilations.
CONVS = [(64, 12, 17, 37, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), (37, 7, 7, 16, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
         (5, 9, 6, 3, (2, 3), (1, 2), (0, 2, 1, 0), (2, 1)), (96, 5, 5, 20, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))]
LINEARS = [(100, 37), (64, 16), (2100, 40), (33, 50), (70, 20)]  # columns, rows
ROUNDED = len(CONVS) + len(LINEARS) - 1  # the layer whose scales are no powers of two
TOKENS = [37, 5]  # enough for a matrix unit, and too few
SIGNS = {
    0: "%n = arith.cmpf olt, %v, %zero : f32\n %a = arith.addf %v, %zero : f32\n %b = arith.select %n, %minus, %a : f32\n"
       "%p = arith.cmpf ogt, %v, %zero : f32\n %r = arith.select %p, %plus, %b : f32",
    1: "%p = arith.cmpf oge, %v, %zero : f32\n %r = arith.select %p, %plus, %minus : f32",
    -1: "%p = arith.cmpf ule, %v, %zero : f32\n %r = arith.select %p, %minus, %plus : f32",
}
CPUS = ["native", amx.CPU, "x86-64-v2,skylake-avx512", "x86-64-v3", "x86-64-v2"]  # two CPUs share weights


def constant(value):
    kind = {"float32": "f32", "uint8": "i8"}[str(value.dtype)]
    return f'dense<"0x{value.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, value.shape))}x{kind}>'


body, arguments, results, dims, wants, feeds = [], [], [], [], [], {}


def shape_of(sizes):
    return "tensor<" + "x".join("?" if size is None else str(size) for size in sizes) + "xf32>"


def sign(name, sizes, of_zero):
    text, map_text = shape_of(sizes), "affine_map<(" + ", ".join(f"d{i}" for i in range(len(sizes))) + ") -> (" + ", ".join(f"d{i}" for i in range(len(sizes))) + ")>"
    fixed = "%rows" + name
    body.append(f"{fixed} = tensor.dim %{name}, %c0 : {text}\n  %e{name} = tensor.empty({fixed}) : {text}")
    body.append(f"%s{name} = linalg.generic {{indexing_maps = [{map_text}, {map_text}], iterator_types = [" + ", ".join(['"parallel"'] * len(sizes)) +
                f"]}} ins(%{name} : {text}) outs(%e{name} : {text}) {{\n^bb0(%v: f32, %o: f32):\n{SIGNS[of_zero]}\nlinalg.yield %r : f32\n}} -> {text}")


def weight(index, rows, sizes):
    columns = int(np.prod(sizes))
    codes = rng.integers(0, 2, (rows, columns), dtype=np.uint8)
    scales = rng.random((rows, 1), np.float32) if index == ROUNDED else 2 ** rng.integers(-3, 3, (rows, 1)).astype(np.float32)
    kind = f"tensor<{rows}x{'x'.join(map(str, sizes))}xf32, #one>"
    body.append(f"%w{index} = quanta.constant {{codes = {constant(codes)}, scales = {constant(scales)}}} : {kind}")
    return (codes - 0.5) * scales, kind


def values(*sizes):
    x = rng.standard_normal(sizes).astype(np.float32)
    x[rng.random(sizes) < 0.2] = 0
    x[rng.random(sizes) < 0.05] = -0.0
    return x


def signs(x, of_zero):
    return np.where(x > 0, 1.0, np.where(x < 0, -1.0, of_zero))


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
    x = feeds[name] = values(3, channels, height, width)
    arguments.append(f"%{name}: {shape_of((None, channels, height, width))}")
    dims.append(f'["n", {channels}, {height}, {width}]')
    sign(name, (None, channels, height, width), of_zero)
    decoded, kind = weight(index, rows, (channels, *kernel))
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
    x = feeds[name] = values(max(TOKENS), columns)
    arguments.append(f"%{name}: {shape_of((None, columns))}")
    dims.append(f'["m", {columns}]')
    sign(name, (None, columns), of_zero)
    decoded, kind = weight(index, rows, (columns,))
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
