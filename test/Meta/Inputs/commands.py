"""Commands in the documentation name tools and options that exist.

usage: commands.py SOURCE [FILE...]     checks README.md and docs/*.md, or the given files
"""
import pathlib
import re
import shlex
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
files = [pathlib.Path(name) for name in sys.argv[2:]] or [root / "README.md", root / "python-bindings/README.md", *sorted((root / "docs").glob("*.md"))]
flags = {}


def options(tool):
    if tool not in flags:
        text = subprocess.run([tool, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
        flags[tool] = {name for name in re.findall(r"^\s+-{1,2}([\w-]+)", text, re.M)}
    return flags[tool]


def commands(text):
    """Lines of shell blocks, and code within lines."""
    for block in re.findall(r"```(?:sh|console|bash)\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield line
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        yield code


problems = []
for path in files:
    for line in commands(path.read_text()):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        while words and re.match(r"^(\$|[A-Z_]+=\S*)$", words[0]):
            words.pop(0)
        if not words:
            continue
        name = words[0].removeprefix("./")
        where = f"{path.name}: {line.strip()}"
        if name.startswith("scripts/") and not (root / name).exists():
            problems.append(f"{where}: there is no {name}")
        tool = name.rsplit("/", 1)[-1]
        if tool not in ("quantc", "quant-run", "quant-eval", "quant-bench", "quant-opt", "quant-translate"):
            continue
        for word in words[1:]:
            if word in ("|", ">", "&&", ";"):
                break
            match = re.match(r"--?([A-Za-z][\w-]*)", word)
            if match and match[1] not in options(tool) and not re.match(r"-(O[0-3]|h)$", word):
                problems.append(f"{where}: {tool} has no option {word}")
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", path.read_text()):
        if not (path.parent / link).exists():
            problems.append(f"{path.name}: the link to {link} leads nowhere")
sys.exit("\n".join(problems) or None)
