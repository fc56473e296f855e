"""Quantize ONNX models, compile them to native code, and run them on NumPy arrays."""

from ._compiler import compile, version
from ._errors import CompileError, Diagnostic, Error, ImportProblem, RunError
from ._model import CompiledModel, Port, load

__all__ = [
    "CompileError",
    "CompiledModel",
    "Diagnostic",
    "Error",
    "ImportProblem",
    "Port",
    "RunError",
    "compile",
    "load",
    "version",
]
