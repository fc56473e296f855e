#!/usr/bin/env python3
"""Key/value caches of llama-wt2 at several widths: bytes, perplexity through the cache, and the speed of decoding beside ONNX
Runtime's cached decode of the float model. One thread, whose CPU time counts, so that other programs matter less; interleaved,
medians of steps.

usage: cache_tables.py TOOLS MODELS [--windows 32] [--chunk 16] [--capacity 512] [--tokens 128] [--budgets BYTES ...]

Perplexity: windows of 256 tokens of the dev half of WikiText-2's test split, each from an empty cache, `--chunk` tokens a run.
A chunk is appended before its queries look, so that of chunk c a query sees the newest `window` positions, counted from the
chunk's end, in float, and everything before in the cache's width. The 4-bit weights of the last rows are rtn{bits=4 group=128}.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

parser = argparse.ArgumentParser()
parser.add_argument("tools")
parser.add_argument("models")
parser.add_argument("--windows", type=int, default=32)
parser.add_argument("--chunk", type=int, default=16)
parser.add_argument("--capacity", type=int, default=512)
parser.add_argument("--tokens", type=int, default=128)
parser.add_argument("--budgets", type=int, nargs="*", default=[], help="also rows with widths that are chosen within these bytes")
arguments = parser.parse_args()
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python-bindings", "src"))
os.environ.setdefault("QUANTA_LIBRARY", os.path.join(arguments.tools, "..", "lib", "libQuantaC.so"))
import quanta  # noqa: E402

model = os.path.join(arguments.models, "dev", "llama-wt2", "model_kv.onnx")
tokens = os.path.join(arguments.models, "dev", "data", "wt2_test_dev.npy")
prompt = np.load(os.path.join(arguments.models, "dev", "llama-wt2", "kv_inputs.npz"))["prompt"]
capacity = f"capacity={arguments.capacity}"
use = f"quanta-use-cache{{{capacity}}},canonicalize,cse"


unrotate = ",quanta-unrotate-keys"


def encode(bits, only="", window=32, group=32):
    return f",quanta-quantize-cache{{bits={bits} group={group} window={window}" + (f' only="{only}"' if only else "") + "}"


ROWS = [("float", use)] + [(f"{bits} bits", use + encode(bits)) for bits in (8, 4, 3, 2)]
ROWS += [("2 bits, keys by token", use + encode(2, group=0)), ("2 bits, window 0", use + encode(2, window=0)),
         ("layers 0 and 1: 4 bits, others 2", use + encode(4, "[.][01][.]") + encode(2)),
         ("keys 4 bits, values 2", use + encode("4/2")), ("keys 2 bits, values 4", use + encode("2/4")),
         ("keys/values 8/4 in layer 0, 4/2 in others", use + encode("8/4,4/2,4/2,4/2")),
         ("keys/values 4/2, 3/2, 3/2, 2/2", use + encode("4/2,3/2,3/2,2/2"))]
ROWS += [(f"{bits} bits, window 0" + (", keys before rotation" if before else ""), use + before + encode(bits, window=0))
         for bits in (4, 3, 2) for before in ("", unrotate) if bits > 2 or before]
ROWS += [(f"keys {keys}, values 2 bits, window 0", use + encode(f"{keys}/2", window=0)) for keys in (1, "sketch", "sketch2", "sketch4")]


class Theirs:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [port.name for port in self.session.get_outputs()]
        self.past = {port.name: np.zeros((1, port.shape[1], 0, port.shape[3]), np.float32)
                     for port in self.session.get_inputs() if "past" in port.name}

    def run(self, feed):
        start = time.thread_time()
        values = dict(zip(self.names, self.session.run(None, {**feed, **self.past})))
        seconds = time.thread_time() - start
        self.past = {name: values[name.replace("past_key_values", "present")] for name in self.past}
        return values["logits"], seconds


def decode(compiled):
    """Medians of milliseconds a token, ours and ONNX Runtime's, on the same tokens."""
    theirs, ours, mine, other, length, ids = Theirs(), compiled, [], [], 0, prompt
    ours.reset()
    for _ in range(arguments.tokens + 1):
        new = ids.shape[1]
        feed = {"input_ids": ids, "attention_mask": np.ones((1, length + new), np.int64), "position_ids": np.arange(length, length + new)[None]}
        start = time.thread_time()
        ours.run(feed)
        mine.append(time.thread_time() - start)
        logits, seconds = theirs.run(feed)
        other.append(seconds)
        length += new
        ids = logits[:, -1:].argmax(-1)
    return 1e3 * statistics.median(mine[1:]), 1e3 * statistics.median(other[1:])


ROWS += [(f"chosen within {budget} bytes, window 0", use + f",quanta-allocate-cache{{bytes={budget} recent=0 samples=8 resume=true store=STORE "
          f"candidates=4,4/3,3/4,4/2,2/4,3,3/2,2/3,2 data={os.path.join(arguments.models, 'dev', 'data', 'wt2_train.npy')}}}")
         for budget in arguments.budgets]

print(f"| cache | bytes | perplexity ({arguments.windows} windows) | ms a token | tokens/s | ONNX Runtime float, tokens/s |")
print("| --- | --- | --- | --- | --- | --- |")
with tempfile.TemporaryDirectory() as folder:
    for number, (name, pipeline) in enumerate(ROWS + [("float, 4-bit weights", use), ("4 bits, 4-bit weights", use + encode(4))]):
        path = os.path.join(folder, f"m{number}.so")
        weights = ["--recipe", "rtn{bits=4 group=128}"] if "weights" in name else []
        subprocess.run([os.path.join(arguments.tools, "quantc"), model, "-o", path, "--pass-pipeline",
                        pipeline.replace("STORE", os.path.join(folder, "losses"))] + weights, check=True)
        text = subprocess.run([os.path.join(arguments.tools, "quant-eval"), path, "--task", "perplexity", "--tokens", tokens, "--limit",
                               str(arguments.windows), "--chunk", str(arguments.chunk), "--json"], check=True, capture_output=True, text=True).stdout
        result = json.loads(text)
        mine, other = decode(quanta.load(path, threads=1))
        print(f"| {name} | {result['cache_bytes']} | {result['perplexity']:.3f} | {mine:.3f} | {1e3 / mine:.0f} | {1e3 / other:.0f} |", flush=True)
