"""No reader waits for a named pipe, or reads a device, or a file that is larger than the memory, to its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganlens.engine.errors import EngineError
from tests.fuzz.targets import TARGETS

READERS = [name for name in TARGETS if name not in ("y4m", "record", "plan", "list")]
"""Those that are given a file. What is no file is no list either, but a video, which is refused when it is opened."""

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "endless", "link to a folder"])
def test_what_is_no_file_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{TARGETS[name].suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else "/dev")
    with pytest.raises(EngineError):
        TARGETS[name].read(path)


@pytest.mark.parametrize("name", [*(name for name in READERS if name != "video"), "list"])
def test_a_file_with_a_terabyte_of_nothing_at_its_end_is_refused(name: str, tmp_path: Path) -> None:
    path = TARGETS[name].seeds(tmp_path)[0]
    os.truncate(path, 2**40)
    with pytest.raises(EngineError):
        TARGETS[name].read(path)
    assert path.stat().st_blocks < 2**16  # nothing was written to it
