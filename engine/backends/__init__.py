"""The libraries that can run a generator, and how one is chosen.

A backend asked for by name runs or fails with the reason; it is never replaced by another. ``auto`` takes a GPU where
one runs, and decides between the CPU backends by timing them on the model; it says what it chose and why.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import time
from pathlib import Path
from typing import NamedTuple

from ..errors import (
    BackendError,
    BackendUnavailable,
    EngineError,
    MissingExtra,
    ModelFileError,
    OptionError,
    did_you_mean,
)
from ..model import PLANS, find_model
from ..model.description import OnnxFile, read_onnx, spec_of
from ..spec import GeneratorSpec, ValueRange
from .auto import QUIET, cache_key, cpu_time_share, find_size_rule, pick, recall, remember, time_backends
from .base import Array, Backend, BackendStatus, Choice, FunctionBackend, ModelBackend, Output

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


AUTO = "auto"

BACKENDS: dict[str, BackendEntry] = {
    "tensorrt": BackendEntry(".tensorrt", "TensorRt", "status", ("tensorrt", "tensorrt-rtx"), "tensorrt"),
    "cuda": BackendEntry(".onnxruntime_backend", "OnnxRuntimeCuda", "cuda_status", ("onnxruntime-gpu",), "cuda"),
    "openvino": BackendEntry(".openvino_backend", "OpenVino", "status", ("openvino",), "openvino"),
    "cpu": BackendEntry(
        ".onnxruntime_backend", "OnnxRuntimeCpu", "cpu_status", ("onnxruntime", "onnxruntime-gpu"), "cpu"
    ),
}
"""In order of preference."""

CPU_BACKENDS = ("openvino", "cpu")
"""Those between which ``auto`` decides by timing."""


def available() -> list[BackendStatus]:
    """What is here, what is missing and how to get it, in order of preference. Imports the libraries."""
    return [_status(name) for name in BACKENDS]


def open_backend(
    model: str | Path,
    backend: str = AUTO,
    *,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    spin: bool = False,
    value_range: ValueRange | None = None,
    strict: bool = False,
    batch: int | None = None,
) -> ModelBackend:
    """Open a model, warmed up at ``size``; ``choice`` of the result says which backend runs and why.

    Args:
        model: path of an ONNX file, or the name of a shipped model; or path of a TensorRT plan with its record
            beside it, which is opened as it is.
        backend: one of :data:`BACKENDS`, or "auto".
        size: (height, width) it will run at, rounded up to what the model takes; the model's own size by default.
        threads: threads inside one operator; by default the CPUs that this process may use.
        spin: let idle threads of the library burn their core; see :class:`~.onnxruntime_backend.OnnxRuntimeCpu`.
        value_range: of a model without our record, for example (-1, 1).
        strict: "auto" does not go on to the next backend when one whose library is installed cannot run.
        batch: pictures of a run that it is warmed up for; None: one, or as many as the model wants.

    Raises:
        OptionError: an unknown backend, fewer than one thread, a value range that contradicts the record, or a batch
            that the model does not take.
        ModelFileError, ShapeError: the file is no model that the engine can run.
        MissingExtra, BackendUnavailable: the backend asked for, or every backend, cannot run here.
    """
    if backend != AUTO and backend not in BACKENDS:
        raise OptionError(f"No backend is called {backend!r}. {did_you_mean(backend, [*BACKENDS, AUTO])}")
    if threads is not None and threads < 1:
        raise OptionError(f"threads = {threads} came; expected 1 or more.")
    path = find_model(model)
    threads = threads or default_threads()
    if path.suffix.lower() in PLANS:
        return _open_plan(path, backend, size, threads, spin, batch)
    file = read_onnx(path)
    spec = spec_of(file, value_range=value_range)
    if backend == AUTO:
        return _open_auto(file, spec, size, threads, spin, strict, batch)
    opened = _open(backend, file, spec, threads, spin)
    _warm_up(opened, size, batch)
    return opened


def _open_plan(
    path: Path, backend: str, size: tuple[int, int] | None, threads: int, spin: bool, batch: int | None
) -> ModelBackend:
    """Open a TensorRT plan that was given by path; nothing else can run it, so there is nothing to fall back to."""
    if backend not in (AUTO, "tensorrt"):
        raise OptionError(
            f"{path} is a TensorRT plan, which only --backend tensorrt runs; {backend} came. "
            "Give the ONNX file it was built from."
        )
    from .tensorrt import read_record

    record = read_record(path)
    opened = _open("tensorrt", record.onnx(path), record.plan_spec, threads, spin)
    _warm_up(opened, size, batch)
    opened.choice = Choice("tensorrt", (f"tensorrt: runs on {opened.library}",))
    return opened


def default_threads() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open(name: str, file: OnnxFile, spec: GeneratorSpec, threads: int, spin: bool) -> ModelBackend:
    entry = BACKENDS[name]
    cls = getattr(importlib.import_module(entry.module, __name__), entry.cls)
    opened: ModelBackend = cls(file, spec, threads=threads, spin=spin)
    if spec.architecture == "onnx" and spec.size.fixed is None:
        try:
            opened.set_size_rule(find_size_rule(opened))
        except EngineError:
            opened.close()
            raise
    return opened


def _warm_up(backend: ModelBackend, size: tuple[int, int] | None, batch: int | None) -> None:
    try:
        backend.warm_up(size, batch)
    except EngineError:
        backend.close()
        raise


# --- auto ---------------------------------------------------------------------------------------------------------


def _open_auto(
    file: OnnxFile,
    spec: GeneratorSpec,
    size: tuple[int, int] | None,
    threads: int,
    spin: bool,
    strict: bool,
    batch: int | None,
) -> ModelBackend:
    lines: list[str] = []
    for name in BACKENDS:
        if name in CPU_BACKENDS:
            continue
        missing = _quick_problem(name)
        problem = missing or _problem(name)
        if problem is None:
            try:
                opened = _open(name, file, spec, threads, spin)
                _warm_up(opened, size, batch)
            except (MissingExtra, BackendUnavailable, BackendError, ModelFileError) as error:
                problem = str(error)
            else:
                opened.choice = Choice(name, (*lines, f"{name}: runs on {opened.library}"))
                return opened
        if strict and missing is None:
            raise BackendUnavailable(
                f"{name}: {problem}. It was asked not to go on to the next backend; name one with --backend, or leave "
                "out --backend-strict."
            )
        lines.append(f"{name}: {problem}")

    problems = {name: _quick_problem(name) for name in CPU_BACKENDS}
    candidates = [name for name, problem in problems.items() if problem is None]
    for name, problem in problems.items():
        if problem is not None:
            lines.append(f"{name}: {problem}")
    if not candidates:
        raise BackendUnavailable(
            "No backend is installed. Install one with: pip install 'ganlens[cpu]'. "
            + " ".join(f"{line}." for line in lines)
        )
    return _open_on_cpu(candidates, file, spec, size, threads, spin, lines, batch)


def _open_on_cpu(
    candidates: list[str],
    file: OnnxFile,
    spec: GeneratorSpec,
    size: tuple[int, int] | None,
    threads: int,
    spin: bool,
    lines: list[str],
    batch: int | None,
) -> ModelBackend:
    """Open that CPU backend which :func:`pick` takes, by memory or by timing, of those that open this model."""
    at = spec.size.round_up(size or spec.size.preferred)
    libraries = [f"{name} {_installed(name)}" for name in candidates]
    key = cache_key(file.sha256, at, threads, [*libraries, *(["spin"] if spin else [])])
    timings = recall(key) if len(candidates) > 1 else {}
    if timings and set(timings) == set(candidates):
        taken = pick(timings)
        opened = {taken: _open(taken, file, spec, threads, spin)}
        _warm_up(opened[taken], size, batch)
        source = "timed at an earlier start"
    else:
        opened, failures = _open_all(candidates, file, spec, size, threads, spin, batch)
        lines += [f"{name}: {error}" for name, error in failures.items()]
        if not opened:
            raise failures[candidates[-1]]
        wall, cpu = time.perf_counter(), time.process_time()
        timings = time_backends(list(opened.values()), size) if len(opened) > 1 else {}
        share = cpu_time_share(time.perf_counter() - wall, time.process_time() - cpu, threads)
        taken = pick(timings) if timings else next(iter(opened))
        if len(timings) == len(candidates) > 1 and share >= QUIET:
            remember(key, timings)
        source = "timed just now"
    for name, backend in opened.items():
        if name != taken:
            backend.close()
    chosen = opened[taken]
    unit = f"ms a picture of {at[0]}x{at[1]} on {threads} thread{'s' * (threads > 1)}, {source}"
    for name, seconds in timings.items():
        if name != taken:
            how = "slower" if seconds >= timings[taken] else "hardly faster"
            lines.append(f"{name}: {how}, {seconds * 1e3:.1f} against {timings[taken] * 1e3:.1f} {unit}")
    chosen.choice = Choice(taken, (*lines, f"{taken}: runs on {chosen.library}"))
    return chosen


def _open_all(
    names: list[str],
    file: OnnxFile,
    spec: GeneratorSpec,
    size: tuple[int, int] | None,
    threads: int,
    spin: bool,
    batch: int | None,
) -> tuple[dict[str, ModelBackend], dict[str, EngineError]]:
    """The backends that open the model, and the errors of those that do not."""
    opened: dict[str, ModelBackend] = {}
    failures: dict[str, EngineError] = {}
    for name in names:
        try:
            backend = _open(name, file, spec, threads, spin)
            _warm_up(backend, size, batch)
            opened[name] = backend
        except EngineError as error:
            failures[name] = error
    return opened, failures


def _quick_problem(name: str) -> str | None:
    """Why a backend cannot run, as far as shows without importing its library; None when nothing speaks against it."""
    entry = BACKENDS[name]
    if _installed(name) is None:
        return f"{' or '.join(entry.packages)} is not installed (pip install 'ganlens[{entry.extra}]')"
    return None


def _problem(name: str) -> str | None:
    """Why a backend cannot run, found by starting its library; None when it can."""
    state = _status(name)
    if state.usable:
        return None
    return f"{state.reason} ({state.cure})" if state.cure else state.reason.rstrip(".")


def _installed(name: str) -> str | None:
    """Version of the library of a backend, without importing it."""
    for package in BACKENDS[name].packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _status(name: str) -> BackendStatus:
    entry = BACKENDS[name]
    try:
        state: BackendStatus = getattr(importlib.import_module(entry.module, __name__), entry.status)()
    except MissingExtra as error:
        cure = f"pip install 'ganlens[{error.extra}]'"
        return BackendStatus(name, False, reason=f"{error.package} is not installed", cure=cure)
    except BackendUnavailable as error:
        return BackendStatus(name, False, reason=str(error))
    return state
