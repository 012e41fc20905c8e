"""The README's Python blocks run as they are written, and its engine commands name options that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
MAIN = "from ganlens.engine.cli import main; main()"
COMMANDS = re.findall(r"^\$ (engine .*)$", README, re.MULTILINE)


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("block", PYTHON)
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    (tmp_path / "media").symlink_to(ROOT / "media")
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "embedded.mp4").stat().st_size > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_command_options_exist(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    depth = 2 if words[0] == "train" else 1
    arguments = [sys.executable, "-c", MAIN, *words[:depth], "--help"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    for option in (word for word in words if re.match(r"--?[a-z]", word)):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown), f"{option} is not an option of: {command}"
