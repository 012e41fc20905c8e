"""Files that take their name only when they are whole, files that others have made, and the folder of caches.

All files are written through this module. A file grows next to its destination under an unguessable name, opened so
that no link and no existing file can be written through, and is renamed when it is complete. A reader therefore sees
the old file or the new one; an error or a signal leaves the old one.

Its writer holds a lock on it (``flock``), which ends with the process however that ends: the next writer in the same
folder removes what has no lock any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import MediaError, reason

_UNFINISHED = re.compile(r"(\..*)\.[0-9a-f]{16}(\.part.*)", re.DOTALL)
_FOLDER_LOCK_S = 1.0
_SUPPORTS_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class FileInUse(OSError):
    """Another program is writing a file of that name."""


class PartialFile:
    """A file under a temporary name, to be renamed when it is whole.

    Args:
        path: the name that it will get.
        alone: refuse if another is being written for the same name, in this process or elsewhere.
        mode: of the file, before the umask.

    Raises:
        FileInUse: another is being written.
        OSError: the folder is missing or cannot be written.
    """

    def __init__(self, path: Path, *, alone: bool = False, mode: int = 0o666) -> None:
        self.path = path
        folder = path.absolute().parent
        stem, suffix = _short(path.stem), path.suffix[:40]
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDWR
        with _locked(folder):
            if alone or _first_time_in(folder):
                busy = _remove_leftovers(folder)
                if alone and (f".{stem}", f".part{suffix}") in busy:
                    raise FileInUse(errno.EBUSY, "another program is writing it", str(path))
            self.name = str(folder / f".{stem}.{secrets.token_hex(8)}.part{suffix}")
            descriptor = os.open(self.name, flags, mode)
            with contextlib.suppress(OSError):  # a file system without locks: its leftovers stay
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.file = open(descriptor, "wb+", buffering=0)  # noqa: SIM115
        self.done = False

    def commit(self, *, overwrite: bool, durable: bool = False) -> None:
        """Give the file its name.

        Args:
            overwrite: replace a file of that name.
            durable: wait until the content is on the disk.

        Raises:
            FileExistsError: there is one that must not be replaced.
            OSError: the disk is full, for example.
        """
        if durable:
            os.fsync(self.file.fileno())
        os.close(os.dup(self.file.fileno()))  # network file systems tell of lost writes here; the lock stays
        if overwrite:
            os.replace(self.name, self.path)
        else:
            _rename_to_new(self.name, self.path)
        self.done = True
        self.file.close()

    def discard(self) -> None:
        """Remove an unfinished file; nothing happens after :meth:`commit`."""
        if self.done:
            return
        self.done = True
        with contextlib.suppress(OSError):
            os.unlink(self.name)
        with contextlib.suppress(OSError):
            self.file.close()


def replace_file(
    path: str | os.PathLike[str],
    content: bytes | str | Callable[[BinaryIO], object],
    *,
    overwrite: bool = True,
    durable: bool = False,
    mode: int = 0o666,
) -> None:
    """Write a file in one step: readers see the old one or the whole new one.

    A path that is not a regular file, such as ``/dev/stdout`` or a named pipe, is written to directly.

    Args:
        path: its name.
        content: what it will hold; text is encoded as UTF-8; a function is called with a binary file to write to.
        overwrite: replace a file of that name.
        durable: wait until the content is on the disk.
        mode: of the file, before the umask.

    Raises:
        FileExistsError: there is one that must not be replaced.
        OSError: it cannot be written; what was there stays.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as special:
            _write_content(special, content)
        return
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    partial = PartialFile(path, mode=mode)
    try:
        with io.BufferedWriter(io.FileIO(partial.file.fileno(), "wb", closefd=False)) as buffered:
            _write_content(buffered, content)
        partial.commit(overwrite=overwrite, durable=durable)
    finally:
        partial.discard()


def _write_content(file: BinaryIO, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)


def cannot_write(path: Path, error: OSError) -> MediaError:
    """What to tell a user whose file cannot be written."""
    if isinstance(error, MediaError):
        return error
    if isinstance(error, FileExistsError):
        return MediaError(f"{path} exists; pass -y to overwrite it.")
    if isinstance(error, FileInUse):
        return MediaError(f"{path} is being written by another program. Wait for it, or give another name.")
    folder = path.absolute().parent
    cure = "" if folder.is_dir() else f" The folder {folder} does not exist; create it first."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        cure = " Free some space, or write to another disk."
    return MediaError(f"{path} cannot be written: {reason(error)}.{cure}")


class OutputFile(io.RawIOBase):
    """The output of a long piece of work, for libraries that write to a Python file.

    Errors of the system are kept and raised by :meth:`check`: libav would lose them on its way.

    Raises:
        MediaError: the name is taken, is being written by another program, or cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        self._error: OSError | None = None
        self._partial: PartialFile | None = None
        if path.is_dir():
            raise MediaError(f"{path} is a folder; expected the name of a file to write.")
        if path.exists() and not path.is_file():
            raise MediaError(f"{path} is a device or a named pipe; expected the name of a file to write.")
        try:
            if os.path.lexists(path) and not overwrite:
                raise FileExistsError
            self._partial = PartialFile(path, alone=True)
        except OSError as error:
            raise cannot_write(path, error) from error

    @property
    def name(self) -> str:
        """Path of the unfinished file, which libav opens once more to move an index to the front."""
        return "" if self._partial is None else self._partial.name

    @property
    def done(self) -> bool:
        """Whether there is nothing left to discard."""
        return self._partial is None or self._partial.done

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``; after an error nothing more is written."""
        view = memoryview(data)
        if self._error is None and self._partial is not None and not self.done:
            try:
                written = 0
                while written < len(view):
                    written += self._partial.file.write(view[written:]) or 0
            except OSError as error:
                self._error = error
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return 0 if self._partial is None or self.done else self._partial.file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._partial is None or self.done else self._partial.file.tell()

    def check(self) -> None:
        """Raise the error that a write met, or that the file is gone.

        Raises:
            MediaError: the disk is full, or the folder was removed, for example.
        """
        if self._error is None and not self.done and not os.path.lexists(self.name):
            self._error = FileNotFoundError(errno.ENOENT, "the unfinished file was removed", self.name)
        if self._error is not None:
            raise cannot_write(self.path, self._error) from self._error

    def commit(self) -> None:
        """Give the finished file its name.

        Raises:
            MediaError: a file of that name appeared meanwhile and must not be replaced, or the disk is full.
        """
        self.check()
        assert self._partial is not None
        try:
            self._partial.commit(overwrite=self._overwrite)
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def discard(self) -> None:
        """Remove the unfinished file."""
        if self._partial is not None:
            self._partial.discard()


# --- temporary names --------------------------------------------------------------------------------------------------


def _short(stem: str) -> str:
    """A stem that leaves room for the rest of a temporary name, for names as long as file systems allow."""
    raw = os.fsencode(stem)
    return stem if len(raw) <= 150 else f"{os.fsdecode(raw[:100])}~{zlib.crc32(raw):08x}"


def _rename_to_new(name: str, path: Path) -> None:
    """Rename a file unless there is one of the new name, in one step."""
    try:
        os.link(name, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _SUPPORTS_NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # takes the name, or finds it taken
        try:
            os.replace(name, path)
        except OSError:
            os.unlink(path)
            raise
    else:
        os.unlink(name)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Serialise creation and removal of temporary files in a folder; without a lock if locking is unsupported."""
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + _FOLDER_LOCK_S
        while descriptor >= 0:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:  # another process holds it for a long time
                    break
                time.sleep(0.005)
            except OSError:
                break
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


_seen_folders: set[str] = set()
_seen_lock = threading.Lock()


def _first_time_in(folder: Path) -> bool:
    """Whether this process has not written there: the folder is not searched again for each of a thousand pictures."""
    with _seen_lock:
        seen = str(folder) in _seen_folders
        _seen_folders.add(str(folder))
    return not seen


def _remove_leftovers(folder: Path) -> set[tuple[str, str]]:
    """Remove temporary files whose writers are gone; what the others are for."""
    busy = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.fullmatch(entry.name)
            if found is None:
                continue
            with contextlib.suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    status = os.fstat(descriptor)
                    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                        continue
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                except BlockingIOError:
                    busy.add((found[1], found[2]))
                finally:
                    os.close(descriptor)
    return busy


# --- reading ----------------------------------------------------------------------------------------------------------

LARGEST_TEXT = 256 << 20
"""Bytes of a table, a configuration or a record."""


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, perhaps one of unknown origin.

    A named pipe, which may wait for its writer for ever, and a device, which may never end, are refused.

    Raises:
        OSError: it is missing, cannot be read, or is not a regular file.
    """
    return _open_regular(path, 0)


def _open_regular(path: str | os.PathLike[str], flags: int) -> BinaryIO:
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags), "rb")  # noqa: SIM115
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    file.close()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is a device or a named pipe, not a regular file", str(path))


def read_file(path: str | os.PathLike[str], *, most: int = LARGEST_TEXT) -> bytes:
    """The content of a regular file.

    Args:
        most: bytes; what is larger is refused before it fills the memory.

    Raises:
        OSError: as of :func:`open_file`, or it is larger.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > most else file.read(size)
        # A file that grows, or one of /proc. Not read(most + 1), which asks for that much memory at once.
        while size <= most and (more := file.read(min(1 << 20, most + 1 - len(data)))):
            data += more
        if max(size, len(data)) > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, expected at most {most}", str(path))
        return data


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: as of :func:`read_file`.
        ValueError: it is not JSON in UTF-8, or is nested too deeply.
    """
    return parse_json(read_file(path))


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text of foreign origin describes.

    Raises:
        ValueError: it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


# --- caches -----------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where decisions, plans and compiled kernels are kept: ``GANLENS_CACHE``, else the user's cache folder."""
    import platformdirs

    given = os.environ.get("GANLENS_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("ganlens")


def untrusted() -> bool:
    """Whether ``GANLENS_UNTRUSTED`` says that files are read which others may have made to attack this machine."""
    return os.environ.get("GANLENS_UNTRUSTED", "0") not in ("", "0")


def make_private_folder(folder: Path) -> Path:
    """The folder, made for this user alone if it is missing.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def read_private(path: Path) -> bytes:
    """The content of a file that only this user can have written, opened once.

    Raises:
        PermissionError: it is a link, belongs to another user, or is writable by others.
        OSError: it is missing or cannot be read.
    """
    try:
        opened = _open_regular(path, os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(errno.EPERM, "it is a link", str(path)) from error
        if error.errno in (errno.EINVAL, errno.EISDIR):
            raise PermissionError(errno.EPERM, "it is not a regular file", str(path)) from error
        raise
    with opened as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"it belongs to another user (user {status.st_uid})", str(path))
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "others can write to it", str(path))
        return file.read()


def read_code(path: Path) -> bytes:
    """What :func:`keep_code` stored; empty where nothing is whole and certainly this user's."""
    try:
        digest, _, content = read_private(path).partition(b"\n")
        if digest != hashlib.sha256(content).hexdigest().encode():
            return b""
        os.utime(path)  # the last use, for those that make room
    except OSError:
        return b""
    return content


def keep_code(path: Path, content: bytes | memoryview, *, most: int | None = None) -> None:
    """Store what a library takes long to make, and trusts as it trusts code, for the next start. If it cannot be
    written, that start takes longer, no more.

    Args:
        path: in a folder of :func:`cache_folder`.
        most: bytes of all files with the same suffix in that folder; the least recently used make room.
    """

    def write(file: BinaryIO) -> None:
        file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)

    with contextlib.suppress(OSError):
        make_private_folder(path.parent)
        replace_file(path, write, mode=0o600)
        if most is not None:
            found = [(each, each.stat()) for each in path.parent.glob(f"*{path.suffix}")]
            for each, status in sorted(found, key=lambda one: -one[1].st_mtime_ns):
                most -= status.st_size
                if most < 0 and each != path:
                    each.unlink()
