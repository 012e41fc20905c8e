"""Foreign text in messages cannot drive the terminal."""

from __future__ import annotations

import pickle

import pytest

from ganlens.engine.errors import EngineError, MediaError, MissingExtra, OptionError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 → ok", "plain é 漢字 → ok"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9b31m", "a\\x9b31m"),
        ("file\u202egnp.exe", "file\\u202egnp.exe"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("back\rto the start", "back to the start"),
        ("\x00", "\\x00"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_shown_not_sent(text, shown):
    assert printable(text) == shown
    assert str(MediaError(text)) == shown


def test_long_text_loses_its_middle():
    shown = printable("a" * 10_000 + "the end")
    assert len(shown) < 2100 and shown.startswith("aaa") and shown.endswith("the end") and "[...]" in shown


@pytest.mark.parametrize("error", [OptionError("x"), MediaError("y"), MissingExtra("What", "package", "extra")])
def test_errors_keep_their_text(error):
    assert isinstance(error, EngineError) and str(error)
    if not isinstance(error, MissingExtra):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
