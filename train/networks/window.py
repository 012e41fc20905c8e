"""A generator that edits a square of the picture only, at full resolution, as the mouth of a face."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

RAMP = 8
"""Pixels over which the mask rises from the edge of the window inwards."""


class WindowedGenerator(nn.Module):
    """Cuts the window out, has it edited, and gives segment and mask of the whole picture, the mask 0 outside.

    Args:
        inner: a generator with mask: (N, 3, side, side) and labels to segment and mask.
        window: left, top and side, in pixels; the side as ``inner`` takes it.
    """

    ramp: Tensor

    def __init__(self, inner: nn.Module, window: tuple[int, int, int]) -> None:
        super().__init__()
        self.inner = inner
        self.window = window
        side = window[2]
        along = ((torch.arange(side) + 0.5) / RAMP).clamp(max=1)
        along = torch.minimum(along, along.flip(0))
        self.register_buffer("ramp", along[:, None] * along[None, :], persistent=False)

    def forward(self, x: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [-1, 1] and labels (N, A) to segment (N, 3, H, W) and mask (N, 1, H, W)."""
        left, top, side = self.window
        segment, mask = self.inner(x[:, :, top : top + side, left : left + side], attributes)
        around = (left, x.shape[3] - left - side, top, x.shape[2] - top - side)
        return pad(segment, around), pad(mask * self.ramp, around)
