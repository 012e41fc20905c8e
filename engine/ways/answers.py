"""A look at what a model answers: what is not a picture becomes black or clipped pixels, and a user is told so."""

from __future__ import annotations

import numpy as np

from ..backends.base import Array, Output
from ..model.description import VALUE_RANGES
from ..spec import GeneratorSpec, ValueRange

_OUTSIDE = 0.5
"""How far beyond its range, as a share of the range, a value is not taken for overshoot."""
_FEW = 0.01
"""Share of values that may be that far outside."""


class Answers:
    """Checks every answer for NaN, and the first one for values outside the range that the record states.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: GeneratorSpec) -> None:
        self._range = spec.value_range
        self._own = spec.architecture != "onnx"
        self._first = True
        self._not_numbers = False
        self.notes: list[str] = []

    def look(self, images: Array, output: Output) -> None:
        """Check an answer of a run.

        Args:
            images: (N, 3, h, w) float32, what the model was given.
            output: what it answered.
        """
        answer = output.translated
        with np.errstate(all="ignore"):
            total = float(np.add.reduce(answer, axis=None))
        if not np.isfinite(total):
            self._tell_of_nan(answer)
        elif self._first:
            self._first = False
            self._check_range(images, answer)

    def _tell_of_nan(self, answer: Array) -> None:
        share = 1 - float(np.isfinite(answer).mean())
        if self._not_numbers or not share:
            return
        self._not_numbers = True
        self.notes.append(
            f"{share:.1%} of the values that the model answers are not finite numbers (NaN or infinity); such pixels "
            "are black or white. Check the model, for example its precision"
        )

    def _check_range(self, images: Array, answer: Array) -> None:
        low, high = self._range
        margin = _OUTSIDE * (high - low)
        outside = float(((answer < low - margin) | (answer > high + margin)).mean())
        if outside > _FEW:
            self.notes.append(
                f"{outside:.0%} of the values that the model answers are far outside {low:g}..{high:g} (they span "
                f"{float(answer.min()):.3g}..{float(answer.max()):.3g}) and are clipped{self._cure(answer)}"
            )
        elif np.ptp(answer) < (high - low) / 100 < np.ptp(images) / 20:
            self.notes.append(
                f"the values that the model answers span only {float(answer.min()):.3g}..{float(answer.max()):.3g} of "
                f"{low:g}..{high:g}: the picture has one colour{self._cure(answer, narrower=True)}"
            )

    def _cure(self, answer: Array, *, narrower: bool = False) -> str:
        """Another range that would suit; our own records are not contradicted by an option."""
        low, high = float(answer.min()), float(answer.max())

        def fits(range: ValueRange) -> bool:
            room = _OUTSIDE / 5 * (range[1] - range[0])
            if range == self._range or (narrower and range[1] - range[0] >= self._range[1] - self._range[0]):
                return False
            return low >= range[0] - room and high <= range[1] + room

        suits = [name for name, range in VALUE_RANGES.items() if fits(range)]
        if self._own or not suits:
            return ""
        narrow = min(suits, key=lambda name: VALUE_RANGES[name][1] - VALUE_RANGES[name][0])
        return f"; --range {narrow} may be the right one"
