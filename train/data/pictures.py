"""Folders of pictures → batches (N, 3, H, W) float32 RGB in [-1, 1].

What sample number ``i`` of a run is depends only on the seed and ``i``: there is no random state to save, the number
of loading processes does not matter, and a resumed run meets the same pictures as one that was never stopped.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from ganlens.engine.errors import TrainingError

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
SMALLEST_PX = 16
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""Exceptions that Pillow raises for files that are not pictures, or damaged."""
TELL_S = 5.0
"""Seconds between two lines about progress while files are looked at."""


class Pictures:
    """The pictures of a folder or glob, resized so that the shorter side is ``load_size`` (bicubic).

    At the start only the head of every file is read: files that are not pictures, or too small, are left out. The rest
    is decoded on first use, and kept. A file that turns out to be damaged is reported once, and replaced by the next.

    Args:
        source: folder, with its subfolders, or glob pattern.
        load_size: shorter side after resizing, px.
        cache_mb: keep as many resized pictures in memory as fit; several loading processes share it.
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
        self._damaged: set[int] = set()
        self._budget = cache_mb * 2**20
        self._shared = False
        found = list_pictures(source) if paths is None else list(paths)
        told = time.monotonic()
        for number, path in enumerate(found):
            try:
                with Image.open(path) as opened:
                    require_size(*opened.size)
            except UNREADABLE as error:
                self._skip(path, error)
                continue
            self.paths.append(path)
            if time.monotonic() - told > TELL_S:
                logger.info("%s: %d of %d files looked at", source, number + 1, len(found))
                told = time.monotonic()
        self._require_two(len(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def fingerprint(self) -> str:
        """Digest of names and sizes of the files: tells another set of pictures, not a changed one of equal size."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The resized picture, (H, W, 3) uint8 RGB; see :meth:`take`."""
        return self.take(index)[1]

    def take(self, index: int) -> tuple[int, NDArray[np.uint8]]:
        """The resized picture, (H, W, 3) uint8 RGB, and its own index: the next one's where this one is damaged.

        Raises:
            TrainingError: fewer than two pictures are left.
        """
        while True:
            if index not in self._damaged:
                cached = self._cache.get(index)
                if cached is not None:
                    return index, cached
                try:
                    pixels = read_picture(self.paths[index], self.load_size)
                except UNREADABLE as error:
                    self._damaged.add(index)
                    self._skip(self.paths[index], error)
                    self._require_two(len(self.paths) - len(self._damaged))
                else:
                    self._keep(index, pixels)
                    return index, pixels
            index = (index + 1) % len(self.paths)

    def _keep(self, index: int, pixels: NDArray[np.uint8]) -> None:
        worker = get_worker_info()
        if worker is not None and not self._shared:
            self._budget //= worker.num_workers
            self._shared = True
        if pixels.nbytes <= self._budget:
            self._budget -= pixels.nbytes
            self._cache[index] = pixels

    def _skip(self, path: Path, error: Exception) -> None:
        self.skipped.append((path, str(error)))
        logger.warning("skipped %s: %s", path, error)

    def _require_two(self, usable: int) -> None:
        if usable < 2:
            raise TrainingError(
                f"{self.source} has {usable} usable pictures ({len(self.skipped)} unreadable ones were skipped); "
                "at least 2 are needed, some hundreds for a good result."
            )


def list_pictures(source: str) -> list[Path]:
    """Picture files of a folder, with its subfolders, or of a glob, sorted by name; hidden ones are left out.

    Raises:
        TrainingError: there is no such folder, or nothing in it is a picture.
    """
    folder = Path(source)
    if folder.is_dir():
        candidates = [path for path in folder.rglob("*") if not _hidden(path.relative_to(folder))]
    else:
        candidates = [Path(name) for name in glob.glob(source)]
        if not candidates:
            raise TrainingError(f"There is no folder {source}, and no file matches it as a pattern.")
    found = sorted(path for path in candidates if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        known = ", ".join(sorted(SUFFIXES))
        raise TrainingError(f"{source} holds no pictures (of {len(candidates)} entries none ends in {known}).")
    return found


def read_picture(path: Path, load_size: int) -> NDArray[np.uint8]:
    """Decode, turn upright and resize so that the shorter side is ``load_size`` (bicubic, aspect ratio kept).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        OSError, ValueError: not a picture, truncated, or smaller than 16 px.
    """
    with Image.open(path) as opened:
        picture = to_rgb(ImageOps.exif_transpose(opened))
    require_size(*picture.size)
    return resized(np.asarray(picture), load_size)


def resized(pixels: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to a shorter side of ``shorter`` px (bicubic, aspect ratio kept)."""
    now = min(pixels.shape[:2])
    if now == shorter:
        return pixels
    height, width = (max(shorter, round(side * shorter / now)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def to_rgb(picture: Image.Image) -> Image.Image:
    """A picture of any mode in 8-bit RGB; deep grey ones are scaled, where Pillow's own conversion would clip them.

    Raises:
        ValueError: numbers whose white is not known (32-bit ones, or floats outside 0..1).
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        largest = 1.0 if picture.mode == "F" else 65535.0
        if values.size and not (values.min() >= 0 and values.max() <= largest):
            raise ValueError(f"mode {picture.mode} with values outside 0..{largest:g}; expected 8 or 16 bits a channel")
        picture = Image.fromarray((values * (255 / largest)).round().astype(np.uint8))
    return picture.convert("RGB")


def require_size(width: int, height: int) -> None:
    """Raise a ValueError for pictures that are too small."""
    if min(width, height) < SMALLEST_PX:
        raise ValueError(f"{width}x{height} is too small; at least {SMALLEST_PX} px are needed")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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
