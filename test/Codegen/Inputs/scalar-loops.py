"""Fails if an innermost loop of generated code computes with one number at a time: with floats, or, in a kernel, with integers: such a
loop reads or writes memory without a vector register.

usage: scalar-loops.py ASSEMBLY...     x86-64, AT&T syntax; functions of the runtime are not looked at
"""
import re
import sys

SCALAR = re.compile(r"^v?(add|sub|mul|div|max|min|sqrt|fn?m(add|sub)\d*)ss\b|^v?cvts?(i2ss|s2si|tss2si)\b|^v?cvtsi2ss")
PACKED = re.compile(r"^v?(p?(add|sub|mul|max|min|and|or|xor|madd|shuf|unpck|srl|sll|broadcast|dp)\w*(ps|b|w|d|q|usd|sw|wd|dd)\b|fn?m\w+ps|mov[au]ps|movdq[au]|cvt\w+ps|cvt\w*dq)")
MEMORY = re.compile(r"^(?!prefetch|lea|j).*\((?!%rsp).*%r\w+.*\)")
problems, loops = [], 0
for path in sys.argv[1:]:
    function, lines, labels = "", [], {}
    for line in open(path):
        text = line.split("#")[0].strip()
        if match := re.match(r"^([\w.$]+):", text):
            name = match[1]
            if not name.startswith(".L"):
                function, lines, labels = name, [], {}
            else:
                labels[name] = len(lines)
            continue
        if not text or text.startswith(".") or function.startswith("quanta_"):
            continue
        lines.append(text)
        jump = re.match(r"^j\w+\s+(\.L\w+)$", text)
        if not jump or jump[1] not in labels:
            continue
        body = lines[labels[jump[1]]:-1]
        # Innermost: no label inside is jumped back to.
        if any(re.match(rf"^j\w+\s+{re.escape(name)}$", other) for name, position in labels.items() if position > labels[jump[1]]
               for other in lines[position:-1]):
            continue
        loops += 1
        if function.startswith("kernel_") and any(MEMORY.match(one) for one in body) and not any(re.search(r"%[xyz]mm", one) for one in body):
            problems.append(f"{path}: {function}: a loop of {len(body)} instructions without vectors:\n    " + "\n    ".join(body[:12]))
        if any(SCALAR.match(one) for one in body) and not any(PACKED.match(one) for one in body):
            problems.append(f"{path}: {function}: a loop of {len(body)} scalar instructions:\n    " + "\n    ".join(body[:12]))
print(f"{loops} innermost loops")
if not loops:
    problems.append("there is no loop")
sys.exit("\n".join(problems) or None)
