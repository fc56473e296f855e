"""Command-line options belong to tools: a library's would appear in every program that links it."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
problems = []
for top in ("lib", "include"):
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".h", ".cpp", ".inc"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\bcl::(opt|list|bits|alias)\b", line.split("//")[0]):
                problems.append(f"{path.relative_to(root)}:{number}: a command-line option in a library")
sys.exit("\n".join(problems) or None)
