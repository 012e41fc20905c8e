"""How ``--backend auto`` chooses: a GPU where one runs; else it times the CPU backends and remembers the answer."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .. import processor
from ..errors import BackendError, BackendUnavailable, EngineError, MissingExtra, ModelFileError, install_command
from ..files import cache_folder, make_private_folder, read_private, replace_file
from ..model import Model
from ..spec import format_size
from . import registry
from .base import Array, Choice, ModelBackend, zero_inputs
from .registry import BACKENDS, open_named, warm_up

BUDGET_S = 0.6
"""Seconds of timing; a round that has begun is finished."""
ROUNDS = 15
QUIET = 0.5
"""Share of the CPU time that the timed runs must get for the decision to be remembered: a busy machine misleads."""
MEMORY = 200
"""Decisions that are remembered."""
REVISION = 2
"""Raised when backends are timed or configured in another way: an older decision is none then."""
DEFAULT = "cpu"
CPU_BACKENDS = ("openvino", "cpu")
"""Those between which timing decides."""
WORTH = 0.95
"""Share of the default backend's time that another must stay below where the number of pictures is not known: the
default starts sooner than OpenVINO and takes 20 to 50 MiB less."""

START_S = 0.2
"""How much sooner the default backend has opened a model: what few pictures cannot win back."""
FRAME = 2**22
"""Bytes written between timed runs: between two runs of a video a decoded and an encoded frame pass through the caches,
and a backend that keeps more data there loses more by it."""
LITTLE = 2**18
"""Pixels in all, below which opening and timing another backend takes longer than the work."""
SOONER = "faster, but not done sooner with so few pictures"


def pick(timings: Mapping[str, float], pictures: int | None = None) -> str:
    """The backend to take, of seconds by name: the first to be done, or the default one if it is hardly slower.

    Args:
        pictures: how many there will be; None: so many that what counts is the time of each.
    """
    worth = WORTH
    if pictures is not None:
        timings = {name: pictures * each + (name != DEFAULT) * START_S for name, each in timings.items()}
        worth = 1.0  # the start is counted already
    fastest = min(timings, key=lambda name: timings[name])
    return DEFAULT if timings.get(DEFAULT, float("inf")) * worth <= timings[fastest] else fastest


def time_backends(backends: Sequence[ModelBackend], size: tuple[int, int] | None = None) -> dict[str, float]:
    """Median seconds of one run of each backend, runs interleaved so that other load hits all alike.

    Each runs at least once after a first run that is not counted; a model so slow that the first runs use up
    :data:`BUDGET_S` is judged by those.
    """
    inputs = _noise_inputs(backends[0], size)
    frame = np.empty(FRAME, np.uint8)
    first = {backend.name: _seconds(backend, inputs) for backend in backends}
    if sum(first.values()) > BUDGET_S:
        return first
    seconds: dict[str, list[float]] = {backend.name: [] for backend in backends}
    end = time.perf_counter() + BUDGET_S - sum(first.values())
    for _ in range(ROUNDS):
        for backend in backends:
            frame.fill(len(seconds[backend.name]))
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


# --- opening ---------------------------------------------------------------------------------------------------------


def open_auto(
    model: Model,
    size: tuple[int, int] | None,
    threads: int,
    spin: bool,
    strict: bool,
    batch: int | None,
    device: int | None = None,
    warm: bool = True,
    pictures: int | None = None,
) -> ModelBackend:
    """Take a GPU if one runs, else a CPU backend; see :func:`~ganlens.engine.backends.open_backend`."""
    lines: list[str] = []
    for name in BACKENDS:
        if name in CPU_BACKENDS:
            continue
        missing = registry.quick_problem(name)
        problem = missing or registry.problem(name, device)
        if problem is None:
            try:
                opened = open_named(name, model, threads=threads, spin=spin, device=device, size=size)
                warm_up(opened, size, batch)
            except (MissingExtra, BackendUnavailable, BackendError, ModelFileError) as error:
                problem = str(error)
            else:
                opened.choice = Choice(name, (*lines, opened.runs_on))
                return opened
        if strict and missing is None:
            raise BackendUnavailable(
                f"{name}: {problem}. --backend-strict forbids the next one; name a backend with --backend, or leave "
                "out --backend-strict."
            )
        lines.append(f"{name}: {problem}")

    if device is not None:
        raise BackendUnavailable(
            f"No backend runs on GPU {device}. {' '.join(f'{line.rstrip(chr(46))}.' for line in lines)} "
            "Leave the device out to run on the CPU; engine backends lists the GPUs."
        )
    problems = {name: registry.quick_problem(name) for name in CPU_BACKENDS}
    candidates = [name for name, problem in problems.items() if problem is None]
    for name, problem in problems.items():
        if problem is not None:
            lines.append(f"{name}: {problem}")
    if not candidates:
        raise BackendUnavailable(
            f"No backend is installed. Install one with: {install_command('cpu')}. "
            + " ".join(f"{line}." for line in lines)
        )
    return _open_on_cpu(candidates, model, size, threads, spin, lines, batch, warm, pictures)


def _open_on_cpu(
    candidates: list[str],
    model: Model,
    size: tuple[int, int] | None,
    threads: int,
    spin: bool,
    lines: list[str],
    batch: int | None,
    warm: bool,
    pictures: int | None,
) -> ModelBackend:
    """Open that CPU backend which :func:`pick` takes, by memory or by timing, of those that open this model."""
    at = model.spec.size.round_up(size or model.spec.size.preferred)
    libraries = [f"{name} {registry.installed(name)}" for name in candidates]
    key = cache_key(model.file.sha256, at, threads, [*libraries, *(["spin"] if spin else [])])
    timings = recall(key) if len(candidates) > 1 else {}
    if set(timings) != set(candidates) and pictures is not None and pictures * at[0] * at[1] <= LITTLE:
        with contextlib.suppress(EngineError):  # else those that open it decide
            few = open_named(DEFAULT, model, threads=threads, spin=spin, size=size)
            if warm:
                warm_up(few, size, batch)
            lines += [f"{name}: not timed for so little work" for name in candidates if name != DEFAULT]
            few.choice = Choice(DEFAULT, (*lines, few.runs_on))
            return few
    if timings and set(timings) == set(candidates):
        taken = pick(timings, pictures)
        opened = {taken: open_named(taken, model, threads=threads, spin=spin, size=size)}
        if warm:
            warm_up(opened[taken], size, batch)
        source = "timed at an earlier start"
    else:
        opened, failures = _open_all(candidates, model, size, threads, spin, batch)
        lines += [f"{name}: {error}" for name, error in failures.items()]
        if not opened:
            raise failures[candidates[-1]]
        wall, cpu = time.perf_counter(), time.process_time()
        timings = time_backends(list(opened.values()), size) if len(opened) > 1 else {}
        share = cpu_time_share(time.perf_counter() - wall, time.process_time() - cpu, threads)
        taken = pick(timings, pictures) if timings else next(iter(opened))
        if len(timings) == len(candidates) > 1 and share >= QUIET:
            remember(key, timings)
        source = "timed just now"
    for name, backend in opened.items():
        if name != taken:
            backend.close()
    chosen = opened[taken]
    unit = f"ms a picture of {format_size(at)} on {threads} thread{'s' * (threads > 1)}, {source}"
    for name, seconds in timings.items():
        if name != taken:
            how = "slower" if seconds >= timings[taken] else "hardly faster" if pictures is None else SOONER
            lines.append(f"{name}: {how}, {seconds * 1e3:.1f} against {timings[taken] * 1e3:.1f} {unit}")
    chosen.choice = Choice(taken, (*lines, chosen.runs_on))
    return chosen


def _open_all(
    names: list[str],
    model: Model,
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
            backend = open_named(name, model, threads=threads, spin=spin, size=size)
            warm_up(backend, size, batch)
            opened[name] = backend
        except EngineError as error:
            failures[name] = error
    return opened, failures


# --- memory -------------------------------------------------------------------------------------------------------


def cache_key(sha256: str, size: tuple[int, int], threads: int, libraries: Iterable[str]) -> str:
    """All that the decision depends on."""
    asked = [sha256, f"{size[0]}x{size[1]}", f"{threads} threads"]
    return " | ".join([*asked, processor.name(), *libraries, f"revision {REVISION}"])


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
