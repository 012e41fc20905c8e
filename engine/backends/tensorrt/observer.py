"""Who is told while a plan is built in the middle of opening a model, which can take minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .plans import Say
from .progress import Report


class Observer(NamedTuple):
    """Is told one line when something begins, and how far a build is."""

    say: Say = lambda line: None
    report: Report | None = None


_NOBODY = Observer()
_OBSERVER: ContextVar[Observer] = ContextVar("observer", default=_NOBODY)


@contextmanager
def observed(say: Say, report: Report | None = None) -> Iterator[None]:
    """Let ``say`` and ``report`` know of what happens to plans inside the ``with`` block.

    Args:
        say: takes one line, as "another process builds this plan; waiting for it".
        report: takes the progress of a build; False stops it.
    """
    token = _OBSERVER.set(Observer(say, report))
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observer() -> Observer:
    """Who is to be told now."""
    return _OBSERVER.get()
