"""The gates that a style passes before it ships, and its budget.

Each gate sets one measure of :mod:`.measures` against a limit. Colours, contrast and detail are judged as shares of
what the style's target has (its teacher's answers to the same pictures, or its paintings); a grid, threads, a frame
line and flicker are faults of their own. A Fréchet distance sees none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .lab import Pixels
from .measures import Flicker, Statistics, frame_line, grid, statistics, threads

LEAST_SHARE = 0.8
"""Least ratio to the target's chroma, contrast, fine detail and colour spread."""
MOST_GRID = 1.0
"""Levels by which a pattern of the pixel grid may be stronger than the target's."""
MOST_FRAME_LINE = 4.0
"""Levels between the outer 8 pixels and the next 8."""
MOST_THREADS = 2.0
"""Times the source's: what a filter may add to the fine detail along rows and columns, of pictures that are turned."""
FLICKER_OF_SOURCE = 2.5
"""Still flicker may be so many times the source's ..."""
FLICKER_FREE = 2.0
"""... or so many levels, whichever is more."""
MOST_P99 = 12.0
"""Levels that 99 % of the still pixels stay below."""
MOST_BYTES = 4e6
MOST_MACS = 1.005e9
"""For a picture of 256x256: 1.00 GMAC in two decimals."""
MOST_FIRST_FRAME_S = 0.65
FIRST_FRAME = "first frame, warm"


@dataclass(frozen=True)
class Gate:
    """One measure against its limit."""

    letter: str
    """Which of the gates: a (colour, contrast, detail), b (colour spread), c (grid, frame line, threads), d
    (flicker), e (distance, reported only), budget."""
    name: str
    value: float | None
    """None: not measured; ``text`` says why."""
    limit: float | None
    """None: reported, not judged."""
    at_least: bool = False
    """Whether the limit is the smallest good value; else it is the largest."""
    unit: str = ""
    text: str = ""

    @property
    def ok(self) -> bool | None:
        """None: nothing to judge."""
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def judge_statistics(results: Iterable[Pixels], targets: Iterable[Pixels] | None) -> list[Gate]:
    """Gates a and b, of sets of pictures (H, W, 3) uint8 RGB; without targets the values are reported."""
    found = statistics(results)
    wanted = None if targets is None else statistics(targets)
    rows = (("a", "chroma"), ("a", "contrast"), ("a", "detail"), ("b", "spread"))
    return [_share(letter, name, found, wanted) for letter, name in rows]


def _share(letter: str, name: str, found: Statistics, wanted: Statistics | None) -> Gate:
    title = {"detail": "fine detail", "spread": "colour spread"}.get(name, name)
    value: float = getattr(found, name)
    if wanted is None:
        return Gate(letter, title, value, None, text="no target to compare with")
    target: float = getattr(wanted, name)
    share = value / target if target > 0 else float(value >= target)
    return Gate(letter, title, share, LEAST_SHARE, at_least=True, text=f"{value:.1f} of {target:.1f}")


def judge_skies(results: Sequence[Pixels], targets: Sequence[Pixels] | None) -> list[Gate]:
    """Gate c, of what filter and teacher make of :func:`~.measures.synthetic_skies`."""
    found = grid(results)
    own = grid(targets) if targets is not None else dict.fromkeys(found, 0.0)
    gates = []
    for period, value in found.items():
        note = f"teacher {own[period]:.1f}" if targets is not None else ""
        gates.append(Gate("c", f"grid of {period} px", value, own[period] + MOST_GRID, unit="levels", text=note))
    return [*gates, Gate("c", "frame line", frame_line(results), MOST_FRAME_LINE, unit="levels")]


def judge_threads(results: Sequence[Pixels], sources: Sequence[Pixels]) -> Gate:
    """Gate c, of what a filter makes of :func:`~.measures.turned` pictures."""
    found, own = threads(results), threads(sources)
    return Gate("c", "threads", found / own, MOST_THREADS, text=f"{found:.2f} of {own:.2f}")


def judge_flicker(clips: Mapping[str, Flicker | None]) -> list[Gate]:
    """Gate d, by the clip's name."""
    gates = []
    for name, flicker in clips.items():
        if flicker is None:
            gates.append(Gate("d", f"flicker, {name}", None, None, text="no still pixels"))
            continue
        limit = max(FLICKER_OF_SOURCE * flicker.source, FLICKER_FREE)
        note = f"source {flicker.source:.2f}"
        gates.append(Gate("d", f"flicker, {name}", flicker.result, limit, unit="levels", text=note))
        gates.append(Gate("d", f"flicker p99, {name}", flicker.p99, MOST_P99, unit="levels"))
    return gates


def judge_budget(file_bytes: int, macs: int | None, first_frame_s: float | None) -> list[Gate]:
    """Size, cost and start; None: not measured."""
    return [
        Gate("budget", "file", file_bytes / 1e6, MOST_BYTES / 1e6, unit="MB"),
        _optional("operations at 256x256", macs, 1e9, MOST_MACS, "GMAC", "needs the extra 'export'"),
        _optional(FIRST_FRAME, first_frame_s, 1.0, MOST_FIRST_FRAME_S, "s", "--no-start"),
    ]


def _optional(name: str, value: float | None, scale: float, limit: float, unit: str, why: str) -> Gate:
    if value is None:
        return Gate("budget", name, None, None, unit=unit, text=f"not measured: {why}")
    return Gate("budget", name, value / scale, limit / scale, unit=unit)
