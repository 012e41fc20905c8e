"""Where the commands print."""

from __future__ import annotations

from rich.console import Console


def make_console(*, stderr: bool = False, quiet: bool = False, highlight: bool = False) -> Console:
    """A console that prints what it is given: ``:heart:`` in a file's name stays as it is.

    Args:
        stderr: for what people read, beside results on standard output.
        quiet: print nothing.
        highlight: colour numbers and names.
    """
    return Console(stderr=stderr, quiet=quiet, highlight=highlight, emoji=False)
