# REQUIRES: onnx, onnxruntime
# RUN: %python %s
"""Operators that no shared model uses, one node each, on static and dynamic sizes, against ONNX Runtime."""
import sys

import numpy as np
import onnx
import onnxruntime
import quanta
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ANY = ["n", "m", 6]


def constant(values, dtype=np.int64):
    return np.array(values, dtype=dtype)


# operator, inputs (an element type, or an array for a constant), attributes, type of the output
CASES = [(op, [FLOAT], {}, FLOAT) for op in (
    "Abs", "Sign", "Ceil", "Floor", "Round", "Sin", "Cos", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "Exp", "Neg", "Sqrt",
    "Reciprocal", "HardSigmoid", "HardSwish", "Tanh", "Sigmoid", "Erf", "Relu", "Identity", "Log")]
CASES += [(op, [FLOAT, FLOAT], {}, FLOAT) for op in ("Max", "Min", "Sum", "Mean", "Add", "Sub", "Mul", "Div")]
CASES += [(op, [FLOAT, FLOAT], {}, BOOL) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")]
CASES += [(op, [BOOL, BOOL], {}, BOOL) for op in ("And", "Or", "Xor")]
CASES += [(op, [INT, INT], {}, INT) for op in ("Add", "Mul", "Sub", "Max", "Min")]
CASES += [
    ("Not", [BOOL], {}, BOOL),
    ("Mod", [INT, constant([3])], {}, INT),
    ("Mod", [FLOAT, constant([0.75], np.float32)], {"fmod": 1}, FLOAT),
    ("Div", [INT, constant([-3])], {}, INT),
    ("PRelu", [FLOAT, constant([0.25, 0.5, 0, -1, 2, 1], np.float32)], {}, FLOAT),
    ("Pow", [FLOAT, constant(2.0, np.float32)], {}, FLOAT),
    ("Clip", [FLOAT, constant(-0.5, np.float32), constant(0.5, np.float32)], {}, FLOAT),
    ("Where", [BOOL, FLOAT, FLOAT], {}, FLOAT),
    ("Cast", [FLOAT], {"to": INT}, INT),
    ("Cast", [INT], {"to": FLOAT}, FLOAT),
    ("Cast", [FLOAT], {"to": BOOL}, BOOL),
    ("Softmax", [FLOAT], {"axis": 1}, FLOAT),
    ("LogSoftmax", [FLOAT], {"axis": -1}, FLOAT),
    ("ReduceSum", [FLOAT, constant([1])], {"keepdims": 0}, FLOAT),
    ("ReduceSum", [FLOAT, constant([0, 2])], {}, FLOAT),
    ("ArgMax", [FLOAT], {"axis": 2}, INT),
    ("ArgMin", [FLOAT], {"axis": 1, "keepdims": 0}, INT),
    ("Shape", [FLOAT], {}, INT),
    ("Size", [FLOAT], {}, INT),
    ("Transpose", [FLOAT], {"perm": [2, 0, 1]}, FLOAT),
    ("Tile", [FLOAT, constant([1, 2, 3])], {}, FLOAT),
    ("Pad", [FLOAT, constant([0, 1, 2, 0, 0, 1])], {}, FLOAT),
    ("Pad", [FLOAT, constant([0, 0, 2, 0, 0, 3])], {"mode": "reflect"}, FLOAT),
    ("Pad", [FLOAT, constant([0, 1, 2, 0, 2, 3])], {"mode": "edge"}, FLOAT),
    ("Slice", [FLOAT, constant([-1]), constant([-100]), constant([2]), constant([-2])], {}, FLOAT),
    ("Slice", [FLOAT, constant([1]), constant([1 << 40]), constant([1])], {}, FLOAT),
    ("Gather", [FLOAT, constant([[5, -1], [0, 2]])], {"axis": 2}, FLOAT),
    ("Trilu", [FLOAT], {"upper": 0}, FLOAT),
    ("CumSum", [FLOAT, constant(2)], {}, FLOAT),
    ("Concat", [FLOAT, FLOAT], {"axis": 1}, FLOAT),
    ("Flatten", [FLOAT], {"axis": 2}, FLOAT),
]
CASES += [(op, [FLOAT], {"axes": axes, "keepdims": keep}, FLOAT)
          for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
          for axes, keep in (([-1], 1), ([0, 1], 0))]
POSITIVE = {"Sqrt", "Log", "Reciprocal"}

nodes, inputs, outputs, initializers = [], [], [], []
for i, (op, operands, attributes, result) in enumerate(CASES):
    names = []
    for j, operand in enumerate(operands):
        names.append(f"x{i}_{j}")
        if isinstance(operand, np.ndarray):
            initializers.append(numpy_helper.from_array(operand, names[-1]))
        else:
            inputs.append(helper.make_tensor_value_info(names[-1], operand, ANY))
    nodes.append(helper.make_node(op, names, [f"y{i}"], name=f"/{op}_{i}", **attributes))
    outputs.append(helper.make_tensor_value_info(f"y{i}", result, None))
graph = helper.make_graph(nodes, "operators", inputs, outputs, initializers)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
failed = 0
for dims in (None, {"n": 3, "m": 5}):
    compiled = quanta.compile(model, dims=dims)
    for n, m in ((3, 5),) if dims else ((3, 5), (1, 1), (2, 37)):
        feed = {}
        for port in session.get_inputs():
            shape, case = (n, m, 6), CASES[int(port.name[1:].split("_")[0])]
            if "float" in port.type:
                feed[port.name] = (2 * rng.standard_normal(shape)).astype(np.float32)
                if case[0] in POSITIVE:
                    feed[port.name] = np.abs(feed[port.name]) + np.float32(0.01)
            elif "int64" in port.type:
                feed[port.name] = rng.integers(-9, 9, shape)
            else:
                feed[port.name] = rng.integers(0, 2, shape).astype(bool)
        got = compiled.run(feed)
        for port, want in zip(session.get_outputs(), session.run(None, feed)):
            value, op = got[port.name], CASES[int(port.name[1:])][:3]
            if want.dtype == np.float32:
                good = value.shape == want.shape and np.allclose(value, want, rtol=1e-5, atol=1e-6)
            else:
                good = value.shape == want.shape and value.dtype == want.dtype and np.array_equal(value, want)
            if not good:
                failed += 1
                print(f"{op[0]} {op[2]} at n={n} m={m}: expected {want.dtype}{want.shape}, got {value.dtype}{value.shape}"
                      + (f", worst {np.abs(value.astype(np.float64) - want).max():.3e}" if value.shape == want.shape else ""))

# Pooling that rounds up, over a size that is known at run time: a window wholly in the trailing padding does not count.
pools = [(op, kernel, stride, pads) for op in ("MaxPool", "AveragePool")
         for kernel, stride, pads in ((2, 3, [0, 1]), (2, 3, [1, 1]), (3, 2, [1, 1]), (2, 2, [0, 0]), (1, 4, [0, 0]))]
nodes = [helper.make_node(op, ["x"], [f"p{i}"], kernel_shape=[kernel], strides=[stride], pads=pads, ceil_mode=1, name=f"/{op}_{i}")
         for i, (op, kernel, stride, pads) in enumerate(pools)]
graph = helper.make_graph(nodes, "pools", [helper.make_tensor_value_info("x", FLOAT, [2, 3, "w"])],
                          [helper.make_tensor_value_info(f"p{i}", FLOAT, None) for i in range(len(pools))])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
compiled = quanta.compile(model)
for width in range(4, 14):
    x = rng.standard_normal((2, 3, width)).astype(np.float32)
    got = compiled.run({"x": x})
    for i, want in enumerate(session.run(None, {"x": x})):
        if got[f"p{i}"].shape != want.shape or not np.allclose(got[f"p{i}"], want, rtol=1e-5, atol=1e-6):
            failed += 1
            print(f"{pools[i]} at width {width}: expected {want.shape}, got {got[f'p{i}'].shape}")
print(f"{len(CASES)} operators, {failed} failed")
sys.exit(failed != 0)
