"""Where a capture thread leaves frames and a session takes them: one of three policies, every drop counted by cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..pixels.frame import Frame
from ..threads import Channel, Counts, End
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

        def stale(items: Sequence[Captured]) -> int:
            now = clock()
            return stale_count([now - item.at for item in items], STALENESS_S)

        self._counts = Counts()
        self._channel: Channel[Captured] = Channel(
            depth or {"fresh": 1, "smooth": SMOOTH_DEPTH, "every": 2}[policy],
            "wait" if policy == "every" else "latest",
            self._counts,
            stale if policy == "smooth" else None,
        )

    @property
    def dropped(self) -> Counter[str]:
        """Frames dropped, by cause: "newer" (replaced before it was taken), "full", "stale"."""
        overtaken = "newer" if self.policy == "fresh" else "full"
        return +Counter({overtaken: self._counts.dropped, "stale": self._counts.stale})

    def put(self, item: Captured) -> bool:
        """Leave a frame; False once the queue is closed."""
        return self._channel.put(item)

    def take(self, timeout: float | None = None) -> Captured | None:
        """The next frame; None if there is none within ``timeout`` seconds, or the queue is closed and empty."""
        item = self._channel.get(timeout)
        return None if isinstance(item, End) else item

    def close(self) -> None:
        """Accept nothing more and wake both ends; what is queued can still be taken."""
        self._channel.close(drop=False)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._channel.closed
