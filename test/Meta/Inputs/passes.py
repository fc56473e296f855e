"""Every pass has a summary, a description that says something, and a test that runs it by name."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
runs = ""
for path in (root / "test").rglob("*"):
    if path.suffix in (".mlir", ".test") and "Inputs" not in path.parts:
        runs += "".join(line for line in path.read_text().splitlines(True) if re.search(r"\b(RUN|DEFINE):", line))

problems, count = [], 0
for table in sorted((root / "include").rglob("Passes.td")):
    text = table.read_text()
    starts = [match for match in re.finditer(r'^def (\w+) : (?:Pass|InterfacePass)<"([^"]+)"', text, re.M)]
    for match, end in zip(starts, [m.start() for m in starts[1:]] + [len(text)]):
        body, argument = text[match.start():end], match[2]
        where = f"{table.relative_to(root)}: {argument}"
        if not re.search(r'let summary = "[^"]{10,}"', body):
            problems.append(f"{where}: no summary")
        description = re.search(r"let description = \[\{(.*?)\}\];", body, re.S)
        if not description or len(description[1].split()) < 15:
            problems.append(f"{where}: no description, or one of less than 15 words")
        if not re.search(rf"(?<!\w)(?<!\w-){re.escape(argument)}(?![\w-])", runs):
            problems.append(f"{where}: no RUN line of a test runs it")
        for option in re.findall(r'Option<"\w+", "([\w-]+)", "[^"]*", (?:"(?:\\"|[^"])*"), "([^"]*)"', body):
            if not option[1]:
                problems.append(f"{where}: option {option[0]} has no description")
    count += len(starts)
if count < 10:
    problems.append(f"only {count} passes were found")
sys.exit("\n".join(problems) or None)
