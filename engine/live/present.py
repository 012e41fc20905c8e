"""What is done to a frame besides the model: mirrored, compared with the original, marked when it is no longer fresh."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..media.bitmap_font import ADVANCE, LINE, WIDTH, draw_line
from ..pixels.frame import Frame


def mirrored(frame: Frame) -> Frame:
    """The frame flipped left to right."""
    result = frame.copy()
    for target, plane in zip(result.planes, frame.planes, strict=True):
        np.copyto(target, plane[:, ::-1])
    return result


def compared(original: Frame, shown: Frame, how: Literal["split", "side"], split: float = 0.5) -> Frame:
    """The original beside what is shown, in a frame of the same size.

    Args:
        original, shown: frames of the same size and format; neither is changed.
        how: "split": the original in the left part of the frame. "side": the middle half of both.
        split: where the original ends with "split", as a share of the width.
    """
    width = original.size[1]
    result = shown.copy()
    if how == "split":
        columns = _even(round(width * split), original)
        for target, plane in zip(result.planes, original.planes, strict=True):
            end = _scaled(columns, plane.shape[1], width)
            target[:, :end] = plane[:, :end]
        return result
    half, start = _even(width // 2, original), _even(width // 4, original)
    for target, left, right in zip(result.planes, original.planes, shown.planes, strict=True):
        count, begin = _scaled(half, left.shape[1], width), _scaled(start, left.shape[1], width)
        rest = target.shape[1] - count
        target[:, :count] = left[:, begin : begin + count]
        target[:, count:] = right[:, begin : begin + rest]
    return result


def marked(frame: Frame, text: str) -> Frame:
    """The frame darkened, with a line of text in its middle: it is the last one, and not fresh."""
    result = frame.copy()
    height, width = frame.size
    luma = result.planes[0]
    floor = 0 if frame.format == "rgb24" or frame.color.full_range else 16
    np.copyto(luma, ((luma.astype(np.int16) - floor) // 2 + floor).clip(0, 255).astype(np.uint8))
    columns, rows = len(text) * ADVANCE - (ADVANCE - WIDTH), LINE
    scale = min(width * 3 // 4 // columns, max(1, height // 160))
    if scale:
        ink = np.full((rows * scale, columns * scale, 3), 255, np.uint8)
        draw_line(ink, text, 0, 0, scale)
        top, left = (height - ink.shape[0]) // 2, (width - ink.shape[1]) // 2
        luma[top : top + ink.shape[0], left : left + ink.shape[1]][ink[..., 0] == 0] = 235
    return result


def _even(columns: int, frame: Frame) -> int:
    return columns - columns % 2 if frame.format != "rgb24" else columns


def _scaled(columns: int, plane_width: int, width: int) -> int:
    """Columns of the frame as columns of a plane that may be subsampled."""
    return columns if plane_width == width else -(-columns // 2)
