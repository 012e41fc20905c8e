"""Compare two results: what is faster, what is slower, and what does not differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import OptionError
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


def compare(old: Result, new: Result) -> tuple[list[Comparison], list[str]]:
    """Join the rows of two results and compare them.

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
    found = [_compare(before[row.key()], row) for row in new.results if row.key() in before]
    if not found or all((one.new.model, one.new.precision) in changed for one in found):
        theirs = ", ".join(sorted({f"{row.model} {row.precision}" for row in old.results})) or "nothing"
        mine = ", ".join(sorted({f"{row.model} {row.precision}" for row in new.results})) or "nothing"
        what = "another file of that name" if found else "none of these"
        raise OptionError(
            f"--compare: the old result holds {theirs} ({what}); now measured: {mine}. Expected the same model, "
            "backend, scenario and size in both."
        )
    notes += [f"{name} {precision}is not the same file as in the old result" for name, precision in sorted(changed)]
    if old.machine.cpu != new.machine.cpu or old.machine.cores != new.machine.cores:
        notes.append(f"another machine: {old.machine.cpu}, {old.machine.cores} cores, in the old result")
    for name in ("threads", "fps", "clip_sha256", "pictures_sha256"):
        first, second = getattr(old.settings, name), getattr(new.settings, name)
        if first != second:
            notes.append(f"{name} differs: {first} in the old result, {second} now")
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
    return "\n".join(lines)


def worst_slowdown(comparisons: Sequence[Comparison]) -> float:
    """The largest slow-down of all rows; 1 if none is slower."""
    return max((one.slowdown for one in comparisons if one.verdict == "slower"), default=1.0)


def _compare(old: Row, new: Row) -> Comparison:
    before, after = _frame_times(old), _frame_times(new)
    slowdown = _median(after) / _median(before)
    first, second = bootstrap_interval(before), bootstrap_interval(after)
    interval = (second[0] / first[1], second[1] / first[0])
    verdict: Verdict = "no difference"
    if interval[0] > 1 and slowdown > 1 + RESOLUTION:
        verdict = "slower"
    elif interval[1] < 1 and slowdown < 1 - RESOLUTION:
        verdict = "faster"
    return Comparison(old, new, slowdown, interval, verdict)


def _frame_times(row: Row) -> list[float]:
    """Time of a frame in each run, so that more is slower in every scenario."""
    return [1 / run.value if row.unit == "fps" else run.value for run in row.runs]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
