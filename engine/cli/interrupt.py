"""How a command that writes a long file ends when it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..cancel import cancel_all

INTERRUPTED = 130
"""Exit status."""


PATIENCE_S = 2.0
"""How long a signal waits for the inference under way before that is told to end."""
AT_ONCE = 3
"""The signal that no longer waits for anything."""


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end the work as Ctrl-C does: the file is finished and plays.

    A network that does not come to its end by itself is told to, after a while or at the second signal. The third
    signal ends the program at once, whatever it is in.
    """
    on_terminal = sys.stderr.isatty()
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows

    def interrupt(number: int, _: object) -> None:
        if number == hang_up and on_terminal:  # it is gone: the next line printed there would be an error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _terminations()}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup asks for that
            signal.signal(number, interrupt)
    try:
        with _watched():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminations() -> list[int]:
    """The signals that ask a program to end; Windows has no SIGHUP."""
    return [int(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def _watched() -> Iterator[None]:
    """Watch for signals in a thread, because the main one does not see them while a library works in it."""
    told, teller = socket.socketpair()
    teller.setblocking(False)
    before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        ends = {int(signal.SIGINT), *_terminations()}
        asked = 0
        while True:
            told.settimeout(PATIENCE_S if asked else None)
            try:
                numbers = told.recv(64)
            except TimeoutError:
                cancel_all()  # again and again: the next call may begin before the interrupt is seen
                continue
            if not numbers:
                return
            for number in numbers:
                asked += number in ends
                if asked >= AT_ONCE:
                    os.write(2, b"Ended at once; the next run removes the unfinished file.\n")
                    os._exit(INTERRUPTED)
            if asked > 1:
                cancel_all()

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        teller.close()
        thread.join(PATIENCE_S)
        told.close()
