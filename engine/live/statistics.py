"""What a live session counts and measures: observers of the path, which does not know them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from .policy import CONNECTION_WINDOW_S, Connection, connection

Clock = Callable[[], float]
WINDOW_S = 5.0
"""Rates and percentiles are of the last five seconds: what a user sees now, not the mean of a week."""
_MOST = 2000


class Window:
    """Values of the last seconds, with their times. Safe for one writer and any readers."""

    def __init__(self, seconds: float = WINDOW_S, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._values: deque[tuple[float, float]] = deque(maxlen=_MOST)
        self._lock = threading.Lock()
        self._began = clock()

    def add(self, value: float = 1.0) -> None:
        """Note a value now."""
        with self._lock:
            self._values.append((self._clock(), value))

    def clear(self) -> None:
        """Forget all values; the window begins again now."""
        with self._lock:
            self._values.clear()
            self._began = self._clock()

    def _recent(self) -> list[tuple[float, float]]:
        oldest = self._clock() - self._seconds
        with self._lock:
            while self._values and self._values[0][0] < oldest:
                self._values.popleft()
            return list(self._values)

    def count(self) -> int:
        """How many values there are."""
        return len(self._recent())

    @property
    def seconds(self) -> float:
        """How much of the window has passed since it began."""
        return min(self._seconds, self._clock() - self._began)

    def rate(self) -> float:
        """Values per second: count over span, which a mean of gaps would get wrong after a pause."""
        values = self._recent()
        if len(values) < 2:
            return 0.0
        span, idle = values[-1][0] - values[0][0], self._clock() - values[-1][0]
        return (len(values) - 1) / max(span + (idle if idle > 1 else 0.0), 1e-6)

    def percentile(self, percent: float) -> float | None:
        """The value that ``percent`` of the recent ones do not exceed; None without any."""
        values = sorted(value for _, value in self._recent())
        return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


@dataclass
class Statistics:
    """Counters and windows of one session."""

    clock: Clock = time.monotonic
    captured: int = 0
    """Frames delivered by the source."""
    shown: int = 0
    """Pictures given to the sinks, repeated ones not counted."""
    repeated: int = 0
    """Last pictures given again, marked as stale."""
    late: int = 0
    """Pictures that left the filter more than two frame periods after their capture, model time not counted."""
    stalls: int = 0
    """Number of times the source stalled."""
    reconnects: int = 0
    """Number of times a lost source was reopened."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Frames that were lost before the session's queue, by cause: "overrun" (the capture thread is too slow)."""
    errors: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.arrivals = Window(clock=self.clock)
        self.recent_arrivals = Window(CONNECTION_WINDOW_S, self.clock)
        self.shows = Window(clock=self.clock)
        self.latency = Window(clock=self.clock)
        """Capture to the hand-over to the sinks, seconds."""
        self.model = Window(clock=self.clock)
        """Time in the filter, seconds."""
        self.drawn = Window(clock=self.clock)
        """Capture to drawn in a page, seconds, with the way of the answer back."""

    def arrived(self) -> None:
        """A frame was captured."""
        self.captured += 1
        self.arrivals.add()
        self.recent_arrivals.add()

    def begun(self) -> None:
        """The source delivers from now on: what it did before does not count against it."""
        self.recent_arrivals.clear()

    def connection(self, rate: Fraction | None, *, delivering: bool) -> Connection:
        """One word for the source; see :func:`~ganlens.engine.live.policy.connection`."""
        window = self.recent_arrivals
        return connection(window.count(), window.seconds, None if rate is None else float(rate), delivering=delivering)
