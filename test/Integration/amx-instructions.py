# REQUIRES: onnx, x86_64
# RUN: %python %s %t
"""AMX's instructions as the tests' emulator executes them, compared with their definitions: sizes of tiles, signs, floats,
addresses; and what is not allowed ends the program. Where the CPU has AMX it is the definitions that are tested."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Inputs"))
import amx

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
if not (unit := amx.find(folder)):
    sys.exit(0)
source, program = pathlib.Path(__file__).parent / "Inputs/amx_instructions.c", folder / "amx_instructions"
flags = "-O1 -no-pie -mamx-tile -mamx-int8 -mamx-bf16 -mfma -ffp-contract=off -Wall -Wextra -Werror"
subprocess.run(["cc", *flags.split(), source, "-o", program, "-lm"], check=True)
subprocess.run([program], check=True, env=unit.environment())
FAULTS = {"permission": "not asked", "unconfigured": "not configured", "palette": "palette", "rows": "size that does not exist",
          "tile": "does not have this tile", "twice": "a tile twice", "sizes": "do not fit"}
for fault, message in FAULTS.items() if unit.multiplications() is not None else ():
    stopped = subprocess.run([program, fault], env=unit.environment(), capture_output=True, text=True)
    assert stopped.returncode < 0 and message in stopped.stderr, f"{fault}: {stopped}"
