# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""Products of signs behind each other, convolutions and linear layers: behind the first an affine of each channel, the sum with a residual and a
clip, whose signs the second reads; alone, or while the floats are needed, too; behind the second a rectifier. Channels that fill words and that do not, borders, spellings of the
sign, zeros everywhere, each level of instructions, one thread and more. Results are exact.

usage: sign-chains.py FOLDER [EMULATOR...]     with an emulator: the levels of Arm, run in it"""
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx
from sign_layers import SignLayers, constant, shape_of, signs

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
# A product whose signs the next one reads: sizes of its input, its rows, the sign of zero, whether its floats are a result, too.
CHAINS = [((40, 9, 11), 70, 0, True), ((33, 6, 5), 32, 1, False), ((64, 4, 16), 16, -1, True), ((7, 3, 3), 101, 0, False),
          ((100,), 37, 0, True), ((64,), 80, 0, False), ((70,), 32, 1, True), ((50,), 9, -1, False)]
ROWS = 14  # enough for a matrix unit
emulator = sys.argv[2:]
CPUS = ([("neoverse-v1", "max,sve-max-vq=2"), ("a64fx", "a64fx"), ("cortex-a72", "cortex-a72")] if emulator
        else [(name, None) for name in ("native", amx.CPU, "x86-64-v2,skylake-avx512", "x86-64-v3", "x86-64-v2")])  # two CPUs share weights


layers = SignLayers()
body, rng = layers.body, layers.rng
arguments, results, returned, dims, wants, feeds = [], [], [], [], [], {}


def product(index, operands, kinds, attributes, op, sizes, want, result="y"):
    bias = rng.integers(-4, 4, sizes[1]).astype(np.float32) if index % 2 else None
    extra, kind = "", ""
    if bias is not None:
        body.append(f"%b{index} = arith.constant {constant(bias)}")
        extra, kind = f" bias %b{index}", f", tensor<{sizes[1]}xf32>"
        want = want + bias.reshape([1, -1] + [1] * (len(sizes) - 2))
    body.append(f"%{result}{index} = quanta.{op} {operands}{extra}{attributes} : ({kinds}{kind}) -> {shape_of(sizes)}")
    return want


def output(name, sizes, want):
    results.append(shape_of(sizes))
    returned.append(name)
    wants.append(want)


def convolve(x, decoded, kernel, strides, pads, dilations):
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    extents = [(padded.shape[2 + d] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1 for d in (0, 1)]
    want = np.zeros((len(x), len(decoded), *extents))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilations[0], j * dilations[1]
            part = padded[:, :, top:top + strides[0] * extents[0]:strides[0], left:left + strides[1] * extents[1]:strides[1]][:, :, :extents[0], :extents[1]]
            want += np.einsum("nchw,oc->nohw", part, decoded[:, :, i, j])
    return want


def geometry(strides, pads, dilations):
    listed = lambda numbers: ", ".join(map(str, numbers))
    return f" {{strides = array<i64: {listed(strides)}>, pads = array<i64: {listed(pads)}>, dilations = array<i64: {listed(dilations)}>}}"


for index, (sizes, rows, of_zero, keeps) in enumerate(CHAINS):
    def multiply(index, x, name, rows, result):
        """A layer whose input is the signs of %name."""
        sizes = (None, *x.shape[1:])
        layers.sign(name, sizes, of_zero)
        conv = len(sizes) == 4
        decoded, kind = layers.weight(index, rows, (sizes[1], 3, 3) if conv else sizes[1:])
        given = ((1, 1), (1, 1, 1, 1), (1, 1))
        want = convolve(signs(x, of_zero), decoded.reshape(rows, sizes[1], 3, 3), (3, 3), *given) if conv else signs(x, of_zero) @ decoded.T
        return product(index, f"%s{name}, %w{index}", f"{shape_of(sizes)}, {kind}", geometry(*given) if conv else "", "conv2d" if conv else "linear",
                       (None, *want.shape[1:]), want, result)

    x, inner = layers.values(ROWS, *sizes), (rows, *sizes[1:])
    skip, by = rng.integers(-3, 4, (ROWS, *inner)).astype(np.float32), 2.0 ** rng.integers(-2, 2, rows).astype(np.float32) * rng.choice([-1, 1], rows).astype(np.float32)
    for name, value in ((f"x{index}", x), (f"k{index}", skip)):
        feeds[name] = value
        arguments.append(f"%{name}: {shape_of((None, *value.shape[1:]))}")
        dims.append(f'["n", {", ".join(map(str, value.shape[1:]))}]')
    y = multiply(index, x, f"x{index}", rows, "p")
    # The folded batch norm may turn signs around; sums of zero are common.
    shape, letters = shape_of((None, *inner)), [f"d{i}" for i in range(len(inner) + 1)]
    body.append(f"%by{index} = arith.constant {constant(by)}")
    identity, channel = (f"affine_map<({', '.join(letters)}) -> ({results_of})>" for results_of in (", ".join(letters), "d1"))
    body.append(f"%h{index} = linalg.generic {{indexing_maps = [{identity}, {identity}, {channel}, {identity}], iterator_types = [" +
                ", ".join(['"parallel"'] * len(letters)) + f"]}} ins(%p{index}, %k{index}, %by{index} : {shape}, {shape}, tensor<{rows}xf32>) "
                f"outs(%k{index} : {shape}) {{\n^bb0(%v: f32, %k: f32, %f: f32, %o: f32):\n%a = arith.mulf %v, %f : f32\n%s = arith.addf %a, %k : f32\n"
                "%l = arith.maximumf %s, %minus : f32\n%r = arith.minimumf %l, %plus : f32\nlinalg.yield %r : f32\n} -> " + shape)
    inside = np.clip(y * by.reshape(-1, *[1] * (len(inner) - 1)) + skip, -1, 1)
    if keeps:
        output(f"h{index}", (None, *inner), inside)
    after = multiply(index + len(CHAINS), inside, f"h{index}", 20, "y")
    shape, last = shape_of((None, *after.shape[1:])), index + len(CHAINS)
    body.append(f"%z{last} = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = [" + ", ".join(['"parallel"'] * len(letters)) +
                f"]}} ins(%y{last} : {shape}) outs(%y{last} : {shape}) {{\n^bb0(%v: f32, %o: f32):\n%r = arith.maximumf %v, %zero : f32\n"
                f"linalg.yield %r : f32\n}} -> {shape}")
    output(f"z{last}", (None, *after.shape[1:]), np.maximum(after, 0))
quoted = lambda names: ", ".join(f'"{name}"' for name in names)
(folder / "model.mlir").write_text(
    f"#one = #quanta.uniform<bits = 1, scale = f32>\nfunc.func @main({', '.join(arguments)}) -> ({', '.join(results)}) attributes {{\n"
    f"    quanta.inputs = [{quoted(feeds)}], quanta.outputs = [{quoted(returned)}], quanta.dims = [{', '.join(dims)}]}} {{\n"
    "  %c0 = arith.constant 0 : index\n  %zero = arith.constant 0.0 : f32\n  %plus = arith.constant 1.0 : f32\n  %minus = arith.constant -1.0 : f32\n  " +
    "\n  ".join(body) + f"\n  return {', '.join(f'%{name}' for name in returned)} : {', '.join(results)}\n}}\n")
np.savez(folder / "in.npz", **feeds)

failed = 0
for cpu, core in CPUS:
    if "skylake-avx512" in cpu and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
        continue
    unit = amx.find(folder, cpu) if cpu in amx.NEEDED else None
    if cpu in amx.NEEDED and not unit:
        continue
    compiled = folder / (cpu if emulator else f"{cpu}.so")
    subprocess.run(["quantc", folder / "model.mlir", f"--mcpu={cpu}", "-o", compiled, *(["--mtriple=aarch64-linux-gnu"] if emulator else [])], check=True)
    if unit:
        unit.prepare(compiled)
    for threads in (1, 3):
        runner = [*emulator, "-cpu", core, compiled] if emulator else ["quant-run", compiled]
        subprocess.run([*runner, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--threads", str(threads)],
                       check=True, stdout=subprocess.DEVNULL, env=unit and unit.environment())
        assert not unit or unit.multiplications() != 0
        got = np.load(folder / "out.npz")
        for name, want in zip(returned, wants):
            value = got[name if name in got else f"m.{name}"]
            if not np.array_equal(value, want):
                failed += 1
                print(f"{cpu}, {threads} threads: {name} differs by up to {np.abs(value - want).max()}")
print(f"{len(wants)} results, {failed} failed")
sys.exit(failed != 0)
