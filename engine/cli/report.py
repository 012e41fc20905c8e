"""What a command did, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ..files import cannot_write, replace_file


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
