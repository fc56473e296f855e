# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""An object with code for AMX and without: it takes the first if the system gives it the registers and else the other, with
the same results, with one thread and more; an object with AMX alone says that the system refuses."""
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
unit = amx.find(folder)
if not isinstance(unit, amx.Emulator):
    print("not run: only the emulator refuses permission")
    sys.exit(0)
model = pathlib.Path(__file__).parent.parent / "Codegen/Inputs/integer-linear.mlir"
np.savez(folder / "in.npz", **{"m.x": np.random.default_rng(0).standard_normal((21, 4096)).astype(np.float32)})


def run(compiled, threads, refused):
    (folder / "out.npz").unlink(missing_ok=True)
    arguments = ["--inputs", folder / "in.npz", "--outputs", folder / "out.npz", f"--threads={threads}"]
    return subprocess.run(["quant-run", compiled, *arguments], env=unit.environment(refused), capture_output=True, text=True)


for name, cpus in (("both", f"{amx.CPU},native"), ("one", amx.CPU)):
    compiled, results = folder / f"{name}.so", set()
    subprocess.run(["quantc", model, f"--mcpu={cpus}", "-o", compiled], check=True)
    unit.prepare(compiled)
    for refused in (False, True):
        for threads in (1, 3):
            done = run(compiled, threads, refused)
            if name == "one" and refused:
                assert done.returncode == 1 and "system does not let programs use them" in done.stderr, done
                continue
            assert done.returncode == 0, done
            # 2 blocks of 16 rows, 4 tiles of rows of the weight, 64 registers of columns.
            assert unit.multiplications() == (0 if refused else 2 * 4 * 64), f"{name}: {unit.multiplications()} products of tiles"
            results.add(np.load(folder / "out.npz")["m.y"].tobytes())
    assert len(results) == 1, f"{name}: results differ"
