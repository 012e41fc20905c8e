"""Progress on standard error: of frames, with speed, time left and the share of each stage; of a plan's build."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from ..backends.build_progress import BuildProgress, observed
from ..timing import StageTimes

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

_REFRESH_S = 0.25
_LINE_S = 10.0
"""Without a terminal: a plain line this often."""


_WIDE = 110
"""Columns of a terminal from which the details are shown as well: narrower ones keep the count and the time left."""


def _columns(console: Console, done: Iterable[ProgressColumn], detail: str) -> list[ProgressColumn]:
    """A bar, how much is ``done``, the time left, and a field of the task where there is room for it."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    end: list[ProgressColumn] = [TextColumn("left"), TimeRemainingColumn()]
    wide = console.width >= _WIDE
    if wide:
        end.append(TextColumn(f"[dim]{{task.fields[{detail}]}}"))
    label = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=24))
    return [label, BarColumn(bar_width=30 if wide else 12), *done, *end]


class FrameProgress:
    """Shows how far a stream of frames, or of ``what`` else, is; nothing if ``quiet``."""

    def __init__(
        self,
        console: Console,
        total: int | None,
        times: StageTimes,
        *,
        quiet: bool,
        what: str = "frames",
        label: str = "",
    ) -> None:
        self.frames = 0
        self._skipped = 0
        self._what = what
        self._label = label
        self._console = console
        self._total = total
        self._times = times
        self._quiet = quiet
        self._began = self._shown = time.perf_counter()
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            from rich.progress import MofNCompleteColumn, Progress, TextColumn  # late: only a terminal needs it

            done = (MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
            self._bar = Progress(*_columns(console, done, "shares"), console=console, auto_refresh=False)
            self._task = self._bar.add_task(escape(label), total=total, speed="", shares="")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    def name(self, label: str) -> None:
        """Change what stands before the count."""
        self._label = label
        if self._bar:
            self._bar.update(self._task, description=escape(label))

    def skip(self, frames: int) -> None:
        """Count frames that were there already, which say nothing about the speed."""
        self.frames += frames
        self._skipped += frames

    def advance(self, frames: int = 1) -> None:
        """Count frames; show it when it is time."""
        self.frames += frames
        if self._quiet:
            return
        now = time.perf_counter()
        if now - self._shown < (_REFRESH_S if self._bar else _LINE_S):
            return
        self._shown = now
        speed = (self.frames - self._skipped) / self.seconds
        if self._bar:
            self._bar.update(
                self._task,
                completed=self.frames,
                total=self._total,
                speed=f"{speed:.1f} {_rate_of(self._what)}",
                shares=self._shares(),
            )
            self._bar.refresh()
            return
        left = ""
        if self._total and speed:
            left = f" of about {self._total}, {max(0.0, (self._total - self.frames) / speed):.0f} s left"
        label = f"{self._label}: " if self._label else ""
        shares = self._shares()
        self._console.print(
            f"{label}{self.frames} {self._what}{left}, {speed:.1f} {_rate_of(self._what)}"
            + (f" ({shares})" if shares else ""),
            soft_wrap=True,
            markup=False,
        )

    def _shares(self) -> str:
        totals = {stage: row.total_s for stage, row in self._times.summary().items()}
        whole = sum(totals.values()) or 1.0
        return " ".join(f"{stage} {100 * seconds / whole:.0f}%" for stage, seconds in totals.items())

    def __enter__(self) -> FrameProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self.frames, total=self._total if error else self.frames)
            self._bar.stop()


class InputsProgress(FrameProgress):
    """How far the frames of many inputs are, with the time left for all of them.

    Args:
        expected: frames of each input by its output, as far as its file says; None: taken for an average one.
    """

    def __init__(
        self, console: Console, expected: Mapping[str, int | None], times: StageTimes, *, quiet: bool, what: str
    ) -> None:
        known = [frames for frames in expected.values() if frames is not None]
        usual = round(sum(known) / len(known)) if known else 0
        self._left = {output: usual if frames is None else frames for output, frames in expected.items()}
        self._inputs, self._finished = len(expected), 0
        super().__init__(console, sum(self._left.values()) or None, times, quiet=quiet, what=what)

    def begin(self, name: str) -> None:
        """The next input, where there is one after the other."""
        self.name(f"{self._finished + 1}/{self._inputs} {name}")

    def finish(self, output: str, frames: int = 0) -> None:
        """An input is finished, or failed for good.

        Args:
            frames: those of it that were not counted one by one.
        """
        self._finished += 1
        self._left.pop(output, None)
        if self._total is not None:
            self._total = self.frames + frames + sum(self._left.values())
        self.name(f"{self._finished}/{self._inputs} files")
        self.advance(frames)


def _rate_of(what: str) -> str:
    return "fps" if what == "frames" else "per second"


@contextmanager
def plan_progress(console: Console, *, quiet: bool = False) -> Iterator[None]:
    """Show what happens to plans inside the ``with`` block: lines, how far a build is and how long it still takes."""
    bar: Progress | None = None
    task: Any = None
    shown = time.perf_counter()

    def say(line: str) -> None:
        if not quiet:
            console.print(line, style="dim", soft_wrap=True, markup=False, highlight=False)

    def report(now: BuildProgress) -> None:
        nonlocal bar, task, shown
        if quiet:
            return
        if not console.is_terminal:
            if time.perf_counter() - shown > _LINE_S:
                shown = time.perf_counter()
                left = "" if now.left_s is None else f", about {now.left_s:.0f} s left"
                say(f"{100 * now.fraction:.0f} % after {now.seconds:.0f} s{left}: {now.phase}")
            return
        if bar is None:
            from rich.progress import Progress, TextColumn

            done = (TextColumn("{task.percentage:.0f} %"),)
            bar = Progress(*_columns(console, done, "phase"), console=console, transient=True)
            task = bar.add_task("", total=1.0, phase="")
            bar.start()
        bar.update(task, completed=now.fraction, phase=escape(now.phase))

    try:
        with observed(say, report):
            yield
    finally:
        if bar is not None:
            bar.stop()
