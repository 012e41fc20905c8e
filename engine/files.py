"""Files that take their name only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path
from typing import Any

from .errors import MediaError, reason


class OutputFile(io.RawIOBase):
    """A file under a temporary name, which takes its own name when it is whole.

    Errors of the system are kept and raised by :meth:`check`: libav would lose them on its way.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self.done = True  # until there is something to discard
        self._error: OSError | None = None
        if path.is_dir():
            raise MediaError(f"{path} is a folder; expected the name of a file to write.")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists; pass -y to overwrite it.")
        folder = path.absolute().parent
        self.name = str(folder / f".{path.stem}.{os.getpid()}.part{path.suffix}")
        try:
            self._file = open(self.name, "wb+", buffering=0)  # noqa: SIM115
        except OSError as error:
            cure = "" if folder.is_dir() else f" The folder {folder} does not exist; create it first."
            raise MediaError(f"{path} cannot be written: {reason(error)}.{cure}") from error
        self.done = False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``; after an error nothing more is written."""
        view = memoryview(data)
        if self._error is None and not self._file.closed:
            try:
                written = 0
                while written < len(view):
                    written += self._file.write(view[written:]) or 0
            except OSError as error:
                self._error = error
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return 0 if self._file.closed else self._file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._file.closed else self._file.tell()

    def check(self) -> None:
        """Raise the error that a write met.

        Raises:
            MediaError: the disk is full, for example.
        """
        if self._error is None:
            return
        if self._error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MediaError(
                f"{self.path} cannot be finished: {reason(self._error)}. Free some space, or write to another disk."
            ) from self._error
        raise MediaError(f"{self.path} cannot be written: {reason(self._error)}.") from self._error

    def commit(self) -> None:
        """Give the finished file its name."""
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        self.check()
        try:
            os.replace(self.name, self.path)
        except OSError as error:
            raise MediaError(f"{self.path} cannot be written: {reason(error)}.") from error
        self.done = True

    def discard(self) -> None:
        """Remove the unfinished file."""
        if self.done:
            return
        self.done = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self.name)
