"""Compare two results: what is faster, what is slower, and what does not differ."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import OptionError
from .report import WIDTH
from .result import Result, Row
from .stats import bootstrap_interval

Verdict = Literal["faster", "slower", "no difference"]
RESOLUTION = 0.01
"""A difference below this fraction is ignored, however narrow the intervals: a bin of the histogram is 0.5 %
wide, and the clock of a quiet machine drifts by about 0.5 % between two starts."""


@dataclass(frozen=True)
class Comparison:
    """One row of both results."""

    old: Row
    new: Row
    slowdown: float
    """Time of a frame, new over old: 1.15 is 15 % slower."""
    interval: tuple[float, float]
    """Confidence interval of the slow-down, from the intervals of both results."""
    verdict: Verdict
    machine: float | None = None
    """Time of the bare network, new over old, by which ``slowdown`` is adjusted; None: it is not."""


def compare(old: Result, new: Result) -> tuple[list[Comparison], list[str]]:
    """Join the rows of two results and compare them.

    Where both have the bare network's times, in the same library on the same machine and threads, frames are compared
    relative to it: what the machine's speed does to both cancels out.

    Returns:
        The rows that both have, and notes on those that only one has, and on what differs between the two.

    Raises:
        OptionError: they have no row in common.
    """
    notes: list[str] = []
    files = {(model.name, model.precision): model.sha256 for model in old.models}
    changed = {
        key for model in new.models if files.get(key := (model.name, model.precision)) not in (None, model.sha256)
    }
    before = {row.key(): row for row in old.results}
    same = _same_machine(old, new)
    found = [_compare(before[row.key()], row, same) for row in new.results if row.key() in before]
    if not found or all((one.new.model, one.new.precision) in changed for one in found):
        theirs = ", ".join(sorted({f"{row.model} {row.precision}" for row in old.results})) or "nothing"
        mine = ", ".join(sorted({f"{row.model} {row.precision}" for row in new.results})) or "nothing"
        what = "another file of that name" if found else "none of these"
        raise OptionError(
            f"--compare: the old result holds {theirs} ({what}); now measured: {mine}. Expected the same model, "
            "backend, scenario and size in both."
        )
    notes += [f"{name} {precision}is not the same file as in the old result" for name, precision in sorted(changed)]
    if not same:
        notes.append(f"another machine: {old.machine.cpu}, {old.machine.cores} cores, in the old result")
    for name in ("threads", "fps", "clip_sha256", "pictures_sha256"):
        first, second = getattr(old.settings, name), getattr(new.settings, name)
        if first != second:
            notes.append(f"{name} differs: {first} in the old result, {second} now")
    for name in sorted(old.software.keys() & new.software.keys()):
        if old.software[name] != new.software[name]:
            notes.append(f"{name} {old.software[name]} in the old result, {new.software[name]} now")
    keys = {row.key() for row in new.results}
    gone = [row for row in old.results if row.key() not in keys]
    notes += [f"only in the old result: {row.model} {row.backend} {row.scenario}" for row in gone]
    for result, name in ((old, "old"), (new, "new")):
        if any(len(row.runs) < 4 for row in result.results):
            notes.append(f"the {name} result has rows of fewer than 4 runs: one in ten differs by chance")
    return found, notes


def table(comparisons: Sequence[Comparison]) -> str:
    """As plain text of at most 80 columns."""
    lines = [f"{'model':<12} {'scenario':<10} {'backend':<8} {'old':>6} {'new':>6}      time, new / old"]
    for one in comparisons:
        name = one.new.model if one.new.precision == "fp32" else f"{one.new.model} {one.new.precision}"
        change: str = one.verdict
        if change != "no difference":
            change = f"{one.slowdown:.2f} ({one.interval[0]:.2f}–{one.interval[1]:.2f}) {change}"
        lines.append(
            f"{name[:12]:<12} {one.new.scenario:<10} {one.new.backend:<8} {one.old.value:>6.4g} {one.new.value:>6.4g} "
            f"{one.new.unit:<3}  {change}{' *' if one.old.flags or one.new.flags else ''}"
        )
    if any(one.old.flags or one.new.flags for one in comparisons):
        lines.append("*: noisy, throttled or interrupted in one of the results")
    return "\n".join([*lines, *textwrap.wrap(_adjustment(comparisons), WIDTH)])


def _adjustment(comparisons: Sequence[Comparison]) -> str:
    """What the machine's speed did to the times, in a sentence."""
    factors: dict[str, list[float]] = {}
    for one in comparisons:
        if one.machine is not None:
            factors.setdefault(one.new.backend, []).append(one.machine)
    if not factors:
        return "not adjusted for the machine's speed."
    named = ", ".join(f"{statistics.median(values):.2f} on {backend}" for backend, values in factors.items())
    rest = dict.fromkeys(f"{one.new.scenario} on {one.new.backend}" for one in comparisons if one.machine is None)
    return (
        f"adjusted for the machine's speed: time of the bare network, new / old, {named}"
        + (f"; not adjusted: {', '.join(rest)}" if rest else "")
        + "."
    )


def worst_slowdown(comparisons: Sequence[Comparison]) -> float:
    """The largest slow-down of all rows; 1 if none is slower."""
    return max((one.slowdown for one in comparisons if one.verdict == "slower"), default=1.0)


def _same_machine(old: Result, new: Result) -> bool:
    return (old.machine.cpu, old.machine.cores) == (new.machine.cpu, new.machine.cores)


def _compare(old: Row, new: Row, same_machine: bool) -> Comparison:
    machine = None
    before, after = _frame_times(old), _frame_times(new)
    if same_machine and (old.library, old.threads) == (new.library, new.threads):
        first, second = _beside_bare(old), _beside_bare(new)
        if first and second:
            machine = statistics.median(ms for ms, _ in second) / statistics.median(ms for ms, _ in first)
            before, after = [ratio for _, ratio in first], [ratio for _, ratio in second]
    slowdown = statistics.median(after) / statistics.median(before)
    lower, upper = bootstrap_interval(before), bootstrap_interval(after)
    interval = (upper[0] / lower[1], upper[1] / lower[0])
    verdict: Verdict = "no difference"
    if interval[0] > 1 and slowdown > 1 + RESOLUTION:
        verdict = "slower"
    elif interval[1] < 1 and slowdown < 1 - RESOLUTION:
        verdict = "faster"
    return Comparison(old, new, slowdown, interval, verdict, machine)


def _frame_times(row: Row) -> list[float]:
    """Time of a frame in each run, so that more is slower in every scenario."""
    return [1 / run.value if row.unit == "fps" else run.value for run in row.runs]


def _beside_bare(row: Row) -> list[tuple[float, float]]:
    """(time of the bare network, frame over it) of each run; empty unless all have them."""
    found = [(run.bare_ms, run.relative) for run in row.runs if run.bare_ms and run.relative]
    return found if len(found) == len(row.runs) else []
