"""What tests of products of signs have in common: the text of layers that read signs, and numpy's idea of them."""
import numpy as np

# By the sign of zero, as models spell it.
SIGNS = {
    0: "%n = arith.cmpf olt, %v, %zero : f32\n %a = arith.addf %v, %zero : f32\n %b = arith.select %n, %minus, %a : f32\n"
       "%p = arith.cmpf ogt, %v, %zero : f32\n %r = arith.select %p, %plus, %b : f32",
    1: "%p = arith.cmpf oge, %v, %zero : f32\n %r = arith.select %p, %plus, %minus : f32",
    -1: "%p = arith.cmpf ule, %v, %zero : f32\n %r = arith.select %p, %minus, %plus : f32",
}


def constant(value):
    kind = {"float32": "f32", "uint8": "i8"}[str(value.dtype)]
    return f'dense<"0x{value.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, value.shape))}x{kind}>'


def shape_of(sizes):
    return "tensor<" + "x".join("?" if size is None else str(size) for size in sizes) + "xf32>"


def signs(x, of_zero):
    return np.where(x > 0, 1.0, np.where(x < 0, -1.0, of_zero))


class SignLayers:
    """`body`: lines of a function; %zero, %plus and %minus are 0, 1 and −1, #one the encoding of weights."""

    def __init__(self):
        self.rng, self.body = np.random.default_rng(0), []

    def sign(self, name, sizes, of_zero):
        """%sNAME, the signs of %NAME."""
        text, letters = shape_of(sizes), ", ".join(f"d{i}" for i in range(len(sizes)))
        identity = f"affine_map<({letters}) -> ({letters})>"
        self.body.append(f"%rows{name} = tensor.dim %{name}, %c0 : {text}\n  %e{name} = tensor.empty(%rows{name}) : {text}")
        self.body.append(f"%s{name} = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = [" + ", ".join(['"parallel"'] * len(sizes)) +
                         f"]}} ins(%{name} : {text}) outs(%e{name} : {text}) {{\n^bb0(%v: f32, %o: f32):\n{SIGNS[of_zero]}\nlinalg.yield %r : f32\n}} -> {text}")

    def weight(self, index, rows, sizes, exact=True):
        """%wINDEX: its values [rows, columns] and type. Products with powers of two are exact."""
        codes = self.rng.integers(0, 2, (rows, int(np.prod(sizes))), dtype=np.uint8)
        scales = 2 ** self.rng.integers(-3, 3, (rows, 1)).astype(np.float32) if exact else self.rng.random((rows, 1), np.float32)
        kind = f"tensor<{rows}x{'x'.join(map(str, sizes))}xf32, #one>"
        self.body.append(f"%w{index} = quanta.constant {{codes = {constant(codes)}, scales = {constant(scales)}}} : {kind}")
        return (codes - 0.5) * scales, kind

    def values(self, *sizes):
        x = self.rng.standard_normal(sizes).astype(np.float32)
        x[self.rng.random(sizes) < 0.2] = 0
        x[self.rng.random(sizes) < 0.05] = -0.0
        return x
