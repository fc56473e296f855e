# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""Two integer layers with elementwise ops and codes in between, which the first of them stores: convolutions with a rectifier, with a
residual sum that is read as floats, too, narrow images, strides; linear layers of widths that do not fill tiles, with codes of one
scale and of several segments, with leading dimensions. Scales are powers of two, so that results are exact. In the IR no
kernel is left that quantizes but those of the inputs."""
import pathlib
import re
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx

rng = np.random.default_rng(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
CPUS = ["native", amx.CPU, "skylake-avx512", amx.VNNI_CPU, "x86-64-v3", "x86-64-v2"]
# Channels, rows of both layers, height, width, stride of the second; residual?
CONVS = [(4, 16, 18, 12, 17, 1, False), (16, 16, 16, 9, 16, 1, True), (5, 17, 16, 7, 7, 2, True), (16, 20, 33, 3, 1, 1, False), (4, 16, 16, 1, 40, 2, True)]
# Columns, rows of both layers; where segments of the codes in between begin; tokens of a batch or 0; residual?; bits of the weights; rows of
# the input, if they are known.
LINEARS = [(64, 37, 16, [], 0, False, 4, None), (32, 64, 20, [32], 3, False, 4, None), (20, 20, 16, [], 5, True, 4, None),
           (100, 130, 16, [64, 96], 0, True, 4, None), (64, 200, 150, [], 0, False, 1, 1), (96, 200, 20, [], 0, True, 4, 1)]


def constant(value):
    kind = {"float32": "f32", "uint8": "i8"}[str(value.dtype)]
    return f'dense<"0x{value.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, value.shape))}x{kind}>'


def text(sizes, extra=""):
    return "tensor<" + "x".join("?" if size is None else str(size) for size in sizes) + "xf32" + extra + ">"


def affine(scales, zeros, splits=()):
    return f"#quanta.affine<bits = 8, splits = {list(splits)}, scales = {list(scales)}, zeros = {list(zeros)}>"


def encode(x, scales, zeros, splits=()):
    spread = lambda values: np.repeat(np.array(values, float), np.diff([0, *splits, x.shape[-1]])) if splits else values[0]
    scale, zero = spread(scales), spread(zeros)
    return (np.clip(np.rint(x / scale + zero), -127, 127) - zero) * scale


def convolve(x, w, stride):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    extents = [(padded.shape[2 + d] - 3) // stride + 1 for d in (0, 1)]
    result = np.zeros((len(x), len(w), *extents))
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i::stride, j::stride][:, :, :extents[0], :extents[1]]
            result += np.einsum("nchw,oc->nohw", part, w[:, :, i, j])
    return result


body, arguments, dims, results, feeds, wants = [], [], [], [], {}, []


def argument(name, sizes, symbols):
    arguments.append(f"%{name}: {text(sizes)}")
    dims.append("[" + ", ".join(str(size) if size else f'"{symbol}"' for size, symbol in zip(sizes, symbols)) + "]")
    feeds[name] = rng.standard_normal([size or (3 if len(sizes) == 4 else 37) for size in sizes]).astype(np.float32)
    return feeds[name].astype(np.float64)


def weight(name, rows, sizes, bits=4):
    codes = rng.integers(0, 1 << bits, (rows, int(np.prod(sizes))), dtype=np.uint8)
    scales = 2.0 ** rng.integers(-3, 0, (rows, 1)).astype(np.float32)
    kind = text((rows, *sizes), f", #w{bits}")
    body.append(f"%{name} = quanta.constant {{codes = {constant(codes)}, scales = {constant(scales)}}} : {kind}")
    values = codes.astype(np.float64) - (0.5 if bits == 1 else 8)
    return (values * scales).reshape(rows, *sizes), kind


def elementwise(name, y, kind, residual, rank):
    """Rectifies y, plus %residual."""
    maps = ["#id" + str(rank)] * (3 if residual else 2)
    body.append(f"%e{name} = tensor.empty({', '.join(f'%d{name}{i}' for i in range(kind.count('?')))}) : {kind}")
    inputs, types, block = f"%{y}", kind, "%in: f32"
    if residual:
        inputs, types, block = f"%{y}, %{residual}", f"{kind}, {kind}", "%in: f32, %skip: f32"
    parallel = ", ".join(['"parallel"'] * rank)
    total = "%t = arith.addf %in, %skip : f32\n " if residual else ""
    body.append(f"%{name} = linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{parallel}]}} "
                f"ins({inputs} : {types}) outs(%e{name} : {kind}) {{\n^bb0({block}, %out: f32):\n {total}"
                f"%r = arith.maximumf {'%t' if residual else '%in'}, %zero : f32\n linalg.yield %r : f32\n}} -> {kind}")


def sizes_of(name, argument_name, kind, sizes):
    for i, d in enumerate(d for d, size in enumerate(sizes) if size is None):
        body.append(f"%d{name}{i} = tensor.dim %{argument_name}, %c{d} : {kind}")


for i, (channels, first, second, height, width, stride, residual) in enumerate(CONVS):
    sizes, middle = (None, channels, height, width), (None, first, height, width)
    x = argument(f"x{i}", sizes, "nchw")
    known = ([0.0625], [-5 + i]), ([4.0], [-127 if not residual else 3])
    a, b = (affine(*one) for one in known)
    body.append(f"%q{i} = quanta.quantize %x{i} : {text(sizes)} to {text(sizes, ', ' + a)}")
    v, kind = weight(f"v{i}", first, (channels, 3, 3))
    geometry = lambda s: f"{{strides = array<i64: {s}, {s}>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}}"
    body.append(f"%y{i} = quanta.conv2d %q{i}, %v{i} {geometry(1)} : ({text(sizes, ', ' + a)}, {kind}) -> {text(middle)}")
    skip = argument(f"s{i}", middle, "nchw") if residual else 0
    sizes_of(f"r{i}", f"x{i}", text(sizes), sizes)
    elementwise(f"r{i}", f"y{i}", text(middle), f"s{i}" if residual else "", 4)
    body.append(f"%p{i} = quanta.quantize %r{i} : {text(middle)} to {text(middle, ', ' + b)}")
    w, kind = weight(f"w{i}", second, (first, 3, 3))
    out = text((None, second, (height - 1) // stride + 1, (width - 1) // stride + 1))
    body.append(f"%z{i} = quanta.conv2d %p{i}, %w{i} {geometry(stride)} : ({text(middle, ', ' + b)}, {kind}) -> {out}")
    r = np.maximum((convolve(encode(x, *known[0]), v, 1).astype(np.float32) + np.float32(1) * (skip.astype(np.float32) if residual else 0)), 0)
    results.append((f"z{i}", out)), wants.append(convolve(encode(r.astype(np.float64), *known[1]), w, stride))
    if residual:
        results.append((f"r{i}", text(middle))), wants.append(r)
for i, (columns, first, second, splits, tokens, residual, bits, known_rows) in enumerate(LINEARS, len(CONVS)):
    sizes = (known_rows, columns)
    x = argument(f"x{i}", sizes, "mk")
    known = ([0.0625], [-5 + i]), ([2.0 ** (k - 1) for k in range(len(splits) + 1)], [k - 100 for k in range(len(splits) + 1)], splits)
    a, b = (affine(*one) for one in known)
    body.append(f"%q{i} = quanta.quantize %x{i} : {text(sizes)} to {text(sizes, ', ' + a)}")
    v, kind = weight(f"v{i}", first, (columns,), bits)
    middle = (known_rows, first)
    body.append(f"%y{i} = quanta.linear %q{i}, %v{i} : ({text(sizes, ', ' + a)}, {kind}) -> {text(middle)}")
    y, shape = f"y{i}", middle
    sizes_of(f"r{i}", f"x{i}", text(sizes), sizes)
    skip = argument(f"s{i}", (1, None, first) if tokens else middle, "bmn" if tokens else "mn") if residual else None
    if tokens:
        shape = (1, None, first)
        body.append(f"%t{i} = tensor.expand_shape %{y} [[0, 1], [2]] output_shape [1, %dr{i}0, {first}] : {text(middle)} into {text(shape)}")
        y = f"t{i}"
    elementwise(f"r{i}", y, text(shape), f"s{i}" if residual else "", len(shape))
    flat = f"r{i}"
    if tokens:
        flat = f"f{i}"
        body.append(f"%{flat} = tensor.collapse_shape %r{i} [[0, 1], [2]] : {text(shape)} into {text(middle)}")
    body.append(f"%p{i} = quanta.quantize %{flat} : {text(middle)} to {text(middle, ', ' + b)}")
    w, kind = weight(f"w{i}", second, (first,), bits)
    body.append(f"%z{i} = quanta.linear %p{i}, %w{i} : ({text(middle, ', ' + b)}, {kind}) -> {text((known_rows, second))}")
    r = (encode(x, *known[0]) @ v.T).astype(np.float32)
    r = np.maximum(r + (skip.astype(np.float32).reshape(r.shape) if residual else np.float32(0)), 0)
    results.append((f"z{i}", text((known_rows, second)))), wants.append(encode(r.astype(np.float64), *known[1]) @ w.T)
    if residual:
        results.append((f"r{i}", text(shape))), wants.append(r.reshape(feeds[f"s{i}"].shape))

quoted = lambda names: ", ".join(f'"{name}"' for name in names)
ids = "\n".join(f"#id{r} = affine_map<({', '.join(f'd{k}' for k in range(r))}) -> ({', '.join(f'd{k}' for k in range(r))})>" for r in (2, 3, 4))
(folder / "model.mlir").write_text(
    f"#w4 = #quanta.uniform<bits = 4, scale = f32>\n#w1 = #quanta.uniform<bits = 1, scale = f32>\n{ids}\nfunc.func @main({', '.join(arguments)}) -> ({', '.join(kind for _, kind in results)}) attributes {{\n"
    f"    quanta.inputs = [{quoted(feeds)}], quanta.outputs = [{quoted(name for name, _ in results)}], quanta.dims = [{', '.join(dims)}]}} {{\n"
    "  %c0 = arith.constant 0 : index\n  %zero = arith.constant 0.0 : f32\n  " + "\n  ".join(body) +
    f"\n  return {', '.join('%' + name for name, _ in results)} : {', '.join(kind for _, kind in results)}\n}}\n")
np.savez(folder / "in.npz", **{f"m.{name}": x for name, x in feeds.items()})

failed = 0
for cpu in CPUS:
    if cpu == "skylake-avx512" and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
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
        for (name, _), want in zip(results, wants):
            # The sum of a layer and a residual rounds once.
            if not np.array_equal(got[f"m.{name}"], want.astype(np.float32)):
                failed += 1
                print(f"{cpu}, {threads} threads: {name} differs by up to {np.abs(got[f'm.{name}'] - want).max()}")
# Inputs of the model are quantized, and nothing else.
PASSES = ("builtin.module(quanta-outline-kernels,canonicalize,cse,func.func(quanta-fuse),canonicalize,cse,quanta-fuse-epilogues,canonicalize)")
lowered = subprocess.run(["quant-opt", folder / "model.mlir", f"--pass-pipeline={PASSES}"], check=True, capture_output=True, text=True).stdout
quantizers = len(re.findall(r'quanta.kernel "quantize', lowered))
if quantizers != len(CONVS) + len(LINEARS):
    failed += 1
    print(f"{quantizers} kernels that quantize, expected {len(CONVS) + len(LINEARS)}")
print(f"{len(wants)} results, {quantizers} kernels that quantize, {failed} failed")
sys.exit(failed != 0)
