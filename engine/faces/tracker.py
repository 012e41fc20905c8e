"""Following faces from frame to frame, so that their squares neither tremble nor lag, and come and go by fading.

The whole frame is searched every so many frames, for faces that are new. A face once found is moved by the motion of
the picture itself (points of the face, Lucas-Kanade, a robust similarity), which is exact from frame to frame and has
no lag; a close look every few frames says where it really is, and the difference is given back little by little. A
filter over the detector's answers alone (one euro) would have to choose between its trembling and lag.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..pixels.frame import Frame
from .detector import FaceDetector, YuNet, follow_points, shrink
from .finder import SMALLEST_PX, Finder, Sight
from .framing import FaceFraming
from .geometry import Points, Similarity, share_inside

LOOK_EVERY = 4
"""Frames from one close look at a face to the next."""

_FADE_S = 0.2
_CATCH_UP_S = 0.15
"""Time in which most of the difference to the last look is given back."""
_LARGE_STEP = 0.35
"""A difference of this share of the square is made up at once: the points followed something else."""
_MISSED_LOOKS_PX = 2 * LOOK_EVERY
"""Frames without a sight after which a face begins to fade."""
_SAME_FACE = 0.4
"""Squares whose middles are nearer than this share of a side are of the same face."""
_USUAL_STEP_S = 1 / 30
_LONGEST_STEP_S = 0.2

_FLOW_PX = 128
"""Squares larger than this are shrunk by a whole number before points are followed in them."""
_LEAST_INLIERS = 0.4

_CUT = 12.0
"""Mean absolute difference of two frames' thumbnails, of 255, from which they may belong to different shots: two people
before the same wall differ by 19, a passing car by 10."""
_CUT_FACTOR = 4.0
"""And how many times the usual difference that must be: flashes and fast pans are no cuts."""
_THUMBNAIL = (18, 32)


@dataclass(frozen=True)
class Placed:
    """A face of a frame, as it is to be composed."""

    square: Similarity
    opacity: float
    """0 to 1: below 1 while a face fades."""
    number: int
    """Identifier of the face, from 1; constant while it is tracked."""


@dataclass
class _Track:
    number: int
    square: Similarity
    sidewise: float
    opacity: float
    fresh: bool = True
    """Came with the shot: it is there at once."""
    owed: Similarity | None = None
    """Where the last look saw it, moved along since; the square goes there little by little."""
    unseen: int = 0
    """Frames since the last sight."""
    since_look: int = 0
    leaving: bool = False
    """A larger face takes its place."""
    home: list[Points] = field(default_factory=list)


class Follower:
    """Follows the faces of one stream of frames. Not for concurrent use, frames in their order.

    Args:
        options: how many faces, how often they are searched.
        detector: what finds faces in a small picture; by default YuNet.
    """

    def __init__(self, options: FaceFraming | None = None, detector: FaceDetector | None = None) -> None:
        self.options: FaceFraming = options or FaceFraming()
        self._finder = Finder(detector or YuNet())
        self.frames_with_faces: int = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything: another stream, or another shot."""
        self._tracks: list[_Track] = []
        self._numbers = itertools.count(1)
        self._before: Frame | None = None
        self._thumbnail: NDArray[np.int16] | None = None
        self._usual_difference = 0.0
        self._since_search: int | None = None
        self._time: Fraction | None = None

    def find(self, frame: Frame) -> tuple[Placed, ...]:
        """The faces of a single picture."""
        followed = self.__dict__.copy()
        self.reset()
        placed = self.update(frame)
        followed["frames_with_faces"] = self.frames_with_faces
        self.__dict__.update(followed)  # a stream goes on where it was
        return placed

    def update(self, frame: Frame) -> tuple[Placed, ...]:
        """The faces of the next frame, the largest first; those that do not show at all are left out."""
        step_s = self._step(frame)
        if self._is_cut(frame):
            self._tracks.clear()
            self._since_search = None
        self._move(frame, step_s)
        for track in self._tracks:
            self._look_again(frame, track)
        first = self._since_search is None
        if self._since_search is None or self._since_search + 1 >= self.options.detect_every:
            self._since_search = 0
            self._search(frame, first)
        else:
            self._since_search += 1
        self._drop_doubles()
        self._fade(frame.size, step_s)
        self._before = frame
        shown = [Placed(t.square, t.opacity, t.number) for t in self._tracks if t.opacity > 0]
        self.frames_with_faces += bool(shown)
        return tuple(sorted(shown, key=lambda placed: -placed.square.side))

    def _step(self, frame: Frame) -> float:
        """Seconds since the frame before."""
        step_s = _USUAL_STEP_S
        if frame.time is not None and self._time is not None:
            step_s = min(max(float(frame.time - self._time), 0.0), _LONGEST_STEP_S)
        self._time = frame.time
        return step_s

    def _is_cut(self, frame: Frame) -> bool:
        """Whether another shot begins with this frame: it differs from the one before far more than usual."""
        thumbnail = _thumbnail(frame)
        before, self._thumbnail = self._thumbnail, thumbnail
        if self._before is not None and (self._before.size, self._before.format) != (frame.size, frame.format):
            self._before = None
            return True
        if before is None or before.shape != thumbnail.shape:
            return False
        difference = float(np.abs(thumbnail - before).mean())
        cut = difference > max(_CUT, _CUT_FACTOR * self._usual_difference)
        if not cut:
            self._usual_difference += 0.1 * (difference - self._usual_difference)
        return cut

    def _move(self, frame: Frame, step_s: float) -> None:
        """Move the squares with the picture, and a share of the way to where they were seen."""
        catch_up = 1 - np.exp(-step_s / _CATCH_UP_S)
        for track in self._tracks:
            assert self._before is not None
            motion = _motion(self._before, frame, track.square)
            if motion is None:
                track.since_look = LOOK_EVERY  # look now: nothing else tells where it went
            else:
                track.square = track.square.moved(motion)
                track.owed = track.owed.moved(motion) if track.owed else None
            if track.owed is not None:
                track.square = track.square.step_to(track.owed, float(catch_up))

    def _look_again(self, frame: Frame, track: _Track) -> None:
        track.since_look += 1
        track.unseen += 1
        if track.since_look < LOOK_EVERY and track.unseen < LOOK_EVERY:
            return
        sight = self._finder.look(frame, track.square)
        if sight is not None and sight.width_px >= SMALLEST_PX / 2:
            _see(track, sight)

    def _search(self, frame: Frame, first: bool) -> None:
        """Search the whole frame for faces that are not followed yet."""
        for sight in self._finder.search(frame)[: self.options.max_faces]:
            track = next((track for track in self._tracks if _same(track.square, sight.square)), None)
            if track is not None:
                if track.unseen:
                    _see(track, sight)
                continue
            if len(self._tracks) >= self.options.max_faces:
                smallest = min(self._tracks, key=lambda track: track.square.side)
                if sight.square.side > 1.3 * smallest.square.side:
                    smallest.leaving = True
                continue
            closer = self._finder.look_closer(frame, sight)
            self._tracks.append(_Track(next(self._numbers), closer.square, closer.sidewise, 0.0, fresh=first))

    def _drop_doubles(self) -> None:
        """If two squares follow the same face, keep the older one."""
        kept: list[_Track] = []
        for track in sorted(self._tracks, key=lambda track: track.number):
            if not any(_same(track.square, other.square) for other in kept):
                kept.append(track)
        self._tracks = kept

    def _fade(self, frame_size: tuple[int, int], step_s: float) -> None:
        for track in self._tracks:
            seen = not track.leaving and track.unseen <= _MISSED_LOOKS_PX
            goal = _presence(track, frame_size) if seen else 0.0
            reach = step_s / _FADE_S
            track.opacity = goal if track.fresh else track.opacity + float(np.clip(goal - track.opacity, -reach, reach))
            track.fresh = False
        self._tracks = [t for t in self._tracks if t.opacity > 0 or not (t.leaving or t.unseen > _MISSED_LOOKS_PX)]


def _presence(track: _Track, frame_size: tuple[int, int]) -> float:
    """How much of the change a face should show: less when it leaves the frame, turns away or becomes tiny."""
    inside = (share_inside(track.square, frame_size) - 0.55) / 0.3
    towards = (1.1 - track.sidewise) / 0.4
    size = (track.square.side / 2 - SMALLEST_PX * 0.75) / (SMALLEST_PX * 0.25)
    return float(np.clip(min(inside, towards, size), 0, 1))


def _see(track: _Track, sight: Sight) -> None:
    track.since_look = track.unseen = 0
    # The nose of a head that turns is seen a little late by the detector; its fading is slow anyway.
    track.sidewise += 0.5 * (sight.sidewise - track.sidewise)
    if track.square.distance(sight.square) > _LARGE_STEP:
        track.square, track.owed = sight.square, None
    elif track.owed is None:
        track.owed = sight.square
    else:
        track.owed = track.owed.step_to(sight.square, 0.35)  # one look alone trembles


def _same(one: Similarity, other: Similarity) -> bool:
    return abs(one.centre - other.centre) < _SAME_FACE * min(one.side, other.side)


# --- motion of the picture ----------------------------------------------------------------------------------------

_COLUMNS, _ROWS = np.meshgrid(np.linspace(0.26, 0.74, 6), np.linspace(0.34, 0.86, 6))
_GRID: Points = (_COLUMNS + 1j * _ROWS).ravel()
"""Points of the square that are followed: the face itself, from the brow to the chin."""


def _motion(before: Frame, now: Frame, square: Similarity) -> Similarity | None:
    """How the face in ``square`` moved between two frames; None if it cannot be determined."""
    corners = square.to_frame(np.array([0, 1, 1j, 1 + 1j]))
    height, width = now.size
    margin = square.side / 4
    left, right = (int(np.clip(x, 0, width)) for x in (corners.real.min() - margin, corners.real.max() + margin))
    top, bottom = (int(np.clip(y, 0, height)) for y in (corners.imag.min() - margin, corners.imag.max() + margin))
    factor = max(1, round(square.side / _FLOW_PX))
    size = (bottom - top) // factor, (right - left) // factor
    if min(size) < 16:
        return None
    window = slice(top, top + size[0] * factor), slice(left, left + size[1] * factor)
    pictures = [np.ascontiguousarray(_grey(frame)[window]) for frame in (before, now)]
    if factor > 1:
        pictures = [shrink(picture, size) for picture in pictures]
    start = square.to_frame(_GRID)
    local = (start - (left + 1j * top)) / factor
    inside = (local.real >= 2) & (local.real < size[1] - 2) & (local.imag >= 2) & (local.imag < size[0] - 2)
    if inside.sum() < 8:
        return None
    end, found = follow_points(pictures[0], pictures[1], local[inside])
    found &= (end.real >= 0) & (end.real < size[1]) & (end.imag >= 0) & (end.imag < size[0])
    if found.sum() < 8:
        return None
    source, target = start[inside][found], end[found] * factor + (left + 1j * top)
    motion, weights = robust_similarity(source, target, tolerance=0.01 * square.side)
    if weights.mean() < _LEAST_INLIERS or not 0.8 < abs(motion.turn) < 1.25:
        return None
    return motion


def robust_similarity(source: Points, target: Points, tolerance: float) -> tuple[Similarity, NDArray[np.float64]]:
    """The similarity that most points agree on, and how much each agrees (0..1).

    Reweighted least squares with Cauchy weights, begun at the median motion; ``tolerance`` is the distance at which a
    point counts half: the mouth moves on its own, a hand before the face too.
    """
    motion = target - source
    middle = complex(np.median(motion.real), np.median(motion.imag))
    residual = np.abs(motion - middle)
    fitted = Similarity(1, middle)
    weights = 1 / (1 + (residual / tolerance) ** 2)
    for _ in range(3):
        fitted = Similarity.between(source, target, weights)
        residual = np.abs(fitted.to_square(source) - target)
        weights = 1 / (1 + (residual / tolerance) ** 2)
    return fitted, weights


def _grey(frame: Frame) -> NDArray[np.uint8]:
    return frame.planes[0] if frame.format != "rgb24" else frame.planes[0][..., 1]


def _thumbnail(frame: Frame) -> NDArray[np.int16]:
    grey = _grey(frame)
    rows, columns = (max(1, length // count) for length, count in zip(grey.shape, _THUMBNAIL, strict=True))
    return grey[rows // 2 :: rows, columns // 2 :: columns].astype(np.int16)
