"""The real-time generators, joined: inverted blocks, one norm for each block, the picture joined to the head.

What the first shape (:mod:`.mobile`) taught, measured with ``studies/tiers.py``:

- An instance norm in the stem throws the picture's own colours away. Here the only norm is at the end of each residual
  block, and the picture itself, its 2x2 pixels as 12 channels, is joined to the features that the head reads.
- Kernels that double the size have equal phases (:mod:`.balanced`), so that a flat picture gets no grid.
- Transposed convolutions are a fourth of the time. A light way up (a 1x1 convolution at the lower scale, its nearest
  neighbours, the skip, a depthwise convolution) costs a third of them, but learned a filter that redraws lines only
  half as sharp (fine detail .59 of the teacher's after 3,000 steps). So only ``edge`` goes up that way: its chips have
  no transposed convolution.
- What is saved has its price: after two CPU minutes of training L1 to a bold style's answers is 14 to 16 % higher than
  with the first shape (``docs/studies.md``), in line with which this one is not the default.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import Activation, Norm
from .balanced import UNSHUFFLED, BalancedHead, BalancedUp, join_picture, unshuffle_weights
from .layers import LabelScale, initialise_without_norm, make_activation, make_norm
from .tier import TierGenerator


class Shape(NamedTuple):
    """Channels at 1/2, 1/4 and 1/8 scale, residual blocks at 1/8, and the way up."""

    half: int
    quarter: int
    eighth: int
    blocks: int
    light: bool = False
    """Without transposed convolutions."""


SHAPES = {
    "nano": Shape(16, 32, 64, 6),
    "mobile": Shape(16, 48, 96, 6),
    "light": Shape(32, 64, 128, 8),
    "edge": Shape(16, 48, 96, 8, light=True),
}
"""Tier → shape. ``edge`` has batch norm only and nothing transposed: for NPUs without these, and for INT8."""


class InvertedBlock(nn.Module):
    """Residual block: 1x1 to twice the channels, depthwise 5x5, 1x1 back, one norm (MobileNetV2's, with one norm).

    With labels the norm is scaled and shifted by them: ``norm(h) (1 + g(a)) + b(a)``.
    """

    def __init__(self, channels: int, norm: Norm, activation: Activation, attributes: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Conv2d(channels, wide, 1)
        self.spread = nn.Conv2d(wide, wide, 5, 1, 2, groups=wide)
        self.reduce = nn.Conv2d(wide, channels, 1, bias=norm == "none")  # a norm has its own shift
        self.norm = make_norm(norm, channels)
        self.activation = make_activation(activation)
        self.condition = LabelScale(attributes, channels) if attributes else None

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N, A) to (N, C, H, W)."""
        h = self.activation(self.spread(self.activation(self.expand(x))))
        h = self.norm(self.reduce(h))
        if self.condition is not None:
            h = self.condition(h, attributes)
        return x + h  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the size: a balanced transposed convolution, then the skip.

    Args:
        inputs, outputs: channels.
        activation: "relu" or "leaky".
    """

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.up = BalancedUp(inputs, outputs, bias=True)
        with torch.no_grad():
            self.up.weight.div_(BalancedUp.GAIN)  # no norm follows that repairs the scale
        self.activation = make_activation(activation)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, outputs, 2H, 2W) to (N, outputs, 2H, 2W)."""
        return self.activation(self.up(x)) + skip  # type: ignore[no-any-return]


class LightUp(nn.Module):
    """Twice the size: 1x1 convolution, nearest neighbours, skip, and a residual depthwise convolution.

    Args:
        inputs, outputs: channels.
        kernel: side of the depthwise kernel.
        mix: a 1x1 convolution after the depthwise one.
        activation: "relu" or "leaky".
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, mix: bool, activation: Activation) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.spread = nn.Conv2d(outputs, outputs, kernel, 1, kernel // 2, groups=outputs)
        self.mix = nn.Conv2d(outputs, outputs, 1) if mix else None
        self.activation = make_activation(activation)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, outputs, 2H, 2W) to (N, outputs, 2H, 2W)."""
        h = functional.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
        h = self.activation(h + skip)
        change = self.activation(self.spread(h))
        return h + (change if self.mix is None else self.mix(change))  # type: ignore[no-any-return]


class RealTimeGenerator(TierGenerator):
    """A tier: a stem and two stride-2 convolutions down, inverted blocks, two steps up, the joined head.

    Args:
        shape: channels and blocks.
        norm: at the end of each block: "in" (affine instance norm), "bn" (folds into the convolution before it at
            export; for INT8, and for chips without instance norm), or "none".
        activation: "relu" or "leaky" (slope 0.01).
        attributes: length of the label vector; 0 for none.
        mask: True adds a mask output, and :meth:`forward` returns segment and mask.
        flow: above 0 the body's flow field moves the picture before the head's answer is added to it, each pixel by at
            most this fraction of a side, down and across; a new network then gives the picture itself.
    """

    unshuffle: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        norm: Norm = "in",
        activation: Activation = "relu",
        attributes: int = 0,
        mask: bool = False,
        flow: float = 0.0,
    ) -> None:
        super().__init__()
        half, quarter, eighth, blocks, light = shape
        self.attributes = attributes
        self.mask = mask
        self.feature_channels = (eighth, eighth, eighth)
        self.stem = nn.Sequential(nn.Conv2d(3, half, 4, 2, 1), make_activation(activation))
        self.down1 = nn.Sequential(nn.Conv2d(half, quarter, 3, 2, 1), make_activation(activation))
        self.down2 = nn.Sequential(nn.Conv2d(quarter, eighth, 3, 2, 1), make_activation(activation))
        self.body = nn.ModuleList(InvertedBlock(eighth, norm, activation, attributes) for _ in range(blocks))
        self.up0: nn.Module
        self.up1: nn.Module
        if light:
            self.up0 = LightUp(eighth, quarter, 5, mix=True, activation=activation)
            self.up1 = LightUp(quarter, half, 3, mix=False, activation=activation)
        else:
            self.up0, self.up1 = Up(eighth, quarter, activation), Up(quarter, half, activation)
        initialise_without_norm(self)
        with torch.no_grad():
            for up in (self.up0, self.up1):
                if isinstance(up, LightUp):  # start near the skip
                    (up.mix or up.spread).weight.mul_(0.1)
            if norm == "none":  # start near the identity: nothing else bounds the sum of many blocks
                for block in self.body:
                    block.reduce.weight.mul_(0.1)  # type: ignore[union-attr, operator]
        self.head = BalancedHead(half + UNSHUFFLED, 4 if mask else 3)
        self.register_buffer("unshuffle", unshuffle_weights(), persistent=False)
        self.flow = flow
        self.move = nn.Conv2d(eighth, 2, 3, 1, 1) if flow else None
        if self.move is not None:  # start with the picture itself, so that no mask need close to keep it
            nn.init.zeros_(self.move.weight)
            nn.init.zeros_(self.move.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                self.head.weight[:, :3].zero_()

    def way_up(self, h: Tensor, h1: Tensor, h0: Tensor) -> Tensor:
        """Two steps, which take the skips."""
        return self.up1(self.up0(h, h1), h0)  # type: ignore[no-any-return]

    def answer(self, x: Tensor, up: Tensor, h: Tensor, attributes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The head's picture, or what it adds to the moved one, and what becomes the mask."""
        picture, logits = self.parts(self.head(join_picture(up, x, self.unshuffle)))
        painted = torch.tanh(picture)
        if self.move is not None:
            painted = (moved(x, self.flow * torch.tanh(self.move(h))) + painted).clamp(-1, 1)
        return painted, logits


def moved(x: Tensor, flow: Tensor) -> Tensor:
    """The picture whose pixels are taken from elsewhere, bilinearly; beyond an edge its last pixels go on.

    Args:
        x: (N, 3, H, W).
        flow: (N, 2, H/8, W/8), how far away, across and down, as a fraction of a side. It is smoothed over 3x3 entries
            and then interpolated: neighbours then differ by two thirds of the largest flow at most, so that up to a
            flow of 12 pixels nothing folds over.
    """
    smooth = functional.avg_pool2d(flow, 3, 1, 1, count_include_pad=False)
    fine = functional.interpolate(smooth, scale_factor=8.0, mode="bilinear", align_corners=False)
    height, width = x.shape[2:]
    across = (torch.arange(width, device=x.device, dtype=x.dtype) * 2 + 1) / width - 1
    down = (torch.arange(height, device=x.device, dtype=x.dtype) * 2 + 1) / height - 1
    grid = torch.stack([across[None, None, :] + 2 * fine[:, 0], down[None, :, None] + 2 * fine[:, 1]], 3)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
