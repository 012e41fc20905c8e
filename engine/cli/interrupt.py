"""How a command that writes a long file ends when it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status."""


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end the work as Ctrl-C does: the file is finished and plays."""
    on_terminal = sys.stderr.isatty()

    def interrupt(number: int, _: object) -> None:
        if number == signal.SIGHUP and on_terminal:  # it is gone: the next line printed there would be an error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup asks for that
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
