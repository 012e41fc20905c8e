"""Where a capture thread leaves frames and a session takes them: one of three policies, every drop counted by cause."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from ..pixels.frame import Frame
from .policy import SMOOTH_DEPTH, STALENESS_S, Policy, stale_count

Clock = Callable[[], float]


@dataclass(frozen=True)
class Captured:
    """A frame and when it was captured, in seconds of the session's clock."""

    frame: Frame
    at: float
    number: int = 0
    """Counts the frames of a session, from 1."""
    origin: Fraction | None = None
    """The frame's time by its source's own clock."""
    stale: bool = False
    """Whether it repeats an earlier picture because the source gives none."""


class FrameQueue:
    """Frames between two threads.

    Policy "fresh" keeps the newest one, "smooth" a few with a staleness budget, "every" makes the giver wait.

    Args:
        policy: which frames are kept.
        depth: how many are queued at most; by default 1, 8 and 2 for the three policies.
        clock: seconds; frames are aged against it.
    """

    def __init__(self, policy: Policy = "fresh", *, depth: int | None = None, clock: Clock = time.monotonic) -> None:
        self.policy = policy
        self.dropped: Counter[str] = Counter()
        """Frames dropped, by cause: "newer" (replaced before it was taken), "full", "stale"."""
        self._depth = depth or {"fresh": 1, "smooth": SMOOTH_DEPTH, "every": 2}[policy]
        self._clock = clock
        self._items: deque[Captured] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Captured) -> bool:
        """Leave a frame; False once the queue is closed."""
        with self._changed:
            if self.policy == "every":
                while len(self._items) >= self._depth and not self._closed:
                    self._changed.wait()
            if self._closed:
                return False
            while len(self._items) >= self._depth:
                self._items.popleft()
                self.dropped["newer" if self.policy == "fresh" else "full"] += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout: float | None = None) -> Captured | None:
        """The next frame; None if there is none within ``timeout`` seconds, or the queue is closed and empty."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout) or not self._items:
                return None
            if self.policy == "smooth":
                now = self._clock()
                for _ in range(stale_count([now - item.at for item in self._items], STALENESS_S)):
                    self._items.popleft()
                    self.dropped["stale"] += 1
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Accept nothing more and wake both ends; what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed
