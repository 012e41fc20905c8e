"""Progress reports while a plan is built as part of opening a model, which can take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

Say = Callable[[str], None]
"""Takes one line for the user."""


class BuildProgress(NamedTuple):
    """A moment of a build."""

    fraction: float
    """0..1; never falls."""
    phase: str
    """What the library does, in its own words."""
    seconds: float
    """Since the start."""

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the speed so far; None where it is too early to tell."""
        if self.fraction < 0.02 or self.seconds < 0.2:
            return None
        return self.seconds * (1 - self.fraction) / self.fraction


Report = Callable[[BuildProgress], "bool | None"]
"""Called at each step, from the thread that builds; False stops the build."""


class Observer(NamedTuple):
    """Receives status lines and the progress of a build."""

    say: Say = lambda line: None
    report: Report | None = None


_NOBODY = Observer()
_OBSERVER: ContextVar[Observer] = ContextVar("observer", default=_NOBODY)


@contextmanager
def observed(say: Say, report: Report | None = None) -> Iterator[None]:
    """Let ``say`` and ``report`` know of what happens to plans inside the ``with`` block.

    Args:
        say: takes one line, as "waiting for another process that builds this plan".
        report: takes the progress of a build; False stops it.
    """
    token = _OBSERVER.set(Observer(say, report))
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observer() -> Observer:
    """The current observer."""
    return _OBSERVER.get()
