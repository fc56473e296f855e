"""Includes follow the table of layers in docs/Architecture.md, and only listed layers know MLIR or LLVM."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
allowed, knows = {}, {}
for line in (root / "docs/Architecture.md").read_text().splitlines():
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) == 4 and cells[0].startswith("`lib/"):
        layer = cells[0].strip("`")[4:]
        allowed[layer] = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", cells[2])))
        knows[layer] = cells[3]
problems = []
if not allowed:
    problems.append("docs/Architecture.md: the table of layers was not found")
for layer, below in allowed.items():
    # A cycle would make "down" meaningless.
    seen, todo = set(), list(below)
    while todo:
        name = todo.pop()
        if name not in allowed:
            problems.append(f"docs/Architecture.md: {layer} may use {name}, which is not a layer")
        elif name not in seen:
            seen.add(name)
            todo += allowed[name]
    if layer in seen:
        problems.append(f"docs/Architecture.md: {layer} may use itself by way of others")

folders = {path.relative_to(root / top).parts[0] for top in ("lib", "include/quanta") for path in (root / top).rglob("*.*")
           if len(path.relative_to(root / top).parts) > 1}
for folder in sorted(folders - set(allowed)):
    problems.append(f"lib/{folder}: not in the table of layers of docs/Architecture.md")

include = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')
for top in ("lib", "include/quanta"):
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".h", ".cpp", ".c", ".in", ".inc", ".def"):
            continue
        layer = path.relative_to(root / top).parts[0]
        if layer not in allowed:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = include.match(line)
            if not match:
                continue
            name, where = match[1], f"{path.relative_to(root)}:{number}"
            if name.startswith("quanta/"):
                other = name.split("/")[1]
            elif name.startswith("quanta-c/"):
                other = "CAPI"
            elif name.startswith("."):
                other = (path.parent / name).resolve().relative_to(root.resolve() / "lib").parts[0]
            else:
                for library in ("mlir", "llvm"):
                    if name.startswith(library + "/") and library.upper() not in knows[layer]:
                        problems.append(f"{where}: {layer} must not know {library.upper()}")
                continue
            if other != layer and other not in allowed[layer]:
                problems.append(f"{where}: {layer} must not use {other} (docs/Architecture.md)")
sys.exit("\n".join(problems) or None)
