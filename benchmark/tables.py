"""What the scripts that print tables share."""
import json
import os
import subprocess
import sys

import numpy as np


def run_tool(folder, name, *words, prefix=()):
    """What a tool prints; what it says if it fails ends the script. It runs behind the words `prefix`."""
    process = subprocess.run([*prefix, os.path.join(folder, name), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(f"{name} {' '.join(words)}\n{process.stderr}")
    return process.stdout


def recall(path, key, measure):
    """The row with this key in a file of one JSON object a line, or a new one from measure(), which is added there."""
    if os.path.exists(path):
        with open(path) as file:
            for row in map(json.loads, file):
                if row["key"] == key:
                    return row
    row = {"key": key, **measure()}
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def find(node, key):
    """The first value under this key, wherever it is."""
    if isinstance(node, dict) and key in node:
        return node[key]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return next((found for found in (find(part, key) for part in parts) if found is not None), None)


def read_images(data, name, count=None):
    """The first images of Fashion-MNIST [count, 1, 28, 28] as the shared models take them."""
    pixels = np.load(os.path.join(data, f"fmnist_{name}_images.npy"))[:count, None]
    return ((pixels.astype(np.float32) / 255 - 0.2860) / 0.3530).astype(np.float32)


def read_labels(data, name, count=None):
    return np.load(os.path.join(data, f"fmnist_{name}_labels.npy"))[:count].astype(np.int64)
