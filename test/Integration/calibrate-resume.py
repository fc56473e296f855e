# A calibration that is killed at any point and resumed gives the object that one gives which is not; threads make no difference.
# RUN: %python %s %t %source/test/Transforms
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

folder, inputs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
store = folder / "store"


def command(output, *options):
    calibrate = " ".join(("quanta-calibrate{data=%s" % (inputs / "Inputs/calibrate.npz"), *options, "pipeline='quanta-quantize-weights{bits=2 group=0}'}"))
    return ["quantc", inputs / "calibrate.mlir", "--name=m", "--pass-pipeline=" + calibrate, "-o", folder / output]


start = time.monotonic()
subprocess.run(command("whole.o", "threads=1"), check=True)
duration = time.monotonic() - start
expected = (folder / "whole.o").read_bytes()
subprocess.run(command("threads.o", "threads=2"), check=True)
assert (folder / "threads.o").read_bytes() == expected, "threads changed the object"

random.seed(1)
killed = 0
for attempt in range(12):
    process = subprocess.Popen(command("resumed.o", f"store={store}", "resume"), stderr=subprocess.PIPE)
    try:
        # Later and later, so that every part of the run is hit, and it ends even if nothing could be resumed.
        process.communicate(timeout=duration * (0.1 + 0.12 * attempt) * random.uniform(0.8, 1.2))
        break
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        killed += 1
assert killed, "it ended before it could be killed"
result = subprocess.run(command("resumed.o", f"store={store}", "resume"), stderr=subprocess.PIPE, text=True)
assert result.returncode == 0, result.stderr
assert (folder / "resumed.o").read_bytes() == expected, f"{killed} interruptions changed the object"

# While one process works in a store, another one keeps away.
shutil.rmtree(store)
for _ in range(5):
    first = subprocess.Popen(command("first.o", f"store={store}"), stderr=subprocess.PIPE)
    while not list(store.glob("run-*/*")) and first.poll() is None:
        time.sleep(0.01)
    second = subprocess.run(command("second.o", f"store={store}", "resume"), stderr=subprocess.PIPE, text=True)
    assert first.wait() == 0
    if second.returncode:
        assert "another process calibrates the same model" in second.stderr, second.stderr
        break
else:
    sys.exit("both processes worked in one store")
