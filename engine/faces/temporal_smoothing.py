"""Steady changes: a generator decides each frame anew, which flickers where the face itself stands still.

In the square the face stands still even when it moves through the frame, so the change of the frame before fits. It is
kept where the generator saw the same as before, and given up where the face changed: no ghosts of an open mouth.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Array, Output

_KEPT = 0.9
"""Share of the change before that is kept at full strength where nothing moved: a memory of about ten frames."""
_MOVED = 0.05
"""Difference of the generator's input, of its range, from which nothing is kept."""
_BLOCK = 4
"""Pixels over which the difference is averaged: the source's own noise is no motion."""


class Link:
    """A face in one frame, tied to the same face in the frame before.

    Networks of several frames run side by side; :meth:`settle` waits for the frame before, so that the changes pass on
    in the frames' order.

    Args:
        before: the link of the frame before, or None.
        strength: 0..1.
        span: what the values of pictures span.
    """

    def __init__(self, before: Link | None, strength: float, span: float = 2.0) -> None:
        self._before = before
        self._strength = strength
        self._span = span
        self._settled = threading.Event()
        self._kept: tuple[Array, Array, Array | None] | None = None  # seen, change, mask

    def settle(self, image: Array, output: Output, *, composed: bool) -> Output:
        """The generator's output, steadied, as a finished picture and its mask.

        Args:
            image: (1, 3, h, w), what the generator saw.
            output: its answer; not ``composed``: a segment, to be laid over ``image`` with the mask.
        """
        change = output.translated - image
        mask = None if output.mask is None else output.mask.copy()
        if not composed:
            assert mask is not None
            change *= mask
        before, self._before = self._before, None  # or the chain would hold every frame
        try:
            if before is not None:
                before._settled.wait()
                if before._kept is not None:
                    seen, last_change, last_mask = before._kept
                    before._kept = None
                    keep = self._strength * _KEPT * _stillness(image, seen, self._span)
                    change += keep * (last_change - change)
                    if mask is not None and last_mask is not None:
                        mask += keep * (last_mask - mask)
            self._kept = image.copy(), change, mask  # the network will overwrite its input
        finally:
            self.release()
        return Output(image + change, mask)

    def release(self) -> None:
        """Let the next frame go on, also where this one failed."""
        self._settled.set()


def _stillness(now: Array, before: Array, span: float) -> Array:
    """(1, 1, h, w) in [0, 1]: 1 where two pictures are the same."""
    difference = np.abs(now - before).mean(axis=1, keepdims=True)
    height, width = difference.shape[2:]
    if height % _BLOCK == 0 and width % _BLOCK == 0:
        blocks = difference.reshape(1, 1, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(3, 5))
        difference = blocks.repeat(_BLOCK, axis=2).repeat(_BLOCK, axis=3)
    still: Array = np.clip(1 - difference / (span * _MOVED), 0, 1)
    return still


class Flicker(NamedTuple):
    """How much a change flickers; steps of 255 from frame to frame, on still parts of the change."""

    change: float
    """Mean absolute difference of the change (result minus source) from one frame to the next."""
    source: float
    """The same of the source itself: its noise."""

    @property
    def ratio(self) -> float:
        """The change's flicker in units of the source's own."""
        return self.change / max(self.source, 1e-6)


def measure_flicker(
    sources: Iterable[NDArray[np.uint8]], results: Iterable[NDArray[np.uint8]], *, still: int = 6, visible: int = 6
) -> Flicker:
    """Measure the flicker of a change over a stretch of video.

    Args:
        sources, results: (H, W, 3) uint8 RGB frames, in pairs.
        still: a pixel stands still where no channel of the source differs by more from one frame to the next.
        visible: a pixel belongs to the change where some channel differs by more from the source.
    """
    change = source = count = 0.0
    before: tuple[NDArray[np.int16], NDArray[np.int16]] | None = None
    for original, result in zip(sources, results, strict=True):
        now = original.astype(np.int16), result.astype(np.int16) - original.astype(np.int16)
        if before is not None:
            moved = np.abs(now[0] - before[0])
            shown = np.maximum(np.abs(now[1]), np.abs(before[1])).max(axis=2) > visible
            chosen = shown & (moved.max(axis=2) <= still)
            change += float(np.abs(now[1] - before[1])[chosen].sum())
            source += float(moved[chosen].sum())
            count += 3 * float(chosen.sum())
        before = now
    return Flicker(change / count, source / count) if count else Flicker(0.0, 0.0)
