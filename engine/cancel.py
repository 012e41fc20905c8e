"""Long calls into libraries that a signal cannot reach, and how they are told to end.

Python handles a signal between two of its own instructions. A network that runs for minutes, or for ever, is one
instruction: nothing hears Ctrl-C meanwhile, unless another thread tells the library.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_under_way: dict[int, Callable[[], object]] = {}


@contextmanager
def cancellable(cancel: Callable[[], object]) -> Iterator[None]:
    """Let :func:`cancel_all` end what runs inside.

    Args:
        cancel: called by another thread; makes the call inside fail soon.
    """
    key = threading.get_ident()
    before = _under_way.get(key)
    _under_way[key] = cancel
    try:
        yield
    finally:
        if before is None:
            _under_way.pop(key, None)
        else:
            _under_way[key] = before


def cancel_all() -> int:
    """Tell all calls under way to end; returns how many there are."""
    calls = list(_under_way.values())
    for cancel in calls:
        cancel()
    return len(calls)
