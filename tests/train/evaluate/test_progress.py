"""Progress of an evaluation: a line now and then, with the time left; nothing unless asked."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ganlens.train.evaluate import progress
from ganlens.train.evaluate.progress import shown_on, tracked


def test_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    written = io.StringIO()
    with shown_on(Console(file=written, width=80)):
        assert list(tracked(range(10), 10, "edits")) == list(range(10))
    assert written.getvalue().splitlines() == [
        "edits: 2 of 10, about 48 s left",
        "edits: 5 of 10, about 24 s left",
        "edits: 8 of 10, about 9 s left",
    ]


def test_a_bar_on_a_terminal() -> None:
    written = io.StringIO()
    with shown_on(Console(file=written, force_terminal=True, width=80)):
        assert list(tracked(iter("abc"), 3, "real pictures")) == ["a", "b", "c"]
    assert "real pictures" in written.getvalue() and "3/3" in written.getvalue()


def test_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked(range(3), 3, "edits")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
