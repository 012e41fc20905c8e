"""``engine`` and ``python -m ganlens.engine``: the command line, from its first import to the end of the process."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

_status: int | None = None
"""What the process ends with; None as long as it is not known, as after an error of the program."""


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback, also while it is imported and while it exits.

    At these two times there is nothing to finish, and the signal's own action ends the process at once. A shell shows
    that as status 130, too.
    """
    atexit.register(_end)  # before everything else, so that it runs last
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not: a job in the background of a script
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What the imports make lives to the end. To look for garbage among it takes a tenth of the start.
    gc.set_threshold(200_000)
    from .cli import main as run

    try:
        if handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
        _set_status(0)
    except KeyboardInterrupt:
        _set_status(130)
        sys.exit(130)
    except SystemExit as end:
        _set_status(end.code)
        raise
    finally:
        if handled:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _set_status(code: object) -> None:
    global _status
    if code is None or isinstance(code, int):
        _status = code or 0


def _end() -> None:
    """End the process without taking the interpreter apart, which takes a seventh of the time of a short command.

    All threads that Python waits for, and all other functions for the exit, have ended by now.
    """
    if _status is None:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # Python reports it, as it always does
    os._exit(_status)


if __name__ == "__main__":
    main()
