"""The pictures that benchmarks run on: real ones, because networks can be quicker on zeros than on pictures."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._kernels import Prepare
from ..errors import OptionError
from ..media import VideoSource
from ..media.pictures import list_images, read_image
from ..pixels.frame import Frame

Pictures = NDArray[np.uint8]
"""(N, H, W, 3) RGB."""

SHIPPED_CLIP = Path(__file__).parent / "meadow.mp4"
"""Five seconds of 1280x720 that come with ganlens."""
SHIPPED = 16
LEAST = 16
"""Pictures that quality is judged on, at least."""
MOST = 64
FRAMES = 24
"""Frames of the live scenario, shown there and back."""


def load_pictures(images: str | None, size: tuple[int, int]) -> Pictures:
    """Pictures at ``size`` (height, width), scaled to cover it and cropped in the middle.

    Args:
        images: folder or pattern of files; None: 16 different parts of the shipped clip.

    Raises:
        OptionError: fewer than :data:`LEAST` files.
        MediaError: a file cannot be read.
    """
    if images is None:
        return np.stack([fitted(frame, size, number) for number, frame in enumerate(_shipped())])
    return np.stack([fitted(read_image(path), size) for path in choose(images)])


def calibration_pictures(size: tuple[int, int]) -> Pictures:
    """Parts of the shipped clip other than those of :func:`load_pictures`, to calibrate INT8 on."""
    return np.stack([fitted(frame, size, number + 4) for number, frame in enumerate(_shipped(offset=4))])


def choose(images: str) -> list[Path]:
    """Up to :data:`MOST` files of a folder or pattern, evenly spread, the same ones every time.

    Raises:
        OptionError: fewer than :data:`LEAST`.
        MediaError: none.
    """
    found = list_images(images)
    if len(found) < LEAST:
        raise OptionError(
            f"--images {images}: got {len(found)} picture{'s' * (len(found) != 1)}, expected at least {LEAST}. "
            "Add more, or leave it out for the shipped ones."
        )
    step = max(1.0, len(found) / MOST)
    return [found[int(number * step)] for number in range(min(len(found), MOST))]


def fitted(frame: Frame, size: tuple[int, int], part: int | None = None) -> NDArray[np.uint8]:
    """A part of a frame in the shape of ``size`` (height, width), scaled to it, as (height, width, 3) RGB.

    Args:
        part: which part: a square of about a third of the frame, another place for each number; None: the largest
            one in the middle.
    """
    height, width = frame.size
    scale = min(height / size[0], width / size[1])
    if part is not None:
        scale *= (1.0, 0.75, 0.5)[part % 3]
    region_height, region_width = size[0] * scale, size[1] * scale
    down, right = (0.5, 0.5) if part is None else (((part * 5) % 7) / 6, ((part * 3) % 8) / 7)
    region = ((height - region_height) * down, (width - region_width) * right, region_height, region_width)
    planar = np.empty((3, *size), np.float32)
    Prepare(
        format=frame.format,
        frame_size=frame.size,
        region=region,
        size=size,
        matrix=frame.color.matrix,
        full_range=frame.color.full_range,
        siting=frame.color.siting,
        value_range=(0.0, 255.0),
        bgr=False,
    )(frame.planes, planar)
    return np.ascontiguousarray(np.rint(planar).astype(np.uint8).transpose(1, 2, 0))


def clip_frames(clip: Path = SHIPPED_CLIP, count: int = FRAMES) -> list[Frame]:
    """The first ``count`` frames of a clip, in memory of their own."""
    with VideoSource(clip) as source:
        return [_kept(frame) for frame in itertools.islice(source, count)]


def there_and_back(count: int, index: int) -> int:
    """Which of ``count`` pictures is shown at ``index``: 0, 1, … n-1, n-2, … 0, 1, …"""
    place = index % max(1, 2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def digest(arrays: Sequence[NDArray[np.uint8]] | Pictures) -> str:
    """SHA-256 of the pictures' samples."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _shipped(offset: int = 0) -> Iterator[Frame]:
    """:data:`SHIPPED` frames, evenly spread over the shipped clip."""
    with VideoSource(SHIPPED_CLIP) as source:
        every = max(1, (source.frames or SHIPPED) // SHIPPED)
        yield from itertools.islice(itertools.islice(source, offset, None, every), SHIPPED)


def _kept(frame: Frame) -> Frame:
    """A copy that does not hold the decoder's memory."""
    return Frame(tuple(np.array(plane) for plane in frame.planes), frame.format, frame.color)
