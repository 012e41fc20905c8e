"""How a command that writes a long file ends when it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status."""


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: the file is finished and plays."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
