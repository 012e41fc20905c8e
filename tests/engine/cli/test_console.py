"""What the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganlens.engine import cli
from ganlens.engine.cli.console import make_console


def test_a_name_that_reads_like_an_emoji_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(stderr=True).print("wrote a:heart:b.mp4", markup=False)

    assert capsys.readouterr().err == "wrote a:heart:b.mp4\n"


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(quiet=True).print("line")

    assert capsys.readouterr().out == ""


def test_every_command_prints_through_this_console() -> None:
    folder = Path(cli.__file__).parent
    makers = [path.name for path in folder.glob("*.py") if " Console(" in path.read_text(encoding="utf-8")]

    assert makers == ["console.py"]
