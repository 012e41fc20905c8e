"""``engine benchmark``: models on this machine, in a table that can be compared with another one."""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..benchmark.compare import compare, worst_slowdown
from ..benchmark.compare import table as comparison_table
from ..benchmark.plots import have_matplotlib, latency_plot, quality_plot
from ..benchmark.report import markdown, table
from ..benchmark.result import Result, read_result
from ..benchmark.runner import (
    DEFAULT_RUNS,
    DEFAULT_SECONDS,
    QUICK_RUNS,
    QUICK_SECONDS,
    Observer,
    Plan,
    benchmark,
)
from ..errors import MediaError, OptionError, install_command, reason
from ..model import shipped
from ..model.description import parse_value_range
from .console import make_console
from .interrupt import INTERRUPTED, terminate_as_interrupt
from .options.benchmark import BenchmarkOptions
from .options.translate import TranslateOptions
from .parse import parse_size

_LINE_S = 10.0
"""Without a terminal: a line of progress this often."""


def run(options: BenchmarkOptions) -> int:
    """Measure, print and write; returns the exit status."""
    plan = make_plan(options)
    limit = None if options.fail_above is None else parse_share("--fail-above", options.fail_above)
    if limit is not None and options.compare is None:
        raise OptionError("--fail-above needs --compare OLD.json.")
    old = None if options.compare is None else read_result(options.compare)
    if old is not None:
        _check_same_models(old, plan, options.compare)
    folder = None if options.output is None else _writable(options.output)
    console = make_console(stderr=True, quiet=options.quiet)
    with terminate_as_interrupt(), _progress(console, quiet=options.quiet) as observer:
        result = benchmark(plan, observer, command=shlex.join(["engine", *sys.argv[1:]]))
    written = [] if folder is None else write(result, folder, console)
    print(result.to_json() if options.as_json else table(result))
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    status = INTERRUPTED if result.interrupted else 0 if result.results else 1
    if old is not None:
        comparisons, notes = compare(old, result)
        stream = sys.stderr if options.as_json else sys.stdout
        print(f"\nagainst {options.compare}, {old.when[:16]}\n{comparison_table(comparisons)}", file=stream)
        for note in notes:
            print(f"note: {note}", file=stream)
        worst = worst_slowdown(comparisons)
        if limit is not None and worst - 1 > limit:
            print(f"error: slower by {100 * (worst - 1):.0f} %, more than {100 * limit:g} %.", file=sys.stderr)
            status = status or 1
    return status


def make_plan(options: BenchmarkOptions) -> Plan:
    """What is to be measured.

    Raises:
        OptionError: an option that says nothing.
    """
    quick = options.quick
    also: tuple[str, ...] = ()
    if not options.models:  # one model of another kind beside the usual one
        also = tuple(card.name for card in shipped() if card.spec.face_alignment)[:1]
    return Plan(
        models=tuple(dict.fromkeys(options.models or (TranslateOptions.model,))),
        also=() if quick else also,
        backends=_words("--backend", options.backend),
        sizes=tuple(parse_size("--size", word, square=True) for word in _words("--size", options.size))
        if options.size is not None
        else (),
        batches=tuple(_count("--batch", word) for word in _words("--batch", options.batch)),
        precisions=_words("--precision", options.precision) if options.precision is not None else (),  # type: ignore[arg-type]
        scenarios=_words("--scenario", options.scenario),  # type: ignore[arg-type]
        threads=options.threads,
        fps=options.fps,
        seconds=options.seconds if options.seconds is not None else QUICK_SECONDS if quick else DEFAULT_SECONDS,
        runs=options.runs if options.runs is not None else QUICK_RUNS if quick else DEFAULT_RUNS,
        images=options.images,
        video=options.video,
        value_range=parse_value_range(options.value_range) if options.value_range else None,
        bare=options.output is not None or options.compare is not None or options.as_json,  # else nothing is kept
    )


def write(result: Result, folder: Path, console: Console) -> list[Path]:
    """Write JSON, Markdown and, with matplotlib, the plots, under a name that no file has yet.

    Raises:
        MediaError: a file cannot be written.
    """
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name, number = f"benchmark-{stamp}", 1
    while (folder / f"{name}.json").exists():
        number += 1
        name = f"benchmark-{stamp}-{number}"
    written = [folder / f"{name}.json", folder / f"{name}.md"]
    text = markdown(result)
    try:
        written[0].write_text(result.to_json(), encoding="utf-8")
        if have_matplotlib():
            for draw, what in ((latency_plot, "latency"), (quality_plot, "quality")):
                path = folder / f"{name}-{what}.png"
                if draw(result, path):
                    written.append(path)
                    text += f"\n![{what}]({path.name})\n"
        else:
            console.print(f"note: no plots without matplotlib: {install_command('benchmark')}", markup=False)
        written[1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{folder} cannot be written: {reason(error)}.") from error
    return written


def parse_share(option: str, text: str) -> float:
    """``"10%"`` or ``"10"`` as 0.1.

    Raises:
        OptionError: it is not a percentage of 0 or more.
    """
    try:
        value = float(text.strip().removesuffix("%"))
        if not 0 <= value < float("inf"):
            raise ValueError
    except ValueError:
        raise OptionError(f"{option} {text}: expected a percentage, such as 10%.") from None
    return value / 100


def _check_same_models(old: Result, plan: Plan, path: Path | None) -> None:
    """Refuse an old result of other models before anything is measured."""
    theirs = {model.sha256: model.name for model in old.models}
    mine = [model.file.sha256 for model in plan.opened.values()]
    if not any(digest in theirs for digest in mine):
        names = ", ".join(dict.fromkeys(theirs.values())) or "nothing"
        raise OptionError(
            f"--compare {path}: it holds {names}, and none of the files {', '.join(plan.models)}. Expected a result of "
            f"the same model file: engine benchmark {next(iter(theirs.values()), 'MODEL')} --compare {path}"
        )


def _writable(folder: Path) -> Path:
    """The folder, made if missing, before anything is measured.

    Raises:
        MediaError: files cannot be made in it.
    """
    if folder.exists() and not folder.is_dir():
        raise MediaError(f"{folder} is a file; expected a folder for JSON, Markdown and plots.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".ganlens-benchmark"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MediaError(f"{folder} cannot be written: {reason(error)}. Give another folder with -o.") from error
    return folder


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise OptionError(f"{option} {text!r}: expected one or more words between commas.")
    return words


def _count(option: str, word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise OptionError(f"{option} {word}: expected whole numbers, such as 1,4.") from None


@contextmanager
def _progress(console: Console, *, quiet: bool) -> Iterator[Observer]:
    """Shows what is measured: a bar on a terminal, else a line now and then."""
    shown = float("-inf")

    def line(what: str, done: int, total: int) -> None:
        nonlocal shown
        if not quiet and time.monotonic() - shown >= _LINE_S:
            shown = time.monotonic()
            console.print(f"{done} of {total}: {what}" if total else what, markup=False, soft_wrap=True)

    if quiet or not console.is_terminal:
        yield line
        return
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
