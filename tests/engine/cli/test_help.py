"""The help of every command and subcommand, in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ganlens.engine.cli import _COMMANDS, _load, app


def commands() -> Iterator[tuple[str, ...]]:
    """Every command line that has a help text, those of the extras that are not installed left out."""
    yield ()
    for name in _COMMANDS:
        try:
            loaded = _load(name)
        except ModuleNotFoundError:
            continue
        yield (name,)
        yield from below(loaded, (name,))


def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "list_commands"):
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield (*words, name)
        yield from below(command.get_command(context, name), (*words, name))


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words) or "engine")
def test_no_line_is_longer_than_the_terminal(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    assert not [line for line in result.output.splitlines() if len(line) > 80]
    usage = next(line for line in result.output.splitlines() if line.startswith("Usage: "))
    arguments = usage.removeprefix(" ".join(("Usage: engine", *words)))
    assert arguments == arguments.upper() != usage


def test_there_are_many() -> None:
    found = list(commands())
    assert {("translate",), ("cache", "list"), ("live",)} <= set(found) and len(found) > 15
