# REQUIRES: models, onnxruntime
# RUN: %python %s %models %source
"""Greedy decoding with the cache in the model gives the tokens of ONNX Runtime's float model, until two logits are a tie."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import quanta

TOKENS, CAPACITY, TIE = 256, 512, 1e-3
folder = os.path.join(sys.argv[1], "dev", "llama-wt2")
path = os.path.join(folder, "model_kv.onnx")
prompt = np.load(os.path.join(folder, "kv_inputs.npz"))["prompt"]
model = quanta.compile(path, recipe=f"kv{{capacity={CAPACITY}}}")
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
names = [port.name for port in session.get_outputs()]
past = {port.name: np.zeros((1, port.shape[1], 0, port.shape[3]), np.float32) for port in session.get_inputs() if "past" in port.name}

tokens, length, compared, tokens_of_the_model = prompt, 0, 0, []
for _ in range(TOKENS):
    new = tokens.shape[1]
    feed = {"input_ids": tokens, "attention_mask": np.ones((1, length + new), np.int64), "position_ids": np.arange(length, length + new)[None]}
    length += new
    mine = model.run(feed)["logits"][0, -1]
    outputs = dict(zip(names, session.run(None, {**feed, **past})))
    past = {name: outputs[name.replace("past_key_values", "present")] for name in past}
    theirs = outputs["logits"][0, -1]
    second, best = np.sort(theirs)[-2:]
    if best - second < TIE:
        print(f"a tie after {compared} tokens")
        break
    assert mine.argmax() == theirs.argmax(), (compared, mine.argmax(), theirs.argmax())
    compared += 1
    tokens_of_the_model.append(int(mine.argmax()))
    tokens = np.array([[mine.argmax()]])
print(f"{compared} equal tokens")
assert compared > 16

# The tools and a C program give the same tokens.
source = sys.argv[2]
with tempfile.TemporaryDirectory() as work:
    text = subprocess.run(["quant-run", model.path, "--generate", "40", "--prompt", os.path.join(folder, "kv_inputs.npz"),
                           "--json"], check=True, capture_output=True, text=True).stdout
    generated = json.loads(text)
    assert generated["tokens"] == tokens_of_the_model[:40], generated
    assert generated["cache_bytes"] == 2 * 4 * 2 * CAPACITY * 64 * 4 and generated["tokens_per_second"] > 0, generated
    for suffix in (".o", ".h"):
        subprocess.run(["quantc", path, "--recipe", f"kv{{capacity={CAPACITY}}}", "--name", "decoder",
                        "-o", os.path.join(work, "decoder" + suffix)], check=True)
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-I", work, os.path.join(source, "examples", "generate", "main.c"),
                    os.path.join(work, "decoder.o"), "-lm", "-lpthread", "-o", os.path.join(work, "generate")], check=True)
    arguments = [os.path.join(work, "generate"), "40"] + [str(token) for token in prompt[0]]
    text = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    assert [int(token) for token in text.split()] == generated["tokens"], text
    # More than fits.
    full = subprocess.run(["quant-run", path, "--recipe", "kv{capacity=40}", "--generate", "30", "--prompt",
                           os.path.join(folder, "kv_inputs.npz")], capture_output=True, text=True)
    assert full.returncode == 1 and "room for 40 positions" in full.stderr, full.stderr

# Perplexity is what the logits say of the tokens that follow, window by window.
stream, window = os.path.join(sys.argv[1], "dev", "data", "wt2_test_dev.npy"), 64
text = subprocess.run(["quant-eval", model.path, "--task", "perplexity", "--tokens", stream, "--window", str(window), "--limit", "3",
                       "--per-window", "--json"], check=True, capture_output=True, text=True).stdout
measured, losses = json.loads(text), []
for ids in np.load(stream)[:3 * window].astype(np.int64).reshape(3, 1, window):
    past = {port.name: np.zeros((1, port.shape[1], 0, port.shape[3]), np.float32) for port in session.get_inputs() if "past" in port.name}
    feed = {"input_ids": ids, "attention_mask": np.ones((1, window), np.int64), "position_ids": np.arange(window)[None]}
    logits = session.run(["logits"], {**feed, **past})[0][0, :-1].astype(np.float64)
    norm = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    losses.append((norm - logits[np.arange(window - 1), ids[0, 1:]]).mean())
assert np.allclose(measured["window_nll"], losses, atol=1e-4), (measured, losses)
assert np.isclose(measured["perplexity"], np.exp(np.mean(losses)), rtol=1e-4), (measured, losses)
