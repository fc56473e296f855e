"""Writes a model given in ONNX's text format as a binary file: onnx-text-to-bin.py IN OUT. Lines with # are comments."""
import sys

import onnx
import onnx.parser

with open(sys.argv[1]) as source:
    text = "".join(line for line in source if not line.startswith("#"))
onnx.save(onnx.parser.parse_model(text), sys.argv[2])
