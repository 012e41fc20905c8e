"""The position of a face: the similarity (turn, scale, shift) between a frame and the square that a face model sees.

Points are complex numbers, x + iy in luma pixels of the frame (pixel k covers [k, k + 1)), or in units of the square.
A similarity is then one multiplication and one addition, and its least-squares fit is a closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..spec import format_size

Points = NDArray[np.complex128]

CELEBA = np.array([0.3915 + 0.516j, 0.6085 + 0.516j, 0.5 + 0.644j, 0.4045 + 0.743j, 0.5955 + 0.743j])
"""Eyes, nose tip, corners of the mouth in the middle 178x178 of CelebA's aligned 178x218 pictures, in units of the
square, left to right as seen: the medians of what YuNet finds in 609 of them, made symmetric (CelebA's own annotations
have the eyes there within half a pixel of 178)."""

WEIGHTS = np.array([1.0, 1.0, 0.2, 0.6, 0.6])
"""About the inverse variances of the same 609: CelebA is aligned by the eyes; the nose moves when a head turns."""

FACE = (0.25, 0.30, 0.75, 0.90)
"""Left, top, right, bottom of the face itself in the square; about half of the square is hair and surroundings."""

_STEPS = (np.arange(16) + 0.5) / 16
_FACE_POINTS = np.add.outer(
    1j * (FACE[1] + _STEPS * (FACE[3] - FACE[1])), FACE[0] + _STEPS * (FACE[2] - FACE[0])
).ravel()


@dataclass(frozen=True)
class Similarity:
    """Frame to square: ``square = turn * frame + shift``."""

    turn: complex
    shift: complex

    @classmethod
    def between(cls, source: Points, target: Points, weights: NDArray[np.float64] | None = None) -> Similarity:
        """The similarity that takes ``source`` nearest to ``target`` (weighted least squares)."""
        w = np.full(len(source), 1 / len(source)) if weights is None else weights / weights.sum()
        middle, goal = w @ source, w @ target
        centred = w * (source - middle).conj()
        turn = (centred @ (target - goal)) / (centred @ (source - middle))
        return cls(complex(turn), complex(goal - turn * middle))

    @classmethod
    def of_face(cls, landmarks: Points) -> Similarity:
        """The square that CelebA's alignment implies for a face with these five landmarks."""
        return cls.between(landmarks, CELEBA, WEIGHTS)

    def to_square(self, points: Points) -> Points:
        """Frame to square."""
        return self.turn * points + self.shift

    def to_frame(self, points: Points) -> Points:
        """Square to frame."""
        return (points - self.shift) / self.turn

    def tensor(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """What the warp kernels take, for a square tensor of ``size``."""
        height, width = size
        if height != width:
            raise OptionError(f"got a face model of {format_size(size)}, expected a square one.")
        return width * self.turn.real, width * self.turn.imag, width * self.shift.real, width * self.shift.imag

    @property
    def side(self) -> float:
        """Side of the square in pixels of the frame."""
        return 1 / abs(self.turn)

    @property
    def centre(self) -> complex:
        """Middle of the square in the frame."""
        return (0.5 + 0.5j - self.shift) / self.turn

    @property
    def degrees(self) -> float:
        """How far the face leans to the right as seen (clockwise)."""
        return -math.degrees(math.atan2(self.turn.imag, self.turn.real))

    def moved(self, motion: Similarity) -> Similarity:
        """The square after ``motion``, which takes points of the frame before to the frame now."""
        turn = self.turn / motion.turn
        return Similarity(turn, self.shift - turn * motion.shift)

    def step_to(self, other: Similarity, share: float) -> Similarity:
        """A ``share`` (0..1) of the way to ``other``: the corners move on nearly straight lines."""
        centre = self.centre + share * (other.centre - self.centre)
        turn = self.turn * (other.turn / self.turn) ** share
        return Similarity(turn, 0.5 + 0.5j - turn * centre)

    def distance(self, other: Similarity) -> float:
        """Distance between the squares: the corners' largest distance, in sides of this one."""
        corners = np.array([0, 1, 1j, 1 + 1j])
        return float(np.abs(self.to_frame(corners) - other.to_frame(corners)).max() / self.side)


def share_inside(square: Similarity, frame_size: tuple[int, int]) -> float:
    """Fraction of the face inside a frame of (height, width), 0 to 1."""
    points = square.to_frame(_FACE_POINTS)
    height, width = frame_size
    inside = (points.real >= 0) & (points.real < width) & (points.imag >= 0) & (points.imag < height)
    return float(inside.mean())


def sidewise(landmarks: Points) -> float:
    """How far a head is turned to the side: 0 looks at the camera, about 0.5 half sidewise, 1 and more a profile.

    The nose's distance from the line through the middle of eyes and mouth, in half distances of the eyes. (The eyes'
    distance alone shrinks too, which makes it grow faster.)
    """
    eyes, mouth = landmarks[:2].mean(), landmarks[3:].mean()
    down = mouth - eyes
    apart = abs(landmarks[1] - landmarks[0])
    if abs(down) < 1e-9 or apart < 1e-9:
        return 2.0
    off = ((landmarks[2] - eyes) * down.conjugate()).imag / abs(down)
    return float(abs(off) / (apart / 2))
