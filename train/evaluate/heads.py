"""What an edit of a face changes outside the head, and which colour the hair then has.

Where the hair is, a segmentation network says; where the face itself is, the alignment says. Both are asked about the
unedited picture only, so that an edit cannot move the border between inside and outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ganlens.engine.faces.geometry import FACE

from ..data.hair_masks import HairSegmenter, usable_masks
from ..data.pictures import to_pixels
from ..data.recolour import HAIR_COLOURS, in_light, light_of, to_lab

WIDENED = 32
"""The head is widened by this part of the picture's side: soft borders of hair, ears."""
MOST_OUTSIDE = 2.0
"""Mean change outside the head that is allowed, in levels of 255."""


class Heads(NamedTuple):
    """Heads of a batch of N aligned faces."""

    hair: Tensor
    """(N, 1, H, W) in [0, 1]."""
    outside: Tensor
    """(N, 1, H, W) bool: what belongs neither to the hair nor to the face."""
    sure: Tensor
    """(N,) bool: hair was found with certainty; the others are not judged."""


class HeadFinder:
    """Finds the heads in aligned faces.

    Args:
        segmenter: says where the hair is.
    """

    def __init__(self, segmenter: HairSegmenter) -> None:
        self._segmenter = segmenter

    def __call__(self, x: Tensor) -> Heads:
        """Aligned faces (N, 3, H, W) in [-1, 1]."""
        masks = np.stack([self._segmenter(to_pixels(picture)) for picture in x])
        hair = torch.from_numpy(masks[..., 0].astype(np.float32) / 255)[:, None]
        height, width = x.shape[2:]
        left, top, right, bottom = FACE
        down = ((torch.arange(height) + 0.5) / height - (top + bottom) / 2) / ((bottom - top) / 2)
        along = ((torch.arange(width) + 0.5) / width - (left + right) / 2) / ((right - left) / 2)
        face = (down.square()[:, None] + along.square()[None]) <= 1
        head = ((hair > 0.2) | face).float()
        reach = max(1, min(height, width) // WIDENED)
        head = max_pool2d(head, 2 * reach + 1, 1, reach)
        sure = torch.zeros(len(x), dtype=torch.bool)
        sure[torch.from_numpy(usable_masks(masks))] = True
        return Heads(hair, head < 0.5, sure)


def change_outside(x: Tensor, edited: Tensor, heads: Heads) -> Tensor:
    """Mean absolute change outside the head, (N,) in levels of 255.

    Args:
        x, edited: (N, 3, H, W) in [-1, 1].
    """
    change = ((edited - x).abs() * 127.5 * heads.outside).sum((1, 2, 3))
    return change / (3 * heads.outside.sum((1, 2, 3))).clamp_min(1)


def nearest_colours(x: Tensor, edited: Tensor, heads: Heads) -> list[str]:
    """For each face the colour of :data:`~..data.recolour.HAIR_COLOURS` that its hair is nearest to, in CIE Lab.

    The colours are compared in the light of the unedited picture.

    Args:
        x, edited: (N, 3, H, W) in [-1, 1].
    """
    lab = to_lab(edited)
    weights = heads.hair * (heads.hair > 0.5)
    mean = (lab * weights).sum((2, 3)) / weights.sum((2, 3)).clamp_min(1e-6)
    light = light_of(to_lab(x))
    names = list(HAIR_COLOURS)
    apart = []
    for name in names:
        wanted = in_light(x.new_tensor(HAIR_COLOURS[name]).expand(len(x), -1), light)
        apart.append((mean - wanted[:, [0, 2, 3]]).norm(dim=1))
    return [names[int(row)] for row in torch.stack(apart, 1).argmin(1)]


def is_colour(name: str, colours: Sequence[str]) -> Tensor:
    """Where the colour is this one, (N,) bool; case does not matter."""
    return torch.tensor([colour.lower() == name.lower() for colour in colours], dtype=torch.bool)


COLOURS = frozenset(name.lower() for name in HAIR_COLOURS)
"""Attributes that :func:`nearest_colours` can judge, in lower case."""
