"""What a command did, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import MediaError
from ..files import cannot_write, replace_file


def check_record(target: str | None) -> None:
    """Refuse a name that :func:`write_record` would refuse, before the work is done.

    Raises:
        MediaError: it is a folder, its folder does not exist, or the file system does not take the name.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected the name of a file to write.")
    try:
        path.lstat()
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or not path.absolute().parent.is_dir():
            raise cannot_write(path, error) from error


def write_record(target: str, record: Mapping[str, Any], *, stream: TextIO) -> None:
    """Write ``record`` to the file ``target``, or to ``stream`` where ``target`` is "-".

    Raises:
        MediaError: the file cannot be written.
    """
    text = json.dumps(record, indent=2)
    if target == "-":
        print(text, file=stream)
        return
    try:
        replace_file(target, text + "\n")
    except OSError as error:
        raise cannot_write(Path(target), error) from error
