"""The help of every command and subcommand, in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ganlens.engine.cli import _COMMANDS, _load, app

SUBCOMMANDS = {"train": 12, "cache": 3, "gstreamer": 2, "triton": 1}
"""At least so many."""


def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The command and its subcommands, as they are typed."""
    yield words
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from below(command.get_command(context, name), (*words, name))


def check(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    assert not [line for line in result.output.splitlines() if len(line) > 80]
    usage = next(line for line in result.output.splitlines() if line.startswith("Usage: "))
    arguments = usage.removeprefix(" ".join(("Usage: engine", *words)))
    assert arguments == arguments.upper() != usage


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_no_line_is_longer_than_the_terminal(name: str) -> None:
    try:
        found = list(below(_load(name), (name,)))
    except ModuleNotFoundError as error:
        pytest.skip(f"the extra '{_COMMANDS[name].extra}' is not installed ({error.name})")
    assert len(found) > SUBCOMMANDS.get(name, 0)
    for words in found:
        check(words)


def test_of_all_commands() -> None:
    check(())
