"""What is done while the clock runs, in one process: latency, throughput and live.

Each takes a :class:`Subject` and gives the raw times; statistics come later (:mod:`.stats`), over all runs together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ..timing import StageTimes
from .machine import EnergyMeter
from .processes import busy_seconds, cores
from .stats import MOST_WARM_UP, WarmUp

PACED_HZ = 30.0
LEAST_PACED = 10
"""Frames of the paced part, at least."""


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


class _Clocked:
    """Wall, processor and foreign seconds, and energy, of a ``with`` block."""

    def __enter__(self) -> _Clocked:
        self._energy = EnergyMeter()
        self._busy = busy_seconds()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._wall
        self.cpu_s = time.process_time() - self._cpu
        others = busy_seconds() - self._busy - self.cpu_s
        self.foreign = max(0.0, others) / (self.wall_s * cores()) if self.wall_s else 0.0
        self.energy_j = self._energy.joules()


def latency(subject: Subject, seconds: float) -> Measured:
    """One frame after the other, each from host memory to host memory.

    Args:
        seconds: of all, the warm-up included; a call that has begun is finished.
    """
    warm_up = _warm_up(subject.call, seconds)
    stages = subject.reset_times()
    times: list[float] = []
    with _Clocked() as clocked:
        end = time.perf_counter() + _left(seconds, warm_up)
        now = time.perf_counter()
        while now < end or not times:
            subject.call(warm_up.calls + len(times))
            before, now = now, time.perf_counter()
            times.append(now - before)
    answer = _measured(clocked, times, warm_up, stages)
    answer.ms_at_30hz = paced_ms(subject.call, seconds)
    return answer


def throughput(subject: Subject, seconds: float, *, paced: bool = True) -> Measured:
    """As many frames as it can, several at the same time; each frame's time includes its wait for the others.

    Args:
        paced: also measure the latency at 30 Hz.
    """
    started: deque[float] = deque()
    warm_up = WarmUp(seconds * MOST_WARM_UP)
    stopping = False

    def feed() -> Iterator[int]:
        index = 0
        while not stopping:
            started.append(time.perf_counter())
            yield index
            index += 1

    last = time.perf_counter()
    outputs = subject.stream(feed())
    for _ in outputs:
        now = time.perf_counter()
        started.popleft()
        warm_up.add(now - last)
        last = now
        if warm_up.over:
            break
    stages = subject.reset_times()
    times: list[float] = []
    with _Clocked() as clocked:
        begin = last
        end = begin + _left(seconds, warm_up)
        for _ in outputs:
            last = time.perf_counter()
            times.append(last - started.popleft())
            stopping = last >= end
    answer = _measured(clocked, times, warm_up, stages)
    answer.per_second = len(times) / (last - begin) if times else 0.0
    if paced:
        answer.ms_at_30hz = paced_ms(subject.call, seconds)
    return answer


def live(subject: Subject, seconds: float, fps: float) -> Measured:
    """Frames come at the rate of a camera; the newest is translated, and those it overtakes are dropped."""
    warm_up = _warm_up(subject.call, seconds)
    stages = subject.reset_times()
    with _Clocked() as clocked:
        paced = follow(subject.call, max(1, round(_left(seconds, warm_up) * fps)), fps)
    answer = _measured(clocked, paced.ages_s, warm_up, stages)
    answer.per_second = len(paced.ages_s) / max(clocked.wall_s, paced.due / fps)
    late = len(paced.ages_s) - paced.on_time
    answer.counts = {"due": paced.due, "on_time": paced.on_time, "late": late, "dropped": paced.dropped}
    return answer


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


def _measured(clocked: _Clocked, times: list[float], warm_up: WarmUp, stages: StageTimes) -> Measured:
    return Measured(
        times_s=times,
        per_second=len(times) / sum(times) if times else 0.0,
        wall_s=clocked.wall_s,
        cpu_s=clocked.cpu_s,
        foreign=clocked.foreign,
        energy_j=clocked.energy_j,
        warm_up=warm_up,
        stages_ms={name: row.p50_ms for name, row in stages.summary().items()},
    )
