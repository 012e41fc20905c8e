"""Foreign text in messages cannot drive the terminal; pydantic's refusals and cures for missing extras in our words."""

from __future__ import annotations

import pickle
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from ganlens.engine.errors import (
    EngineError,
    MediaError,
    MissingExtra,
    OptionError,
    install_command,
    printable,
    refusal,
)


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


def test_an_extra_is_installed_by_what_made_the_environment(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "pip")
    assert install_command("faces") == "pip install 'ganlens[faces]'"
    assert install_command("rtx", without="a b") == "pip uninstall a b; pip install 'ganlens[rtx]'"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.prefix", "/home/me/my tools")
    assert install_command("faces") == "uv pip install --python '/home/me/my tools' 'ganlens[faces]'"
    assert "Install it with: uv pip install --python" in str(MissingExtra("A face", "cv2", "faces"))
    command = install_command("rtx", without="a")
    assert command.startswith("uv pip uninstall --python '/home/me/my tools' a; uv pip install")


class Inner(BaseModel):
    share: float = Field(0.5, ge=0, lt=1)


class Record(BaseModel, extra="forbid"):
    count: int = Field(ge=1)
    kind: Literal["a", "b"] = "a"
    name: str = ""
    inner: Inner = Inner()

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 3:
            raise ValueError(f"'{value}' is longer than 3 letters")
        return value


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": 0}, ("count", "got 0, expected 1 or more")),
        ({"count": "many"}, ("count", "got many, expected a whole number")),
        ({"count": 1.5}, ("count", "got 1.5, expected a whole number")),
        ({}, ("count", "is missing")),
        ({"count": 1, "size": 2}, ("size", "is unknown")),
        ({"count": 1, "kind": "c\x1b[2J"}, ("kind", "got c\\x1b[2J, expected one of 'a' or 'b'")),
        ({"count": 1, "name": 7}, ("name", "got 7, expected text")),
        ({"count": 1, "name": "long"}, ("name", "'long' is longer than 3 letters")),
        ({"count": 1, "inner": {"share": 1.0}}, ("inner.share", "got 1.0, expected less than 1")),
        ({"count": 1, "inner": {"share": "x"}}, ("inner.share", "got x, expected a number")),
    ],
)
def test_what_pydantic_refuses_is_said_in_our_words(values: dict[str, Any], said: tuple[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Record.model_validate(values)
    assert refusal(caught.value) == said
