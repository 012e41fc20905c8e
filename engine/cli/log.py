"""Standard error that may be closed by its reader: the work continues silently."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TextIO


class LogThatMayClose:
    """Passes text on until that fails, as after ``2>&1 | head``, or where standard error was closed from the start."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115

    def write(self, text: str) -> int:
        """Pass ``text`` on, or drop it."""
        with self._falling_silent():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what is held back."""
        with self._falling_silent():
            self._stream.flush()

    @contextlib.contextmanager
    def _falling_silent(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            nowhere = open(os.devnull, "w")  # noqa: SIM115
            try:  # what it still holds back goes there as well
                os.dup2(nowhere.fileno(), self._stream.fileno())
                nowhere.close()
            except (OSError, ValueError):
                self._stream = nowhere

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
