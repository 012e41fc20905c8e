"""The command line: ``engine translate | live | generate | benchmark | evaluate | models | info | backends | build |
cache | gstreamer | triton | train | export``.

Only this package prints. What a command needs is imported when it runs, so that ``engine --help`` answers at once and
``engine`` works without the packages of the extras.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import EngineError, MissingExtra, did_you_mean, printable, reason
from .cache import app as cache_app
from .gstreamer import app as gstreamer_app
from .interrupt import terminate_as_interrupt
from .log import LogThatMayClose
from .options import (
    BenchmarkOptions,
    BuildOptions,
    EvaluateOptions,
    GenerateOptions,
    LiveOptions,
    Range,
    RelabelOptions,
    TranslateOptions,
    command,
)
from .triton import app as triton_app


class _Commands(TyperGroup):
    """Suggests the probably intended command for an unknown one: ``engine clip.mp4``, ``engine webcam``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(_meant(args, list(self.commands)))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if ctx.invoked_subcommand not in _PACKAGES or package in ("", "ganlens"):
                raise
            extra = _PACKAGES[ctx.invoked_subcommand][1]
            raise MissingExtra(f"engine {ctx.invoked_subcommand}", package, extra) from error


_OTHER_WORDS = {
    "webcam": "live", "camera": "live", "stream": "live", "web": "live", "serve": "live", "bench": "benchmark",
    "run": "translate", "convert": "translate", "filter": "translate", "apply": "translate", "video": "translate",
    "process": "translate", "list": "models", "ls": "models", "devices": "backends", "gpus": "backends",
    "onnx": "export", "compile": "build", "trt": "build", "tensorrt": "build", "show": "info", "sample": "generate",
    "gst": "gstreamer",
}  # fmt: skip
"""What other programs call a command."""


def _meant(args: list[str], commands: list[str]) -> str:
    word = args[0]
    rest = " ".join(args)
    if word == "help":
        return "No command is called 'help'. Try: engine --help, or engine COMMAND --help"
    if Path(word).exists() or Path(word).suffix or "://" in word:
        if Path(word).suffix.lower() == ".onnx":
            return f"{word} is a model. Try: engine info {word}, or engine translate clip.mp4 --model {word}"
        verb = "live" if "://" in word and "live" in commands else "translate"
        return f"{word} is an input, not a command. Try: engine {verb} {rest}"
    other = _OTHER_WORDS.get(word.lower())
    if other in commands:
        return f"No command is called {word!r}. Try: engine {other}"
    return f"No command is called {word!r}. {did_you_mean(word, commands)}"


app = typer.Typer(
    name="engine",
    cls=_Commands,
    help="Translate images and video with image-to-image GAN generators.\n\nStart with: engine translate clip.mp4",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in a third of the time
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"ganlens {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _translate(options: TranslateOptions) -> None:
    from .translate import run

    raise typer.Exit(run(options))


def _live(options: LiveOptions) -> None:
    from .live import run

    raise typer.Exit(run(options))


def _generate(options: GenerateOptions) -> None:
    from .generate import run

    raise typer.Exit(run(options))


def _benchmark(options: BenchmarkOptions) -> None:
    from .benchmark import run

    raise typer.Exit(run(options))


def _evaluate(options: EvaluateOptions) -> None:
    from .evaluate import run

    raise typer.Exit(run(options))


def _build(options: BuildOptions) -> None:
    from .build import build

    with terminate_as_interrupt():
        build(options)


def _relabel(options: RelabelOptions) -> None:
    from .relabel import run

    run(options)


app.command("translate", short_help="Translate videos and pictures.")(command(TranslateOptions, _translate))
app.command("live", short_help="Filter a camera or a stream live.")(command(LiveOptions, _live))
app.command("generate", short_help="Make pictures from noise.")(command(GenerateOptions, _generate))
app.command("benchmark", short_help="Measure speed and quality on this machine.")(command(BenchmarkOptions, _benchmark))
app.command("evaluate", short_help="Judge a style by gates, on your pictures.")(command(EvaluateOptions, _evaluate))


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the models shipped with ganlens."""
    from .info import show_models

    show_models(as_json)


@app.command("info", short_help="Show a model's record.")
def show_info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")],
    value_range: Range = None,
    as_json: Annotated[bool, typer.Option("--json", help="The record as JSON.")] = False,
) -> None:
    """Show a model's record: inputs, sizes, training data, licence, measured parity."""
    from .info import show_model

    show_model(model, value_range, as_json)


@app.command(short_help="Show which backends run on this machine, and how to install the others.")
def backends(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show which backends run on this machine, which do not, and how to install them."""
    from .info import show_backends

    show_backends(as_json)


app.command("relabel", short_help="Replace the record of an ONNX file.")(command(RelabelOptions, _relabel))
app.command("build", short_help="Build the TensorRT plan of a model ahead of time.")(command(BuildOptions, _build))

_PACKAGES = {
    "train": ("ganlens.train.cli", "train", "Train a generator (extra 'train')."),
    "export": ("ganlens.export.cli", "export", "Turn a training run into a checked ONNX file (extra 'export')."),
    "import": (
        "ganlens.export.import_cli",
        "export",
        "Turn a CycleGAN, pix2pix or StarGAN checkpoint into a checked ONNX file (extra 'export').",
    ),
}
"""Command → the module whose ``app`` it is, the extra that it needs, and its line in ``engine --help``."""


class _OfPackage(TyperCommand):
    """A command of another package, which is imported when the command is used or completed."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        assert self.name is not None
        try:
            command = typer.main.get_command(import_module(_PACKAGES[self.name][0]).app)
        except ModuleNotFoundError:
            if extra.get("resilient_parsing"):  # the shell completes: nothing is offered, and nothing is reported
                return super().make_context(info_name, [], parent, **extra)
            raise
        return command.make_context(info_name, args, parent, **extra)


def _of_package() -> None:
    raise AssertionError("the package's own command is invoked in place of this one")


for _name, (_, _, _line) in _PACKAGES.items():
    app.command(_name, cls=_OfPackage, short_help=_line)(_of_package)

app.add_typer(cache_app)
app.add_typer(gstreamer_app)
app.add_typer(triton_app)


def main() -> None:
    """Run the command line; errors of the user end in one line and status 1, wrong usage in status 2.

    The command ``engine`` gets here through ``__main__.py``.
    """
    sys.stderr = cast(TextIO, LogThatMayClose(sys.stderr))
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to look for plugins is to read every installed package
    if sys.argv[1:2] not in (["train"], ["export"]):
        # The engine computes nothing with BLAS, whose threads would be started with NumPy: a sixth of its import time
        # on two cores.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:  # not about a file: a fault of the program
            raise
        typer.echo(f"error: {printable(os.fsdecode(error.filename))}: {reason(error)}.", err=True)
        sys.exit(1)
    except MemoryError as error:
        told = f" ({printable(str(error), 200)})" if str(error) else ""
        typer.echo(f"error: There is not enough memory{told}. Use a smaller --size or --batch.", err=True)
        sys.exit(1)
