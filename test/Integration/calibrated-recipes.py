# RUN: %python %s %examples
"""Every calibrated recipe on the example model: stored bits, errors in the report, and what is left of the accuracy."""
import json
import os
import subprocess
import sys
import tempfile

folder = os.path.join(sys.argv[1], "digits-vit")
model, data = os.path.join(folder, "model.onnx"), os.path.join(folder, "test.npz")
calibration = ["--calib", os.path.join(folder, "calib.npz"), "--calib-samples", "64"]
failed = 0


def expect(condition, text):
    global failed
    if not condition:
        failed += 1
        print(text)


def run(recipe, *words):
    # Two of the four blocks show as much as all of them.
    recipe = recipe[:-1] + " only=b[.][01]}" if recipe.endswith("}") else recipe + "{only=b[.][01]}"
    with tempfile.TemporaryDirectory() as scratch:
        library, report = os.path.join(scratch, "m.so"), os.path.join(scratch, "m.json")
        subprocess.run(["quantc", model, "-o", library, "--recipe", recipe, "--report", report, *words], check=True,
                       stderr=subprocess.DEVNULL)
        result = subprocess.run(["quant-eval", library, "--task", "top1", "--data", data, "--json"], check=True,
                                stdout=subprocess.PIPE, text=True)
        layers = [layer for layer in json.load(open(report))["layers"] if layer["error_weight"] is not None]
        return json.loads(result.stdout)["top1"], layers


top1, nearest = run("rtn{bits=2 group=row}")
errors, accuracy = {}, {"rtn": top1}
# Recipe, bits a weight of a large layer at most, encoding.
for recipe, bits, encoding in [("gptq{bits=2 group=row}", 2.6, "bits = 2, zero = offset"), ("gptq{bits=4 group=32}", 5.3, "bits = 4, group = 32"),
                               ("ternary", 2.3, "levels = 3"), ("binary", 1.6, "bits = 1"),
                               ("pb-llm{tile=32 kept=3 high-bits=8}", 3.3, "tile = 32, kept = 3"),
                               ("pb-llm{salient=0.1 high-bits=8}", 4, "split<mask"), ("structured{salient=0.16 high-bits=4}", 2.6, "split<columns")]:
    accuracy[recipe], layers = run(recipe, *calibration)
    expect(len(layers) == len(nearest), f"{recipe}: {len(layers)} layers are quantized, {len(nearest)} by rtn")
    for layer in layers:
        expect(encoding in layer["encoding"], f"{recipe}: {layer['name']} is {layer['encoding']}")
        expect(0 < layer["error_calibration"] < 1 and 0 < layer["error_held_out"] < 1, f"{recipe}: {layer['name']} has no errors")
        expect(layer["time_s"] > 0, f"{recipe}: {layer['name']} took no time")
    large = max(layers, key=lambda layer: layer["shape"][0] * layer["shape"][1])
    expect(large["bits_per_weight"] < bits, f"{recipe}: {large['bits_per_weight']} bits a weight")
    errors[recipe] = sum(layer["error_held_out"] for layer in layers) / len(layers)
    print(f"{recipe}: held-out error {errors[recipe]:.4f}, top-1 {accuracy[recipe]:.4f}")
print(f"rtn{{bits=2}}: top-1 {accuracy['rtn']:.4f}")
order = ["gptq{bits=4 group=32}", "gptq{bits=2 group=row}", "ternary", "binary"]
for better, worse in zip(order, order[1:]):
    expect(errors[better] < errors[worse], f"{better} has a larger error than {worse}")
expect(errors["structured{salient=0.16 high-bits=4}"] < errors["binary"], "columns of more bits do not help")
expect(errors["pb-llm{salient=0.1 high-bits=8}"] < errors["binary"], "weights of more bits do not help")
expect(accuracy["gptq{bits=2 group=row}"] > accuracy["rtn"], "two bits are no better than rounded to nearest")

# The number of threads makes no difference.
with tempfile.TemporaryDirectory() as scratch:
    objects = []
    for threads in ("1", "3"):
        path = os.path.join(scratch, "m.o")
        subprocess.run(["quantc", model, "-o", path, "--recipe", "pb-llm{only=b[.]0}", "--threads", threads, *calibration], check=True,
                       stderr=subprocess.DEVNULL)
        objects.append(open(path, "rb").read())
    expect(objects[0] == objects[1], "objects differ with the number of threads")
sys.exit(failed != 0)
