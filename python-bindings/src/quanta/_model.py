"""Compiled models: bindings of quanta/Runtime/quanta.h."""

import _ctypes
import ctypes
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._errors import Diagnostic, RunError

_ABI = 2
_MAX_RANK = 8
_Shape = ctypes.c_int64 * _MAX_RANK

try:
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:
    _bfloat16 = np.uint16

# By quanta_type.
_DTYPES = [
    np.dtype(kind)
    for kind in ("f4", "f2", _bfloat16, "i1", "u1", "i2", "i4", "i8", np.bool_, "f8", "u2", "u4", "u8")
]  # fmt: skip


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("rank", ctypes.c_int32),
        ("shape", _Shape),
        ("bytes", ctypes.c_int64),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        ("threads", ctypes.c_int32),
        ("pin", ctypes.c_int32),
        ("weights_file", ctypes.c_char_p),
        ("pool", ctypes.c_void_p),
    ]


class _Port(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("rank", ctypes.c_int32),
        ("shape", _Shape),
    ]


class _Info(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("recipe", ctypes.c_char_p),
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("input", ctypes.POINTER(_Port)),
        ("output", ctypes.POINTER(_Port)),
        ("cache_capacity", ctypes.c_int64),
        ("cache_bytes", ctypes.c_int64),
    ]


class _Api(ctypes.Structure):
    _fields_ = [
        ("abi", ctypes.c_uint32),
        ("create", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Options), ctypes.POINTER(ctypes.c_void_p))),
        (
            "run",
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Tensor), ctypes.POINTER(_Tensor)),
        ),
        ("reset", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("info", ctypes.CFUNCTYPE(ctypes.POINTER(_Info))),
        ("last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)),
    ]


class Port(NamedTuple):
    """An input or output of a model."""

    name: str
    #: bfloat16 is that of ml_dtypes if it is installed, else uint16.
    dtype: np.dtype[Any]
    #: None is any size.
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


class TemporaryFolder:
    """Is removed with the last reference to it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="quanta-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _Library:
    """A model's shared library. It is unloaded when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        # The loader takes a name that it has seen for the same library, even if the file has been replaced since.
        with tempfile.TemporaryDirectory(prefix="quanta-") as folder:
            link = Path(folder, path.name)
            link.symlink_to(path.absolute())
            try:
                library = ctypes.CDLL(os.fspath(link))
            except OSError as error:
                reason = str(error).removeprefix(f"{link}: ")
                raise RunError(f"cannot load '{path}': {reason}") from None
        # At exit the process takes everything back, and a thread may still be running.
        weakref.finalize(self, _ctypes.dlclose, library._handle).atexit = False
        try:
            self.api = _Api.in_dll(library, "quanta_api_table")
        except ValueError:
            raise RunError(f"'{path}' is not a model that quantc made") from None
        if self.api.abi != _ABI:
            raise RunError(
                f"'{path}' has interface version {self.api.abi}, this package needs {_ABI}: compile the model again"
            )
        info = self.api.info().contents
        self.name, self.target, self.recipe = ((text or b"").decode() for text in (info.name, info.target, info.recipe))
        self.input_types = [info.input[i].type for i in range(info.inputs)]
        self.inputs = tuple(self._describe(info.input[i]) for i in range(info.inputs))
        self.outputs = tuple(self._describe(info.output[i]) for i in range(info.outputs))

    @staticmethod
    def _describe(port: _Port) -> Port:
        shape = tuple(None if size < 0 else size for size in port.shape[: port.rank])
        return Port(port.name.decode(), _DTYPES[port.type], shape)


class _Instance:
    """What runs; one call at a time."""

    def __init__(self, library: _Library, threads: int, pin: bool, weights: Path | None) -> None:
        self.library = library
        self.lock = threading.Lock()
        self.inputs = (_Tensor * len(library.inputs))(*(_Tensor(type=kind) for kind in library.input_types))
        self.outputs = (_Tensor * len(library.outputs))()
        self.handle = ctypes.c_void_p()
        api = library.api
        options = _Options(threads, pin, None if weights is None else os.fsencode(weights))
        if api.create(ctypes.byref(options), ctypes.byref(self.handle)):
            raise RunError(self._last_error(None))
        # Holds the library, so that its code is there until the end.
        destroy = weakref.finalize(self, lambda library, handle: library.api.destroy(handle), library, self.handle)
        destroy.atexit = False

    def _last_error(self, handle: ctypes.c_void_p | None) -> str:
        message: bytes | None = self.library.api.last_error(handle)
        return (message or b"unknown error").decode(errors="replace")

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        with self.lock:
            for tensor, array in zip(self.inputs, arrays, strict=True):
                tensor.data = array.ctypes.data
                tensor.rank = array.ndim
                tensor.shape[: array.ndim] = array.shape
                tensor.bytes = array.nbytes
            for tensor in self.outputs:
                tensor.data = None
            if self.library.api.run(self.handle, self.inputs, self.outputs):
                raise RunError(self._last_error(self.handle))
            ports = self.library.outputs
            return {port.name: self._copy(tensor) for port, tensor in zip(ports, self.outputs, strict=True)}

    @staticmethod
    def _copy(tensor: _Tensor) -> npt.NDArray[Any]:
        result = np.empty(tensor.shape[: tensor.rank], _DTYPES[tensor.type])
        assert result.nbytes == tensor.bytes
        if tensor.bytes:
            ctypes.memmove(result.ctypes.data, tensor.data, tensor.bytes)
        return result

    def reset(self) -> None:
        with self.lock:
            if self.library.api.reset(self.handle):
                raise RunError(self._last_error(self.handle))


class CompiledModel:
    """A compiled model. It is loaded when it is first used.

    Calls from several threads run one after the other; `new_instance` makes a model that runs beside this one.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 0,
        pin: bool = False,
        weights: str | os.PathLike[str] | None = None,
        report: dict[str, Any] | None = None,
        diagnostics: Sequence[Diagnostic] = (),
        folder: TemporaryFolder | None = None,
    ) -> None:
        #: What the compiler wrote.
        self.path = Path(path)
        #: What the compiler did, as `quantc --report` writes it; empty if the model was only loaded.
        self.report: dict[str, Any] = report or {}
        #: The compiler's warnings.
        self.diagnostics = list(diagnostics)
        self._threads, self._pin = threads, pin
        self._weights = None if weights is None else Path(weights)
        self._folder = folder
        self._lock = threading.Lock()
        self._library: _Library | None = None
        self._instance: _Instance | None = None

    def _load_library(self) -> _Library:
        with self._lock:
            if self._library is None:
                self._library = _Library(self.path)
            return self._library

    def _load(self) -> _Instance:
        library = self._load_library()
        with self._lock:
            if self._instance is None:
                beside = self.path.with_name(self.path.name + ".weights")
                weights = self._weights or (beside if beside.exists() else None)
                self._instance = _Instance(library, self._threads, self._pin, weights)
            return self._instance

    @property
    def name(self) -> str:
        return self._load_library().name

    @property
    def target(self) -> str:
        return self._load_library().target

    @property
    def recipe(self) -> str:
        return self._load_library().recipe

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._load_library().inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._load_library().outputs

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """Runs the model once; the keys are the names of its inputs and outputs.

        Nothing is converted: an input must have its port's dtype. It is not copied if it is C-contiguous.
        """
        ports = {port.name: port for port in self.inputs}
        if inputs.keys() != ports.keys():
            wrong = [f"'{name}' is missing" for name in ports if name not in inputs]
            wrong += [f"there is no '{name}'" for name in inputs if name not in ports]
            raise RunError(f"model '{self.name}': its inputs are {', '.join(map(repr, ports))}: {', '.join(wrong)}")
        arrays = [self._check(port, inputs[name]) for name, port in ports.items()]
        return self._load().run(arrays)

    def _check(self, port: Port, value: npt.ArrayLike) -> npt.NDArray[Any]:
        array = np.require(value, requirements=["C", "A"])
        if array.dtype != port.dtype:
            raise RunError(f"model '{self.name}': input '{port.name}' must be {port.dtype}, got {array.dtype}")
        if array.ndim != len(port.shape):
            raise RunError(
                f"model '{self.name}': input '{port.name}' must have {len(port.shape)} dimensions, got {array.ndim}"
            )
        return array

    def __call__(self, /, **inputs: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """The same for names that are Python identifiers."""
        return self.run(inputs)

    def reset(self) -> None:
        """Forgets all state: the key/value cache becomes empty."""
        self._load().reset()

    def new_instance(self, *, threads: int | None = None) -> "CompiledModel":
        """A model with a state of its own that shares this one's code and weights."""
        other = CompiledModel(
            self.path,
            threads=self._threads if threads is None else threads,
            pin=self._pin,
            weights=self._weights,
            report=self.report,
            diagnostics=self.diagnostics,
            folder=self._folder,
        )
        other._library = self._load_library()
        return other

    def __repr__(self) -> str:
        if self._library is None:
            return f"<CompiledModel '{self.path}'>"
        inputs, outputs = (", ".join(map(str, ports)) for ports in (self.inputs, self.outputs))
        return f"<CompiledModel '{self.name}' ({inputs}) -> ({outputs})>"


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    pin: bool = False,
    weights: str | os.PathLike[str] | None = None,
) -> CompiledModel:
    """Loads a shared library that the compiler made.

    Args:
        path: The library.
        threads: Threads that a run uses, the calling one included; 0: one for each CPU.
        pin: Bind each worker thread to one CPU.
        weights: The file of a model that was compiled with separate weights. None: PATH.weights.

    Raises:
        RunError: It is not a compiled model, or there is no memory or thread for it.
    """
    model = CompiledModel(path, threads=threads, pin=pin, weights=weights)
    model._load()
    return model
