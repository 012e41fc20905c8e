"""The table of backends: where each is found, whether it runs here, and how one is opened by name."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import NamedTuple

from ..errors import BackendUnavailable, EngineError, MissingExtra
from ..model import Model
from .base import BackendStatus, ModelBackend
from .sizes import find_size_rule


class BackendEntry(NamedTuple):
    """Where a backend is found; its module is imported on use."""

    module: str
    """Beside this one."""
    cls: str
    status: str
    """Function of the module that tells whether the backend runs here."""
    packages: tuple[str, ...]
    """Distributions any one of which brings the library."""
    extra: str


BACKENDS: dict[str, BackendEntry] = {
    "tensorrt": BackendEntry(".tensorrt", "TensorRt", "status", ("tensorrt", "tensorrt-rtx"), "tensorrt"),
    "cuda": BackendEntry(".onnxruntime_backend", "OnnxRuntimeCuda", "cuda_status", ("onnxruntime-gpu",), "cuda"),
    "openvino": BackendEntry(".openvino_backend", "OpenVino", "status", ("openvino",), "openvino"),
    "cpu": BackendEntry(
        ".onnxruntime_backend", "OnnxRuntimeCpu", "cpu_status", ("onnxruntime", "onnxruntime-gpu"), "cpu"
    ),
}
"""In order of preference."""


def open_named(name: str, model: Model, *, threads: int, spin: bool) -> ModelBackend:
    """Open a model with one backend, not yet warmed up; the sizes that a foreign model takes are found by trying.

    Raises:
        MissingExtra, BackendUnavailable, ModelFileError, ShapeError: see :func:`~ganlens.engine.backends.open_backend`.
    """
    entry = BACKENDS[name]
    cls = getattr(importlib.import_module(entry.module, __package__), entry.cls)
    opened: ModelBackend = cls(model, threads=threads, spin=spin)
    if not model.sizes_known:
        try:
            opened.set_size_rule(find_size_rule(opened))
        except EngineError:
            opened.close()
            raise
    return opened


def warm_up(backend: ModelBackend, size: tuple[int, int] | None, batch: int | None) -> None:
    """Warm a backend up; one that fails is closed.

    Raises:
        BackendError, ShapeError, OptionError: it failed, or does not take this batch.
    """
    try:
        backend.warm_up(size, batch)
    except EngineError:
        backend.close()
        raise


def quick_problem(name: str) -> str | None:
    """Why a backend cannot run, as far as shows without importing its library; None when nothing speaks against it."""
    entry = BACKENDS[name]
    if installed(name) is None:
        return f"{' or '.join(entry.packages)} is not installed (pip install 'ganlens[{entry.extra}]')"
    return None


def problem(name: str) -> str | None:
    """Why a backend cannot run, found by starting its library; None when it can."""
    state = status(name)
    if state.usable:
        return None
    return f"{state.reason} ({state.cure})" if state.cure else state.reason.rstrip(".")


def installed(name: str) -> str | None:
    """Version of the library of a backend, without importing it."""
    for package in BACKENDS[name].packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def status(name: str) -> BackendStatus:
    """Whether a backend runs here, found by starting its library."""
    entry = BACKENDS[name]
    try:
        state: BackendStatus = getattr(importlib.import_module(entry.module, __package__), entry.status)()
    except MissingExtra as error:
        cure = f"pip install 'ganlens[{error.extra}]'"
        return BackendStatus(name, False, reason=f"{error.package} is not installed", cure=cure)
    except BackendUnavailable as error:
        return BackendStatus(name, False, reason=str(error))
    return state
