"""Hair in another colour: what a generator of hair colours learns to make, from a picture and a mask of its hair.

Colours are moved in CIE Lab: the hair gets the mean and the contrast that real hair of the colour has, in the light of
the picture, and keeps its own strands and highlights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class HairColour(NamedTuple):
    """Statistics of hair, in CIE Lab, in a light in which a face has the lightness :data:`FACE_LIGHTNESS`."""

    lightness: float
    contrast: float
    """Standard deviation of the lightness."""
    a: float
    b: float


HAIR_COLOURS: dict[str, HairColour] = {
    "Black_Hair": HairColour(11.0, 9.0, 1.5, 2.0),
    "Brown_Hair": HairColour(26.0, 12.5, 9.0, 14.0),
    "Blond_Hair": HairColour(50.0, 16.0, 6.5, 20.5),
    "Red_Hair": HairColour(31.0, 13.0, 23.0, 25.0),
    "Blue_Hair": HairColour(30.0, 13.0, 6.0, -32.0),
    "Pink_Hair": HairColour(52.0, 14.0, 36.0, 2.0),
}
"""The first is the median of 145 faces that CelebA labels so; brown and blond are the upper quartiles of 120 and 99,
because what is labelled brown is often hardly not black; no label has the other three."""
FACE_LIGHTNESS = 63.0
"""Median lightness of the middle of these faces."""

_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)
_CUT = 6 / 29


def _mixed(matrix: Tensor, channels: Tensor) -> Tensor:
    """(3, 3) times (N, 3, H, W). Not a matrix product, which autocast would round to bfloat16: a tint of 1 %."""
    return (matrix[:, :, None, None] * channels[:, None]).sum(2)


def to_lab(images: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in [-1, 1] to CIE Lab (D65)."""
    rgb = (images.clamp(-1, 1) + 1) / 2
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = images.new_tensor(_TO_XYZ) / images.new_tensor(_WHITE)[:, None]
    xyz = _mixed(matrix, linear)
    f = torch.where(xyz > _CUT**3, xyz.clamp_min(1e-8) ** (1 / 3), xyz / (3 * _CUT**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def from_lab(lab: Tensor) -> Tensor:
    """CIE Lab to (N, 3, H, W) sRGB in [-1, 1]; what sRGB cannot show is cut."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(f > _CUT, f**3, 3 * _CUT**2 * (f - 4 / 29))
    matrix = torch.linalg.inv(lab.new_tensor(_TO_XYZ) / lab.new_tensor(_WHITE)[:, None])
    linear = _mixed(matrix, xyz).clamp(0, 1)
    rgb = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-8) ** (1 / 2.4) - 0.055)
    return rgb.clamp(0, 1) * 2 - 1


def recolour(images: Tensor, masks: Tensor, colours: Tensor) -> Tensor:
    """Pictures of faces whose hair has another colour; all else has it as well, and is to be masked.

    The lightness of the hair becomes ``l + c (L - mean) / deviation``, its colour the new one plus half of what set a
    pixel apart from the mean of the old one. In another light than that of the statistics ``l`` and ``c`` follow the
    lightness of the face.

    Args:
        images: (N, 3, H, W) sRGB in [-1, 1], faces aligned, in the middle.
        masks: (N, 1, H, W) in [0, 1], the hair.
        colours: (N, 4), rows of :class:`HairColour`.

    Returns:
        (N, 3, H, W) sRGB in [-1, 1].
    """
    lab = to_lab(images)
    weights = masks * (masks > 0.5)
    total = weights.sum((2, 3)).clamp_min(1.0)  # (N, 1)
    mean = (lab * weights).sum((2, 3)) / total  # (N, 3)
    spread = lab - mean[:, :, None, None]
    deviation = ((spread[:, :1].square() * weights).sum((2, 3)) / total).sqrt().clamp_min(2.0)  # (N, 1)
    light = light_of(lab)
    wanted = in_light(colours, light)
    # More than twofold, noise and the blocks of compression would show as strands.
    gain = (wanted[:, 1:2] / deviation).clamp(0.4, 2.0)
    lightness = wanted[:, :1, None, None] + gain[..., None, None] * spread[:, :1]
    ab = wanted[:, 2:, None, None] + 0.5 * spread[:, 1:]
    return from_lab(torch.cat([lightness.clamp(1, 97), ab], 1))


def light_of(lab: Tensor) -> Tensor:
    """Light of pictures (N, 3, H, W) of aligned faces in CIE Lab: (N, 1), 1 for that of the statistics."""
    height, width = lab.shape[2:]
    face = lab[:, 0, height // 2 : 3 * height // 4, width * 11 // 32 : width * 21 // 32]
    return (face.flatten(1).median(1).values / FACE_LIGHTNESS).clamp(0.4, 1.25)[:, None]


def in_light(colours: Tensor, light: Tensor) -> Tensor:
    """Rows of :class:`HairColour` (N, 4) as they are in a light (N, 1)."""
    return torch.cat([colours[:, :2] * light, colours[:, 2:] * (0.35 + 0.65 * light)], 1)
