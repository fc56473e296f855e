# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""Linear layers on encoded activations: every number of bits and kind of zero, groups that divide a row and that do not, odd sizes, one
row and several, each level of instructions, one thread and more. Layers with one group a row are exact to the last bit, and so are those
whose groups multiply the row's scale, for one row everywhere and for several where blocks of columns do not straddle groups. Most read
bytes with a scale a token; OTHERS read fewer bits above an offset a token, known scales of one segment or more, with zero points, or
two regions whose scales are a power of two apart; and each kind of weight meets bf16, too.

usage: integer-linear.py FOLDER [EMULATOR...]     with an emulator: the levels of Arm, run in it"""
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx

rng = np.random.default_rng(0)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
emulator = sys.argv[2:]
# Core that is compiled for, and cores that run it: with scalable vectors of 128 to 2048 bits, without them.
LENGTHS = [f"max,sve-max-vq={bits // 128}" for bits in (128, 256, 512, 1024, 2048)]
CPUS = ([("neoverse-v1", LENGTHS), ("neoverse-n1", ["neoverse-n1"]), ("cortex-a72", ["cortex-a72"]), ("a64fx", LENGTHS[1:3]),
         ("neoverse-v1@256", LENGTHS[3:4])] if emulator
        else [(name, [None]) for name in ("native", amx.CPU, "skylake-avx512", amx.VNNI_CPU, "x86-64-v3", "x86-64-v2")])
PAIRS = ["native", "skylake-avx512", "x86-64-v3"]
SHAPES = [(37, 100), (16, 33), (5, 300), (130, 256), (48, 20), (21, 128)]
LONG = (21, 4500) # several pieces of a row
KINDS = [(bits, zero, 0) for bits in range(1, 9) for zero in ("symmetric", "point", "offset")]
KINDS += [(2, zero, 3) for zero in ("symmetric", "offset", "symmetric", "symmetric", "symmetric")]
GROUPS = [0, 32, 20, -1, 64, 7, 128]
TOKEN = "#quanta.uniform<bits = 8, scale = f32>"
# Shape, weights, their group, activations: bits, and where segments begin (at blocks of the weight, or not), scales, zero points.
OTHERS = [(0, (4, "offset", 0), 32, (4,)), (3, (2, "symmetric", 0), 0, (7,)), (2, (3, "point", 0), 0, (2,)), (4, (2, "symmetric", 3), 7, (5,)),
          (0, (4, "offset", 0), 0, (8, [], [0.02], [-5])), (1, (8, "symmetric", 0), -1, (8, [8, 32], [0.02, 0.1, 0.03], [0, 40, -300])),
          (2, (3, "point", 0), 64, (4, [32, 96], [0.3, 0.4, 0.5], [0, 3, -1])), (3, (2, "offset", 0), 32, (8, [64, 128], [0.03, 0.02, 0.01], [0, 7, -9])),
          (3, (2, "symmetric", 3), 0, (8, [], [0.02], [3])), (3, (1, "symmetric", 0), 0, (6, [96], [0.2, 0.1], [1, 0])),
          (4, (4, "symmetric", 0), 0, (8, [3, 11], [0.02, 0.03, 0.04], [0, 1, -1])), (2, (4, "point", 0), 7, (5, [], [0.2], [0]))]
# The last group has two columns, a block of it goes on behind the end of the row.
OTHERS += [(5, (1, "symmetric", 0), 7, None), (5, (4, "point", 0), 7, None), (5, (2, "symmetric", 3), 7, None)]
# Two regions: bits, scale, shift, whether the fine one is negative.
OTHERS += [(0, (4, "offset", 0), 32, ("twin", 8, 0.00130, 4, True)), (1, (8, "symmetric", 0), -1, ("twin", 8, 0.00098, 5, False)),
           (2, (3, "point", 0), 7, ("twin", 4, 0.02, 3, True)), (3, (2, "symmetric", 3), 0, ("twin", 6, 0.01, 2, False)),
           (4, (8, "point", 0), 0, ("twin", 8, 0.0021, 5, True)), (3, (8, "symmetric", 0), 0, ("twin", 8, 0.00131, 4, True))]
# So wide that tasks of the matrix unit have several panels.
OTHERS += [((2100, 20), (4, "offset", 0), 0, None)]
# Of a bf16 and every kind of weight, then long rows.
OTHERS += [(i % len(SHAPES), kind, GROUPS[i % len(GROUPS)], ("bf16",)) for i, kind in enumerate(KINDS)]
OTHERS += [(LONG, (4, "symmetric", 0), 0, ("bf16",)), (LONG, (4, "point", 0), 128, ("bf16",)), (LONG, (2, "offset", 3), 3000, ("bf16",))]
# Shape, weights, their group, activations, bits of the multiples: rows that kernels for several rows see as one, and rows in groups.
MULTIPLES = [(3, (4, "symmetric", 0), 32, None, 4), (3, (4, "symmetric", 0), 128, None, 4), (3, (3, "symmetric", 0), 64, None, 5),
             (3, (2, "symmetric", 0), 32, None, 6), (3, (1, "symmetric", 0), 64, None, 7), (0, (2, "symmetric", 3), 20, None, 7),
             (5, (4, "point", 0), 16, None, 3), (3, (2, "point", 0), 32, None, 5), (5, (5, "symmetric", 0), 32, None, 3),
             (5, (6, "symmetric", 0), 64, None, 2), (5, (7, "symmetric", 0), 64, None, 1), (3, (1, "point", 0), 32, None, 7),
             (5, (2, "symmetric", 3), 7, None, 7), (2, (4, "symmetric", 0), 20, None, 2), (1, (3, "point", 0), 32, None, 4),
             (4, (4, "symmetric", 0), 64, None, 4), (5, (1, "symmetric", 0), 7, None, 7), (3, (4, "symmetric", 0), 8, None, 4),
             (3, (4, "symmetric", 0), 64, (4,), 4), (5, (2, "point", 0), 32, (8, [], [0.02], [-5]), 5),
             (3, (4, "point", 0), 64, (4, [32, 96], [0.3, 0.4, 0.5], [0, 3, -1]), 3), (5, (3, "symmetric", 0), 64, ("twin", 8, 0.00130, 4, True), 5),
             (3, (4, "symmetric", 0), 32, ("bf16",), 4), (5, (4, "point", 0), 16, ("bf16",), 3)]


def layer(index, bits, zero, levels, group=None, act=None, shape=None, multiples=0):
    rows, columns = shape if isinstance(shape, tuple) else SHAPES[index % len(SHAPES) if shape is None else shape]
    group = GROUPS[index % len(GROUPS)] if group is None else group
    size = columns if group <= 0 else min(group, columns)
    scale_shape = (1 if group == -1 else rows, -(-columns // size))
    block = 20 if levels else 32 // (bits & -bits)
    codes = rng.integers(0, levels or 2**bits, (rows, columns), dtype=np.uint8)
    scales = rng.uniform(0.01, 0.02, (rows, 1) if multiples else scale_shape).astype(np.float16)
    parts = {"codes": codes, "scales": scales}
    if multiples:
        parts["multiples"] = rng.integers(1, 2**multiples, scale_shape, dtype=np.uint8)
        parts["multiples"][:, 0] = 2**multiples - 1  # sums that need all bits
        scales = scales.astype(np.float64) * parts["multiples"]
    spread = lambda values: np.repeat(np.broadcast_to(values.astype(np.float64), (rows, scale_shape[1])), size, 1)[:, :columns]
    if zero == "point":
        parts["zeros"] = rng.integers(0, 2**bits, scale_shape, dtype=np.uint8)
        middle = spread(parts["zeros"])
    else:
        middle = 1 if levels else 0.5 if bits == 1 else 2 ** (bits - 1)
    if zero == "offset":
        parts["offsets"] = rng.uniform(-0.1, 0.1, scale_shape).astype(np.float16)
        decoded = codes * spread(scales) + spread(parts["offsets"])
    else:
        decoded = (codes.astype(np.float64) - middle) * spread(scales)
    bias = rng.standard_normal(rows).astype(np.float32) if index % 2 else None
    exact = (codes.astype(np.float64) - middle, spread(scales)[:, 0]) if scale_shape[1] == 1 and zero != "offset" and bias is None and not act else None
    if multiples and not act and bias is None:
        exact = ((codes.astype(np.float64) - middle) * spread(parts["multiples"]), parts["scales"][:, 0])
    straddles = multiples and scale_shape[1] > 1 and (group % block or columns % block)
    return {"act": act, "encoding": f"#quanta.uniform<bits = {bits}, group = {group}, zero = {zero}, levels = {levels}, multiples = {multiples}>",
            "parts": parts, "decoded": decoded, "bias": bias, "exact": exact, "straddles": straddles, "multiplies": multiples and scale_shape[1] > 1}


def constant(value):
    kind = {"float16": "f16", "float32": "f32", "uint8": "i8"}[str(value.dtype)]
    return f'dense<"0x{value.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, value.shape))}x{kind}>'


def module(layers):
    columns = sorted({one["decoded"].shape[1] for one in layers})
    body, types = [], []
    for k in columns:
        body.append(f"%q{k} = quanta.quantize %x{k} : tensor<?x{k}xf32> to tensor<?x{k}xf32, {TOKEN}>")
    for i, one in enumerate(layers):
        n, k = one["decoded"].shape
        parts = ", ".join(f"{name} = {constant(value)}" for name, value in one["parts"].items())
        body.append(f"%w{i} = quanta.constant {{{parts}}} : tensor<{n}x{k}xf32, {one['encoding']}>")
        bias, bias_type, q, act = "", "", f"%q{k}", TOKEN
        if one["act"]:
            q, (width, *known) = f"%s{i}", one["act"]
            act = ("#quanta.narrow<bf16>" if width == "bf16" else
                   f"#quanta.twin<bits = {known[0]}, scale = {known[1]:e} : f32, shift = {known[2]}, negative = {str(known[3]).lower()}>" if width == "twin" else
                   f"#quanta.affine<bits = {width}, splits = {known[0]}, scales = {known[1]}, zeros = {known[2]}>" if known else
                   f"#quanta.uniform<bits = {width}, zero = offset, scale = f32>")
            body.append(f"{q} = quanta.quantize %x{k} : tensor<?x{k}xf32> to tensor<?x{k}xf32, {act}>")
        if one["bias"] is not None:
            body.append(f"%b{i} = arith.constant {constant(one['bias'])}")
            bias, bias_type = f" bias %b{i}", f", tensor<{n}xf32>"
        types.append(f"tensor<?x{n}xf32>")
        body.append(f"%y{i} = quanta.linear {q}, %w{i}{bias} : (tensor<?x{k}xf32, {act}>, tensor<{n}x{k}xf32, {one['encoding']}>{bias_type}) -> {types[-1]}")
    quote = lambda names: ", ".join('"' + name + '"' for name in names)
    dims = ", ".join('["rows", ' + str(k) + "]" for k in columns)
    return (f"func.func @main({', '.join(f'%x{k}: tensor<?x{k}xf32>' for k in columns)}) -> ({', '.join(types)}) attributes {{\n"
            f"    quanta.inputs = [{quote(f'x{k}' for k in columns)}], quanta.outputs = [{quote(f'y{i}' for i in range(len(layers)))}],\n"
            f"    quanta.dims = [{dims}]}} {{\n  " + "\n  ".join(body) +
            f"\n  return {', '.join(f'%y{i}' for i in range(len(layers)))} : {', '.join(types)}\n}}\n")


def quantize(x, act=None):
    """Integers or numbers of bf16, what a unit of them is worth, and the value of 0."""
    if act and act[0] == "bf16":
        bits = x.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64), np.float64(1), 0
    if act and act[0] == "twin":
        _, bits, scale, shift, negative = act
        steps, scale = 2 ** (bits - 1), np.float32(scale)
        magnitude = lambda values, step: np.clip(np.rint(values * (np.float32(1) / step)), 0, steps - 1).astype(np.int64)
        fine = x < 0 if negative else x < steps * scale
        return np.where(fine, -magnitude(-x, scale) if negative else magnitude(x, scale), magnitude(x, scale * np.float32(2**shift)) << shift), scale, 0
    if act and len(act) == 1:
        least, most = np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)
        width = most - least
        width[width < 2.0**-100] = 0
        top = np.float32(2 ** act[0] - 1)
        factor = np.divide(top, width, out=np.zeros_like(width), where=width > 0)
        scale, zero = width * (np.float32(1) / top), -np.rint(least * factor)
        return np.minimum(np.rint(x * factor) + zero, top).astype(np.int64), scale, -zero * scale
    if act:
        width, splits, scales, zeros = act
        spread = lambda values, kind: np.repeat(np.array(values, kind), np.diff([0, *splits, x.shape[1]]))
        scale, zero = spread(scales, np.float32), spread(zeros, np.int64)
        code = (x.astype(np.float64) * (np.float32(1) / scale) + zero).astype(np.float32)
        return np.rint(np.clip(code, max(-127, -2 ** (width - 1)), 2 ** (width - 1) - 1)).astype(np.int64) - zero, scale, 0
    top = np.abs(x).max(1, keepdims=True)
    top[top < 2.0**-100] = 0  # a token of nothing
    factor = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    return np.rint(x * factor).astype(np.int64), top * np.float32(1 / 127), 0


layers = [layer(i, *kind) for i, kind in enumerate(KINDS)]
layers += [layer(i, *kind, group, act, shape) for i, (shape, kind, group, act) in enumerate(OTHERS)]
layers += [layer(2 * i + (i % 5 == 4), *kind, group, act, shape, multiples) for i, (shape, kind, group, act, multiples) in enumerate(MULTIPLES)]
cases = {}
for rows in (1, 7, 150) if emulator else (1, 2, 7, 33, 300):
    cases[rows] = {f"x{k}": rng.standard_normal((rows, k)).astype(np.float32) for k in {k for _, k in [*SHAPES, LONG]}}
    cases[rows]["x100"][0] = 0  # a token of zeros
    cases[rows]["x33"][-1] *= 1e-37


def run(compiled, core, threads, feeds, environment):
    """Outputs by their names behind those of the feeds; an executable for the emulator takes one feed."""
    arguments = ["--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--threads", str(threads)]
    if not emulator:
        np.savez(folder / "in.npz", **{f"m{rows}.{name}": value for rows, feed in feeds.items() for name, value in feed.items()})
        subprocess.run(["quant-run", compiled, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
        return dict(np.load(folder / "out.npz"))
    outputs = {}
    for rows, feed in feeds.items():
        np.savez(folder / "in.npz", **feed)
        subprocess.run([*emulator, "-cpu", core, compiled, *arguments], check=True, stdout=subprocess.DEVNULL)
        outputs |= {f"m{rows}.{name}": value for name, value in np.load(folder / "out.npz").items()}
    return outputs


failed = checked = exact = multiplied = 0


def check(cpu, compiled, core, used, environment=None):
    global failed, checked, exact, multiplied
    cpu = f"{cpu} on {core}" if core else cpu
    names = {f"x{layers[i]['decoded'].shape[1]}" for i in used}
    feeds = {rows: {name: feed[name] for name in names} for rows, feed in cases.items()}
    outputs = [run(compiled, core, threads, feeds, environment) for threads in (1, 3)]
    for name in outputs[0]:
        if outputs[0][name].tobytes() != outputs[1][name].tobytes():
            failed += 1
            print(f"{cpu}: {name} depends on the number of threads")
    for rows, feed in cases.items():
        for position, i in enumerate(used):
            one, got = layers[i], outputs[0][f"m{rows}.y{position}"]
            q, scale, offset = quantize(feed[f"x{one['decoded'].shape[1]}"], one["act"])
            want = ((q * scale.astype(np.float64) + offset) @ one["decoded"].T) + (0 if one["bias"] is None else one["bias"])
            bound = ((np.abs(q) * scale.astype(np.float64) + np.abs(offset)) @ np.abs(one["decoded"]).T).max() + 1
            bound += 0 if one["bias"] is None else np.abs(one["bias"]).max()  # which sums of floats begin with
            error = np.abs(got - want).max() / bound
            checked += 1
            what = f"{cpu}: {one['encoding']}, {one['decoded'].shape}, {rows} rows"
            if not error <= 1e-6:
                failed += 1
                print(f"{what}: error {error:.3e} of the largest possible sum")
            # Sums of pairs in 16 bits, which levels without dot products have, leave no room for multiples.
            if one["exact"] and (rows == 1 or not one["multiplies"] or (not one["straddles"] and cpu not in PAIRS)):
                exact += 1
                codes, factors = one["exact"]
                twice = (q @ (2 * codes).astype(np.int64).T)  # zero may be 1/2
                half = np.float32(0.5)
                sums = (twice.astype(np.float32) * (factors.astype(np.float32) * half) if (2 * codes % 2).any()
                        else (twice // 2).astype(np.float32) * factors.astype(np.float32))
                if one["multiplies"]:  # rows of several groups: the multiples are in the codes
                    multiplied += 1
                if (sums * scale).tobytes() != got.tobytes():
                    failed += 1
                    print(f"{what}: not exact, {np.abs(sums * scale - got).max():.3e}")


for level, (cpu, cores) in enumerate(CPUS):
    # The first level gets all layers, the matrix unit half of them, with all shapes, and the others a third each.
    used = [i for i in range(len(layers)) if level == 0 or (i // 2 % 2 if cpu == amx.CPU else i % 3 == level % 3)]
    if cpu == "skylake-avx512" and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
        print(f"{cpu}: not run, this CPU has no avx512bw")
        continue
    unit = amx.find(folder, cpu) if cpu in amx.NEEDED else None
    if cpu in amx.NEEDED and not unit:
        continue
    (folder / f"{cpu}.mlir").write_text(module([layers[i] for i in used]))
    compiled = folder / (cpu if emulator else f"{cpu}.so")
    subprocess.run(["quantc", folder / f"{cpu}.mlir", f"--mcpu={cpu}", "-o", compiled, *(["--mtriple=aarch64-linux-gnu"] if emulator else [])],
                   check=True)
    if unit:
        unit.prepare(compiled)
    for core in cores:
        check(cpu, compiled, core, used, unit and unit.environment())
    if unit and unit.multiplications() == 0:
        failed += 1
        print(f"{cpu}: the emulator has multiplied nothing")
print(f"{checked} results, {exact} of them compared bit by bit, {multiplied} with multiples, {failed} failed")
sys.exit(failed != 0 or exact == 0 or multiplied == 0)
