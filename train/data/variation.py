"""Pictures varied anew in each step, as cameras and the runtime's search for faces vary them."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

SHIFT, SCALE, DEGREES = 0.04, 0.1, 9.0
"""How far a face that the runtime finds is from where it should be, at most: of the side, of the size, degrees."""
COARSE = 4
"""Side of the spots of a camera's coarse noise (what compression makes of it), px."""

JPEG_QUALITY = 30, 95
"""From the blocks of a weak webcam to no visible loss."""


def compress(pixels: NDArray[np.uint8], share: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """A picture as it comes out of a JPEG encoder with halved colour planes, as webcams have.

    On the host, in the processes that load pictures (``--workers``): the GPU waits for none of it.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        share: of the pictures that are compressed, 0 to 1; the others stay as they are.
        random: gives the quality, evenly from :data:`JPEG_QUALITY`.
    """
    if random.random() >= share:
        return pixels
    file = io.BytesIO()
    quality = int(random.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def misplace(pictures: Tensor) -> Tensor:
    """Pictures moved, turned, enlarged and mirrored as :data:`SHIFT` and its neighbours say, reflected at the edges.

    Args:
        pictures: (N, C, H, W); all channels move alike, so masks can be appended.
    """
    count, device = len(pictures), pictures.device
    scale, angle = 1 + _uniform(pictures, SCALE), _uniform(pictures, math.radians(DEGREES))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    placed = torch.stack(
        [
            torch.stack([cos * mirror, -sin, _uniform(pictures, 2 * SHIFT)], 1),
            torch.stack([sin * mirror, cos, _uniform(pictures, 2 * SHIFT)], 1),
        ],
        1,
    )
    grid = affine_grid(placed, list(pictures.shape), align_corners=False)
    return grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def turn(pictures: Tensor, angle: float, side: int | None = None) -> Tensor:
    """Pictures turned about their centre: the square of ``side`` px in the middle, or the largest that is all picture.

    Where the square, turned, would not fit into the pictures, they are turned to the nearest quarter.

    Args:
        pictures: (N, C, H, W) in [-1, 1].
        angle: radians, counterclockwise.
        side: of the result, at most the smaller of H and W.

    Returns:
        (N, C, side, side), cubic interpolation.
    """
    smaller = min(pictures.shape[2:])
    growth = abs(math.cos(angle)) + abs(math.sin(angle))
    if side is None:
        side = int(smaller / growth + 1e-6)
    elif side * growth > smaller + 1e-6:
        angle = round(angle * 2 / math.pi) * math.pi / 2
    scale = [side / length for length in pictures.shape[:1:-1]]  # of x, of y
    cos, sin = math.cos(angle), math.sin(angle)
    placed = pictures.new_tensor([[cos * scale[0], -sin * scale[0], 0], [sin * scale[1], cos * scale[1], 0]])
    grid = affine_grid(placed[None].expand(len(pictures), 2, 3), [*pictures.shape[:2], side, side], align_corners=False)
    return grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(-1, 1)


def relight(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] with another gamma, colour temperature, contrast, brightness, saturation, sharpness."""
    x = (pictures + 1) / 2
    x = x.clamp(0, 1) ** torch.exp(_uniform(x, 0.4))[:, None, None, None]
    gains = torch.stack([_uniform(x, 0.12), _uniform(x, 0.05), _uniform(x, 0.12)], 1)[:, :, None, None]
    x = x * (1 + gains)
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast = (0.95 + _uniform(x, 0.25))[:, None, None, None]
    x = (x - mean) * contrast + mean + _uniform(x, 0.08)[:, None, None, None]
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (0.9 + _uniform(x, 0.35))[:, None, None, None]
    blurred = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    soft = (1.6 * torch.rand(len(x), 1, 1, 1, device=x.device) - 0.6).clamp_min(0)  # two in five stay sharp
    x = x + soft * (blurred - x)
    return x.clamp(0, 1) * 2 - 1


def camera_noise(images: Tensor, most: float) -> Tensor:
    """Images under noise as cameras have it: fine and coarse, of random strength, mostly little.

    Args:
        images: (N, 3, H, W).
        most: deviation of the strongest fine noise, in units of [-1, 1]; coarse noise goes up to two thirds of it.
    """
    count, channels, height, width = images.shape
    strengths = most * torch.rand(2, count, 1, 1, 1, device=images.device).square()
    coarse = torch.randn(count, channels, -(-height // COARSE), -(-width // COARSE), device=images.device)
    coarse = interpolate(coarse, scale_factor=float(COARSE), mode="bilinear", align_corners=False)
    return images + strengths[0] * torch.randn_like(images) + strengths[1] * (2 / 3) * coarse[..., :height, :width]


def _uniform(pictures: Tensor, most: float) -> Tensor:
    """(N,) from -most to most, one for each picture."""
    return (2 * torch.rand(len(pictures), device=pictures.device) - 1) * most
