#!/usr/bin/env python3
"""Each shared language and vision model in a few bits, beside ONNX Runtime's options: metric, bits, speed, memory, start-up, file size.

usage: end_to_end.py TOOLS MODELS [--models NAME ...] [--rows NAME ...] [--limit N] [--samples N] [--threads 1,2] [--rounds N]
                     [--seconds S] [--quiet COMMAND] [--out FILE]

`metric` is the perplexity of the first --limit windows of 256 tokens, or the top-1 of so many images (0: all of the dev
half). `bits` counts all that is stored for the layers that a row quantizes: codes, scales and zero points. Speed is tokens a
second of one window of 256, or images a second of 32, the median of --rounds processes that take turns, each the median of
--seconds of runs, behind the words of --quiet: say a command that keeps other processes away. `MiB` is what loading and
running adds to a process, one thread; `start` the time from loading to the first result of that input; `file` what is stored,
model and engine. ONNX Runtime's `MatMulNBits` models are made here, rounded to nearest in symmetric blocks of 128 with int8
arithmetic (accuracy_level 4), its dynamic and static (QDQ) int8 ones by its own tool, with a scale a channel. The head of a language model stays in float everywhere.
Recipes that look at data take --samples samples; with 0 rows that need data round to nearest instead, or are left out. A row
that is in --out (one JSON object a line) is not measured again.
"""
import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from tables import read_images, read_labels, recall, run_tool

LANGUAGE, VISION = ["opt-wt2", "llama-wt2", "bitnet-wt2"], ["vit-fmnist", "resnet-fmnist", "bnn-fmnist"]
# Name: recipe for language models, recipe for vision models; None: float.
OURS = {"float": (None, None), "int8": ("int8{act=int8-token}", "int8{act=int8-tensor head=true}"),
        "4 bits": ("gptq{bits=4 group=128 act=int8-token}", "gptq{bits=4 group=row act=int8-tensor head=true}"),
        "2 bits": ("gptq{bits=2 group=row act=int8-token}", "gptq{bits=2 group=row act=int8-tensor head=true}"),
        "1.6 bits": ("ternary{act=int8-token}", "ternary{act=int8-tensor head=true}")}
WITHOUT_DATA = {"4 bits": ("rtn{bits=4 group=128 act=int8-token}", None), "2 bits": ("rtn{bits=2 group=128 act=int8-token}", None),
                "int8": ("int8{act=int8-token}", None)}
THEIRS = {"ORT fp32": 0, "ORT dynamic int8": "dynamic", "ORT static int8": "static", "ORT 8 bits": 8, "ORT 4 bits": 4, "ORT 2 bits": 2}
WINDOW, IMAGES, BLOCK = 256, 32, 128


# ---- A process that loads one model and runs it ------------------------------------------------------------------------

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int), ("rank", ctypes.c_int32), ("shape", ctypes.c_int64 * 8),
                ("bytes", ctypes.c_int64)]


class Options(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int32), ("pin", ctypes.c_int32), ("weights", ctypes.c_char_p), ("pool", ctypes.c_void_p)]


class Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("target", ctypes.c_char_p), ("recipe", ctypes.c_char_p), ("inputs", ctypes.c_int32),
                ("outputs", ctypes.c_int32)]


class Api(ctypes.Structure):
    _fields_ = [("abi", ctypes.c_uint32),
                ("create", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Options), ctypes.POINTER(ctypes.c_void_p))),
                ("run", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Tensor), ctypes.POINTER(Tensor))),
                ("reset", ctypes.c_void_p), ("destroy", ctypes.c_void_p), ("info", ctypes.CFUNCTYPE(ctypes.POINTER(Info))),
                ("last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p))]


def load_ours(path, array, threads):
    api = Api.in_dll(ctypes.CDLL(path), "quanta_api_table")
    model = ctypes.c_void_p()
    if api.create(ctypes.byref(Options(threads, 0, None, None)), ctypes.byref(model)):
        sys.exit(f"{path}: {api.last_error(None).decode()}")
    codes = {"float32": 0, "int64": 7}
    given = Tensor(array.ctypes.data, codes[str(array.dtype)], array.ndim, (ctypes.c_int64 * 8)(*array.shape), array.nbytes)
    results = (Tensor * api.info().contents.outputs)()

    def run():
        if api.run(model, ctypes.byref(given), results):
            sys.exit(f"{path}: {api.last_error(model).decode()}")
    return run


def load_theirs(path, array, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: array}
    return lambda: session.run(None, feed)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def child(path, inputs, threads, seconds):
    array = np.ascontiguousarray(np.load(inputs))
    before, begin = resident(), time.perf_counter()
    run = (load_theirs if path.endswith(".onnx") else load_ours)(path, array, threads)
    run()
    start = time.perf_counter() - begin
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        run()
        times.append(time.perf_counter() - at)
    print(json.dumps({"start": start, "time": statistics.median(times), "memory": resident() - before}))


if len(sys.argv) > 1 and sys.argv[1] == "--child":
    child(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    sys.exit()

# ---- Models ------------------------------------------------------------------------------------------------------------

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tools")
parser.add_argument("models_folder", metavar="models")
parser.add_argument("--models", nargs="*", default=LANGUAGE + VISION)
parser.add_argument("--rows", nargs="*", default=[*OURS, *THEIRS])
parser.add_argument("--limit", type=int, default=0)
parser.add_argument("--samples", type=int, default=128)
parser.add_argument("--threads", default="1,2")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=float, default=1)
parser.add_argument("--quiet", default="", help="words to put in front of what is timed")
parser.add_argument("--out", default="end_to_end.jsonl")
arguments = parser.parse_args()
dev = os.path.join(arguments.models_folder, "dev")
data = os.path.join(dev, "data")
threads = [int(count) for count in arguments.threads.split(",")]


def compile_ours(model, recipe, scratch):
    """Path, bits of a quantized weight (None: float), metric."""
    library, report = os.path.join(scratch, "model.so"), os.path.join(scratch, "report.json")
    language = model in LANGUAGE
    calibration = os.path.join(data, "wt2_train.npy") if language else os.path.join(scratch, "calib.npz")
    words = ["--recipe", recipe] if recipe else []
    if recipe and arguments.samples:
        words += ["--calib", calibration, "--calib-samples", str(arguments.samples)]
    run_tool(arguments.tools, "quantc", os.path.join(dev, model, "model.onnx"), "-o", library, "--report", report, *words)
    with open(report) as file:
        layers = [layer for layer in json.load(file)["layers"] if layer["encoding"] not in (None, "f32")]
    count = sum(math.prod(layer["shape"]) for layer in layers)
    bits = sum(math.prod(layer["shape"]) * layer["bits_per_weight"] for layer in layers) / count if count else None
    task = (["perplexity", "--tokens", os.path.join(data, "wt2_test_dev.npy")] if language
            else ["top1", "--data", os.path.join(scratch, "test.npz")])
    limit = ["--limit", str(arguments.limit)] if arguments.limit else []
    result = json.loads(run_tool(arguments.tools, "quant-eval", library, "--task", *task, *limit, "--json"))
    return library, bits, result["perplexity"] if language else 100 * result["top1"]


def round_to_blocks(weight, bits):
    """Codes of a matrix [K, N] as MatMulNBits stores them, [N, blocks, bytes], and scales [N, blocks]."""
    columns = -(-weight.shape[0] // BLOCK) * BLOCK
    rows = np.pad(weight.T, ((0, 0), (0, columns - weight.shape[0]))).reshape(weight.shape[1], -1, BLOCK)
    middle = 2 ** (bits - 1)
    most = rows[np.arange(rows.shape[0])[:, None], np.arange(rows.shape[1]), np.abs(rows).argmax(2)]
    scales = (most / -middle).astype(np.float32)  # the farthest value gets the code 0
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.clip(np.rint(rows * inverse[:, :, None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
    packed = sum(codes[:, :, i::8 // bits] << (bits * i) for i in range(8 // bits))
    return packed.astype(np.uint8), scales


def quantize_by_samples(source, target, model, excluded):
    """ONNX Runtime's static int8, ranges from --samples samples."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if model in LANGUAGE:
        tokens = np.load(os.path.join(data, "wt2_train.npy"))
        samples = tokens[:arguments.samples * WINDOW].reshape(-1, 1, WINDOW).astype(np.int64)
    else:
        samples = read_images(data, "calib")[:arguments.samples, None]

    class Samples(CalibrationDataReader):
        def __init__(self, name):
            self.feeds = iter([{name: sample} for sample in samples])

        def get_next(self):
            return next(self.feeds, None)

    import onnx
    quant_pre_process(source, target, skip_symbolic_shape=True)
    quantize_static(target, target, Samples(onnx.load(target).graph.input[0].name), weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8, per_channel=True, nodes_to_exclude=excluded)


def make_theirs(model, kind, scratch):
    """Path and bits of a quantized weight; nothing if the tool finds nothing to quantize."""
    import onnx
    from onnx import helper, numpy_helper
    source, target = os.path.join(dev, model, "model.onnx"), os.path.join(scratch, "theirs.onnx")
    graph_model = onnx.load(source)
    graph = graph_model.graph
    outputs = {value.name for value in graph.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    if kind == 0:
        onnx.save(graph_model, target)
        return target, None
    if kind in ("dynamic", "static"):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        head = [node.name for node in graph.node if set(node.output) & outputs] if model in LANGUAGE else []
        if kind == "dynamic":
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=head)
        else:
            quantize_by_samples(source, target, model, head)
        stored = {tensor.name: tensor for tensor in onnx.load(target).graph.initializer}
        names = [name for name in stored if name.endswith("_quantized")]
        count = sum(math.prod(stored[name].dims) for name in names)
        if not count:
            return None
        sizes = {1: 32, 2: 8, 3: 8, 6: 32}  # bits of the elements
        parts = [tensor for name, tensor in stored.items()
                 if any(name == base + suffix for base in names for suffix in ("", "_scale", "_zero_point"))
                 or any(name == base[:-len("quantized")] + suffix for base in names for suffix in ("scale", "zero_point"))]
        return target, sum(sizes[part.data_type] * math.prod(part.dims) for part in parts) / count
    count = stored_bits = 0
    used, nodes = set(), []
    for node in graph.node:
        tensor = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") and len(node.input) > 1 else None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = node.op_type == "MatMul" or (attributes.get("alpha", 1) == 1 and attributes.get("beta", 1) == 1 and not attributes.get("transA"))
        if tensor is None or len(tensor.dims) != 2 or not plain or (model in LANGUAGE and set(node.output) & outputs):
            nodes.append(node)
            used.update(node.input)
            continue
        weight = numpy_helper.to_array(tensor)
        weight = weight.T if attributes.get("transB") else weight
        packed, scales = round_to_blocks(weight, kind)
        names = [f"{tensor.name}.nbits{len(nodes)}", f"{tensor.name}.scales{len(nodes)}"]
        graph.initializer.extend([numpy_helper.from_array(packed, names[0]), numpy_helper.from_array(scales.reshape(-1), names[1])])
        used.update(names)
        used.update(node.input)
        used.discard(tensor.name)
        product = node.output[0] if len(node.input) < 3 else node.output[0] + ".product"
        nodes.append(helper.make_node("MatMulNBits", [node.input[0], *names], [product], domain="com.microsoft", K=weight.shape[0],
                                      N=weight.shape[1], bits=kind, block_size=BLOCK, accuracy_level=4))
        if len(node.input) > 2:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]]))
        count += weight.size
        stored_bits += 8 * packed.size + 32 * scales.size
    if not count:
        return None
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph_model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph_model, target)
    return target, stored_bits / count


def metric_of_theirs(path, model):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    if model in VISION:
        pixels, labels = read_images(data, "test_dev"), read_labels(data, "test_dev")
        count = arguments.limit or len(labels)
        right = sum((session.run(None, {name: pixels[i:min(i + 100, count)]})[0].argmax(1) == labels[i:min(i + 100, count)]).sum()
                    for i in range(0, count, 100))
        return 100 * right / count
    tokens = np.load(os.path.join(data, "wt2_test_dev.npy"))
    count = len(tokens) // WINDOW
    windows = tokens[:count * WINDOW].reshape(count, WINDOW).astype(np.int64)[:arguments.limit or count]
    losses = []
    for window in windows:
        logits = session.run(None, {name: window[None]})[0][0, :-1].astype(np.float64)
        top = logits.max(1)
        losses.append(np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(WINDOW - 1), window[1:]])
    return math.exp(np.mean(losses))


def measure(model, row, scratch):
    if row in OURS:
        recipes = OURS[row] if arguments.samples or row == "float" else WITHOUT_DATA.get(row, (None, None))
        recipe = recipes[0 if model in LANGUAGE else 1]
        if recipe is None and row != "float":
            return {"skipped": "needs data"}
        path, bits, metric = compile_ours(model, recipe, scratch)
        engine = 0  # is in the file
    else:
        if THEIRS[row] == "static" and not arguments.samples:
            return {"skipped": "needs data"}
        made = make_theirs(model, THEIRS[row], scratch)
        if not made:
            return {"skipped": "nothing to quantize"}
        path, bits = made
        metric = metric_of_theirs(path, model)
        import onnxruntime
        folder = os.path.join(os.path.dirname(onnxruntime.__file__), "capi")
        engine = max(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if ".so" in name)
    inputs, amount = os.path.join(scratch, "input.npy"), WINDOW if model in LANGUAGE else IMAGES
    np.save(inputs, np.load(os.path.join(data, "wt2_test_dev.npy"))[None, :WINDOW].astype(np.int64) if model in LANGUAGE
            else read_images(data, "test_dev")[:IMAGES])
    runs = {count: [] for count in threads}
    for _ in range(arguments.rounds):
        for count in threads:
            words = [*arguments.quiet.split(), sys.executable, os.path.abspath(__file__), "--child", path, inputs, str(count), str(arguments.seconds)]
            process = subprocess.run(words, stdout=subprocess.PIPE, text=True)
            if process.returncode:
                sys.exit(f"{model}, {row}: the run failed")
            runs[count].append(json.loads(process.stdout))
    first = runs[threads[0]]
    return {"metric": metric, "bits": bits, "speed": [amount / statistics.median(run["time"] for run in runs[count]) for count in threads],
            "memory": statistics.median(run["memory"] for run in first), "start": statistics.median(run["start"] for run in first),
            "file": os.path.getsize(path), "engine": engine}


print("| model | row | metric | bits | " + " | ".join(f"a second, {count} thread{'s' * (count > 1)}" for count in threads)
      + " | MiB | start, ms | file, MB | engine, MB |")
print("| --- " * (8 + len(threads)) + "|", flush=True)
with tempfile.TemporaryDirectory() as scratch:
    np.savez(os.path.join(scratch, "calib.npz"), input=read_images(data, "calib"))
    np.savez(os.path.join(scratch, "test.npz"), input=read_images(data, "test_dev"),
             label=read_labels(data, "test_dev"))
    for model in arguments.models:
        for row in arguments.rows:
            found = recall(arguments.out, f"{model} | {row} | {arguments.limit} | {arguments.samples} | {arguments.threads}",
                           lambda: measure(model, row, scratch))
            if "skipped" in found:
                print(f"| {model} | {row} | {found['skipped']} |" + " |" * (6 + len(threads)), flush=True)
                continue
            bits = f"{found['bits']:.2f}" if found["bits"] else "32"
            print(f"| {model} | {row} | {found['metric']:.2f} | {bits} | " + " | ".join(f"{speed:.0f}" for speed in found["speed"])
                  + f" | {found['memory'] / 2**20:.0f} | {1e3 * found['start']:.0f} | {found['file'] / 1e6:.1f} | {found['engine'] / 1e6:.0f} |", flush=True)
