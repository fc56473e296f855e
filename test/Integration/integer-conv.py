# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""Convolutions of encoded images with encoded weights: every number of bits and kind of zero, a scale a row and one for a group of
columns, groups of convolution, borders, strides, dilations, narrow images and images of unknown size, zero points, values beyond
the codes, each level of instructions, one thread and more. Scales are powers of two, so that results are exact. The same of images
and weights of floats, which small numbers keep exact, rectified, behind the sum with a residual where sizes are known.

usage: integer-conv.py FOLDER [EMULATOR...]     with an emulator: the levels of Arm, run in it"""
import pathlib
import subprocess
import sys

import numpy as np

rng = np.random.default_rng(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
emulator = sys.argv[2:]
CPUS = ([("neoverse-v1", f"max,sve-max-vq={bits // 128}") for bits in (128, 256, 512, 2048)] + [("a64fx", "a64fx"), ("cortex-a72", "cortex-a72")] if emulator
        else [(name, None) for name in ("native", "x86-64-v2,skylake-avx512", "x86-64-v3", "x86-64-v2")])  # two CPUs share weights
# Channels, height, width; rows, kernel, groups of convolution; strides, pads, dilations; weights: bits, zero, levels, columns of a group;
# activations: bits, zero point. None: not known when the model is compiled; of weights and activations: floats.
CONVS = [
    ((8, 12, 17), (37, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (8, "symmetric", 0, 0), (8, -5)),
    ((8, 12, 17), (16, (1, 1), 1), ((1, 1), (0, 0, 0, 0), (1, 1)), (4, "point", 0, 0), (8, -5)),
    ((8, 12, 17), (16, (1, 1), 1), ((2, 2), (0, 0, 0, 0), (1, 1)), (4, "offset", 0, 0), (8, -5)),
    ((5, 9, 6), (20, (2, 3), 1), ((1, 2), (0, 2, 1, 0), (2, 1)), (3, "symmetric", 0, 0), (4, 3)),
    ((32, 7, 7), (33, (1, 1), 1), ((1, 1), (0, 0, 0, 0), (1, 1)), (2, "symmetric", 0, 0), (8, 127)),
    ((32, 7, 7), (48, (3, 3), 2), ((2, 2), (1, 1, 1, 1), (1, 1)), (8, "offset", 0, 0), (8, 0)),
    ((12, 5, 1), (16, (3, 1), 1), ((1, 1), (1, 0, 1, 0), (1, 1)), (1, "symmetric", 0, 0), (6, -32)),
    ((20, 3, 1), (33, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (4, "symmetric", 0, 0), (8, -127)),
    ((4, 1, 1), (16, (1, 1), 1), ((1, 1), (0, 0, 0, 0), (1, 1)), (5, "point", 0, 0), (8, 1)),
    ((16, 6, 16), (24, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (4, "symmetric", 0, 32), (8, 9)),
    ((20, 10, 11), (17, (3, 3), 1), ((1, 3), (1, 1, 1, 1), (1, 1)), (6, "point", 0, 20), (5, -4)),
    ((6, 8, 9), (18, (2, 2), 1), ((2, 3), (0, 0, 0, 0), (1, 1)), (2, "symmetric", 3, 0), (8, 7)),
    ((7, None, None), (19, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (7, "offset", 0, 16), (8, -9)),
    ((6, None, None), (16, (1, 1), 1), ((2, 2), (0, 0, 0, 0), (1, 1)), (4, "symmetric", 0, -1), (7, 5)),
    # Zero points and offsets of rows with output channels in the lanes: codes of 8 bits and one, several bands, strides, wide borders.
    ((25, 12, 17), (37, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (8, "offset", 0, 0), (8, -5)),
    ((26, 20, 18), (33, (3, 3), 1), ((2, 2), (1, 1, 1, 1), (1, 1)), (8, "point", 0, 0), (8, 3)),
    ((27, 7, 7), (48, (2, 3), 1), ((1, 3), (0, 2, 1, 2), (2, 1)), (1, "offset", 0, 0), (8, 0)),
    ((28, 5, 3), (16, (3, 3), 1), ((1, 1), (2, 2, 2, 2), (1, 1)), (1, "point", 0, 0), (6, -8)),
    ((29, 9, 40), (64, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (2, "offset", 3, 0), (8, 11)),
    ((30, 8, 8), (20, (1, 1), 1), ((2, 2), (0, 0, 0, 0), (1, 1)), (7, "point", 0, 0), (8, -1)),
    # A group that holds a row, but not what fills up its words.
    ((3, 8, 8), (16, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (4, "symmetric", 0, 32), (8, 5)),
    # In floats: few rows of a group, groups of an odd width.
    ((8, 6, 6), (8, (3, 3), 8), ((1, 1), (1, 1, 1, 1), (1, 1)), (8, "symmetric", 0, 0), (8, 2)),
    ((3, 6, 6), (16, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (4, "symmetric", 0, 9), (8, 2)),
    # Output channels in the lanes: one tile and more, several chunks of columns, bands of rows, narrow images, whole images of one block.
    ((9, 12, 17), (32, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((10, 28, 28), (45, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((11, 7, 7), (80, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((65, 7, 9), (30, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), (4, "symmetric", 0, 0), None),
    ((32, 9, 8), (64, (3, 3), 2), ((2, 2), (1, 1, 1, 1), (1, 1)), None, None),
    ((13, 15, 30), (16, (2, 3), 1), ((2, 1), (0, 2, 1, 0), (1, 2)), (8, "point", 0, 0), None),
    ((12, 3, 2), (13, (3, 3), 1), ((1, 1), (2, 2, 2, 2), (1, 1)), None, None),
    ((14, 5, 1), (16, (3, 3), 1), ((1, 1), (0, 1, 0, 1), (1, 1)), None, None),
    ((15, 10, 11), (33, (2, 2), 1), ((2, 3), (0, 0, 0, 0), (1, 1)), None, None),
    ((16, 60, 90), (16, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((17, 8, 9), (16, (1, 1), 1), ((2, 2), (0, 0, 0, 0), (1, 1)), None, None),
    # Fewer multiplications: odd sizes, several bands, the last of them short, other borders.
    ((22, 13, 17), (33, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((23, 7, 7), (64, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((40, 30, 28), (16, (3, 3), 1), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((24, 6, 40), (37, (3, 3), 1), ((1, 1), (0, 2, 1, 0), (1, 1)), None, None),
    # Pixels in the lanes.
    ((18, 5, 7), (17, (1, 1), 1), ((1, 1), (0, 0, 0, 0), (1, 1)), None, None),
    ((19, 6, 7), (19, (3, 3), 19), ((1, 1), (1, 1, 1, 1), (1, 1)), None, None),
    ((21, 20, 18), (6, (3, 3), 1), ((1, 2), (1, 1, 1, 1), (1, 1)), (2, "symmetric", 0, 0), None),
    ((5, None, None), (16, (3, 3), 1), ((2, 2), (1, 1, 1, 1), (1, 1)), None, None),
]
SIZES = [(6, 40), (11, 5)]  # of images of unknown size


def constant(value):
    kind = {"float32": "f32", "uint8": "i8"}[str(value.dtype)]
    return f'dense<"0x{value.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, value.shape))}x{kind}>'


def text(sizes):
    return "tensor<" + "x".join("?" if size is None else str(size) for size in sizes) + "xf32"


def make_weight(rows, sizes, bits, zero, levels, group):
    columns = int(np.prod(sizes))
    width = columns if group <= 0 else group
    shape = (1 if group == -1 else rows, -(-columns // width))
    spread = lambda values: np.repeat(np.broadcast_to(values.astype(np.float64), (rows, shape[1])), width, 1)[:, :columns]
    parts = {"codes": rng.integers(0, levels or 2**bits, (rows, columns), dtype=np.uint8),
             "scales": 2.0 ** rng.integers(-3, 0, shape).astype(np.float32)}
    middle = 1 if levels else 0.5 if bits == 1 else 2 ** (bits - 1)
    if zero == "point":
        parts["zeros"] = rng.integers(0, 2**bits, shape, dtype=np.uint8)
        middle = spread(parts["zeros"])
    decoded = (parts["codes"].astype(np.float64) - middle) * spread(parts["scales"])
    if zero == "offset":
        parts["offsets"] = rng.integers(-8, 9, shape).astype(np.float32) / 8
        decoded = parts["codes"] * spread(parts["scales"]) + spread(parts["offsets"])
    encoding = f"#quanta.uniform<bits = {bits}, group = {group}, zero = {zero}, levels = {levels}, scale = f32>"
    return ", ".join(f"{name} = {constant(value)}" for name, value in parts.items()), encoding, decoded.reshape(rows, *sizes)


def convolve(x, w, groups, strides, pads, dilations):
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    extents = [(padded.shape[2 + d] - dilations[d] * (w.shape[2 + d] - 1) - 1) // strides[d] + 1 for d in (0, 1)]
    result = np.zeros((len(x), len(w), *extents))
    rows, channels = len(w) // groups, w.shape[1]
    for g in range(groups):
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                top, left = i * dilations[0], j * dilations[1]
                part = padded[:, g * channels:(g + 1) * channels, top::strides[0], left::strides[1]][:, :, :extents[0], :extents[1]]
                result[:, g * rows:(g + 1) * rows] += np.einsum("nchw,oc->nohw", part, w[g * rows:(g + 1) * rows, :, i, j])
    return result


body, arguments, results, dims, compute = ["%zero = arith.constant 0.0 : f32", "%c0 = arith.constant 0 : index"], {}, [], {}, []
for index, ((channels, height, width), (rows, kernel, groups), (strides, pads, dilations), weight, activation) in enumerate(CONVS):
    sizes = (None, channels, height, width)
    name = f"x{channels}_{height}_{width}"
    symbols = ['"n"', str(channels), *([f'"h{channels}"', f'"w{channels}"'] if height is None else map(str, sizes[2:]))]
    arguments[name], dims[name] = sizes, "[" + ", ".join(symbols) + "]"
    if weight:
        parts, encoding, decoded = make_weight(rows, (channels // groups, *kernel), *weight)
        body.append(f"%w{index} = quanta.constant {{{parts}}} : {text(decoded.shape)}, {encoding}>")
        weight = f"{text(decoded.shape)}, {encoding}>"
    else:
        decoded = rng.integers(-4, 5, (rows, channels // groups, *kernel)).astype(np.float32)
        weight = text(decoded.shape) + ">"
        body.append(f"%w{index} = arith.constant {constant(decoded)}")
    input, image = f"%{name}", text(sizes) + ">"
    if activation:
        bits, zero = activation
        affine = f"#quanta.affine<bits = {bits}, scales = [0.0625], zeros = [{zero}]>"
        input, image = f"%q{name}_{bits}_{zero}", f"{text(sizes)}, {affine}>"
    out = (None, rows, *[None if size is None else (size + pads[d] + pads[d + 2] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1
                         for d, size in enumerate((height, width))])
    if activation and not any(f"{input} =" in line for line in body):  # convolutions of one value share its codes
        body.append(f"{input} = quanta.quantize %{name} : {text(sizes)}> to {image}")
    bias, kind, extra = rng.integers(-4, 4, rows).astype(np.float32) if index % 2 else None, "", ""
    if bias is not None:
        body.append(f"%b{index} = arith.constant {constant(bias)}")
        extra, kind = f" bias %b{index}", f", tensor<{rows}xf32>"
    listed = lambda numbers: ", ".join(map(str, numbers))
    results.append(text(out) + ">")
    residual = f"s{index}" if not activation and height is not None else None
    y = "z" if residual else "y"
    body.append(f"%{y}{index} = quanta.conv2d {input}, %w{index}{extra} {{groups = {groups} : i64, strides = array<i64: {listed(strides)}>, "
                f"pads = array<i64: {listed(pads)}>, dilations = array<i64: {listed(dilations)}>}} : "
                f"({image}, {weight}{kind}) -> {results[-1]}")
    if residual:
        arguments[residual], dims[residual] = out, f'["n", {", ".join(map(str, out[1:]))}]'
        body.append(f"%n{index} = tensor.dim %{residual}, %c0 : {results[-1]}\n  %e{index} = tensor.empty(%n{index}) : {results[-1]}")
        body.append(f"%y{index} = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = [\"parallel\", \"parallel\", \"parallel\", "
                    f"\"parallel\"]}} ins(%{y}{index}, %{residual} : {results[-1]}, {results[-1]}) outs(%e{index} : {results[-1]}) {{\n"
                    f"  ^bb0(%in: f32, %skip: f32, %out: f32):\n    %t = arith.addf %in, %skip : f32\n    %r = arith.maximumf %t, %zero : f32\n"
                    f"    linalg.yield %r : f32\n  }} -> {results[-1]}")

    def want(feeds, name=name, decoded=decoded, groups=groups, geometry=(strides, pads, dilations), activation=activation, bias=bias, residual=residual):
        x = feeds[name].astype(np.float64)
        if activation:
            bits, zero = activation
            x = (np.clip(np.rint(x * 16) + zero, max(-127, -2 ** (bits - 1)), 2 ** (bits - 1) - 1) - zero) / 16
        y = convolve(x, decoded, groups, *geometry) + (0 if bias is None else bias[None, :, None, None])
        return np.maximum(y + feeds[residual], 0) if residual else y

    compute.append(want)
body_text = "\n  ".join(body)
quoted = lambda names: ", ".join(f'"{name}"' for name in names)
(folder / "model.mlir").write_text(
    "#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>\n"
    f"func.func @main({', '.join(f'%{name}: {text(sizes)}>' for name, sizes in arguments.items())}) -> ({', '.join(results)}) attributes {{\n"
    f"    quanta.inputs = [{quoted(arguments)}], quanta.outputs = [{quoted(f'y{i}' for i in range(len(results)))}], "
    f"quanta.dims = [{', '.join(dims.values())}]}} {{\n  " + body_text +
    f"\n  return {', '.join(f'%y{i}' for i in range(len(results)))} : {', '.join(results)}\n}}\n")
cases = {}
for case, (height, width) in enumerate(SIZES):
    draw = lambda sizes: rng.standard_normal([2 if size is None and d == 0 else height if d == 2 and size is None else
                                              width if size is None else size for d, size in enumerate(sizes)]).astype(np.float32)
    # Values of codes lie between those where rounding begins.
    between = lambda x: (np.floor(64 * x) + np.float32(0.5)) / 64
    cases[f"c{case}"] = {name: between(draw(sizes)) if f"%q{name}_" in body_text else draw(sizes).round() for name, sizes in arguments.items()}


def run(compiled, core, threads):
    """Outputs by their names behind those of the cases; an executable for the emulator takes one case."""
    arguments = ["--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--threads", str(threads)]
    if not emulator:
        np.savez(folder / "in.npz", **{f"{case}.{name}": x for case, feeds in cases.items() for name, x in feeds.items()})
        subprocess.run(["quant-run", compiled, *arguments], check=True, stdout=subprocess.DEVNULL)
        return dict(np.load(folder / "out.npz"))
    outputs = {}
    for case, feeds in cases.items():
        np.savez(folder / "in.npz", **feeds)
        subprocess.run([*emulator, "-cpu", core, compiled, *arguments], check=True, stdout=subprocess.DEVNULL)
        outputs |= {f"{case}.{name}": value for name, value in np.load(folder / "out.npz").items()}
    return outputs


failed, made = 0, set()
for cpu, core in CPUS:
    if "skylake-avx512" in cpu and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
        continue
    compiled = folder / (cpu if emulator else f"{cpu}.so")
    if compiled not in made:
        made.add(compiled)
        subprocess.run(["quantc", folder / "model.mlir", f"--mcpu={cpu}", "-o", compiled, *(["--mtriple=aarch64-linux-gnu"] if emulator else [])],
                       check=True)
    for threads in (1, 3):
        got = run(compiled, core, threads)
        for case, feeds in cases.items():
            for i, want in enumerate(one(feeds) for one in compute):
                if not np.array_equal(got[f"{case}.y{i}"], want):
                    failed += 1
                    print(f"{cpu}, {core}, {threads} threads, {case}: y{i} differs by up to {np.abs(got[f'{case}.y{i}'] - want).max()}")
print(f"{len(compute)} layers, {failed} failed")
sys.exit(failed != 0)
