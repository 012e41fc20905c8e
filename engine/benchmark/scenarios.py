"""What is done while the clock runs, in one process: latency, throughput and live.

Each takes a :class:`Subject` and gives the raw times; statistics come later (:mod:`.stats`), over all runs together.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from ..timing import StageTimes
from .machine import EnergyMeter
from .processes import busy_seconds, cores
from .stats import MOST_WARM_UP, WarmUp

PACED_HZ = 30.0
LEAST_PACED = 10
"""Frames of the paced part, at least."""
TURN_S = {"latency": 0.1, "throughput": 0.2, "live": 1.0}
"""Seconds of frames between two turns of the bare network: the fewer, the better the machine's speed is followed; but
each turn of ``throughput`` fills the pipeline anew, and ``live`` begins with a frame that waited for no other."""
TURN_FRAMES = 3
"""Frames, or batches of all that are in flight, in a turn at least."""

BareTurn = Callable[[], "float | None"]
"""A turn of the bare network: median seconds of a run, None without one; see :mod:`.bare`."""


def no_bare() -> None:
    """No bare network: the frames are timed in one turn."""


class Subject(Protocol):
    """One opened model and its frames in host memory."""

    in_flight: int
    batch: int

    def call(self, index: int) -> object:
        """Translate the frame of this number: host memory to host memory. Any number; frames repeat."""
        ...

    def stream(self, indices: Iterable[int]) -> Iterator[object]:
        """Translate many, ``in_flight`` at the same time; ``indices`` may be read by another thread."""
        ...

    def reset_times(self) -> StageTimes:
        """Begin to count the stages anew; what counts them from now on."""
        ...


@dataclass
class Measured:
    """What one scenario of one process took."""

    times_s: list[float]
    """Milliseconds per frame."""
    per_second: float
    wall_s: float
    cpu_s: float
    foreign: float
    energy_j: float | None
    warm_up: WarmUp
    stages_ms: dict[str, float]
    ms_at_30hz: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """``live``: due, on_time, late, dropped."""
    bare_ms: float | None = None
    """Median of the turns of the bare network."""
    relative: float | None = None
    """Median of the turns: time of a frame over that of the bare network before and after."""


class _Clocked:
    """Wall, processor and foreign seconds, and energy, of all its ``with`` blocks."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = self.others_s = 0.0
        self.energy_j: float | None = 0.0

    def __enter__(self) -> _Clocked:
        self._energy = EnergyMeter()
        self._busy = busy_seconds()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._wall
        cpu_s = time.process_time() - self._cpu
        self.cpu_s += cpu_s
        self.others_s += busy_seconds() - self._busy - cpu_s
        joules = self._energy.joules()
        self.energy_j = None if self.energy_j is None or joules is None else self.energy_j + joules

    @property
    def foreign(self) -> float:
        """Share of the cores that other processes used."""
        return max(0.0, self.others_s) / (self.wall_s * cores()) if self.wall_s else 0.0


def latency(subject: Subject, seconds: float, bare: BareTurn = no_bare) -> Measured:
    """One frame after the other, each from host memory to host memory.

    Args:
        seconds: of all frames, the warm-up included; a call that has begun is finished.
        bare: a turn of the bare network; its time is not among the ``seconds``.
    """
    warm_up = _warm_up(subject.call, seconds)
    stages = subject.reset_times()
    times: list[float] = []
    clocked = _Clocked()

    def turn(seconds: float) -> float:
        first = len(times)
        with clocked:
            now = time.perf_counter()
            end = now + seconds
            while now < end or len(times) == first:
                subject.call(warm_up.calls + len(times))
                before, now = now, time.perf_counter()
                times.append(now - before)
        return statistics.median(times[first:])

    bare_ms, relative = take_turns(_left(seconds, warm_up), turn, bare, TURN_S["latency"], warm_up.frame_s)
    answer = _measured(clocked, times, warm_up, stages, bare_ms, relative)
    answer.ms_at_30hz = paced_ms(subject.call, seconds)
    return answer


def throughput(subject: Subject, seconds: float, bare: BareTurn = no_bare, *, paced: bool = True) -> Measured:
    """As many frames as it can, several at the same time; each frame's time includes its wait for the others.

    The rate is that of a full pipeline: in each turn from the output of the first ``in_flight`` batches on, until no
    more frames go in.

    Args:
        seconds, bare: see :func:`latency`.
        paced: also measure the latency at 30 Hz.
    """
    started: deque[float] = deque()
    numbers = count()
    stopping = False

    def feed() -> Iterator[int]:
        while not stopping:
            started.append(time.perf_counter())
            yield next(numbers)

    def outputs() -> Iterator[tuple[float, float]]:
        """(when it is out, its seconds) of each frame; the stream ends some frames after ``stopping``."""
        nonlocal stopping
        stopping = False
        for _ in subject.stream(feed()):
            now = time.perf_counter()
            yield now, now - started.popleft()

    warm_up = WarmUp(seconds * MOST_WARM_UP)
    last = time.perf_counter()
    for now, _ in outputs():
        warm_up.add(now - last)
        last = now
        stopping = stopping or warm_up.over
    stages = subject.reset_times()
    times: list[float] = []
    frames, frames_s = 0, 0.0
    clocked = _Clocked()

    def turn(seconds: float) -> float:
        nonlocal stopping, frames, frames_s
        filling = subject.in_flight * subject.batch
        begin = last = 0.0
        full = 0
        with clocked:
            for number, (now, took) in enumerate(outputs(), 1):
                times.append(took)
                if number <= filling:
                    begin = now
                elif not stopping:
                    last = now
                    full = number - filling
                    stopping = now >= begin + seconds and number % subject.batch == 0
        frames += full
        frames_s += last - begin
        return (last - begin) / full

    bare_ms, relative = take_turns(
        _left(seconds, warm_up),
        turn,
        bare,
        TURN_S["throughput"],
        warm_up.frame_s * subject.in_flight * subject.batch,
    )
    answer = _measured(clocked, times, warm_up, stages, bare_ms, relative)
    answer.per_second = frames / frames_s
    if paced:
        answer.ms_at_30hz = paced_ms(subject.call, seconds)
    return answer


def live(subject: Subject, seconds: float, fps: float, bare: BareTurn = no_bare) -> Measured:
    """Frames come at the rate of a camera; the newest is translated, and those it overtakes are dropped.

    Args:
        seconds, bare: see :func:`latency`.
    """
    warm_up = _warm_up(subject.call, seconds)
    stages = subject.reset_times()
    ages: list[float] = []
    due = on_time = dropped = 0
    clocked = _Clocked()

    def turn(seconds: float) -> float:
        nonlocal due, on_time, dropped
        first = due
        with clocked:
            paced = follow(lambda index: subject.call(first + index), max(1, round(seconds * fps)), fps)
        due += paced.due
        on_time += paced.on_time
        dropped += paced.dropped
        ages.extend(paced.ages_s)
        return statistics.median(paced.ages_s)

    bare_ms, relative = take_turns(_left(seconds, warm_up), turn, bare, TURN_S["live"], max(1 / fps, warm_up.frame_s))
    answer = _measured(clocked, ages, warm_up, stages, bare_ms, relative)
    answer.per_second = len(ages) / max(clocked.wall_s, due / fps)
    answer.counts = {"due": due, "on_time": on_time, "late": len(ages) - on_time, "dropped": dropped}
    return answer


def take_turns(
    seconds: float, turn: Callable[[float], float], bare: BareTurn, turn_s: float, frame_s: float
) -> tuple[float | None, float | None]:
    """Time the frames in turns with the bare network.

    Args:
        seconds: of the frames, all turns together.
        turn: times frames for some seconds; seconds of a frame.
        turn_s: seconds of a turn, at least :data:`TURN_FRAMES` times ``frame_s``.
        frame_s: about what a frame takes.

    Returns:
        Median milliseconds of the bare network, and the median ratio of a frame to it; None without one.
    """
    first = bare()
    turns = 1 if first is None else max(1, int(seconds / max(turn_s, TURN_FRAMES * frame_s)))
    beside, frames = [first], []
    for _ in range(turns):
        frames.append(turn(seconds / turns))
        beside.append(bare())
    known = [each for each in beside if each is not None]
    if len(known) < len(beside):
        return None, None
    ratios = [2 * frame / (before + after) for frame, before, after in zip(frames, known, known[1:], strict=False)]
    return 1e3 * statistics.median(known), statistics.median(ratios)


@dataclass
class Paced:
    """Frames of a paced source."""

    due: int
    ages_s: list[float] = field(default_factory=list)
    """Age of each translated frame on completion, counted from the scheduled time of its capture."""
    on_time: int = 0
    """Younger than one period."""
    dropped: int = 0


def follow(
    call: Callable[[int], object],
    due: int,
    fps: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Paced:
    """Translate the newest of ``due`` frames that are scheduled ``fps`` times a second.

    A frame's age counts from its scheduled time, not from when it was picked up: a stall shows in all frames
    that it delayed (no coordinated omission).
    """
    paced = Paced(due)
    period = 1 / fps
    begin = clock()
    number = 0
    while number < due:
        now = clock()
        ahead = begin + number * period - now
        if ahead > 0:
            sleep(ahead)
            continue
        newest = min(due - 1, max(number, int((now - begin) / period)))
        paced.dropped += newest - number
        call(newest)
        age = clock() - (begin + newest * period)
        paced.ages_s.append(age)
        paced.on_time += age <= period
        number = newest + 1
    return paced


def paced_ms(call: Callable[[int], object], seconds: float) -> float:
    """Median milliseconds from a frame's scheduled time to its translation, where 30 come in a second."""
    paced = follow(call, max(LEAST_PACED, round(seconds * MOST_WARM_UP * PACED_HZ)), PACED_HZ)
    ages = sorted(paced.ages_s)
    return 1e3 * ages[len(ages) // 2]


def _left(seconds: float, warm_up: WarmUp) -> float:
    """For measuring, after the warm-up; at least half of all, however slow the first calls were."""
    return max(seconds - warm_up.seconds, seconds / 2)


def _warm_up(call: Callable[[int], object], seconds: float) -> WarmUp:
    warm_up = WarmUp(seconds * MOST_WARM_UP)
    while not warm_up.over:
        begin = time.perf_counter()
        call(warm_up.calls)
        warm_up.add(time.perf_counter() - begin)
    return warm_up


def _measured(
    clocked: _Clocked,
    times: list[float],
    warm_up: WarmUp,
    stages: StageTimes,
    bare_ms: float | None,
    relative: float | None,
) -> Measured:
    return Measured(
        times_s=times,
        per_second=len(times) / sum(times) if times else 0.0,
        wall_s=clocked.wall_s,
        cpu_s=clocked.cpu_s,
        foreign=clocked.foreign,
        energy_j=clocked.energy_j,
        warm_up=warm_up,
        stages_ms={name: row.p50_ms for name, row in stages.summary().items()},
        bare_ms=bare_ms,
        relative=relative,
    )
