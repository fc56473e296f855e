# REQUIRES: onnx
# RUN: %python %s %t
"""Products of two encoded activations at every level of instructions against integers of numpy: one region and one scale must agree bit by
bit; and they do not depend on the number of threads. Behind the folder may follow an emulator and its options."""
import itertools
import pathlib
import shutil
import subprocess
import sys

import numpy as np

rng = np.random.default_rng(0)
folder, emulator = pathlib.Path(sys.argv[1]), sys.argv[2:]
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
CPUS = ([("neoverse-v1", "max"), ("neoverse-n1", "neoverse-n1"), ("cortex-a72", "cortex-a72")] if emulator
        else [(name, None) for name in ("native", "skylake-avx512", "x86-64-v3", "x86-64-v2")])

# Grids: bits, then scale and zero point, or scale, shift and whether the fine region is negative, or scale and whether of halves.
TOKEN, NARROW = ("token", 8), ("token", 5)
AFFINE = [("affine", 8, 0.02, 0), ("affine", 8, 0.013, -127), ("affine", 6, 0.11, 9), ("affine", 4, 0.4, -2), ("affine", 8, 0.0021, 300)]
TWINS = [("twin", 8, 2.0**-12, 5, False), ("twin", 6, 2.0**-9, 4, False), ("twin", 4, 0.05, 3, True)]
LOGS = [("log", 4, 1.0, False), ("log", 4, 0.9, True), ("log", 3, 0.8, False), ("log", 7, 1.0, True)]  # the last has too many exponents


def grid(kind):
    name, bits, *rest = kind
    if name == "token":
        return f"#quanta.uniform<bits = {bits}, scale = f32>"
    if name == "affine":
        return f"#quanta.affine<bits = {bits}, scales = [{rest[0]:e}], zeros = [{rest[1]}]>"
    if name == "twin":
        return f"#quanta.twin<bits = {bits}, scale = {rest[0]:e} : f32, shift = {rest[1]}, negative = {str(rest[2]).lower()}>"
    return f"#quanta.log2<bits = {bits}, scale = {rest[0]:e} : f32, root = {str(rest[1]).lower()}>"


def quantize(x, kind):
    """Integers, and what a unit of them is worth."""
    name, bits, *rest = kind
    one = np.float32(1)
    if name == "token":
        most = np.float32(2 ** (bits - 1) - 1)
        top = np.abs(x).max(-1, keepdims=True)
        top[top < 2.0**-100] = 0
        factor = np.divide(most, top, out=np.zeros_like(top), where=top > 0)
        return np.rint(x * factor).astype(np.int64), top * (one / most)
    scale = np.float32(f"{rest[0]:e}")
    if name == "affine":
        zero = rest[1]
        code = (x.astype(np.float64) * (one / scale) + zero).astype(np.float32)
        return np.rint(np.clip(code, max(-127, -2 ** (bits - 1)), 2 ** (bits - 1) - 1)).astype(np.int64) - zero, scale
    if name == "twin":
        _, shift, negative = rest
        steps = 2 ** (bits - 1)
        magnitude = lambda values, step: np.clip(np.rint(values * (one / step)), 0, steps - 1).astype(np.int64)
        fine = x < 0 if negative else x < steps * scale
        return np.where(fine, -magnitude(-x, scale) if negative else magnitude(x, scale), magnitude(x, scale * np.float32(2**shift)) << shift), scale
    u = np.maximum(x * (one / scale), np.float32(0))
    root = np.float32(np.sqrt(2))
    mantissa, exponent = np.frexp((u * u if rest[1] else u) * root)
    code = np.where(mantissa == 0, 2**bits, np.maximum(0, 1 - exponent))
    values = 2.0 ** -((code + 1) // 2) * np.where(code % 2, np.float64(root * scale), np.float64(scale)) if rest[1] else 2.0 ** -code * np.float64(scale)
    return np.where(code < 2**bits - 1, values, 0), None


# Left, right, whether the right one is transposed, sizes: batch, heads, heads of the right operand (of batch 1 if negative), rows, depth, columns.
CASES = [(TOKEN, TOKEN, True, (2, 3, 3, 37, 64, 50)), (TOKEN, TOKEN, True, (1, 2, 2, 130, 33, 17)), (NARROW, TOKEN, True, (2, 2, -2, 5, 7, 3)),
         (TOKEN, NARROW, True, (1, 1, 1, 1, 100, 33)), (TOKEN, AFFINE[1], False, (1, 2, 2, 9, 19, 40)), (AFFINE[1], TOKEN, True, (1, 4, 4, 33, 70, 21)),
         (TWINS[0], TOKEN, True, (1, 2, 2, 33, 70, 64))]
CASES += [(left, right, transposed, (1, 2, 1, 11, 50, 37)) for (left, right), transposed in
          zip([*zip(AFFINE, AFFINE[1:]), *zip(AFFINE, AFFINE[3:] + AFFINE)], itertools.cycle((True, False, False)))]
CASES += [(left, right, transposed, (2, 2, 2, 19, 53, 32)) for (left, right), transposed in
          zip(zip(TWINS + LOGS, itertools.cycle(AFFINE[:3])), itertools.cycle((False, True)))]
CASES += [(AFFINE[4], AFFINE[0], True, (1, 1, 1, 3, 7000, 20)), (TOKEN, TOKEN, True, (1, 1, 1, 2, 20000, 18)), (TWINS[0], AFFINE[1], False, (1, 1, 1, 2, 17000, 5))]
PRODUCED = {"affine": lambda shape: rng.standard_normal(shape), "token": lambda shape: rng.standard_normal(shape) * np.exp(rng.uniform(-5, 5, shape[:-1] + (1,))),
            "twin": lambda shape: np.exp(rng.uniform(-12, 0, shape)) * rng.choice([1, 1, -0.1], shape), "log": lambda shape: np.exp(rng.uniform(-12, 0, shape)) * rng.choice([1, 1, 0], shape)}

OPERANDS = [{}, {}]  # of each case
for i, (left, right, transposed, (batch, heads, groups, rows, depth, columns)) in enumerate(CASES):
    OPERANDS[0][i] = PRODUCED[left[0]]((batch, heads, rows, depth)).astype(np.float32)
    OPERANDS[1][i] = PRODUCED[right[0]]((1 if groups < 0 else batch, abs(groups), *((columns, depth) if transposed else (depth, columns)))).astype(np.float32)
OPERANDS[0][0][0, 0, 0] = 0  # a row of zeros
OPERANDS[1][0][1, 1, 2] *= 1e-37


# Attention of codes: heads of queries and of keys, rows, positions, columns of both products.
ATTENTIONS = [(4, 2, 19, 33, 64, 21), (2, 2, 33, 70, 20, 48)]
QKV = {f"{operand}{i}": (rng.standard_normal((1, g if operand != "q" else h, s if operand == "q" else t, e if operand == "v" else d)) * 2).astype(np.float32)
       for i, (h, g, s, t, d, e) in enumerate(ATTENTIONS) for operand in "qkv"}


def attend(q, k, v):
    """In doubles, with codes of the operands."""
    decode = lambda x: np.multiply(*quantize(x.astype(np.float32), TOKEN))
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = decode(q).astype(np.float64) @ np.swapaxes(decode(k).astype(np.float64), -1, -2) * 0.25
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    return decode(probabilities).astype(np.float64) @ np.swapaxes(decode(np.swapaxes(v, -1, -2)), -1, -2).astype(np.float64)


def module(used):
    body, results, names, arguments, dims, outputs = [], [], [], [], [], [f"y{i}" for i in used]
    for i, (h, g, s, t, d, e) in enumerate(ATTENTIONS):
        dynamic = i == 0
        types = []
        for operand, heads, (rows, name), columns in (("q", h, (s, "s"), d), ("k", g, (t, "t"), d), ("v", g, (t, "t"), e)):
            types.append(f"tensor<1x{heads}x{'?' if dynamic else rows}x{columns}xf32>")
            arguments.append(f"%{operand}{i}: {types[-1]}")
            names.append(f"{operand}{i}")
            dims.append(f'[1, {heads}, "{name}{i}", {columns}]' if dynamic else f"[1, {heads}, {rows}, {columns}]")
        results.append(f"tensor<1x{h}x{'?' if dynamic else s}x{e}xf32>")
        body.append(f"%z{i} = quanta.attention %q{i}, %k{i}, %v{i} {{quanta.attention_bits = 8 : i64, scale = 0.25 : f32}} : ({', '.join(types)}) -> {results[-1]}")
    outputs = [f"z{i}" for i in range(len(ATTENTIONS))] + outputs
    for i in used:
        left, right, transposed, (batch, heads, _, rows, _, columns) = CASES[i]
        dynamic = i % 2  # rows, depth and columns are known or are not
        types = []
        for operand, kind, values in zip("ab", (left, right), OPERANDS):
            sizes = [str(s) if d < 2 or not dynamic else "?" for d, s in enumerate(values[i].shape)]
            type_ = f"tensor<{'x'.join(sizes)}xf32"
            types.append(f"{type_}, {grid(kind)}>")
            arguments.append(f"%{operand}{i}: {type_}>")
            order = {"a": ["m", "k"], "b": ["n", "k"] if transposed else ["k", "n"]}[operand]
            dims.append("[" + ", ".join(s if s != "?" else f'"{order[d - 2]}{i}"' for d, s in enumerate(sizes)) + "]")
            body.append(f"%q{operand}{i} = quanta.quantize %{operand}{i} : {type_}> to {types[-1]}")
            names.append(f"{operand}{i}")
        sizes = [batch, heads] + (["?", "?"] if dynamic else [rows, columns])
        results.append(f"tensor<{'x'.join(map(str, sizes))}xf32>")
        body.append(f"%y{i} = quanta.matmul %qa{i}, %qb{i}{' {transpose_rhs}' if transposed else ''} : ({', '.join(types)}) -> {results[-1]}")
    quoted = lambda all_names: ", ".join(f'"{name}"' for name in all_names)
    return (f"func.func @main({', '.join(arguments)}) -> ({', '.join(results)}) attributes {{quanta.inputs = [{quoted(names)}], "
            f"quanta.outputs = [{quoted(outputs)}], quanta.dims = [{', '.join(dims)}]}} {{\n  " + "\n  ".join(body) +
            f"\n  return {', '.join(f'%{name}' for name in outputs)} : {', '.join(results)}\n}}\n")


failed = exact = 0
for level, (cpu, core) in enumerate(CPUS):
    if cpu == "skylake-avx512" and "avx512bw" not in pathlib.Path("/proc/cpuinfo").read_text():
        print(f"{cpu}: not run, this CPU has no avx512bw")
        continue
    used = [i for i in range(len(CASES)) if level == 0 or i % 3 == level % 3]  # the first level gets all
    (folder / f"{cpu}.mlir").write_text(module(used))
    np.savez(folder / "in.npz", **{f"{operand}{i}": values[i] for operand, values in zip("ab", OPERANDS) for i in used}, **QKV)
    compiled = folder / (cpu if emulator else f"{cpu}.so")
    subprocess.run(["quantc", folder / f"{cpu}.mlir", f"--mcpu={cpu}", "-o", compiled, *(["--mtriple=aarch64-linux-gnu"] if emulator else [])], check=True)
    outputs = []
    for threads in ("1", "3"):
        command = [*emulator, "-cpu", core, compiled] if emulator else ["quant-run", compiled]
        subprocess.run([*command, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--threads", threads], check=True, stdout=subprocess.DEVNULL)
        outputs.append(dict(np.load(folder / "out.npz")))
    for i in range(len(ATTENTIONS)):
        got, want = outputs[0][f"z{i}"], attend(*(QKV[f"{operand}{i}"] for operand in "qkv"))
        difference = np.abs(got - want)
        # A probability between two codes may become either.
        if outputs[0][f"z{i}"].tobytes() != outputs[1][f"z{i}"].tobytes() or not (difference.max() < 0.1 and np.mean(difference < 1e-5) > 0.9):
            failed += 1
            print(f"{cpu}: attention {i} is off by {difference.max():.3e}, {np.mean(difference < 1e-5):.3f} of it equal, or depends on the number of threads")
    for i in used:
        left, right, transposed, shape = CASES[i]
        got = outputs[0][f"y{i}"]
        if got.tobytes() != outputs[1][f"y{i}"].tobytes():
            failed += 1
            print(f"{cpu}: case {i} depends on the number of threads")
        (q, s), (k, u) = quantize(OPERANDS[0][i], left), quantize(OPERANDS[1][i], right)
        if transposed:
            k, u = np.swapaxes(k, -1, -2), np.swapaxes(u, -1, -2) if np.ndim(u) else u
        shared = shape[1] // k.shape[1]
        k, u = np.repeat(k, shared, 1), np.repeat(u, shared, 1) if np.ndim(u) else u
        sums = q @ k
        if left[0] in ("affine", "token") and shape[4] < 4096:  # one sum
            exact += 1
            constants = [scale for scale in (s, u) if not np.ndim(scale)]
            want = sums.astype(np.float32) * (constants[0] * constants[1] if len(constants) == 2 else constants[0] if constants else np.float32(1))
            for scale in (s, u):
                want = want * scale if np.ndim(scale) else want
            bad = want.tobytes() != got.tobytes()
        else:
            want = sums * np.float64(1 if s is None else s) * np.float64(u)
            bound = (np.abs(q) @ np.abs(k)) * np.float64(1 if s is None else s) * np.float64(u)
            bad = not (np.abs(got - want) <= (3e-7 if shape[4] < 4096 and left[1] < 7 else 1e-6) * bound.max() + 1e-30).all()
        if bad:
            failed += 1
            print(f"{cpu}: case {i}, {grid(left)} by {grid(right)}, {shape}, transposed {transposed}: off by {np.abs(got - want).max():.3e} of {np.abs(want).max():.3e}")
print(f"{len(CASES)} products, {exact} of them compared bit by bit, {failed} failed")
sys.exit(failed != 0 or exact == 0)
