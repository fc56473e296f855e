"""The compiler: bindings of quanta-c/Compiler.h."""

import contextlib
import ctypes
import functools
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ._errors import CompileError, Diagnostic, Error, ImportProblem
from ._model import CompiledModel, TemporaryFolder

FilePath: TypeAlias = str | os.PathLike[str]
Emit: TypeAlias = Literal["onnx-ir", "quant-ir", "llvm", "asm", "obj", "lib", "exe", "header"]


@runtime_checkable
class ModelProto(Protocol):
    """What is needed of an onnx.ModelProto."""

    def SerializeToString(self) -> bytes: ...


_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_IMPORT_PROBLEM = 2


def _find_library() -> Path:
    if chosen := os.environ.get("QUANTA_LIBRARY"):
        return Path(chosen)
    package = Path(__file__).resolve().parent
    # In a source tree the package lies in python-bindings/src/quanta.
    builds = [package.parents[2] / "build" / preset / "lib" for preset in ("release", "dev")]
    for folder in (package, *builds):
        if (library := folder / "libQuantaC.so").is_file():
            return library
    raise Error(
        f"libQuantaC.so is not in {package}: build Quanta (scripts/build) and install the package again, "
        "or set QUANTA_LIBRARY to the file"
    )


@functools.cache
def _library() -> ctypes.CDLL:
    path = _find_library()
    try:
        library = ctypes.CDLL(os.fspath(path.absolute()))
        library.quantaVersion.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise Error(f"cannot load the compiler {path}: {error}") from None
    library.quantaCompileOptionsCreate.restype = ctypes.c_void_p
    library.quantaCompileOptionsDestroy.argtypes = [ctypes.c_void_p]
    library.quantaCompileOptionsDestroy.restype = None
    library.quantaCompileOptionsSet.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    library.quantaCompileOptionsSet.restype = ctypes.c_char_p
    library.quantaCompileOptionsSetDim.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64]
    library.quantaCompileOptionsSetDim.restype = ctypes.c_char_p
    library.quantaCompile.argtypes = [ctypes.c_void_p, _Handler, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
    library.quantaStringDestroy.argtypes = [ctypes.c_void_p]
    library.quantaStringDestroy.restype = None
    return library


def version() -> str:
    """The compiler's version."""
    text: bytes = _library().quantaVersion()
    return text.decode()


def _run_compiler(options: Mapping[str, str], dims: Mapping[str, int]) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Returns the report and the warnings."""
    library = _library()
    made = library.quantaCompileOptionsCreate()
    text = ctypes.c_void_p()
    diagnostics: list[Diagnostic] = []

    def check(message: bytes | None) -> None:
        if message is not None:
            raise CompileError([Diagnostic("error", message.decode())])

    def handle(severity: int, message: bytes, _: object) -> None:
        diagnostics.append(Diagnostic("warning" if severity else "error", message.decode(errors="replace")))

    try:
        for name, value in options.items():
            check(library.quantaCompileOptionsSet(made, name.encode(), os.fsencode(value)))
        for name, size in dims.items():
            check(library.quantaCompileOptionsSetDim(made, name.encode(), size))
        status = library.quantaCompile(made, _Handler(handle), None, ctypes.byref(text))
        report = json.loads(ctypes.string_at(text.value)) if text.value else {}
    finally:
        library.quantaStringDestroy(text)
        library.quantaCompileOptionsDestroy(made)
    if status:
        raise (ImportProblem if status == _IMPORT_PROBLEM else CompileError)(diagnostics, report)
    return report, diagnostics


def compile(
    model: FilePath | ModelProto,
    output: FilePath | None = None,
    *,
    recipe: str | None = None,
    dims: Mapping[str, int] | None = None,
    keep: str | None = None,
    report: FilePath | None = None,
    emit: Emit | None = None,
    name: str | None = None,
    cpu: str | Sequence[str] | None = None,
    triple: str | None = None,
    opt_level: int = 3,
    pass_pipeline: str | None = None,
    weights: Literal["auto", "large", "file"] = "auto",
    calib: FilePath | None = None,
    calib_samples: int = 128,
    window: int = 256,
    seed: int = 0,
    store: FilePath | None = None,
    resume: bool = False,
    jobs: int = 0,
    threads: int = 0,
) -> CompiledModel:
    """Quantizes a model and compiles it, as quantc does.

    Args:
        model: Path of an .onnx, .mlir or .mlirbc file, or an onnx.ModelProto without external data.
        output: What to write; the suffix says what it is (.so .o .ll .s .h .mlir .mlirbc, none: executable). Only a
            shared library can be run from Python. None: a shared library that lives as long as the result.
        recipe: How to quantize: `NAME{option=value ...}[,...]`, e.g. "rtn{bits=4 group=64}". None: do not.
        dims: Sizes of symbolic dimensions.
        keep: Regular expression; nodes or weights whose name matches stay in float.
        report: Where to write the report, as .json or .html.
        emit: What to write if the suffix does not say it.
        name: Prefix of the C functions. None: the output's stem.
        cpu: CPU to compile for. None: this machine's, or any of another triple's architecture.
        triple: LLVM target triple. None: this machine's.
        opt_level: 0 to 3.
        pass_pipeline: MLIR passes to run after the recipe.
        weights: Where the weights lie: in the object, or in a file OUTPUT.weights.
        calib: Data for recipes that look at it: an .npz file, a folder of them, or an .npy token stream.
        calib_samples: Calibrate with at most so many samples.
        window: Tokens of a sample of a token stream.
        seed: Of the samples that are drawn from a token stream.
        store: Folder that keeps what calibration has done.
        resume: Go on with the calibration in `store` that was cut off.
        jobs: Threads of the compiler; 0: one for each CPU.
        threads: Threads of the compiled model; 0: one for each CPU.

    Raises:
        ImportProblem: The ONNX model has parts that Quanta cannot read.
        CompileError: The model cannot be compiled as asked.
    """
    if output is None and emit not in (None, "lib"):
        raise ValueError(f"emit={emit!r} needs an output")
    folder = None
    with contextlib.ExitStack() as stack:
        if isinstance(model, ModelProto):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quanta-")), "model.onnx")
            path.write_bytes(model.SerializeToString())
        else:
            path = Path(model)
        if output is None:
            folder = TemporaryFolder()
            output = Path(folder.path, f"{path.stem}.so")
        options = {
            "input": os.fspath(path),
            "output": os.fspath(output),
            "recipe": recipe,
            "keep": keep,
            "report": None if report is None else os.fspath(report),
            "emit": emit,
            "name": name,
            "mcpu": cpu if cpu is None or isinstance(cpu, str) else ",".join(cpu),
            "mtriple": triple,
            "O": str(opt_level),
            "pass-pipeline": pass_pipeline,
            "weights": weights,
            "calib": None if calib is None else os.fspath(calib),
            "calib-samples": str(calib_samples),
            "window": str(window),
            "seed": str(seed),
            "store": None if store is None else os.fspath(store),
            "resume": "true" if resume else "false",
            "threads": str(jobs),
        }
        given = {key: value for key, value in options.items() if value is not None}
        summary, diagnostics = _run_compiler(given, dims or {})
    return CompiledModel(output, threads=threads, report=summary, diagnostics=diagnostics, folder=folder)
