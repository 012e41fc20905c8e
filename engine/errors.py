"""The exceptions of ganlens.

    EngineError                    catch this one
    ├── OptionError   (ValueError)     an option or argument has a wrong value
    ├── ModelFileError(ValueError)     a model file cannot be used
    │   ├── UnknownModel               no shipped model and no file has that name
    │   └── PlanError                  a TensorRT plan is damaged, or of another GPU, version or graph
    ├── ShapeError    (ValueError)     an array or a graph has the wrong shape, dtype or channel count
    ├── BackendUnavailable(RuntimeError)  a backend cannot run here: package, driver or provider missing
    ├── BackendError  (RuntimeError)   a backend failed while it ran
    │   ├── DeviceMemoryError          the GPU has not enough free memory
    │   └── DeviceLost                 the GPU stopped; everything on it is gone
    ├── MissingExtra  (ImportError)    a package of an optional extra is not installed
    ├── MediaError    (OSError)        an image or video cannot be read or written
    ├── TrainingError (RuntimeError)   training data or a run folder cannot be used
    └── ExportError   (RuntimeError)   a generator cannot be exported, or its graph does not compute what it should

Each message says what was given, what was expected and the cure, in the user's terms. The command line prints it on one
line and exits with status 1 (2 for wrong usage).
"""

from __future__ import annotations

import difflib
import importlib.util
import shlex
import sys
from collections.abc import Iterable
from typing import Any

LONGEST_TEXT = 2000
"""Characters of a message; what is longer loses its middle."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text of foreign origin as it may go to a terminal: file names, records, tags, and messages that quote them.

    Control characters, which set titles, move the cursor or clear the screen, and those that turn the direction of
    writing are shown as escapes. Line ends and tabs stay.
    """
    if len(text) > longest:
        text = f"{text[: longest * 3 // 4]} [...] {text[-longest // 5 :]}"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii") if not char.isspace() else " "


def install_command(extra: str, *, without: str = "") -> str:
    """The command that adds an extra of ganlens to this environment, where ganlens may come from a clone or a wheel.

    Environments of uv, those of ``uv tool install`` too, have no pip: there it is uv's command.

    Args:
        without: packages to remove first, because they and the new ones contain the same modules.
    """
    pip, where = ("pip", "") if importlib.util.find_spec("pip") else ("uv pip", f" --python {shlex.quote(sys.prefix)}")
    remove = f"{pip} uninstall{where} {without}; " if without else ""
    return f"{remove}{pip} install{where} 'ganlens[{extra}]'"


class EngineError(Exception):
    """Base of all errors that a user of ganlens can cause or cure. Its text is :func:`printable`."""

    frame_number: int | None = None
    """The number of the frame in the stream, from 1, if there is one."""
    at_end: bool = False
    """Whether there is nothing to read after it: the frames before are all that can be had, and are kept."""

    def __str__(self) -> str:
        return printable(super().__str__())


class OptionError(EngineError, ValueError):
    """An option or argument has a wrong value."""


class ModelFileError(EngineError, ValueError):
    """A model file is missing, corrupt, unsafe or of a kind that cannot run."""


class UnknownModel(ModelFileError):
    """Neither a shipped model nor a file has the given name."""


class PlanError(ModelFileError):
    """A TensorRT plan is damaged, is not ours, or was built for another GPU, library version or graph."""


class ShapeError(EngineError, ValueError):
    """An array or a graph has the wrong shape, dtype or channel count."""


class BackendUnavailable(EngineError, RuntimeError):
    """A backend cannot run on this machine."""


class BackendError(EngineError, RuntimeError):
    """A backend failed while it ran."""


class DeviceMemoryError(BackendError):
    """The GPU has not enough free memory."""


class DeviceLost(BackendError):
    """The GPU stopped; everything on it is gone."""


class MissingExtra(EngineError, ImportError):
    """A package of an optional extra is not installed.

    Args:
        what: what needs it.
        package: its name.
        extra: of ganlens, which installs it.
        cure: how to install it, where that is not the extra alone.
    """

    def __init__(self, what: str, package: str, extra: str = "", *, cure: str = "") -> None:
        self.package = package
        self.cure: str = cure or install_command(extra)
        """How to install it."""
        super().__init__(f"{what} needs the package '{package}'. Install it with: {self.cure}")


class MediaError(EngineError, OSError):
    """An image or video cannot be read or written."""


class TrainingError(EngineError, RuntimeError):
    """Training data, a configuration or a run folder cannot be used."""


class ExportError(EngineError, RuntimeError):
    """A generator cannot be exported, or its graph does not compute what PyTorch does."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest names, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}? Known: {', '.join(names)}."
    return f"Known: {', '.join(names)}." if names else "None is known."


def reason(error: BaseException) -> str:
    """The few words that a library or the system has for an error, to stand in brackets in our own message."""
    text = str(getattr(error, "strerror", None) or error or type(error).__name__)
    return text[:1].lower() + text[1:]


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "finite": "a finite number",
}
_BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}


def refusal(error: Any) -> tuple[str, str]:
    """Which value pydantic refused first, and why, as our messages say it.

    Args:
        error: a ``pydantic.ValidationError``.

    Returns:
        The field, such as ``size.margin`` ("": the whole), and what was given and expected, such as "got -1, expected 0
        or more".
    """
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "missing":
        return where, "is missing"
    if kind == "extra_forbidden":
        return where, "is unknown"
    given = printable(fault["input"] if isinstance(fault["input"], str) else repr(fault["input"]), 100)
    bounds = [
        text.format(int(limit) if limit == int(limit) else limit)
        for key, text in _BOUNDS.items()
        if isinstance(limit := limits.get(key), (int, float))
    ]
    expected = " and ".join(bounds) or _KINDS.get(kind.partition("_")[0], "")
    if kind == "literal_error":
        expected = f"one of {limits['expected']}"
    elif kind == "value_error":
        given, _, choices = str(limits["error"]).partition(" is not one of ")
        if not choices:
            return where, given.rstrip(".")
        given, expected = given.strip("'"), f"one of {choices.rstrip('.')}"
    return where, f"got {given}, expected {expected}" if expected else f"got {given}: {fault['msg']}"
