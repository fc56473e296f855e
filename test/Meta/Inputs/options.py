"""Command-line options belong to tools: a library's would appear in every program that links it."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
# Shared by the mains of quant-run and quant-eval, and by nothing else.
tools_header = root / "include/quanta/Support/ModelOptions.h"
problems = []
for top in ("lib", "include"):
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".h", ".cpp", ".inc") or path == tools_header:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\bcl::(opt|list|bits|alias)\b", line.split("//")[0]):
                problems.append(f"{path.relative_to(root)}:{number}: a command-line option in a library")
            if top == "lib" and "ModelOptions.h" in line:
                problems.append(f"{path.relative_to(root)}:{number}: includes the options of tools")
sys.exit("\n".join(problems) or None)
