# REQUIRES: models, onnx
# RUN: %python %s %models
"""Every shared model compiles and reproduces ONNX Runtime's stored outputs to the tool's default tolerance."""
import os
import sys
import tempfile

import numpy as np
import quanta

dev = os.path.join(sys.argv[1], "dev")
# Rounds activations to 8 bits: a last-bit difference before a rounding becomes a step of a whole level after it, so
# single logits differ (README of the model: by up to 0.13 between PyTorch and ONNX Runtime). Its perplexity is checked
# by benchmark/rtn_tables.py.
ROUNDING = {"bitnet-wt2"}
NOT_SUPPORTED = {"silero_vad_16k_op15"}  # If, LSTM
failed = 0


def check(name, value, reference, tolerance):
    global failed
    limit = tolerance * np.abs(reference).max()
    error = np.abs(value.astype(np.float64) - reference).max()
    if value.shape != reference.shape or not error <= limit:
        failed += 1
        print(f"{name}: {value.shape} error {error:.3e}, expected {reference.shape} within {limit:.3e}")


for name in sorted(os.listdir(dev)):
    folder = os.path.join(dev, name)
    if not os.path.exists(os.path.join(folder, "model.onnx")):
        continue
    if name in NOT_SUPPORTED:
        try:
            quanta.compile(os.path.join(folder, "model.onnx"))
            failed += 1
            print(f"{name}: compiled, although it is listed as not supported")
        except quanta.ImportProblem as problem:
            assert "LSTM" in str(problem) and "If" in str(problem), problem
        continue
    model = quanta.compile(os.path.join(folder, "model.onnx"))
    inputs, outputs = np.load(os.path.join(folder, "inputs.npz")), np.load(os.path.join(folder, "outputs.npz"))
    ports = [port.name for port in model.inputs]
    cases = sorted({key[:-len(port) - 1] for key in inputs.files for port in ports if key.endswith("." + port)})
    assert cases, name
    for case in cases:
        got = model.run({port: inputs[f"{case}.{port}"] for port in ports})
        for port, value in got.items():
            check(f"{name} {case} {port}", value, outputs[f"{case}.{port}"], 2e-2 if name in ROUNDING else 1e-4)

# The cache graph, decoding greedily from an empty cache.
folder = os.path.join(dev, "llama-wt2")
model = quanta.compile(os.path.join(folder, "model_kv.onnx"))
prompt, reference = np.load(os.path.join(folder, "kv_inputs.npz"))["prompt"], np.load(os.path.join(folder, "kv_outputs.npz"))
past = {}
for key in reference.files:
    if key.startswith("final.present."):
        shape = list(reference[key].shape)
        shape[2] = 0
        past["past_key_values." + key[len("final.present."):]] = np.zeros(shape, np.float32)
tokens, length = prompt, 0
for step, expected in enumerate(reference["greedy_tokens"]):
    count = tokens.shape[1]
    got = model.run({"input_ids": tokens, "attention_mask": np.ones((1, length + count), np.int64),
                     "position_ids": np.arange(length, length + count, dtype=np.int64)[None], **past})
    length += count
    past = {key.replace("present.", "past_key_values."): value for key, value in got.items() if key.startswith("present.")}
    check(f"model_kv step {step}", got["logits"][0, -1], reference["step_logits"][step], 1e-4)
    if got["logits"][0, -1].argmax() != expected:
        failed += 1
        print(f"model_kv step {step}: token {got['logits'][0, -1].argmax()}, expected {expected}")
    tokens = np.array([[expected]], np.int64)
print(f"{failed} failed")
sys.exit(failed != 0)
