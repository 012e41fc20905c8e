"""Progress of an evaluation: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

TELL_S = 10.0
"""Seconds between two lines where there is no terminal."""

_shown: ContextVar[Console | None] = ContextVar("shown", default=None)


@contextmanager
def shown_on(console: Console) -> Iterator[None]:
    """Inside, :func:`tracked` shows progress there."""
    token = _shown.set(console)
    try:
        yield
    finally:
        _shown.reset(token)


def tracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with progress while they are taken.

    Args:
        total: how many there are.
        what: is done with them.
    """
    console = _shown.get()
    if console is None:
        yield from items
    elif console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
    else:
        started = told = time.monotonic()
        for number, item in enumerate(items):
            now = time.monotonic()
            if number and now - told > TELL_S:
                left = (now - started) / number * (total - number)
                console.print(f"{what}: {number} of {total}, about {left:.0f} s left", markup=False, highlight=False)
                told = now
            yield item
