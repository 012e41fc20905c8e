"""The table of backends: where each is found, whether it runs here, and how one is opened by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import NamedTuple

from ..cuda.driver import driver_problem, install_with
from ..errors import BackendUnavailable, EngineError, MissingExtra, OptionError, install_command
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
    modules: tuple[str, ...] = ()
    """Modules any one of which is the library even where no distribution tells its version, as on JetPack."""
    on_gpu: bool = False
    """Whether it takes ``device``."""


BACKENDS: dict[str, BackendEntry] = {
    "tensorrt": BackendEntry(
        ".tensorrt",
        "TensorRt",
        "status",
        ("tensorrt", "tensorrt-rtx"),
        "tensorrt",
        ("tensorrt", "tensorrt_rtx"),
        on_gpu=True,
    ),
    "cuda": BackendEntry(
        ".onnxruntime_backend", "OnnxRuntimeCuda", "cuda_status", ("onnxruntime-gpu",), "cuda", on_gpu=True
    ),
    "openvino": BackendEntry(".openvino_backend", "OpenVino", "status", ("openvino",), "openvino"),
    "cpu": BackendEntry(
        ".onnxruntime_backend", "OnnxRuntimeCpu", "cpu_status", ("onnxruntime", "onnxruntime-gpu"), "cpu"
    ),
}
"""In order of preference."""


def open_named(
    name: str,
    model: Model,
    *,
    threads: int,
    spin: bool,
    device: int | None = None,
    size: tuple[int, int] | None = None,
) -> ModelBackend:
    """Open a model with one backend, not yet warmed up; the sizes that a foreign model takes are found by trying.

    Args:
        device: which GPU, for backends that run on one; None: the first.
        size: (height, width) that it will run at; tried where a foreign model takes no other.

    Raises:
        OptionError: a GPU was given, and the backend runs on the CPU.
        MissingExtra, BackendUnavailable, ModelFileError, ShapeError: see :func:`~ganlens.engine.backends.open_backend`.
    """
    if is_remote(name):
        return _open_remote(name, model, device)
    entry = BACKENDS[name]
    cls = getattr(importlib.import_module(entry.module, __package__), entry.cls)
    if device is not None and not entry.on_gpu:
        raise OptionError(
            f"got GPU {device}; the backend {name!r} runs on the CPU. Leave the device out, or name one of "
            f"{', '.join(other for other, row in BACKENDS.items() if row.on_gpu)}."
        )
    where = {} if device is None else {"device": device}
    opened: ModelBackend = cls(model, threads=threads, spin=spin, **where)
    if not model.sizes_known:
        try:
            opened.set_size_rule(find_size_rule(opened, size))
        except EngineError:
            opened.close()
            raise
    return opened


def is_remote(name: str) -> bool:
    """Whether a backend's name is the address of a server that runs the network."""
    return name.startswith("triton://")


def _open_remote(address: str, model: Model, device: int | None) -> ModelBackend:
    from .triton_backend import Triton

    if device is not None:
        raise OptionError(f"got GPU {device}; {address} runs the network on the server. Leave the device out.")
    if not model.sizes_known:
        raise OptionError(
            f"{model.name} has no ganlens record that says which sizes it takes, and {address} is not asked. Give it "
            "one with engine relabel, or export it with engine export."
        )
    return Triton(address, model)


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
    """Why a backend cannot run, as far as shows without importing its library; None if it can."""
    entry = BACKENDS[name]
    if installed(name) is None:
        return f"{' or '.join(entry.packages)} is not installed ({_cure(name)})"
    return None


def _cure(name: str) -> str:
    """How the library of a backend is installed here."""
    entry = BACKENDS[name]
    return install_with(name) if entry.on_gpu else install_command(entry.extra)


def problem(name: str, device: int | None = None) -> str | None:
    """Why a backend cannot run, found by starting its library; None when it can."""
    if BACKENDS[name].on_gpu and (missing := driver_problem()):
        return missing.rstrip(".")
    state = status(name, device)
    if state.usable:
        return None
    return f"{state.reason} ({state.cure})" if state.cure else state.reason.rstrip(".")


def installed(name: str) -> str | None:
    """Version of the library of a backend, without importing it; "" where it is here but does not tell."""
    import importlib.metadata  # late: a named backend does not need it, and it loads the parsers of e-mail

    for package in BACKENDS[name].packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    for module in BACKENDS[name].modules:
        if sys.modules.get(module) or importlib.util.find_spec(module):
            return ""
    return None


def status(name: str, device: int | None = None) -> BackendStatus:
    """Whether a backend runs here, found by starting its library.

    Args:
        device: which GPU, for backends that run on one; None: the first.
    """
    entry = BACKENDS[name]
    try:
        state: BackendStatus = getattr(importlib.import_module(entry.module, __package__), entry.status)(
            *(() if device is None or not entry.on_gpu else (device,))
        )
    except MissingExtra as error:
        return BackendStatus(name, False, reason=f"{error.package} is not installed", cure=error.cure)
    except BackendUnavailable as error:
        return BackendStatus(name, False, reason=str(error))
    return state
