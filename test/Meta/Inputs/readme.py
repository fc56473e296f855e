"""Runs what README.md shows: its commands, and the C program.

usage: readme.py SOURCE FOLDER      works in FOLDER, which is made
"""
import os
import pathlib
import re
import subprocess
import sys

root, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
folder.mkdir(parents=True)
os.symlink(root / "examples", folder / "examples")
text = (root / "README.md").read_text()
(folder / "main.c").write_text(re.search(r"```c\n(.*?)```", text, re.S)[1])
for block in re.findall(r"```sh\n(.*?)```", text, re.S):
    for line in block.splitlines():
        if line.split(" ", 1)[0] in ("quantc", "quant-run", "quant-eval", "cc"):
            print("$", line, flush=True)
            subprocess.run(line, shell=True, check=True, cwd=folder)
print("$ ./main", flush=True)
subprocess.run("./main", check=True, cwd=folder)
