"""Options of face framing."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError

MOST_FACES = 64


@dataclass(frozen=True)
class FaceFraming:
    """How the faces of a frame enter a face model, each aligned as in the model's training pictures.

    Args:
        max_faces: most faces changed in a frame; the largest are taken.
        detect_every: frames from one search of the whole frame to the next. Faces once found are followed in every
            frame; this is how long a new one may go unnoticed.
        steady: 0..1, how much of the change that the model makes is taken from the frames before where the face itself
            stands still: takes out flicker.
        feather: width of the ramp at the model's frame border, in pixels of the model's picture; None: half of the
            border that the model leaves unchanged, or 1/16 of the picture if it leaves none.
    """

    max_faces: int = 4
    detect_every: int = 10
    steady: float = 0.0
    feather: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_faces <= MOST_FACES:
            raise OptionError(f"max_faces: got {self.max_faces}, expected 1 to {MOST_FACES}.")
        if self.detect_every < 1:
            raise OptionError(f"detect_every: got {self.detect_every}, expected at least 1 frame.")
        if not 0 <= self.steady <= 1:
            raise OptionError(f"steady: got {self.steady:g}, expected 0 to 1.")
        if self.feather is not None and self.feather < 0:
            raise OptionError(f"The feather must not be negative, got {self.feather:g}.")
