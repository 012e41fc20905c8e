"""How ``--backend auto`` decides between the CPU backends: it times them on the model, and remembers the answer."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import BackendError, ShapeError
from ..files import cache_folder, make_private_folder, read_private, replace_file
from ..spec import SizeRule
from .base import Array, ModelBackend, zero_inputs

BUDGET_S = 0.6
"""Seconds of timing; a round that has begun is finished."""
ROUNDS = 15
QUIET = 0.5
"""Share of the CPU time that the timed runs must get for the decision to be remembered: a busy machine misleads."""
MEMORY = 200
"""Decisions that are remembered."""
DEFAULT = "cpu"
WORTH = 0.95
"""Share of the default backend's time that another must stay below: the default starts 0.2 s sooner than OpenVINO and
takes 50 MiB less."""

STEPS = (1, 2, 4, 8, 16, 32, 64)


def pick(timings: Mapping[str, float]) -> str:
    """The backend to take, of seconds by name: the fastest, or the default one if it is hardly slower."""
    fastest = min(timings, key=lambda name: timings[name])
    return DEFAULT if timings.get(DEFAULT, float("inf")) * WORTH <= timings[fastest] else fastest


def time_backends(backends: Sequence[ModelBackend], size: tuple[int, int] | None = None) -> dict[str, float]:
    """Median seconds of one run of each backend, runs interleaved so that other load hits all alike.

    Each runs at least once after a first run that is not counted; a model so slow that the first runs use up
    :data:`BUDGET_S` is judged by those.
    """
    inputs = _noise_inputs(backends[0], size)
    first = {backend.name: _seconds(backend, inputs) for backend in backends}
    if sum(first.values()) > BUDGET_S:
        return first
    seconds: dict[str, list[float]] = {backend.name: [] for backend in backends}
    end = time.perf_counter() + BUDGET_S - sum(first.values())
    for _ in range(ROUNDS):
        for backend in backends:
            seconds[backend.name].append(_seconds(backend, inputs))
        if time.perf_counter() > end:
            break
    return {name: statistics.median(samples) for name, samples in seconds.items()}


def _seconds(backend: ModelBackend, inputs: tuple[Array | None, Array | None, Array | None]) -> float:
    start = time.perf_counter()
    backend.run(*inputs)
    return time.perf_counter() - start


def _noise_inputs(
    backend: ModelBackend, size: tuple[int, int] | None
) -> tuple[Array | None, Array | None, Array | None]:
    """Inputs of ``size`` with noise in the image: zeros can be quicker than pictures."""
    image, attributes, latent = zero_inputs(backend.spec, size, backend.batch or 1)
    if image is not None:
        low, high = backend.spec.value_range
        image[:] = np.random.default_rng(0).uniform(low, high, image.shape)
    return image, attributes, latent


def find_size_rule(backend: ModelBackend) -> SizeRule:
    """Find by trying which sizes a graph with free height and width takes.

    Runs the graph, for each step of :data:`STEPS`, at two different odd multiples of the step, and takes the first step
    at which it answers with a picture of the input's size.

    Raises:
        ShapeError: it does so at none.
    """
    tried: list[str] = []
    reason = ""
    before = backend.spec.size
    backend.set_size_rule(SizeRule())
    try:
        for step in STEPS:
            odd = max(64 // step, 2) // 2 * 2 + 1  # the smallest odd multiple above 64
            height, width = step * odd, step * (odd + 2)
            try:
                backend.run(*zero_inputs(backend.spec, (height, width), backend.batch or 1))
            except (BackendError, ShapeError) as error:
                tried.append(f"{height}x{width}")
                reason = str(error)
                continue
            return SizeRule(multiple_of=step, minimum=height, preferred=before.preferred)
    finally:
        backend.set_size_rule(before)
    raise ShapeError(
        f"{backend.file.path.name} answers at none of the sizes {', '.join(tried)} with a picture of that size. "
        f"Last: {reason}"
    )


# --- memory -------------------------------------------------------------------------------------------------------


def cache_key(sha256: str, size: tuple[int, int], threads: int, libraries: Iterable[str]) -> str:
    """All that the decision depends on."""
    return " | ".join([sha256, f"{size[0]}x{size[1]}", f"{threads} threads", cpu_name(), *libraries])


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as exact as the system tells it."""
    try:
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_time_share(wall_s: float, cpu_s: float, threads: int) -> float:
    """How much of the CPU time that ``threads`` could use in ``wall_s`` the process got."""
    return cpu_s / (wall_s * min(threads, os.cpu_count() or 1)) if wall_s > 0 else 1.0


def recall(key: str) -> dict[str, float]:
    """Remembered seconds of each backend; empty when there are none or the file cannot be read."""
    timings = _read().get(key)
    if isinstance(timings, dict) and all(isinstance(value, float) for value in timings.values()):
        return timings
    return {}


def remember(key: str, timings: dict[str, float]) -> None:
    """Keep the seconds of each backend for the next start; a folder that cannot be written costs a timing, no error."""
    kept = _read()
    kept.pop(key, None)
    kept[key] = timings
    text = json.dumps(dict(list(kept.items())[-MEMORY:]), indent=1)
    with contextlib.suppress(OSError):
        folder = make_private_folder(cache_folder())
        replace_file(folder / "backends.json", text, mode=0o600)


def _read() -> dict[str, object]:
    try:
        content = json.loads(read_private(cache_folder() / "backends.json"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
