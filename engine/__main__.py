"""``engine`` and ``python -m ganlens.engine``: the command line, from its first import to the end of the process."""

from __future__ import annotations

import atexit
import gc
import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback, also while it is imported and while it exits.

    At these two times there is nothing to finish, and the signal's own action ends the process at once. A shell shows
    that as status 130, too.
    """
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not: a job in the background of a script
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What the imports make lives to the end. To look for garbage among it takes a tenth of the start, and as long again
    # at exit.
    gc.set_threshold(200_000)
    atexit.register(gc.freeze)
    from .cli import main as run

    try:
        if handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if handled:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
