"""The U-Net generator of pix2pix (Isola et al. 2017), with the layers and names of pytorch-CycleGAN-and-pix2pix.

It is here to run such checkpoints. Dropout, which pix2pix keeps as its noise, is left out, as that code's ``--eval``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import Norm
from .layers import initialise
from .resnet import plain_norm


class SkipBlock(nn.Module):
    """One scale: down, what is below, up; the input is joined to the result (not at the outermost scale)."""

    def __init__(self, outer: int, inner: int, norm: Norm, below: SkipBlock | None, *, outermost: bool = False) -> None:
        super().__init__()
        self.outermost = outermost
        bias = norm != "bn"
        down = nn.Conv2d(3 if outermost else outer, inner, 4, 2, 1, bias=bias)
        if outermost:
            assert below is not None
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1)
            self.model = nn.Sequential(down, below, nn.ReLU(), up, nn.Tanh())
        elif below is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            self.model = nn.Sequential(nn.LeakyReLU(0.2), down, nn.ReLU(), up, plain_norm(norm, outer))
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            self.model = nn.Sequential(
                nn.LeakyReLU(0.2), down, plain_norm(norm, inner), below, nn.ReLU(), up, plain_norm(norm, outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, outer, H, W) to (N, 2 outer, H, W); the outermost to (N, 3, H, W)."""
        made = self.model(x)
        return made if self.outermost else torch.cat([x, made], 1)


class UNetGenerator(nn.Module):
    """U-Net with ``downs`` halvings: 8 for 256 px, 7 for 128 px.

    Args:
        downs: halvings, at least 5; sides of pictures are multiples of ``2 ** downs``.
        norm: "bn" (as published; convolutions without bias), "in" or "none".
        width: channels of the first layer; 64 as published.
    """

    def __init__(self, downs: int = 8, *, norm: Norm = "bn", width: int = 64) -> None:
        super().__init__()
        w = width
        block = SkipBlock(8 * w, 8 * w, norm, None)
        for _ in range(downs - 5):
            block = SkipBlock(8 * w, 8 * w, norm, block)
        for outer, inner in ((4 * w, 8 * w), (2 * w, 4 * w), (w, 2 * w)):
            block = SkipBlock(outer, inner, norm, block)
        self.model = SkipBlock(3, w, norm, block, outermost=True)
        self.multiple_of = 2**downs
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], H and W multiples of ``2 ** downs``, to the same."""
        return self.model(x)  # type: ignore[no-any-return]
