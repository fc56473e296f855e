"""Lowers, compiles and runs small modules at odd sizes and compares them with numpy.

usage: execute.py quant-opt [case ...]
"""
import ast, ctypes, math, os, re, subprocess, sys, tempfile
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ERF = np.vectorize(math.erf, otypes=[np.float64])
TYPES = {np.dtype(k): v for k, v in dict(float32="f32", float64="f64", int8="i8", int32="i32", int64="i64").items()}
CASES = []


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("rank", ctypes.c_int32), ("shape", ctypes.c_int64 * 8)]


class Runtime(ctypes.Structure):
    _fields_ = [("input", Tensor * 16), ("output", Tensor * 16), ("weights", ctypes.c_void_p), ("live", ctypes.c_int),
                ("launches", ctypes.c_int), ("error", ctypes.c_char_p), ("escape", ctypes.c_char * 512)]


def case(name, text, reference, *inputs, error=None, outputs=(np.float32,)):
    CASES.append((name, text, reference, inputs, error, outputs))


def rand(*shape, scale=3.0, dtype=np.float32):
    rng = np.random.default_rng(abs(hash(shape)) % 1000)
    return np.ascontiguousarray((rng.standard_normal(shape) * scale).astype(dtype))


def tensor(shape, element="f32"):
    return "tensor<%s>" % "x".join([*("?" if s is None else str(s) for s in shape), element])


def generic(maps, iterators, ins, out, init, block, body, result="%0"):
    """One linalg.generic; maps are strings such as 'd0,d1->d1', ins and out (name, type) pairs."""
    dims = maps[-1].split("->")[0]
    maps = ", ".join("affine_map<(%s)->(%s)>" % tuple(m.split("->")) for m in maps)
    its = ", ".join('"parallel"' if i == "p" else '"reduction"' for i in iterators)
    source = "ins(%s : %s)" % (", ".join(n for n, _ in ins), ", ".join(t for _, t in ins)) if ins else ""
    return "%s = linalg.generic {indexing_maps = [%s], iterator_types = [%s]} %s outs(%s : %s) {\n^bb0(%s):\n%s\n} -> %s\n" % (
        result, maps, its, source, init, out, block, body, out)


def unary(name, op, reference, sizes=(5, 77), dynamic=True, scale=3.0, prefix="arith", inputs=None):
    t = tensor([None, None] if dynamic else sizes)
    dims = "%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n%n = tensor.dim %x, %c0 : " + t + \
           "\n%m = tensor.dim %x, %c1 : " + t + "\n%e = tensor.empty(%n, %m) : " + t if dynamic else "%e = tensor.empty() : " + t
    body = generic(["d0,d1->d0,d1"] * 2, "pp", [("%x", t)], t, "%e", "%a: f32, %o: f32", op + "\nlinalg.yield %r : f32")
    case(name, "func.func @main(%%x: %s) -> %s {\n%s\n%sreturn %%0 : %s\n}" % (t, t, dims, body, t), reference,
         rand(*sizes, scale=scale) if inputs is None else inputs)


f8 = lambda x: x.astype(np.float64)
for size in [(1, 1), (3, 5), (4, 16), (7, 77), (130, 1000)]:
    unary("exp-%dx%d" % size, "%r = math.exp %a : f32", lambda x: np.exp(f8(x)), sizes=size)
    unary("static-exp-%dx%d" % size, "%r = math.exp %a : f32", lambda x: np.exp(f8(x)), sizes=size, dynamic=False)
edge = np.array([[-np.inf, -3.4e38, -1e4, -104.1, -87.4, -1e-8, 0, 1e-8, 1, 50, 88.3, 0.5, -20]], np.float32)
def tiny(x):
    y = np.exp(f8(x))
    return np.where(y < 1.2e-38, 0, y)
unary("exp-edges", "%r = math.exp %a : f32", tiny, inputs=edge)
inf = np.array([[-np.inf, -3.4e38, -105, 0, 1]], np.float32)
unary("exp-exact-zero", "%e0 = math.exp %a : f32\n%big = arith.constant 1.0e30 : f32\n%r = arith.mulf %e0, %big : f32",
      lambda x: np.where(x < -100, 0, np.exp(f8(x)) * np.float32(1e30)), inputs=inf)
unary("tanh-edges", "%r = math.tanh %a : f32", lambda x: np.tanh(f8(x)), inputs=inf)
unary("erf-edges", "%r = math.erf %a : f32", lambda x: ERF(f8(x)), inputs=inf)
unary("half", "%h = arith.truncf %a : f32 to bf16\n%g = arith.addf %h, %h : bf16\n%i = math.exp %g : bf16\n%r = arith.extf %i : bf16 to f32",
      lambda x: np.exp(2 * f8(x)), inputs=np.zeros((3, 33), np.float32))
unary("double", "%h = arith.extf %a : f32 to f64\n%g = math.exp %h : f64\n%r = arith.truncf %g : f64 to f32",
      lambda x: np.exp(f8(x)), sizes=(3, 33))
unary("log", "%r = math.log %a : f32", lambda x: np.log(f8(x)), inputs=np.abs(rand(3, 333)) + np.float32(1e-6))
unary("erf", "%r = math.erf %a : f32", lambda x: ERF(f8(x)), sizes=(3, 333))
unary("tanh", "%r = math.tanh %a : f32", lambda x: np.tanh(f8(x)), sizes=(3, 333))
unary("sqrt", "%r = math.sqrt %a : f32", lambda x: np.sqrt(f8(x)), inputs=np.abs(rand(3, 333)))
unary("sin", "%r = math.sin %a : f32", lambda x: np.sin(f8(x)), sizes=(3, 33), scale=300)
unary("roundeven", "%r = math.roundeven %a : f32", lambda x: np.round(x), sizes=(3, 333))
unary("pow", "%c = arith.constant 1.7 : f32\n%b = math.absf %a : f32\n%r = math.powf %b, %c : f32",
      lambda x: np.abs(f8(x)) ** np.float32(1.7), sizes=(3, 33))

# Broadcast of a bias, f32 -> i8, an integer comparison on the index.
case("bias-quantize", """
func.func @main(%x: tensor<?x100xf32>, %b: tensor<100xf32>) -> (tensor<?x100xi8>, tensor<?x100xf32>) {
  %c0 = arith.constant 0 : index
  %d = tensor.dim %x, %c0 : tensor<?x100xf32>
  %e = tensor.empty(%d) : tensor<?x100xi8>
  """ + generic(["d0,d1->d0,d1", "d0,d1->d1", "d0,d1->d0,d1"], "pp", [("%x", "tensor<?x100xf32>"), ("%b", "tensor<100xf32>")],
                "tensor<?x100xi8>", "%e", "%a: f32, %bb: f32, %o: i8", """
    %s = arith.addf %a, %bb : f32
    %q = math.roundeven %s : f32
    %i = arith.fptosi %q : f32 to i32
    %r = arith.trunci %i : i32 to i8
    linalg.yield %r : i8""") + """
  return %0, %x : tensor<?x100xi8>, tensor<?x100xf32>
}""", lambda x, b: (np.round(x + b).astype(np.int8), x), rand(37, 100), rand(100), outputs=(np.int8, np.float32))

for n in (1, 15, 16, 100, 1000):
    case("sum-last-%d" % n, """
func.func @main(%x: tensor<?x?xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %d = tensor.dim %x, %c0 : tensor<?x?xf32>
  %e = tensor.empty(%d) : tensor<?xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  """ + generic(["d0,d1->d0,d1", "d0,d1->d0"], "pr", [("%x", "tensor<?x?xf32>")], "tensor<?xf32>", "%f", "%a: f32, %o: f32",
                "%s = arith.mulf %a, %a : f32\n%r = arith.addf %o, %s : f32\nlinalg.yield %r : f32") + """
  return %0 : tensor<?xf32>
}""", lambda x: (f8(x) ** 2).sum(1), rand(13, n))
    case("max-first-%d" % n, """
func.func @main(%x: tensor<?x?x3xf32>) -> tensor<?x3xf32> {
  %c1 = arith.constant 1 : index
  %z = arith.constant 0xFF800000 : f32
  %d = tensor.dim %x, %c1 : tensor<?x?x3xf32>
  %e = tensor.empty(%d) : tensor<?x3xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x3xf32>) -> tensor<?x3xf32>
  """ + generic(["d0,d1,d2->d0,d1,d2", "d0,d1,d2->d1,d2"], "rpp", [("%x", "tensor<?x?x3xf32>")], "tensor<?x3xf32>", "%f",
                "%a: f32, %o: f32", "%r = arith.maximumf %o, %a : f32\nlinalg.yield %r : f32") + """
  return %0 : tensor<?x3xf32>
}""", lambda x: x.max(0), rand(9, n, 3))

case("sum-all", """
func.func @main(%x: tensor<?x?xf32>) -> tensor<f32> {
  %z = arith.constant dense<0.0> : tensor<f32>
  """ + generic(["d0,d1->d0,d1", "d0,d1->"], "rr", [("%x", "tensor<?x?xf32>")], "tensor<f32>", "%z", "%a: f32, %o: f32",
                "%r = arith.addf %o, %a : f32\nlinalg.yield %r : f32") + """
  return %0 : tensor<f32>
}""", lambda x: f8(x).sum(), rand(13, 77))

case("argmax", """
func.func @main(%x: tensor<?x37xf32>) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0xFF800000 : f32
  %zi = arith.constant 0 : i64
  %d = tensor.dim %x, %c0 : tensor<?x37xf32>
  %e = tensor.empty(%d) : tensor<?xf32>
  %ei = tensor.empty(%d) : tensor<?xi64>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %fi = linalg.fill ins(%zi : i64) outs(%ei : tensor<?xi64>) -> tensor<?xi64>
  %0:2 = linalg.generic {indexing_maps = [affine_map<(d0,d1)->(d0,d1)>, affine_map<(d0,d1)->(d0)>, affine_map<(d0,d1)->(d0)>],
    iterator_types = ["parallel", "reduction"]} ins(%x : tensor<?x37xf32>) outs(%f, %fi : tensor<?xf32>, tensor<?xi64>) {
  ^bb0(%a: f32, %m: f32, %mi: i64):
    %i = linalg.index 1 : index
    %ii = arith.index_cast %i : index to i64
    %c = arith.cmpf ogt, %a, %m : f32
    %1 = arith.select %c, %a, %m : f32
    %2 = arith.select %c, %ii, %mi : i64
    linalg.yield %1, %2 : f32, i64
  } -> (tensor<?xf32>, tensor<?xi64>)
  return %0#1 : tensor<?xi64>
}""", lambda x: x.argmax(1), rand(21, 37), outputs=(np.int64,))

for shape in ((7, 33, 5), (2, 64, 130)):
    case("transpose-%dx%dx%d" % shape, """
func.func @main(%%x: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
  %%c0 = arith.constant 0 : index
  %%c1 = arith.constant 1 : index
  %%c2 = arith.constant 2 : index
  %%0 = tensor.dim %%x, %%c0 : %(t)s
  %%1 = tensor.dim %%x, %%c1 : %(t)s
  %%2 = tensor.dim %%x, %%c2 : %(t)s
  %%e = tensor.empty(%%0, %%2, %%1) : %(t)s
  %%r = linalg.transpose ins(%%x : %(t)s) outs(%%e : %(t)s) permutation = [0, 2, 1]
  return %%r : %(t)s
}""" % dict(t="tensor<?x?x?xf32>"), lambda x: x.transpose(0, 2, 1), rand(*shape))

case("transpose-i8", """
func.func @main(%x: tensor<?x21xi8>) -> tensor<21x?xi8> {
  %c0 = arith.constant 0 : index
  %0 = tensor.dim %x, %c0 : tensor<?x21xi8>
  %e = tensor.empty(%0) : tensor<21x?xi8>
  %r = linalg.transpose ins(%x : tensor<?x21xi8>) outs(%e : tensor<21x?xi8>) permutation = [1, 0]
  return %r : tensor<21x?xi8>
}""", lambda x: x.T, rand(100, 21, scale=50, dtype=np.int8), outputs=(np.int8,))

def pool(x):
    h, w = (x.shape[2] - 3) // 2 + 1, (x.shape[3] - 2) // 1 + 1
    return np.max([x[:, :, i:i + 2 * h - 1:2, j:j + w] for i in range(3) for j in range(2)], axis=0)
def pool_case(name, map_in, transposed=False):
    case(name, """
func.func @main(%x: tensor<?x3x15x40xf32>) -> tensor<?x3x7x39xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0xFF800000 : f32
  %d = tensor.dim %x, %c0 : tensor<?x3x15x40xf32>
  %w = tensor.empty() : tensor<3x2xf32>
  %e = tensor.empty(%d) : tensor<?x3x7x39xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x3x7x39xf32>) -> tensor<?x3x7x39xf32>
  """ + generic([map_in, "d0,d1,d2,d3,d4,d5->d4,d5", "d0,d1,d2,d3,d4,d5->d0,d1,d2,d3"], "pppprr",
                [("%x", "tensor<?x3x15x40xf32>"), ("%w", "tensor<3x2xf32>")], "tensor<?x3x7x39xf32>", "%f",
                "%a: f32, %u: f32, %o: f32", "%r = arith.maximumf %o, %a : f32\nlinalg.yield %r : f32") + """
  return %0 : tensor<?x3x7x39xf32>
}""", pool, rand(2, 3, 15, 40))
pool_case("pool", "d0,d1,d2,d3,d4,d5->d0,d1,d2*2+d4,d3+d5")

def strided(x):
    return np.max([x[:, i:i + 2 * 14 - 1:2] for i in range(3)], axis=0)
case("pool-strided-columns", """
func.func @main(%x: tensor<?x30xf32>) -> tensor<?x14xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0xFF800000 : f32
  %d = tensor.dim %x, %c0 : tensor<?x30xf32>
  %w = tensor.empty() : tensor<3xf32>
  %e = tensor.empty(%d) : tensor<?x14xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x14xf32>) -> tensor<?x14xf32>
  """ + generic(["d0,d1,d2->d0,d1*2+d2", "d0,d1,d2->d2", "d0,d1,d2->d0,d1"], "ppr", [("%x", "tensor<?x30xf32>"), ("%w", "tensor<3xf32>")],
                "tensor<?x14xf32>", "%f", "%a: f32, %u: f32, %o: f32", "%r = arith.maximumf %o, %a : f32\nlinalg.yield %r : f32") + """
  return %0 : tensor<?x14xf32>
}""", strided, rand(11, 30))

def gather_case(name, index_map, n, table, reference, ishape, launch_type="f32", dtype=np.float32):
    t = launch_type
    case(name, """
func.func @main(%%x: tensor<?x%(n)dx%(t)s>, %%i: tensor<?x?xi64>) -> tensor<?x?x%(t)s> {
  %%c0 = arith.constant 0 : index
  %%c1 = arith.constant 1 : index
  %%rows = tensor.dim %%i, %%c0 : tensor<?x?xi64>
  %%columns = tensor.dim %%i, %%c1 : tensor<?x?xi64>
  %%e = tensor.empty(%%rows, %%columns) : tensor<?x?x%(t)s>
  """ % dict(n=n, t=t) + generic(["d0,d1->d0,d1"] * 2, "pp", [("%i", "tensor<?x?xi64>")], "tensor<?x?x%s>" % t, "%e",
                "%%a: i64, %%o: %s" % t, """
    %%c9 = arith.constant 0 : i64
    %%neg = arith.cmpi slt, %%a, %%c9 : i64
    %%p = arith.index_cast %%a : i64 to index
    %%size = tensor.dim %%x, %%c0 : tensor<?x%(n)dx%(t)s>
    %%w = arith.addi %%p, %%size : index
    %%q = arith.select %%neg, %%w, %%p : index
    %%col = linalg.index 1 : index
    %%v = tensor.extract %%x[%%q, %%col] : tensor<?x%(n)dx%(t)s>
    linalg.yield %%v : %(t)s""" % dict(n=n, t=t)) + """
  return %%0 : tensor<?x?x%s>
}""" % t, reference, table, np.random.default_rng(0).integers(-table.shape[0], table.shape[0], ishape), outputs=(dtype,))
gather_case("gather-elements", None, 41, rand(19, 41), lambda x, i: np.take_along_axis(x, i % 19, 0), (23, 41))
gather_case("gather-elements-i8", None, 41, rand(19, 41, scale=40, dtype=np.int8), lambda x, i: np.take_along_axis(x, i % 19, 0),
            (23, 41), "i8", np.int8)

case("gather-rows", """
func.func @main(%x: tensor<19x41xf32>, %i: tensor<?xi64>) -> tensor<?x41xf32> {
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %i, %c0 : tensor<?xi64>
  %e = tensor.empty(%rows) : tensor<?x41xf32>
  """ + generic(["d0,d1->d0", "d0,d1->d0,d1"], "pp", [("%i", "tensor<?xi64>")], "tensor<?x41xf32>", "%e", "%a: i64, %o: f32", """
    %p = arith.index_cast %a : i64 to index
    %col = linalg.index 1 : index
    %v = tensor.extract %x[%p, %col] : tensor<19x41xf32>
    linalg.yield %v : f32""") + """
  return %0 : tensor<?x41xf32>
}""", lambda x, i: x[i], rand(19, 41), np.random.default_rng(0).integers(0, 19, 30))

case("causal-mask-softmax", """
func.func @main(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %inf = arith.constant 0xFF800000 : f32
  %n = tensor.dim %x, %c0 : tensor<?x?xf32>
  %m = tensor.dim %x, %c1 : tensor<?x?xf32>
  %e = tensor.empty(%n, %m) : tensor<?x?xf32>
  %v = tensor.empty(%n) : tensor<?xf32>
  """ + generic(["d0,d1->d0,d1"] * 2, "pp", [("%x", "tensor<?x?xf32>")], "tensor<?x?xf32>", "%e", "%a: f32, %o: f32", """
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %c = arith.cmpi ule, %j, %i : index
    %r = arith.select %c, %a, %inf : f32
    linalg.yield %r : f32""", "%masked") + """
  %fm = linalg.fill ins(%inf : f32) outs(%v : tensor<?xf32>) -> tensor<?xf32>
  """ + generic(["d0,d1->d0,d1", "d0,d1->d0"], "pr", [("%masked", "tensor<?x?xf32>")], "tensor<?xf32>", "%fm", "%a: f32, %o: f32",
                "%r = arith.maximumf %o, %a : f32\nlinalg.yield %r : f32", "%max") +
  generic(["d0,d1->d0,d1", "d0,d1->d0", "d0,d1->d0,d1"], "pp", [("%masked", "tensor<?x?xf32>"), ("%max", "tensor<?xf32>")],
          "tensor<?x?xf32>", "%e", "%a: f32, %b: f32, %o: f32",
          "%s = arith.subf %a, %b : f32\n%r = math.exp %s : f32\nlinalg.yield %r : f32", "%exp") +
  "%fs = linalg.fill ins(%z : f32) outs(%v : tensor<?xf32>) -> tensor<?xf32>\n" +
  generic(["d0,d1->d0,d1", "d0,d1->d0"], "pr", [("%exp", "tensor<?x?xf32>")], "tensor<?xf32>", "%fs", "%a: f32, %o: f32",
          "%r = arith.addf %o, %a : f32\nlinalg.yield %r : f32", "%sum") +
  generic(["d0,d1->d0,d1", "d0,d1->d0", "d0,d1->d0,d1"], "pp", [("%exp", "tensor<?x?xf32>"), ("%sum", "tensor<?xf32>")],
          "tensor<?x?xf32>", "%e", "%a: f32, %b: f32, %o: f32", "%r = arith.divf %a, %b : f32\nlinalg.yield %r : f32", "%0") + """
  return %0 : tensor<?x?xf32>
}""", lambda x: (lambda e: e / e.sum(1, keepdims=True))(np.tril(np.exp(f8(x)))), rand(35, 35))

case("concat-pad-slice", """
func.func @main(%x: tensor<?x7xf32>, %y: tensor<?x5xf32>) -> (tensor<?x12xf32>, tensor<?x15xf32>, tensor<?x3xf32>) {
  %c0 = arith.constant 0 : index
  %z = arith.constant 1.5 : f32
  %d = tensor.dim %x, %c0 : tensor<?x7xf32>
  %0 = tensor.concat dim(1) %x, %y : (tensor<?x7xf32>, tensor<?x5xf32>) -> tensor<?x12xf32>
  %1 = tensor.pad %0 low[1, 2] high[0, 1] { ^bb0(%i: index, %j: index): tensor.yield %z : f32 } : tensor<?x12xf32> to tensor<?x15xf32>
  %2 = tensor.extract_slice %0[0, 2] [%d, 3] [1, 3] : tensor<?x12xf32> to tensor<?x3xf32>
  return %0, %1, %2 : tensor<?x12xf32>, tensor<?x15xf32>, tensor<?x3xf32>
}""", lambda x, y: (lambda c: (c, np.pad(c, ((1, 0), (2, 1)), constant_values=1.5), c[:, 2:11:3]))(np.concatenate([x, y], 1)),
     rand(6, 7), rand(6, 5), outputs=(np.float32,) * 3)

case("weights-reshape-twice", """
func.func @main(%x: tensor<?x6xf32>) -> (tensor<?x6xf32>, tensor<?x2x3xf32>, tensor<2x3xf32>, tensor<?x2x3xf32>) {
  %c0 = arith.constant 0 : index
  %w = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>
  %u = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]> : tensor<2x3xf32>
  %d = tensor.dim %x, %c0 : tensor<?x6xf32>
  %e = tensor.empty(%d) : tensor<?x6xf32>
  """ + generic(["d0,d1->d0,d1", "d0,d1->d1", "d0,d1->d0,d1"], "pp", [("%x", "tensor<?x6xf32>"), ("%w", "tensor<6xf32>")],
                "tensor<?x6xf32>", "%e", "%a: f32, %b: f32, %o: f32", "%r = arith.mulf %a, %b : f32\nlinalg.yield %r : f32") + """
  %1 = tensor.expand_shape %0 [[0], [1, 2]] output_shape [%d, 2, 3] : tensor<?x6xf32> into tensor<?x2x3xf32>
  return %0, %1, %u, %1 : tensor<?x6xf32>, tensor<?x2x3xf32>, tensor<2x3xf32>, tensor<?x2x3xf32>
}""", lambda x: (lambda y: (y, y.reshape(-1, 2, 3), np.array([[1, 2, 3], [4, 5, 7]]), y.reshape(-1, 2, 3)))(
    x * np.arange(1, 7, dtype=np.float32)), rand(5, 6), outputs=(np.float32,) * 4)

assertion = """
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %d = tensor.dim %x, %c0 : tensor<?xf32>
  %c = arith.cmpi ugt, %d, %c3 : index
  cf.assert %c, "expected more than 3 elements"
  return %x : tensor<?xf32>
}"""
case("assert-holds", assertion, lambda x: x, rand(4))
case("assert-fails", assertion, None, rand(3), error="expected more than 3 elements")

case("loop-and-branch", """
func.func @main(%x: tensor<?xf32>, %n: tensor<i64>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %one = arith.constant 1.0 : f32
  %d = tensor.dim %x, %c0 : tensor<?xf32>
  %v = tensor.extract %n[] : tensor<i64>
  %count = arith.index_cast %v : i64 to index
  %r = scf.for %i = %c0 to %count step %c1 iter_args(%a = %x) -> tensor<?xf32> {
    %e = tensor.empty(%d) : tensor<?xf32>
    %rem = arith.remui %i, %c2 : index
    %odd = arith.cmpi eq, %rem, %c1 : index
    %b = scf.if %odd -> tensor<?xf32> {
      """ + generic(["d0->d0"] * 2, "p", [("%a", "tensor<?xf32>")], "tensor<?xf32>", "%e", "%p: f32, %o: f32",
                    "%q = arith.addf %p, %one : f32\nlinalg.yield %q : f32", "%s") + """
      scf.yield %s : tensor<?xf32>
    } else { scf.yield %a : tensor<?xf32> }
    scf.yield %b : tensor<?xf32>
  }
  return %r : tensor<?xf32>
}""", lambda x, n: x + n // 2, rand(19), np.array(5))

case("integer-division", """
func.func @main(%x: tensor<?xi64>, %y: tensor<?xi64>) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %d = tensor.dim %x, %c0 : tensor<?xi64>
  %e = tensor.empty(%d) : tensor<?xi64>
  """ + generic(["d0->d0"] * 3, "p", [("%x", "tensor<?xi64>"), ("%y", "tensor<?xi64>")], "tensor<?xi64>", "%e",
                "%a: i64, %b: i64, %o: i64", "%r = arith.divsi %a, %b : i64\nlinalg.yield %r : i64") + """
  return %0 : tensor<?xi64>
}""", lambda x, y: x // y, np.arange(100, 137), np.arange(1, 38), outputs=(np.int64,))


def lower(tool, text, bits, stem):
    with open(stem + ".mlir", "w") as f:
        f.write(text)
    out = subprocess.run([tool, "--quanta-lower=vector-bits=%d" % bits, stem + ".mlir"], check=True, capture_output=True, text=True).stdout
    weights = bytearray()
    for kind, value in re.findall(r"^ *quanta\.weights .*?memref<[0-9x]*x(\w+)> = dense<(.*)> : .*$", out, re.M):
        weights += b"\0" * (-len(weights) % 64)
        weights += np.array(ast.literal_eval(value), dict(f32=np.float32, i64=np.int64)[kind]).tobytes()
    # mlir-translate does not know the quanta dialect.
    out = re.sub(r"^ *quanta\.weights .*$", "", out, flags=re.M)
    out = re.sub(r"^module attributes \{.*\} \{$", "module {", out, flags=re.M)
    llvm = subprocess.run(["mlir-translate", "--mlir-to-llvmir"], input=out, check=True, capture_output=True, text=True).stdout
    with open(stem + ".ll", "w") as f:
        f.write(llvm)
    subprocess.run(["clang", "-O2", "-march=native", "-Wno-override-module", "-shared", "-fPIC", stem + ".ll",
                    os.path.join(HERE, "rt.c"), "-o", stem + ".so", "-lm"], check=True)
    return ctypes.CDLL(stem + ".so"), weights


def run(tool, name, text, reference, inputs, error, outputs, bits, directory):
    library, weights = lower(tool, text, bits, os.path.join(directory, "%s-%d" % (name, bits)))
    rt = Runtime()
    inputs = [np.ascontiguousarray(x) if np.ndim(x) else np.array(x) for x in inputs]
    for port, x in zip(rt.input, inputs):
        port.data, port.rank, port.shape = x.ctypes.data, x.ndim, (ctypes.c_int64 * 8)(*x.shape)
    block = (ctypes.c_char * (len(weights) + 64)).from_buffer_copy(weights + b"\0" * 64)
    rt.weights = ctypes.addressof(block)
    status = library.test_run(ctypes.byref(rt))
    if error:
        assert status == 1 and rt.error.decode() == error, (status, rt.error)
        return 0.0
    assert status == 0, rt.error
    expected = reference(*inputs)
    worst = 0.0
    for port, want, dtype in zip(rt.output, expected if isinstance(expected, tuple) else (expected,), outputs):
        want = np.asarray(want)
        shape = tuple(port.shape[:port.rank])
        assert shape == want.shape, "shape %s, expected %s" % (shape, want.shape)
        size = want.size * np.dtype(dtype).itemsize
        got = np.frombuffer(ctypes.string_at(port.data, size), dtype).reshape(shape)
        if np.dtype(dtype).kind == "i":
            assert (got == want).all(), "%s, expected %s" % (got, want)
        else:
            assert np.isfinite(got).all(), got
            worst = max(worst, float(np.max(np.abs(got - want) / (1e-6 + np.abs(want)), initial=0)))
    assert worst < 5e-6, "relative error %g" % worst
    if not name.startswith("loop"):
        assert rt.live == 0, "%d buffers are not freed" % rt.live
    return worst


def main():
    tool, wanted = sys.argv[1], sys.argv[2:]
    failures = 0
    avx512 = "avx512bw" in open("/proc/cpuinfo").read()
    with tempfile.TemporaryDirectory() as directory:
        directory = os.environ.get("QUANTA_KEEP", directory)
        for name, *rest in CASES:
            if wanted and name not in wanted:
                continue
            for bits in (512, 256, 128):
                if bits == 512 and not avx512:
                    continue
                try:
                    error = run(tool, name, *rest, bits, directory)
                    print("ok   %s/%d %.1e" % (name, bits, error))
                except (AssertionError, subprocess.CalledProcessError) as problem:
                    failures += 1
                    print("FAIL %s/%d: %s %s" % (name, bits, problem, getattr(problem, "stderr", "") or ""))
    print("%d failures" % failures)
    return failures != 0


sys.exit(main())
