"""The libraries that can run a generator, and how one is chosen.

A backend asked for by name runs or fails with the reason; it is never replaced by another. ``auto`` takes a GPU where
one runs, and decides between the CPU backends by timing them on the model; it says what it chose and why.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import model as models
from ..errors import OptionError, did_you_mean
from ..model import Model
from ..spec import ValueRange
from .auto import open_auto
from .base import Array, Backend, BackendStatus, Choice, FunctionBackend, ModelBackend, Output
from .registry import BACKENDS, BackendEntry, is_remote, open_named, status, warm_up

__all__ = [
    "AUTO",
    "BACKENDS",
    "Array",
    "Backend",
    "BackendEntry",
    "BackendStatus",
    "Choice",
    "FunctionBackend",
    "ModelBackend",
    "Output",
    "available",
    "default_threads",
    "open_backend",
]


AUTO = "auto"


def available() -> list[BackendStatus]:
    """What is here, what is missing and how to get it, in order of preference. Imports the libraries."""
    return [status(name) for name in BACKENDS]


def open_backend(
    model: str | Path | Model,
    backend: str = AUTO,
    *,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    spin: bool = False,
    value_range: ValueRange | None = None,
    strict: bool = False,
    batch: int | None = None,
    device: int | None = None,
    warm: bool = True,
    pictures: int | None = None,
) -> ModelBackend:
    """Open a model, warmed up at ``size``; ``choice`` of the result says which backend runs and why.

    Args:
        model: what :func:`ganlens.engine.model.open` gave; or the path of an ONNX file, the name of a shipped model,
            or the path of a TensorRT plan with its record beside it, which is opened as it is.
        backend: one of :data:`BACKENDS`, "auto", or the address of a Triton server: ``triton://HOST:PORT/NAME``.
        size: (height, width) it will run at, rounded up to what the model takes; the model's own size by default.
        threads: threads inside one operator; by default the CPUs that this process may use.
        spin: let idle threads of the library burn their core; see :class:`~.onnxruntime_backend.OnnxRuntimeCpu`.
        value_range: of a model without our record, for example (-1, 1).
        strict: "auto" does not go on to the next backend when one whose library is installed cannot run.
        batch: pictures of a run that it is warmed up for; None: one, or as many as the model wants.
        device: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES; "auto" then takes no backend on the CPU. None: the
            first GPU, or the CPU.
        pictures: how many will be translated, if that is known: for few, "auto" takes the backend that starts sooner.
        warm: False: where "auto" has nothing to find out, the first run of the caller's is the network's first.

    Raises:
        OptionError: an unknown backend, fewer than one thread, a value range that contradicts the record, a batch
            that the model does not take, or a GPU for a backend on the CPU.
        ModelFileError, ShapeError: the file is not a model that the engine can run.
        MissingExtra, BackendUnavailable: the backend asked for, or every backend, cannot run here.
    """
    if backend != AUTO and backend not in BACKENDS and not is_remote(backend):
        raise OptionError(f"No backend is called {backend!r}. {did_you_mean(backend, [*BACKENDS, AUTO])}")
    if threads is not None and threads < 1:
        raise OptionError(f"threads: got {threads}, expected at least 1.")
    if not isinstance(model, Model):
        model = models.open(model, value_range)
    threads = threads or default_threads()
    if model.kind == "plan":
        if backend not in (AUTO, "tensorrt"):
            raise OptionError(
                f"{model.path} is a TensorRT plan, which only --backend tensorrt runs; got --backend {backend}. "
                "Give the ONNX file it was built from."
            )
        opened = open_named("tensorrt", model, threads=threads, spin=spin, device=device, size=size)
        warm_up(opened, size, batch)
        opened.choice = Choice("tensorrt", (opened.runs_on,))
        return opened
    if backend == AUTO:
        return open_auto(model, size, threads, spin, strict, batch, device, warm, pictures)
    opened = open_named(backend, model, threads=threads, spin=spin, device=device, size=size)
    if warm:
        warm_up(opened, size, batch)
    opened.choice = Choice(backend, (opened.runs_on,))
    return opened


def default_threads() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
