"""What can go wrong."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple


class Diagnostic(NamedTuple):
    severity: Literal["error", "warning"]
    message: str


class Error(Exception):
    """Base of the package's exceptions."""


class CompileError(Error):
    """The model cannot be compiled as asked."""

    def __init__(self, diagnostics: Sequence[Diagnostic], report: dict[str, Any] | None = None) -> None:
        super().__init__("\n".join(d.message for d in diagnostics) or "compilation failed without a message")
        self.diagnostics = list(diagnostics)
        #: What had been done until then, as `CompiledModel.report`.
        self.report = report or {}


class ImportProblem(CompileError):
    """The ONNX model has parts that Quanta cannot read."""

    @property
    def problems(self) -> list[str]:
        """Each thing that is wrong with the model."""
        return list(self.report.get("problems", []))


class RunError(Error):
    """A model cannot be loaded, was given something it cannot take, or failed while running."""
