"""Against strokes along pixel rows and columns, as gate c of ``engine evaluate`` measures them."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlens.engine.evaluate.measures import BESIDE, THREAD

from .style import LUMINANCE

NOISE = (2 / 255) ** 2 / 12
"""Variance of rounding to uint8, in units of [-1, 1]."""


def thread_loss(translated: Tensor, picture: Tensor) -> Tensor:
    """Logarithm of how much more of the fine detail runs along the axes in a translation than in its picture.

    The ratio is that of :func:`~ganlens.engine.evaluate.measures.threads`. No less than 1 is expected of a picture, and
    translations below their picture's are not rewarded.

    Args:
        translated, picture: (N, 3, H, W) in [-1, 1]; ``picture`` gets no gradient.

    Returns:
        A scalar of at least 0, the mean over the pictures.
    """
    with torch.no_grad():
        own = _axis_ratio(picture).log().clamp_min(0)
    return (_axis_ratio(translated).log() - own).clamp_min(0).mean()


def _axis_ratio(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N,)."""
    images = images.float()
    light = (images * images.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1)
    height, width = light.shape[1:]
    down, right = (torch.hann_window(side, periodic=False, device=images.device) for side in (height, width))
    window = down[:, None] * right
    spectrum = torch.fft.fft2((light - light.mean((1, 2), keepdim=True)) * window)
    power = spectrum.real.square() + spectrum.imag.square() + NOISE * window.square().sum()
    y, x = (torch.fft.fftfreq(side, device=images.device) for side in (height, width))
    frequency = torch.hypot(y[:, None], x)
    angle = torch.rad2deg(torch.atan2(y[:, None], x[None])) % 90
    fine = (frequency >= THREAD[0]) & (frequency <= THREAD[1])
    along = fine & (torch.minimum(angle, 90 - angle) <= BESIDE)
    across = fine & ((angle - 45).abs() <= BESIDE)
    ratio: Tensor = power[:, along].mean(1) / power[:, across].mean(1)
    return ratio
