"""Every option of the commands, once: a record per command, from which its command line is made.

A field is an option: its name (``in_flight``: ``--in-flight``), type, default and help. A new option is one line in the
record of its command, which is in the module of that name, and its use in the command's own module. Here is what
several commands share. Only what the help needs is imported.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

DEFAULT_MODEL = "starry"
"""The shipped model that is used where none is named."""


def complete_model(incomplete: str) -> list[str]:
    """Names of shipped models, for the shell's completion."""
    from importlib.resources import files

    folder = files("ganlens.engine.model") / "shipped"
    names = [entry.name.removesuffix(".onnx") for entry in folder.iterdir() if entry.name.endswith(".onnx")]
    return sorted(name for name in names if name.startswith(incomplete))


def complete_backend(incomplete: str) -> list[str]:
    """Names of backends, for the shell's completion."""
    from ...backends import AUTO, BACKENDS

    return [name for name in (AUTO, *BACKENDS) if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name that 'engine models' lists, or an ONNX file.",
        autocompletion=complete_model,
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW..HIGH",
        help="Range of the image tensor, for a file without a ganlens record: 0..1, -1..1 or 0..255.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, a name from 'engine backends', or triton://HOST:8001/NAME; a named backend never falls back.",
        autocompletion=complete_backend,
    ),
]
Strict = Annotated[
    bool, typer.Option("--backend-strict", help="Fail rather than fall back to the next backend, or to host memory.")
]
Device = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="GPU that runs the network, by the numbers of engine backends; default: the first, or the CPU.",
    ),
]
MOST_THREADS = 1024
"""More of one kind are a mistake, and would take the memory of the whole machine."""
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads for the network; default: all cores.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="NAME",
        help="Allow a rare format or decoder, by libav's name; 'large': frames of any size. Repeat for more.",
    ),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write a report as JSON: what was done, and how fast.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")]
RecordDetail = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Fraction of the original's fine detail that the runtime adds back by default."),
]
RecordMargin = Annotated[
    int | None,
    typer.Option(
        metavar="PX",
        min=0,
        help="Pixels of repeated edge that the network sees around a frame, cut off its answer: against a line along "
        "the frame's border.",
    ),
]
YesOrForce = Annotated[bool, typer.Option("--yes", "-y", "--force", help="Replace an existing output.")]
PrintJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show which backends and codecs are unavailable, and why.")
]


def option(*names: str, help: str, **extra: Any) -> Any:
    """A field's option with other names than its own, or with a range, a metavar and so on."""
    return typer.Option(*names, help=help, **extra)


def command(record: type[Any], run: Callable[[Any], object]) -> Callable[..., object]:
    """A function that typer makes a command of: a parameter for each field of ``record``, the help from its docstring.

    Args:
        record: a dataclass with annotated fields.
        run: gets an instance with what the command line says.
    """

    def invoke(**given: Any) -> object:
        return run(record(**given))

    hints = typing.get_type_hints(record, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_spelled(hints[field.name]),
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
        )
        for field in dataclasses.fields(record)
    ]
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    invoke.__doc__ = inspect.getdoc(record)
    return invoke


def _spelled(hint: Any) -> Any:
    """The hint as typer reads it: ``A | None`` inside ``Annotated`` is ``Optional``."""
    if typing.get_origin(hint) is Annotated:
        kind, *rest = typing.get_args(hint)
        if isinstance(kind, types.UnionType):
            kind = typing.Union[typing.get_args(kind)]  # noqa: UP007
        return Annotated[tuple([kind, *rest])]
    return hint
