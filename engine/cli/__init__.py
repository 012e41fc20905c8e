"""The command line: ``engine translate | live | generate | benchmark | evaluate | models | info | backends | build |
cache | gstreamer | triton | train | export``.

Only this package prints. What a command needs is imported when it runs, so that ``engine --help`` answers at once and
``engine`` works without the packages of the extras.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import EngineError, MissingExtra, did_you_mean, printable, reason, refusal
from .log import LogThatMayClose
from .options import command


class _Commands(TyperGroup):
    """Suggests the probably intended command for an unknown one: ``engine clip.mp4``, ``engine webcam``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(_meant(args, list(self.commands)))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if hasattr(error.__cause__, "errors"):  # of pydantic, which newer versions of typer ask
                error.message = f"{refusal(error.__cause__)[1]}."
            raise
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            row = _COMMANDS.get(ctx.invoked_subcommand)
            extra = row.extra if row else ""
            if not extra or package in ("", "ganlens"):
                raise
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


class _Row(NamedTuple):
    line: str
    """In ``engine --help``; a subcommand has the first line of its own help."""
    action: str = ""
    """The module and function that do it, or a module whose ``app`` has the subcommands."""
    record: str = ""
    """Module and class of its options, below :mod:`~ganlens.engine.cli.options`, which its action gets."""
    extra: str = ""
    """Without which it cannot be imported."""
    commands: Mapping[str, _Row] = MappingProxyType({})
    """Its subcommands."""


_COMMANDS = {
    "translate": _Row("Translate videos and pictures.", ".translate:run", "translate:TranslateOptions"),
    "live": _Row("Filter a camera or a stream live.", ".live:run", "live:LiveOptions"),
    "generate": _Row("Make pictures from noise.", ".generate:run", "generate:GenerateOptions"),
    "benchmark": _Row("Measure speed and quality on this machine.", ".benchmark:run", "benchmark:BenchmarkOptions"),
    "evaluate": _Row("Judge a style by gates, on your pictures.", ".evaluate:run", "evaluate:EvaluateOptions"),
    "models": _Row("List the models shipped with ganlens.", ".info:show_models", "info:ModelsOptions"),
    "info": _Row("Show a model's record.", ".info:show_model", "info:InfoOptions"),
    "backends": _Row(
        "Show which backends run on this machine, and how to install the others.",
        ".info:show_backends",
        "info:BackendsOptions",
    ),
    "relabel": _Row("Replace the record of an ONNX file.", ".relabel:run", "relabel:RelabelOptions"),
    "build": _Row("Build the TensorRT plan of a model ahead of time.", ".build:run", "build:BuildOptions"),
    "train": _Row("Train a generator (extra 'train').", "ganlens.train.cli", extra="train"),
    "export": _Row(
        "Turn a training run into a checked ONNX file (extra 'export').",
        "ganlens.export.cli:run",
        "export:ExportRunOptions",
        extra="export",
    ),
    "import": _Row(
        "Turn a CycleGAN, pix2pix or StarGAN checkpoint into a checked ONNX file (extra 'export').",
        "ganlens.export.import_cli:run",
        "import_:ImportOptions",
        extra="export",
    ),
    "cache": _Row(
        "List and remove the TensorRT plans built on this machine.",
        commands={
            "list": _Row("", ".build:show_cache", "cache:CacheListOptions"),
            "prune": _Row("", ".build:prune_cache", "cache:CachePruneOptions"),
            "where": _Row("", ".build:show_folder", "cache:CacheWhereOptions"),
        },
    ),
    "gstreamer": _Row(
        "Install the GStreamer element 'ganlens'.",
        commands={
            "install": _Row("", ".gstreamer:install", "gstreamer:GstreamerInstallOptions"),
            "path": _Row("", ".gstreamer:show_path", "gstreamer:GstreamerPathOptions"),
        },
    ),
    "triton": _Row(
        "Serve models with NVIDIA's Triton Inference Server.",
        commands={"export": _Row("", ".triton:export_models", "triton:TritonExportOptions")},
    ),
}
"""Every command, in the order of ``engine --help``. Only the one that is used is imported and built."""


def _load(name: str) -> Any:
    """The command of a row, with its options or subcommands."""
    row = _COMMANDS[name]
    if row.commands:
        group = typer.Typer(help=row.line, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
        group.callback()(_group)
        for subcommand, each in row.commands.items():
            group.command(subcommand)(_function(each))
        return typer.main.get_command(group)
    if not row.record:
        return typer.main.get_command(import_module(row.action).app)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(_function(row))
    return typer.main.get_command(single)


def _group() -> None:
    pass


def _function(row: _Row) -> Callable[..., object]:
    """What typer makes a command of; what it does is imported when it runs."""

    def run(options: Any) -> None:
        action = _named(row.action)
        gc.freeze()  # what the imports made lives to the end
        raise typer.Exit(action(options) or 0)

    return command(_named(f".options.{row.record}"), run)


def _named(path: str) -> Any:
    """The object that ``module:name`` says."""
    module, _, name = path.partition(":")
    return getattr(import_module(module, __package__), name)


class _Lazy(TyperCommand):
    """A command that is imported and built when it is used, completed, or asked for its help."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        assert self.name is not None
        try:
            loaded = _load(self.name)
        except ModuleNotFoundError:
            if extra.get("resilient_parsing"):  # the shell completes: nothing is offered, and nothing is reported
                return super().make_context(info_name, [], parent, **extra)
            raise
        return loaded.make_context(info_name, args, parent, **extra)


def _in_place() -> None:
    raise AssertionError("the loaded command is invoked in place of this one")


for _name, _row in _COMMANDS.items():
    app.command(_name, cls=_Lazy, short_help=_row.line)(_in_place)


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
