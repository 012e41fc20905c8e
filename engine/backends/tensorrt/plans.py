"""Where plans are kept, and what must hold before one is given to the library.

A plan is code: the library runs what it says. So only plans that ganlens wrote into its own cache folder are opened, or
one that is given by path on purpose, and only if its bytes are those that the record beside it (``face.plan.json``)
names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...cuda.driver import install_with
from ...errors import MissingExtra, PlanError, reason
from ...files import cache_folder, keep_code, make_private_folder, read_code, read_private, replace_file
from ...model.description import OnnxFile
from ...model.plan_record import (
    Plan,
    PlanKey,
    PlanRecord,
    Profile,
    Shape,
    read_plan,
    read_record,
    record_path,
)
from ..build_progress import Say

_PRIVATE = 0o600
"""Mode of the files in the cache: only their owner reads them."""


def model_sha256(file: OnnxFile) -> str:
    """SHA-256 of an ONNX file and of its external weights."""
    if not file.external:
        return file.sha256
    whole = hashlib.sha256(file.sha256.encode())
    for location in file.external:
        with open(file.path.parent / location, "rb") as weights:
            for block in iter(lambda: weights.read(1 << 20), b""):
                whole.update(block)
    return whole.hexdigest()


# --- one plan and its record --------------------------------------------------------------------------------------


def write_plan(path: Path, content: bytes, record: PlanRecord, *, mode: int = 0o666) -> Plan:
    """Write a plan and its record; who reads meanwhile sees the old pair, or none, never half a plan.

    Args:
        mode: of the files, before the umask.

    Raises:
        PlanError: the folder cannot be written.
    """
    record_path(path).unlink(missing_ok=True)  # between the two writes there is a plan without a record: none
    _write(path, content, mode)
    try:
        _write(record_path(path), (record.model_dump_json(indent=1) + "\n").encode(), mode)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Plan(path, record, content)


def _write(path: Path, content: bytes, mode: int = _PRIVATE) -> None:
    """Replace a file in one step.

    Raises:
        PlanError: the folder cannot be written, or the disk is full.
    """
    try:
        replace_file(path, content, durable=True, mode=mode)
    except OSError as error:
        raise PlanError(
            f"{path} cannot be written ({reason(error)}). Free some space, or set GANLENS_CACHE."
        ) from error


# --- the cache ----------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A plan in the cache, as ``engine cache list`` shows it."""

    path: Path
    bytes: int
    """Size of the plan and the files that belong to it."""
    used: float
    """When it was last opened or built, seconds since 1970."""
    record: PlanRecord | None
    problem: str = ""
    """Why the record cannot be read."""

    @property
    def age_s(self) -> float:
        """Seconds since its last use."""
        return max(0.0, time.time() - self.used)


class PlanCache:
    """A folder of plans.

    Args:
        folder: None: ``plans`` in the cache folder of ganlens, see :func:`~ganlens.engine.files.cache_folder`.
        say: takes a line when something happens that a user waits for.
    """

    def __init__(self, folder: Path | None = None, say: Say | None = None) -> None:
        self.folder = folder or cache_folder() / "plans"
        self._say = say or (lambda line: None)
        self._told: set[Path] = set()

    def find(self, key: PlanKey, shapes: Mapping[str, Shape]) -> Plan | None:
        """The plan of this key that takes ``shapes`` and is fastest near them; damaged ones are said and left out."""
        found = []
        for path in self._paths(key):
            try:
                record = self._trusted_record(path, key)
            except PlanError as error:
                self._tell(path, f"plan ignored: {error}")
                continue
            if record.profile.covers(shapes):
                found.append((record.profile.distance(shapes), path))
        for _, path in sorted(found):
            try:
                return self._open(path)
            except PlanError as error:
                self._tell(path, f"plan ignored: {error}")
        return None

    def get_or_build(self, key: PlanKey, profile: Profile, build: Callable[[], tuple[bytes, PlanRecord]]) -> Plan:
        """The plan of this key and profile, built if it is not there; two processes never build the same.

        Args:
            build: gives the plan and its record.
        """
        path = self.path(key, profile)
        self._make_folder()
        with self.lock(path):
            if path.exists() or record_path(path).exists():
                try:
                    self._trusted_record(path, key)
                    return self._open(path)
                except PlanError as error:
                    self._tell(path, f"plan built again: {error}")
            content, record = build()
            return write_plan(path, content, record, mode=_PRIVATE)

    def path(self, key: PlanKey, profile: Profile) -> Path:
        """Path of the plan of this key and profile."""
        shapes = json.dumps({name: list(map(list, shapes)) for name, shapes in sorted(profile.ranges.items())})
        return self.folder / f"{key.digest()}-{hashlib.sha256(shapes.encode()).hexdigest()[:8]}.plan"

    def kernels(self, record: PlanRecord, gpu: str) -> bytes:
        """What :meth:`keep_kernels` stored for a plan; empty where there is nothing whole and ours."""
        return read_code(self._kernels_path(record, gpu))

    def keep_kernels(self, record: PlanRecord, gpu: str, content: bytes) -> None:
        """Store the kernels that a library compiled for a plan on this GPU; else the next start takes longer."""
        keep_code(self._kernels_path(record, gpu), content)

    def _kernels_path(self, record: PlanRecord, gpu: str) -> Path:
        return self.folder / f"{record.plan_sha256[:24]}-{hashlib.sha256(gpu.encode()).hexdigest()[:8]}.kernels"

    def timings(self, key: PlanKey) -> bytes:
        """What :meth:`keep_timings` stored for the library and GPU of a key; empty where there is nothing."""
        try:
            return read_private(self._timings_path(key))
        except OSError:
            return b""

    def keep_timings(self, key: PlanKey, content: bytes) -> None:
        """Keep a library's timings of its kernels for the next build; else that takes longer, no more."""
        if content and content != self.timings(key):
            with contextlib.suppress(PlanError):
                self._make_folder()
                _write(self._timings_path(key), content)

    def _timings_path(self, key: PlanKey) -> Path:
        text = json.dumps([key.library, key.driver, key.gpu, key.compute_capability])
        return self.folder / f"timings-{hashlib.sha256(text.encode()).hexdigest()[:16]}.cache"

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Keep other processes from writing ``path``; says so when it has to wait for one.

        Raises:
            MissingExtra: filelock is not installed.
        """
        try:
            import filelock
        except ImportError as error:
            raise MissingExtra("The plan cache", "filelock", cure=install_with("plans")) from error
        lock = filelock.FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            self._say(f"waiting for another process that builds this plan ({path.name})")
            lock.acquire()
        except OSError as error:
            raise PlanError(
                f"{path} cannot be written ({reason(error)}). Set GANLENS_CACHE to another folder."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[Entry]:
        """All plans, the last used first."""
        found = []
        for path in self.folder.glob("*.plan"):
            try:
                record, problem = read_record(path), ""
            except PlanError as error:
                record, problem = None, str(error)
            parts = self._parts(path, record)
            used = max((part.stat().st_mtime for part in parts if part.exists()), default=0.0)
            found.append(Entry(path, sum(_size(part) for part in parts), used, record, problem))
        return sorted(found, key=lambda entry: -entry.used)

    def stray(self) -> list[Path]:
        """Files that belong to no plan: timings, and what an interrupted build left."""
        known = {part for entry in self.entries() for part in self._parts(entry.path, entry.record)}
        return sorted(path for path in self.folder.glob("*") if path.is_file() and path not in known)

    def choose(
        self, *, older_than_s: float | None = None, max_bytes: int | None = None, everything: bool = False
    ) -> list[Entry]:
        """The plans that :meth:`remove` should delete: those unused for that long, then the least recently used until
        the rest is no larger than ``max_bytes``."""
        entries = self.entries()
        if everything:
            return entries
        chosen = [entry for entry in entries if older_than_s is not None and entry.age_s > older_than_s]
        kept = [entry for entry in entries if entry not in chosen]
        if max_bytes is not None:
            while kept and sum(entry.bytes for entry in kept) > max_bytes:
                chosen.append(kept.pop())
        return chosen

    def remove(self, entry: Entry) -> None:
        """Delete a plan and what belongs to it; the record first, so that the rest is never opened."""
        for part in self._parts(entry.path, entry.record):
            part.unlink(missing_ok=True)

    def discard(self, path: Path) -> None:
        """Delete one plan that turned out to be useless."""
        for part in (record_path(path), path):
            part.unlink(missing_ok=True)

    def _parts(self, plan: Path, record: PlanRecord | None) -> list[Path]:
        own = [record_path(plan), plan, plan.with_suffix(".lock")]
        return own if record is None else [*own, *self.folder.glob(f"{record.plan_sha256[:24]}-*.kernels")]

    def _paths(self, key: PlanKey) -> list[Path]:
        return sorted(self.folder.glob(f"{key.digest()}-*.plan"))

    def _trusted_record(self, path: Path, key: PlanKey) -> PlanRecord:
        """The record of a plan that ganlens wrote here for this key.

        Raises:
            PlanError: it is not ours, or describes another plan.
        """
        record = read_record(path, private=True)
        if record.key != key:
            raise PlanError(f"{path.name} was built for another configuration ({_difference(record.key, key)}).")
        if self.path(key, record.profile).name != path.name:
            raise PlanError(f"{path.name} takes shapes other than those in its name.")
        return record

    def _open(self, path: Path) -> Plan:
        plan = read_plan(path, private=True)
        os.utime(record_path(path))  # the last use, for pruning
        return plan

    def _tell(self, plan: Path, line: str) -> None:
        """Say what is wrong with a plan, once."""
        if plan not in self._told:
            self._told.add(plan)
            self._say(line)

    def _make_folder(self) -> None:
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise PlanError(
                f"The plan cache {self.folder} cannot be created ({reason(error)}). Set GANLENS_CACHE to another one."
            ) from error


def _difference(found: PlanKey, wanted: PlanKey) -> str:
    """The first field in which two keys differ."""
    for name in PlanKey.model_fields:
        a, b = getattr(found, name), getattr(wanted, name)
        if a != b:
            return f"{name}: {str(a)[:40] or 'none'}, not {str(b)[:40] or 'none'}"
    return "nothing"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
