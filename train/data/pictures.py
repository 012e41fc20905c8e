"""Folders of pictures → batches (N, 3, H, W) float32 RGB in [-1, 1].

What sample number ``i`` of a run is depends only on the seed and ``i``: there is no random state to save, the number
of loading processes does not matter, and a resumed run meets the same pictures as one that was never stopped.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ganlens.engine.errors import TrainingError

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
SMALLEST_PX = 16


class Pictures:
    """The usable pictures of a folder or glob, resized so that the shorter side is ``load_size`` (bicubic).

    Every file is decoded once here, so that a bad one is found now and not an hour later.

    Args:
        source: folder (not its subfolders) or glob pattern.
        load_size: shorter side after resizing, px.
        cache_mb: keep the resized pictures in memory if they need less than this.
        paths: the files to use in place of all that ``source`` holds; ``source`` then only stands in messages.

    Raises:
        TrainingError: no such folder, no pictures in it, or fewer than two usable ones.
    """

    def __init__(self, source: str, load_size: int, cache_mb: int = 1024, paths: Sequence[Path] | None = None) -> None:
        self.source = source
        self.load_size = load_size
        self.paths: list[Path] = []
        self.skipped: list[tuple[Path, str]] = []
        self._cache: dict[int, NDArray[np.uint8]] = {}
        budget = cache_mb * 2**20
        for path in list_pictures(source) if paths is None else paths:
            try:
                pixels = read_picture(path, load_size)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                self.skipped.append((path, str(error)))
                continue
            budget -= pixels.nbytes
            if budget >= 0:
                self._cache[len(self.paths)] = pixels
            self.paths.append(path)
        for path, reason in self.skipped:
            logger.warning("skipped %s: %s", path, reason)
        if len(self.paths) < 2:
            raise TrainingError(
                f"{source} has {len(self.paths)} usable pictures ({len(self.skipped)} unreadable ones were skipped); "
                "at least 2 are needed, some hundreds for a good result."
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The resized picture, (H, W, 3) uint8 RGB."""
        cached = self._cache.get(index)
        return cached if cached is not None else read_picture(self.paths[index], self.load_size)


def list_pictures(source: str) -> list[Path]:
    """Picture files of a folder or glob, sorted by name.

    Raises:
        TrainingError: there is no such folder, or nothing in it is a picture.
    """
    folder = Path(source)
    if folder.is_dir():
        candidates = list(folder.iterdir())
    else:
        candidates = [Path(name) for name in glob.glob(source)]
        if not candidates:
            raise TrainingError(f"There is no folder {source}, and no file matches it as a pattern.")
    found = sorted(path for path in candidates if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        known = ", ".join(sorted(SUFFIXES))
        raise TrainingError(f"{source} holds no pictures (of {len(candidates)} entries none ends in {known}).")
    return found


def to_rgb(image: Image.Image) -> Image.Image:
    """A Pillow picture as 8-bit RGB; deeper grey is scaled, where ``convert`` clips it to white.

    Integers of more than 8 bits are taken for 16-bit samples, floats for 0..1, or for 0..255 if one is above 1.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image.convert("RGB")
    samples = np.asarray(image, dtype=np.float64)
    highest = float(samples.max(initial=0))
    if image.mode == "F":
        samples = samples * (255 if highest <= 1 else 1)
    elif image.mode.startswith("I;") or highest > 255:
        samples = samples / 257
    return Image.fromarray(np.rint(samples.clip(0, 255)).astype(np.uint8)).convert("RGB")


def read_picture(path: Path, load_size: int) -> NDArray[np.uint8]:
    """Decode, turn upright and resize so that the shorter side is ``load_size`` (bicubic, aspect ratio kept).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        OSError, ValueError: not a picture, truncated, or smaller than 16 px.
    """
    with Image.open(path) as opened:
        picture = to_rgb(ImageOps.exif_transpose(opened))
    if min(picture.size) < SMALLEST_PX:
        raise ValueError(f"{picture.width}x{picture.height} is too small; at least {SMALLEST_PX} px are needed")
    return resized(np.asarray(picture), load_size)


def resized(pixels: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to a shorter side of ``shorter`` px (bicubic, aspect ratio kept)."""
    now = min(pixels.shape[:2])
    if now == shorter:
        return pixels
    height, width = (max(shorter, round(side * shorter / now)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(127.5).sub_(1.0)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [-1, 1], clipped, to (H, W, 3) uint8."""
    scaled = image.detach().float().clamp(-1, 1).add(1.0).mul(127.5).round().to(torch.uint8)
    array: NDArray[np.uint8] = scaled.permute(1, 2, 0).cpu().numpy()
    return array


def centre(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The central (size, size, 3) square."""
    top, left = ((side - size) // 2 for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]
