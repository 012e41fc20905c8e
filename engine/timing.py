"""How long each stage of a pipeline takes per frame, in constant memory."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_SHORTEST_S = 1e-7
_STEP = math.log(1.005)  # width of a bin: percentiles are exact to half a percent
_BINS = math.ceil(math.log(1e4 / _SHORTEST_S) / _STEP)


class StageSummary(NamedTuple):
    """The times of one stage; milliseconds per frame, seconds in all."""

    frames: int
    total_s: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Histogram:
    """How many times fall into each of many narrow bins; histograms of the same times add up exactly.

    A bin is half a percent wide, from 0.1 microseconds to 10000 seconds.
    """

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BINS))

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a time ``count`` times."""
        index = int(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / _STEP)
        self._counts[min(index, _BINS - 1)] += count

    def rank_s(self, rank: int) -> float:
        """The ``rank``-th shortest time, from 1, to half a bin; 0 if there are fewer."""
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= rank:
                return _SHORTEST_S * math.exp((index + 0.5) * _STEP)
        return 0.0

    def merge(self, other: Histogram) -> None:
        """Add the counts of another."""
        for index, count in enumerate(other._counts):
            self._counts[index] += count

    def bins_ms(self) -> list[tuple[float, int]]:
        """(lower edge in milliseconds, count) of the bins that hold something, in order."""
        return [
            (round(1e3 * _SHORTEST_S * math.exp(index * _STEP), 7), count)
            for index, count in enumerate(self._counts)
            if count
        ]

    @classmethod
    def from_bins_ms(cls, bins: Iterable[tuple[float, int]]) -> Histogram:
        """What :meth:`bins_ms` gave, read again."""
        histogram = cls()
        for edge, count in bins:
            histogram.add(edge / 1e3 * math.exp(0.5 * _STEP), count)
        return histogram


class StageTimer:
    """Times of one stage, of any number of threads."""

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._lock = threading.Lock()
        self.frames: int = 0
        self.total_s: float = 0.0
        self.max_s: float = 0.0

    def add(self, seconds: float, frames: int = 1) -> None:
        """Count ``frames`` that took ``seconds`` together; each is taken to have its equal share."""
        share = seconds / frames
        with self._lock:
            self.frames += frames
            self.total_s += seconds
            self.max_s = max(self.max_s, share)
            self._histogram.add(share, frames)

    def percentile_s(self, percent: float) -> float:
        """The time that ``percent`` of the frames do not exceed; 0 if there were none."""
        return min(self._histogram.rank_s(math.ceil(self.frames * percent / 100)), self.max_s)

    def summary(self) -> StageSummary:
        """Mean, percentiles and sum."""
        mean = self.total_s / self.frames if self.frames else 0.0
        p50, p95, p99 = (1e3 * self.percentile_s(percent) for percent in (50, 95, 99))
        return StageSummary(self.frames, self.total_s, 1e3 * mean, p50, p95, p99, 1e3 * self.max_s)


class _Span:
    """Some frames' work in a stage; not counted when it fails."""

    __slots__ = ("_began", "_frames", "_timer")

    def __init__(self, timer: StageTimer, frames: int) -> None:
        self._timer = timer
        self._frames = frames

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._timer.add(time.perf_counter() - self._began, self._frames)


class StageTimes:
    """Times of the stages of a pipeline, by name, in the order in which they first ran.

    >>> with times.measure("run"):
    ...     network(frame)
    """

    def __init__(self) -> None:
        self._timers: dict[str, StageTimer] = {}

    def measure(self, stage: str, frames: int = 1) -> _Span:
        """Times the body of a ``with`` statement, in which so many frames are worked on together."""
        return _Span(self._timer(stage), frames)

    def _timer(self, stage: str) -> StageTimer:
        timer = self._timers.get(stage)
        return timer if timer is not None else self._timers.setdefault(stage, StageTimer())

    def iterate(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass ``items`` on, counting the time that producing each takes."""
        iterator = iter(items)
        timer = self._timer(stage)
        try:
            while True:
                began = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                timer.add(time.perf_counter() - began)
                yield item
        finally:
            close: Callable[[], None] | None = getattr(iterator, "close", None)
            if close is not None:
                close()

    def summary(self) -> dict[str, StageSummary]:
        """Stage → its times, for the stages that ran."""
        return {stage: timer.summary() for stage, timer in list(self._timers.items()) if timer.frames}
