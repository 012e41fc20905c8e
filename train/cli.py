"""``engine train``: the commands. Every option is a field of the method's configuration and explained there."""

from __future__ import annotations

import inspect
import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.logging import RichHandler
from typer.core import TyperGroup

from ganlens.engine.cli.console import make_console
from ganlens.engine.cli.options import command
from ganlens.engine.errors import EngineError, TrainingError, did_you_mean

from .config import STAGES, Alias, CycleGANConfig, TrainConfig, earlier_runs, make_config, read_values
from .methods import METHODS
from .options import CompareOptions, DemoOptions, EvaluateOptions, RollbackOptions, SamplesOptions


class _Commands(TyperGroup):
    """Suggests the probably intended method for an unknown one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"No training method or command is called '{args[0]}'. {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="train",
    cls=_Commands,
    help="Train generators, and measure them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_console = make_console(stderr=True, highlight=True)


def run(method: str, context: typer.Context, given: dict[str, Any]) -> None:
    """Merge defaults, ``--config``, a resumed run's configuration and the options given, then train."""
    entry = METHODS[method]
    kind = entry.config
    config_file, resume = given.pop("config"), given.pop("resume")
    explicit = {name: value for name, value in given.items() if _on_command_line(context, name)}
    with _told_in_one_line():
        config = merge(kind, explicit, config_file=config_file, resume=resume)
        _set_up_logging()
        from .loop import train  # PyTorch loads here, so that --help stays quick

        finished = train(config, resume=resume, console=_console)
        told = entry.load().finish(config) if finished else []
    for part in told:
        make_console(highlight=True).print(part, soft_wrap=True)
    _tell_end(finished, config)


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        _console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        raise MemoryError(str(error).partition("\n")[0]) from error  # as NumPy, Pillow and Python say it


def _tell_end(finished: bool, config: TrainConfig) -> None:
    if finished:
        text = f"Finished. Next: {config.next_command}"
    else:
        out = shlex.quote(config.out)  # the lines are there to be copied
        text = f"Stopped and saved. Continue: engine train {config.method} --out {out} --resume"
    _console.print(text, soft_wrap=True, markup=False, highlight=False)


def _on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"  # by name: newer typer brings a click of its own


def merge(
    kind: type[TrainConfig], explicit: dict[str, Any], *, config_file: Path | None = None, resume: bool = False
) -> TrainConfig:
    """The configuration of a run: options given on the command line win over the file, the file over the defaults.

    Raises:
        TrainingError: a resumed run is asked to change something that would make it another run.
        OptionError: a value is wrong.
    """
    values: dict[str, Any] = {}
    changes = explicit
    if resume:
        if "out" not in explicit:
            raise TrainingError("--resume needs --out: the run folder to continue.")
        values = read_values(Path(explicit["out"]))
        changeable = kind.changeable()
        fixed = sorted(n for n, v in explicit.items() if n not in changeable and v != values.get(n))
        if fixed:
            names = ", ".join("--" + name.replace("_", "-") for name in fixed)
            raise TrainingError(f"{names} cannot change when a run is resumed. Start a new run in another --out.")
        if config_file is not None:
            _refuse_other_values(kind, read_values(config_file), {**values, **explicit}, config_file, explicit)
        changes = {name: value for name, value in explicit.items() if name in changeable}
    elif config_file is not None:
        values = read_values(config_file)
    if values.get("method", kind.model_fields["method"].default) != kind.model_fields["method"].default:
        raise TrainingError(
            f"The configuration is of the method '{values['method']}'. Use: engine train {values['method']}"
        )
    stages = [{**stage, **changes} for stage in values.get(STAGES, ())]
    config = make_config(kind, {**values, **explicit, **({STAGES: stages} if stages else {})})
    earlier_runs(config)  # refused now, not when their time comes
    return config


def _refuse_other_values(
    kind: type[TrainConfig], given: dict[str, Any], kept: dict[str, Any], file: Path, explicit: dict[str, Any]
) -> None:
    """Raise if a configuration file says something else than the run that is resumed; command line options aside."""
    rows = [("", given, kept)]
    stages = zip(given.get(STAGES, ()), kept.get(STAGES, ()), strict=False)
    rows += [(f"stage {number}: ", *stage) for number, stage in enumerate(stages, 1)]
    different = [
        f"{place}{name} is {there.get(name, kind.model_fields[name].default)!r} in the run, {value!r} in the file"
        for place, values, there in rows
        for name, value in values.items()
        if name in kind.model_fields
        and name not in (*explicit, "out", STAGES)
        and value != there.get(name, kind.model_fields[name].default)
    ]
    if len(given.get(STAGES, ())) != len(kept.get(STAGES, ())):
        different.append(
            f"the run has {len(kept.get(STAGES, ())) + 1} stages, the file {len(given.get(STAGES, ())) + 1}"
        )
    if different:
        raise TrainingError(
            f"--resume goes on with the run's own configuration, and --config {file} says something else: "
            f"{'; '.join(different)}. Leave --config out; what may change is given as an option."
        )


def _command(method: str, kind: type[TrainConfig]) -> Any:
    """A command function with one typed option for each field of the configuration."""

    def command(ctx: typer.Context, **given: Any) -> None:
        run(method, ctx, given)

    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    shown = (name for name in kind.model_fields if name not in ("method", STAGES, *kind.without_effect))
    parameters += [_parameter(name, kind.model_fields[name]) for name in shown]
    parameters += [
        _option(
            "config",
            Path | None,
            None,
            "Start from a recipe (.toml, or the name of a shipped one) or a run's config.json; options on the command "
            "line take precedence, in all stages of a recipe.",
        ),
        _option("resume", bool, False, "Continue the run in --out exactly where it stopped."),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = inspect.getdoc(kind)
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = str if field.is_required() else type(field.default)
    other = next((mark.option for mark in field.metadata if isinstance(mark, Alias)), "")
    return _option(
        name,
        kind if not field.is_required() else str | None,
        None if field.is_required() else field.default,
        field.description or "",
        other,
        choices=tuple(str(choice) for choice in get_args(field.annotation) if choice != "")
        if get_origin(field.annotation) is Literal
        else (),
    )


def _option(
    name: str, kind: Any, default: Any, text: str, other: str = "", choices: tuple[str, ...] = ()
) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    declaration = f"{flag}/--no-{name.replace('_', '-')}" if kind is bool and default else flag
    declarations = (declaration, f"--{other}") if other else (declaration,)

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    option = typer.Option(
        *declarations,
        help=text,
        show_default=default not in (None, ""),
        metavar="|".join(choices) or None,
        autocompletion=complete if choices else None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, option]
    )


def _set_up_logging() -> None:
    if _console.is_terminal:  # lines above the progress bar; elsewhere plain lines that no width breaks
        handler: logging.Handler = RichHandler(console=_console, show_path=False, show_level=False)
        form = "%(message)s"
    else:
        handler, form = logging.StreamHandler(), "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("PIL").setLevel(logging.WARNING)


@app.callback()
def _commands() -> None:
    """Train generators, and measure them."""


def add_commands(to: typer.Typer) -> None:
    """A command for each row of the table of methods."""
    for name, entry in METHODS.items():
        to.command(name)(_command(name, entry.config))


add_commands(app)


def demo(options: DemoOptions) -> None:
    """``engine train demo``."""
    with _told_in_one_line():
        _set_up_logging()
        from .data.demo import make_demo_data
        from .loop import refuse_used_folder, train

        run_folder = options.out / "run"
        refuse_used_folder(run_folder)
        photos, paintings = make_demo_data(options.out / "data")
        config = make_config(
            CycleGANConfig,
            {
                "photos": str(photos),
                "paintings": str(paintings),
                "out": str(run_folder),
                "name": "demo",
                "tier": "nano",
                "norm": "none",
                "size": 64,
                "load_size": 96,
                "steps": options.steps,
                "learning_rate": 5e-4,
                "ema": 0.98,
                "discriminator_width": 16,
                "lambda_cyc": 5.0,
                "lambda_identity": 0.0,
                "warmup_steps": options.steps // 4,
                "sample_every": max(1, options.steps // 3),
                "log_every": max(1, options.steps // 10),
                "data_note": "synthetic scenes and brush strokes",
                "data_licence": "made by this program",
                "note": "A demonstration of training; not a useful model.",
            },
        )
        finished = train(config, console=_console)
    if finished:
        _console.print(
            f"Samples (photo, painted, back; painting, as photo, back): {run_folder / 'samples'}", soft_wrap=True
        )
    _tell_end(finished, config)


def rollback(options: RollbackOptions) -> None:
    """``engine train rollback``."""
    with _told_in_one_line():
        from .rollback import list_snapshots, roll_back

        if options.to is None:
            for snapshot in list_snapshots(options.folder):
                note = "" if snapshot.complete else "  (generators only)"
                make_console(highlight=True).print(f"{snapshot.step}{note}", highlight=False)
            return
        before = roll_back(options.folder, options.to)
    out = shlex.quote(str(options.folder))
    text = f"{options.folder}: back from step {before} to {options.to}; step {before} is kept as a snapshot. Continue: "
    from .config import load_config

    method = load_config(options.folder).method
    _console.print(f"{text}engine train {method} --out {out} --resume", soft_wrap=True, markup=False, highlight=False)


def compare(options: CompareOptions) -> None:
    """``engine train compare``."""
    with _told_in_one_line():
        from .compare import compare_runs

        compare_runs(
            options.runs,
            options.output,
            curves=options.curves,
            samples=options.samples,
            overwrite=options.overwrite,
        )
    _console.print(f"Written: {options.output}", soft_wrap=True, markup=False, highlight=False)


def samples(options: SamplesOptions) -> None:
    """``engine train samples``."""
    with _told_in_one_line():
        from .evaluate.samples import write_samples

        write_samples(
            options.models,
            options.photos,
            options.output,
            count=options.count,
            size=options.size,
            overwrite=options.overwrite,
        )
    _console.print(f"Written: {options.output}", soft_wrap=True, markup=False, highlight=False)


def evaluate(options: EvaluateOptions) -> None:
    """``engine train evaluate``."""
    with _told_in_one_line():
        from .evaluate.command import evaluate_run
        from .evaluate.progress import shown_on

        with shown_on(_console):
            told = evaluate_run(options)
    for part in told:
        make_console(highlight=True).print(part, soft_wrap=True, markup=False, highlight=False)


_COMMANDS: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "demo": (DemoOptions, demo),
    "rollback": (RollbackOptions, rollback),
    "compare": (CompareOptions, compare),
    "samples": (SamplesOptions, samples),
    "evaluate": (EvaluateOptions, evaluate),
}
"""The commands that are no methods, after them in ``engine train --help``."""

for _name, (_record, _action) in _COMMANDS.items():
    app.command(_name)(command(_record, _action))
