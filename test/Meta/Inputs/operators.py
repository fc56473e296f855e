"""Every row of Ops.def has a shape function and a converter, and rows of one operator do not overlap."""
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("support", str(root / "scripts/generate-operator-support"))
support = importlib.util.module_from_spec(importlib.util.spec_from_loader("support", loader))
loader.exec_module(support)

def read(folder):
    return "\n".join(path.read_text() for path in sorted((root / folder).rglob("*.*")) if path.suffix in (".cpp", ".h"))


conversion, importer = read("lib/Conversion"), read("lib/Import")
header = (root / "lib/Conversion/ConvertContext.h").read_text()
same = dict(pair for line in re.findall(r"inline constexpr ConvertFn ([^;]+);", header) for pair in re.findall(r"(\w+) = (\w+)", line))
elementwise = (root / "lib/Conversion/Elementwise.cpp").read_text()
problems, ranges = [], {}
for _, domain, op, (first, last), inputs, attributes, infer, convert in support.read_rows():
    where = f"Ops.def: {domain + '::' if domain else ''}{op} {first} to {last}"
    function = same.get(convert, convert)
    if function == "nullptr":
        if op != "Constant":
            problems.append(f"{where}: no converter")
    elif not re.search(rf"LogicalResult convert::{function}\(", conversion):
        problems.append(f"{where}: converter {convert} is not defined")
    elif function == "elementwise" and f'"{op}"' not in elementwise:
        problems.append(f"{where}: not in the table of lib/Conversion/Elementwise.cpp")
    if not re.search(rf"LogicalResult infer::{infer}\(", importer):
        problems.append(f"{where}: shape function {infer} is not defined")
    for before in ranges.setdefault((domain, op), []):
        if first <= before[1] and before[0] <= last:
            problems.append(f"{where}: overlaps the row of {before[0]} to {before[1]}")
    ranges[domain, op].append((first, last))
    names = [re.sub(r"^\w+\(|\)$", "", text).split(",")[0] for text in inputs + attributes]
    for name in {name for name in names if names.count(name) > 1}:
        problems.append(f"{where}: two inputs or attributes are called {name}")
if len(ranges) < 50:
    problems.append("Ops.def: rows could not be read")
sys.exit("\n".join(problems) or None)
