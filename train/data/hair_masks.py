"""Where the hair is: a segmentation network answers a picture with its mask, as the teacher of paired training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlens.engine.errors import ModelFileError

from .teachers import open_session

Pixels = NDArray[np.uint8]

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Statistics of ImageNet, which such networks expect to be taken out of a picture in 0..1."""
LEAST, MOST = 0.03, 0.45
"""Shares of a picture: a mask beyond these is a bald head, a hat, or a mistake of the network."""
UNSURE = 0.08
"""Most of a picture of which the network may be unsure, neither hair nor not: soft edges are less."""


def usable_masks(masks: Pixels) -> NDArray[np.int64]:
    """Numbers of the masks (N, H, W, 3) that are neither too small nor too large nor too unsure."""
    kept = []
    for number, mask in enumerate(masks[..., 0]):
        share, unsure = (mask > 127).mean(), ((mask > 51) & (mask < 204)).mean()
        if LEAST <= share <= MOST and unsure <= UNSURE:
            kept.append(number)
    return np.array(kept, np.int64)


class HairSegmenter:
    """An ONNX segmentation network of one size, one picture in, its last channel the probability of hair.

    Args:
        path: the file.
        threads: of ONNX Runtime; 0: its own choice.

    Raises:
        ModelFileError: the file is missing, cannot be run, or is not such a network.
    """

    once = False

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = open_session(path, threads, "--segmenter takes an ONNX segmentation network")
        given = self._session.get_inputs()[0]
        if len(self._session.get_inputs()) != 1 or len(given.shape) != 4 or given.shape[1] != 3:
            raise ModelFileError(f"{path} takes {given.shape}; expected one picture (1, 3, height, width).")
        self._input = given.name
        self._size = tuple(int(side) if isinstance(side, int) else 512 for side in given.shape[2:])
        self.name = path.name
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the mask in three equal channels, 255 where there is hair.

        The network sees the picture and its mirror image; the mask is the mean of both answers.
        """
        height, width = self._size
        image = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC), np.float32)
        normal = ((image / 255 - np.array(MEAN)) / np.array(DEVIATION)).astype(np.float32)
        plain, mirrored = (self._run(each) for each in (normal, np.ascontiguousarray(normal[:, ::-1])))
        mask = Image.fromarray((plain + mirrored[:, ::-1]) / 2)
        small = np.asarray(mask.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BOX))
        grey = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def _run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = self._session.run(None, {self._input: image.transpose(2, 0, 1)[None]})[0]
        hair: NDArray[np.float32] = answer[0, -1]
        return hair
