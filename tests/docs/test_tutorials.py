"""The README's and the tutorials' commands and programs run as written, one after the other, in a folder with a clip
and photos.

A block after a comment "<!-- not run here: reason -->" is left out. A training that names no number of steps is run
with a few small ones.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ganlens.engine import Frame, VideoSource, write_image

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = [ROOT / "README.md", *TUTORIALS]
BLOCK = re.compile(r"^(<!-- not run here: [^>]+ -->\n)?```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHORT_TRAINING = ["--steps", "4", "--tier", "nano", "--size", "64", "--batch", "2", "--threads", "1"]
ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]


def programs(page: Path) -> list[list[str]]:
    """The command lines of the page's blocks."""
    found: list[list[str]] = []
    for skipped, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if skipped:
            continue
        if kind == "python":
            found.append([sys.executable, "-c", text])
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
            assert line.startswith("$ ") and program == "engine", f"{page.name}: what is {line!r}?"
            if arguments[0] == "train" and "--steps" not in arguments:
                arguments += SHORT_TRAINING
            found.append([*ENGINE, *arguments])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the pages start from: clip.mp4, photo.jpg, photos/ and the repository's media/."""
    (tmp_path / "media").symlink_to(ROOT / "media")
    shutil.copyfile(ROOT / "media" / "meadow.mp4", tmp_path / "clip.mp4")
    (tmp_path / "photos").mkdir()
    with VideoSource(tmp_path / "clip.mp4") as source:
        for number, frame in enumerate(source):
            if number % 12 == 0:
                write_image(tmp_path / "photos" / f"{number}.png", Frame.from_rgb(frame.to_rgb()[::4, ::4].copy()))
            if number == 0:
                write_image(tmp_path / "photo.jpg", Frame.from_rgb(frame.to_rgb()))
    return tmp_path


def test_there_is_one_for_each_user() -> None:
    assert [page.stem for page in TUTORIALS] == ["embed", "train", "video"]


@pytest.mark.skipif("GANLENS_TEST_DOCS" not in os.environ, reason="minutes long: make test-docs")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs(page: Path, folder: Path) -> None:
    commands = programs(page)
    assert len(commands) >= 4
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
