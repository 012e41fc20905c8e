"""What is done to a frame besides the model: compared with the original, or marked when it is stale."""

from __future__ import annotations

import numpy as np

from ..controls import Settings
from ..media.bitmap_font import ADVANCE, LINE, WIDTH, draw_line
from ..pixels.frame import Frame
from ..session import split_screen


def compared(original: Frame, shown: Frame, settings: Settings) -> Frame:
    """The original beside what is shown, as ``settings.compare`` says, in a frame of the same size.

    Side by side each gets half of the frame and shows its middle: cameras and files cannot grow while they run.

    Args:
        original, shown: frames of the same size and format; neither is changed.
    """
    if settings.compare == "split":
        return split_screen(original, shown, settings.split)
    result = shown.copy()
    width = original.size[1]
    half, start = width // 2 // 2 * 2, width // 4 // 2 * 2
    for target, left, right in zip(result.planes, original.planes, shown.planes, strict=True):
        count, begin = (half, start) if left.shape[1] == width else (half // 2, start // 2)
        target[:, :count] = left[:, begin : begin + count]
        target[:, count:] = right[:, begin : begin + target.shape[1] - count]
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
