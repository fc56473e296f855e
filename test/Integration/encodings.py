# RUN: %python %s
"""Kernels on weights of every encoding, at odd sizes, against numpy in f64: linear layers, convolutions, embeddings."""
import os
import platform
import sys
import tempfile

import numpy as np
import quanta

rng = np.random.default_rng(0)
LINEAR = {"a": (37, 100), "b": (5, 1300)}
CONVS = {"conv": (10, 3, 3, 5), "grouped": (12, 2, 3, 3), "pointwise": (20, 70, 1, 1)}
TABLE = (19, 75)


# An encoding makes (its text, its components, the decoded matrix) for a matrix of random numbers.
def scales(rows, groups, element):
    return rng.uniform(0.01, 0.02, (rows, groups)).astype(element)


def per_column(values, group, columns):
    """Of [rows or 1, groups], one for each column."""
    size = columns if group <= 0 else group
    return np.repeat(values.astype(np.float64), size, axis=1)[:, :columns]


def groups_of(group, columns):
    return 1 if group <= 0 else -(-columns // group)


def uniform(bits, group=0, zero="symmetric", scale="f16", levels=0, multiples=0):
    def make(rows, columns):
        element = np.float16 if scale == "f16" else np.float32
        codes = rng.integers(0, levels or 2**bits, (rows, columns), dtype=np.uint8)
        s = scales(1 if group == -1 else rows, groups_of(group, columns), element)
        parts = {"codes": codes, "scales": s}
        each = per_column(s, group, columns)
        if multiples:
            parts |= {"scales": s[:, :1], "multiples": rng.integers(1, 2**multiples, s.shape, dtype=np.uint8)}
            each = parts["scales"].astype(np.float64) * per_column(parts["multiples"], group, columns)
        if zero == "symmetric":
            value = each * (codes.astype(float) - (1.0 if levels else 0.5 if bits == 1 else 2.0 ** (bits - 1)))
        elif zero == "point":
            parts["zeros"] = rng.integers(0, 2**bits, s.shape, dtype=np.uint8)
            value = each * (codes - per_column(parts["zeros"], group, columns))
        else:
            parts["offsets"] = (-scales(*s.shape, element)).astype(element)
            value = each * codes + per_column(parts["offsets"], group, columns)
        return f"#quanta.uniform<bits = {bits}, group = {group}, zero = {zero}, scale = {scale}, levels = {levels}, multiples = {multiples}>", parts, value
    return make


def planes(count, group=0, mean=False, scale="f16"):
    def make(rows, columns):
        element = np.float16 if scale == "f16" else np.float32
        groups = groups_of(group, columns)
        parts = {"codes": rng.integers(0, 2**count, (rows, columns), dtype=np.uint8), "scales": scales(rows, groups * count, element)}
        value = np.zeros((rows, columns))
        for p in range(count):
            value += per_column(parts["scales"][:, p::count], group, columns) * (2.0 * (parts["codes"] >> p & 1) - 1)
        if mean:
            parts["means"] = scales(rows, groups, element)
            value += per_column(parts["means"], group, columns)
        return f"#quanta.planes<count = {count}, group = {group}, mean = {str(mean).lower()}, scale = {scale}>", parts, value
    return make


def prefixed(prefix, parts):
    return {prefix + name: value for name, value in parts.items()}


def by_columns(high, low, share):
    def make(rows, columns):
        mask = np.zeros(columns, np.uint8)
        mask[rng.permutation(columns)[:round(share * columns)]] = 1
        high_text, high_parts, high_value = high(rows, int(mask.sum()))
        low_text, low_parts, low_value = low(rows, int(columns - mask.sum()))
        value = np.zeros((rows, columns))
        value[:, mask == 1], value[:, mask == 0] = high_value, low_value
        return (f"#quanta.split<columns, count = {mask.sum()}, high = {high_text}, low = {low_text}>",
                {"mask": mask, **prefixed("high.", high_parts), **prefixed("low.", low_parts)}, value)
    return make


def by_mask(high, low, share, tile=0, kept=0):
    def make(rows, columns):
        mask = (rng.random((rows, columns)) < share).astype(np.uint8)
        if tile:
            mask[:] = 0
            for row in mask:
                for begin in range(0, columns, tile):
                    size = min(tile, columns - begin)
                    row[begin + rng.permutation(size)[:kept]] = 1
        elif rows > 3 and share < 1:
            mask[2, :] = 0  # a row without high weights beside one that has nothing else
            mask[3, :] = 1
        high_text, high_parts, high_value = high(rows, columns)
        low_text, low_parts, low_value = low(rows, columns)
        codes = np.where(mask, high_parts.pop("codes"), low_parts.pop("codes"))
        return (f"#quanta.split<mask, count = {mask.sum()}, tile = {tile}, kept = {kept}, high = {high_text}, low = {low_text}>",
                {"mask": mask, "codes": codes, **prefixed("high.", high_parts), **prefixed("low.", low_parts)},
                np.where(mask, high_value, low_value))
    return make


def plus(first, second):
    def make(rows, columns):
        first_text, first_parts, first_value = first(rows, columns)
        second_text, second_parts, second_value = second(rows, columns)
        return (f"#quanta.sum<{first_text}, {second_text}>", {**prefixed("0.", first_parts), **prefixed("1.", second_parts)},
                first_value + second_value)
    return make


TERNARY = uniform(2, levels=3)
CASES = {
    "ternary": TERNARY,
    "ternary groups": uniform(2, 50, "offset", "f32", levels=3),
    "ternary tensor": uniform(2, -1, "symmetric", "f32", levels=3),
    "binary": uniform(1, -1, scale="f32"),
    "binary offset": uniform(1, 20, "offset"),
    "5 bits": uniform(5, 40, "point"),
    "multiples": uniform(4, 32, multiples=4),
    "multiples, point": uniform(2, 20, "point", "f32", multiples=5),
    "multiples, one bit": uniform(1, 50, multiples=7),
    "multiples, ternary": uniform(2, 25, levels=3, multiples=6),
    "mask of multiples": by_mask(uniform(4, 64, "point", multiples=3), uniform(2, 32, multiples=6), 0.3),
    "multiples plus": plus(uniform(2, 32, multiples=6), uniform(3, 35, multiples=5)),
    **{f"{count} planes": planes(count, 24 * count % 100, count % 2 == 1, "f32" if count == 2 else "f16") for count in (1, 2, 3, 8)},
    "columns": by_columns(uniform(4, 0, "point"), planes(1, mean=True), 0.2),
    "columns in groups": by_columns(uniform(8, 3), uniform(2, 21, levels=3), 0.5),
    "columns, none high": by_columns(uniform(8), uniform(3), 0),
    "columns, all high": by_columns(uniform(3), uniform(8), 1),
    "mask": by_mask(uniform(8, 0, "point"), planes(1, mean=True), 0.1),
    "mask, kept": by_mask(uniform(8, 0, "offset"), planes(1, 32, True), 0, 16, 2),
    "mask, ternary": by_mask(uniform(4, 64), TERNARY, 0.3),
    "mask, odd groups": by_mask(planes(2, 25), uniform(3, 35), 0.5),
    "mask, none high": by_mask(uniform(8), uniform(1), -1),
    "mask, all high": by_mask(uniform(8), uniform(1), 2),
    "sum": plus(uniform(2), uniform(2, 32, "offset")),
    "sum, odd groups": plus(uniform(3, 35), TERNARY),
    "sum of three": plus(by_mask(uniform(8), planes(1), 0.1), plus(planes(2, 30), uniform(4, -1))),
}


def literal(array):
    kind = {1: "i8", 2: "f16", 4: "f32"}[array.itemsize]
    shape = "x".join(map(str, array.shape))
    if array.size == 0:
        return f"dense<> : tensor<{shape}x{kind}>"
    return f'dense<"0x{array.tobytes().hex()}"> : tensor<{shape}x{kind}>'


def module(make):
    inputs, body, outputs, values, names = [], [], [], {}, []
    def weight(name, shape):
        rows, columns = shape[0], int(np.prod(shape[1:]))
        text, parts, value = make(rows, columns)
        values[name] = value.reshape(shape)
        kind = f"tensor<{'x'.join(map(str, shape))}xf32, {text}>"
        body.append(f"%w_{name} = quanta.constant {{{', '.join(f'{chr(34)}{n}{chr(34)} = {literal(v)}' for n, v in parts.items())}}} : {kind}")
        return kind
    for name, shape in LINEAR.items():
        kind = weight(name, shape)
        inputs.append(f"%x_{name}: tensor<?x{shape[1]}xf32>")
        outputs.append(f"tensor<?x{shape[0]}xf32>")
        body.append(f"%y_{name} = quanta.linear %x_{name}, %w_{name} : (tensor<?x{shape[1]}xf32>, {kind}) -> {outputs[-1]}")
        names.append(name)
    for name, shape in CONVS.items():
        kind, groups = weight(name, shape), 3 if name == "grouped" else 1
        x = f"tensor<?x{shape[1] * groups}x7x19xf32>"
        inputs.append(f"%x_{name}: {x}")
        outputs.append(f"tensor<?x{shape[0]}x{8 - shape[2]}x{20 - shape[3]}xf32>")
        body.append(f"%y_{name} = quanta.conv2d %x_{name}, %w_{name} {{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, "
                    f"pads = array<i64: 0, 0, 0, 0>, groups = {groups} : i64}} : ({x}, {kind}) -> {outputs[-1]}")
        names.append(name)
    kind = weight("table", TABLE)
    inputs.append("%x_table: tensor<?xi64>")
    outputs.append(f"tensor<?x{TABLE[1]}xf32>")
    body.append(f"%y_table = quanta.embedding %w_table, %x_table : ({kind}, tensor<?xi64>) -> {outputs[-1]}")
    names.append("table")
    quoted = lambda prefix: ", ".join(f'"{prefix}_{n}"' for n in names)
    text = (f"func.func @main({', '.join(inputs)}) -> ({', '.join(outputs)}) attributes {{quanta.inputs = [{quoted('x')}], "
            f"quanta.outputs = [{quoted('y')}]}} {{\n" + "\n".join(body) +
            f"\nreturn {', '.join('%y_' + n for n in names)} : {', '.join(outputs)}\n}}\n")
    return text, values


def convolve(x, w, groups):
    x, w = x.astype(np.float64), w.reshape(groups, -1, *w.shape[1:])
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    rows, columns = x.shape[3] - w.shape[3] + 1, x.shape[4] - w.shape[4] + 1
    y = np.zeros((len(x), groups, w.shape[1], rows, columns))
    for i in range(w.shape[3]):
        for j in range(w.shape[4]):
            y += np.einsum("ngcij,goc->ngoij", x[:, :, :, i:i + rows, j:j + columns], w[:, :, :, i, j])
    return y.reshape(len(x), -1, rows, columns)


failed = 0
runs = [(name, None) for name in CASES]
if platform.machine() == "x86_64":  # narrower vectors of the same target
    runs += [("mask", "x86-64-v3"), ("sum of three", "x86-64-v2"), ("ternary", "x86-64-v2")]
chosen = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    for name, cpu in runs:
        if chosen and name not in chosen:
            continue
        text, values = module(CASES[name])
        path = os.path.join(folder, "model.mlir")
        with open(path, "w") as file:
            file.write(text)
        compiled = quanta.compile(path, cpu=cpu)
        for rows in (1, 3, 140):
            feed = {f"x_{n}": rng.standard_normal((rows, shape[1])).astype(np.float32) for n, shape in LINEAR.items()}
            for n, shape in CONVS.items():
                feed[f"x_{n}"] = rng.standard_normal((min(rows, 3), shape[1] * (3 if n == "grouped" else 1), 7, 19)).astype(np.float32)
            feed["x_table"] = rng.integers(0, TABLE[0], rows)
            got = compiled.run(feed)
            for n, decoded in values.items():
                x = feed[f"x_{n}"]
                want = (decoded[x] if n == "table" else convolve(x, decoded, 3 if n == "grouped" else 1) if n in CONVS
                        else x.astype(np.float64) @ decoded.T)
                # f32 sums: a few ulp of the sum of magnitudes.
                bound = (1 if n == "table" else np.abs(x).max()) * max(np.abs(decoded).reshape(len(decoded), -1).sum(1).max(), 1e-9)
                error = np.abs(got[f"y_{n}"] - want).max() / bound
                if not error <= 1e-6:
                    failed += 1
                    print(f"{name} cpu={cpu}: '{n}' with {rows} rows: error {error:.3e} of the largest possible sum")
print(f"{len(runs)} cases, {failed} failed")
sys.exit(failed != 0)
