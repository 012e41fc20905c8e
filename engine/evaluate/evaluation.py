"""Run a filter over pictures and clips, and judge what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import gates
from .gates import Gate
from .lab import Pixels
from .measures import SMALLEST, Flicker, FlickerMeter, distance, synthetic_skies, turned
from .sheet import color_transfer, contact_sheet

Filter = Callable[[Pixels], Pixels]
"""(H, W, 3) uint8 RGB to the same size."""

SHEET_PICTURES = 12
SHEET_FRAMES = 4


@dataclass(frozen=True)
class Target:
    """What a style should look like; any part may be missing."""

    name: str
    pictures: Sequence[Pixels]
    """Answers to the pictures one by one (``paired``), or works of the style."""
    paired: bool
    teacher: Filter | None = None
    """Who answers; asked about the synthetic skies too."""


@dataclass(frozen=True)
class Evaluation:
    """What was judged, and how."""

    model: str
    size: tuple[int, int]
    """(height, width) of the pictures."""
    pictures: int
    target: str
    gates: tuple[Gate, ...]
    columns: tuple[str, ...] = ()
    """Titles of the columns of the contact sheet."""
    sheet: Pixels | None = field(default=None, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """Whether no gate failed; gates without a measure do not count."""
        return all(gate.ok is not False for gate in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [
            {
                "gate": gate.letter,
                "name": gate.name,
                "value": gate.value,
                "limit": gate.limit,
                "at_least": gate.at_least,
                "unit": gate.unit,
                "ok": gate.ok,
                "text": gate.text,
            }
            for gate in self.gates
        ]
        return {
            "schema": "ganlens-evaluation/1",
            "model": self.model,
            "size": list(self.size),
            "pictures": self.pictures,
            "target": self.target,
            "passed": self.passed,
            "gates": rows,
            "sheet": list(self.columns),
        }


def evaluate(
    model: str,
    apply: Filter,
    pictures: Sequence[Pixels],
    target: Target | None = None,
    clips: Mapping[str, Iterable[Pixels]] | None = None,
    *,
    against: Mapping[str, Filter] | None = None,
    budget: Sequence[Gate] = (),
    results: Sequence[Pixels] | None = None,
) -> Evaluation:
    """Judge a filter.

    Args:
        model: its name.
        apply: the filter.
        pictures: pictures that it was not trained on, (H, W, 3) uint8 RGB of one size, at least one.
        target: what the style should look like; None: shares of it are not judged.
        clips: frames in their order, by the clip's name.
        against: other filters, which get a column of the contact sheet each.
        budget: further gates, for the record.
        results: what the filter makes of the pictures, if it has been computed elsewhere.
    """
    size = pictures[0].shape[:2]
    if results is None:
        results = [apply(picture) for picture in pictures]
    found = gates.judge_statistics(results, target.pictures if target else None)
    skies = synthetic_skies((max(size[0], SMALLEST), max(size[1], SMALLEST)))
    teacher = target.teacher if target else None
    found += gates.judge_skies([apply(sky) for sky in skies], [teacher(sky) for sky in skies] if teacher else None)
    slanted = [turned(picture) for picture in pictures]
    found.append(gates.judge_threads([apply(picture) for picture in slanted], slanted))
    flickers: dict[str, Flicker | None] = {}
    shown: list[tuple[Pixels, Pixels]] = []
    for name, frames in (clips or {}).items():
        meter = FlickerMeter()
        for number, frame in enumerate(frames):
            result = apply(frame)
            meter.add(frame, result)
            if number == 0 and len(shown) < SHEET_FRAMES:
                shown.append((frame, result))
        flickers[name] = meter.value()
    found += gates.judge_flicker(flickers)
    if target is not None and target.paired:
        found.append(Gate("e", "L1 to the target", distance(results, target.pictures), None, text="reported only"))
    others = against or {}
    columns = ["source", *(["target"] if target else []), model, *(["colour transfer"] if target else []), *others]
    rows: list[list[Pixels]] = []
    for number, (picture, result) in enumerate(zip(pictures[:SHEET_PICTURES], results, strict=False)):
        wanted = target.pictures[number % len(target.pictures)] if target else None
        rows.append(_row(picture, wanted, result, others))
    for frame, result in shown:
        if target is not None and teacher is None:  # nobody says what the frame should look like: two columns are empty
            blank = np.full_like(frame, 255)
            rows.append([frame, blank, result, blank, *(other(frame) for other in others.values())])
        else:
            rows.append(_row(frame, teacher(frame) if teacher else None, result, others))
    return Evaluation(
        model=model,
        size=(size[0], size[1]),
        pictures=len(pictures),
        target=target.name if target else "",
        gates=(*found, *budget),
        columns=tuple(columns),
        sheet=contact_sheet(rows),
    )


def _row(source: Pixels, target: Pixels | None, result: Pixels, others: Mapping[str, Filter]) -> list[Pixels]:
    known = [] if target is None else [target]
    transferred = [color_transfer(source, target) for target in known]
    return [source, *known, result, *transferred, *(other(source) for other in others.values())]
