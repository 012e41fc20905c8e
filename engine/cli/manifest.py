"""The manifest of many inputs: a line of JSON for each, from which a later run knows what is finished."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError, reason
from ..files import open_file, parse_json, read_file
from .inputs import PIPE, Work

SCHEMA = "ganlens-manifest/1"
NAME = "manifest.jsonl"
LARGEST_MANIFEST = 2**31
"""Bytes: some million lines."""

_WITHOUT_EFFECT = """
inputs video image images output name threads device in_flight batch encoder_threads decoder_threads spin strict
json_output overwrite verbose quiet jobs ray shard resume manifest retries
"""
WITHOUT_EFFECT = frozenset(_WITHOUT_EFFECT.split())
"""Options that do not change what is in an output."""


def settings_of(options: Any, model_sha256: str) -> dict[str, Any]:
    """What the outputs depend on beside the inputs: the model and the options, defaults left out."""
    values: dict[str, Any] = {"model": model_sha256}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in WITHOUT_EFFECT and field.name != "model" and value != field.default:
            values[field.name] = value
    return values


class Manifest:
    """Appends one line for each input that was worked on; a line is written at once and whole.

    Args:
        path: the file; made with its folder when the first line is written.
        settings: as of :func:`settings_of`.
        resume: read what it, and the manifests of other shards beside it, say is finished.

    Raises:
        OptionError: ``resume``, and the manifest was made with other settings.
        MediaError: it cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self._settings = dict(settings)
        self._known: dict[str, dict[str, Any]] = {}
        if resume:
            for file in self._files():
                self._read(file)

    def _files(self) -> list[Path]:
        """This manifest and those of the other shards."""
        others = glob.glob(f"{glob.escape(str(self.path.parent))}/manifest*.jsonl")
        return sorted({*(Path(name) for name in others), *([self.path] if self.path.exists() else [])})

    def _read(self, file: Path) -> None:
        try:
            lines = read_file(file, most=LARGEST_MANIFEST).decode(errors="replace").splitlines()
        except OSError as error:
            raise MediaError(f"{file} cannot be read: {reason(error)}.") from error
        for line in lines:
            try:
                row = parse_json(line)
            except ValueError:  # cut off when the program was killed, or not ours
                continue
            if not isinstance(row, dict) or row.get("schema") != SCHEMA:
                continue
            if row.get("settings") != json.loads(json.dumps(self._settings)):
                if row.get("status") not in ("done", "stopped"):
                    continue  # it made nothing
                changed = _difference(row.get("settings"), self._settings)
                raise OptionError(
                    f"{file} was made with another model or other options ({changed}). Give the same ones, or another "
                    "--manifest and output folder."
                )
            self._known[str(row.get("output"))] = row

    def is_done(self, work: Work) -> bool:
        """Whether an earlier run finished this output from the same input, and it is still there, whole."""
        row = self._known.get(work.output)
        if row is None or row.get("status") != "done":
            return False
        try:
            size = os.stat(work.output).st_size
        except OSError:
            return False
        return size == row.get("size") and row.get("sha256") == content_hash(work.input.address)

    def may_replace(self, work: Work) -> bool:
        """Whether the output, should it exist, is an earlier run's own, so that it may be made again."""
        row = self._known.get(work.output)
        return row is not None and row.get("status") in ("begun", "done", "stopped")

    def begin(self, work: Work) -> None:
        """Say that the output will be made; a program that is killed after that may make it again.

        Nothing is said of a file that exists already: it is not ours.
        """
        if not os.path.lexists(work.output):
            self.write(work, "begun")

    def write(self, work: Work, status: str, **values: Any) -> None:
        """Add a line.

        Args:
            status: "begun", "done", "failed" or "stopped" (cut short, to be made again).
            values: what else the line says: frames, seconds, error.

        Raises:
            MediaError: the file cannot be written.
        """
        row = {
            "schema": SCHEMA,
            "input": work.input.address,
            "output": work.output,
            "status": status,
            "sha256": content_hash(work.input.address) if status == "done" else None,
            "size": os.stat(work.output).st_size if status == "done" else None,
            **values,
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "settings": self._settings,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, (json.dumps(row) + "\n").encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise MediaError(f"{self.path} cannot be written: {reason(error)}.") from error


def content_hash(address: str) -> str | None:
    """SHA-256 of a file's content; None if it is not a file."""
    if address == PIPE or not Path(address).is_file():
        return None
    digest = hashlib.sha256()
    try:
        with open_file(address) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` as (I, N), I from 1 to N."""
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit()) or not 1 <= int(first) <= int(second) <= 1_000_000:
        raise OptionError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8.")
    return int(first), int(second)


def shard(works: list[Work], part: tuple[int, int]) -> list[Work]:
    """Every N-th input, from the I-th."""
    index, count = part
    return works[index - 1 :: count]


def _difference(before: Any, now: Mapping[str, Any]) -> str:
    before = before if isinstance(before, dict) else {}
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name}: {before.get(name, 'default')} then, {now.get(name, 'default')} now" for name in names)
