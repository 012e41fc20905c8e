"""Files of a run folder: replaced as a whole, and written by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ganlens.engine.errors import TrainingError

LOCK_NAME = "lock"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the name ``path`` when the block ends without an error.

    The temporary file is new (its name cannot be guessed, links are not followed), reaches the disk before it replaces
    anything, and gets the permissions of an ordinary new file, whatever the library that writes it would choose.
    """
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666)
    mode = os.fstat(descriptor).st_mode & 0o777  # 0666 without the umask
    os.close(descriptor)
    try:
        yield part
        os.chmod(part, mode)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; the system releases it when the process ends, however it ends.

    Raises:
        TrainingError: another process holds it.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            raise TrainingError(
                f"Another process{f' ({holder})' if holder else ''} is training in {folder}. Stop it first, or choose "
                "another --out."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
