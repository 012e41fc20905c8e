"""The real-time generators: dense 3x3 convolutions at 1/8 scale, nothing but a shuffle at full size.

Dense convolutions at low resolution run two to three times faster on CPUs than separable blocks of equal
multiply-accumulates at full resolution. Zero padding only: a reflection pad is one more pass over memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import Activation, Norm
from .balanced import UNSHUFFLED, BalancedHead, BalancedUp, join_picture, unshuffle_weights
from .layers import LabelScale, initialise, initialise_without_norm, make_activation, make_norm
from .tier import TierGenerator


class Tier(NamedTuple):
    """Channels at 1/2, 1/4 and 1/8 scale, and residual blocks at 1/8."""

    a: int
    b: int
    c: int
    blocks: int


TIERS = {"nano": Tier(16, 32, 64, 4), "mobile": Tier(24, 48, 96, 4), "light": Tier(32, 64, 128, 5)}


class ConditionedBlock(nn.Module):
    """Residual block whose first norm is scaled and shifted by the labels: ``norm(conv(h)) (1 + g(a)) + b(a)``.

    Label planes beside the picture would be cancelled by the next instance norm; a scale and shift after it is not.
    """

    def __init__(self, channels: int, norm: Norm, activation: Activation, attributes: int) -> None:
        super().__init__()
        bias = norm == "none"  # a norm has its own shift
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=bias)
        self.norm1 = make_norm(norm, channels)
        self.activation = make_activation(activation)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=bias)
        self.norm2 = make_norm(norm, channels)
        self.condition = LabelScale(attributes, channels) if attributes else None

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N, A) to (N, C, H, W)."""
        h = self.norm1(self.conv1(x))
        if self.condition is not None:
            h = self.condition(h, attributes)
        return x + self.norm2(self.conv2(self.activation(h)))  # type: ignore[no-any-return]


def _up(inputs: int, outputs: int, bias: bool, balanced: bool) -> nn.Module:
    if balanced:
        return BalancedUp(inputs, outputs, bias=bias)
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)


class MobileGenerator(TierGenerator):
    """A tier: stem and two stride-2 convolutions down, blocks, two transposed up with added skips, pixel-shuffle head.

    Args:
        tier: channels and blocks.
        norm: "in" (affine, the default), "bn" (for INT8 or batches of 8 and more), or "none": keeps the picture's own
            brightness and colour, which an instance norm in the stem removes, has no statistics that change from
            frame to frame or from tile to tile, and costs nothing at run time.
        activation: "relu" or "leaky" (slope 0.01).
        attributes: length of the label vector; 0 for none.
        mask: True adds a mask output, and :meth:`forward` returns segment and mask.
        balanced: kernels on the way up are phase-balanced, and the picture's own 2x2 pixels are joined to the head, so
            that no grid is painted and colours need not go through the norms.
        labelled_head: the labels scale and shift what enters the head, too: for edits that are colours. Needs labels
            and ``balanced``.
    """

    unshuffle: Tensor

    def __init__(
        self,
        tier: Tier,
        *,
        norm: Norm = "in",
        activation: Activation = "relu",
        attributes: int = 0,
        mask: bool = False,
        balanced: bool = False,
        labelled_head: bool = False,
    ) -> None:
        super().__init__()
        a, b, c, blocks = tier
        bias = norm == "none"  # a norm has its own shift
        self.attributes = attributes
        self.mask = mask
        self.feature_channels = (c, c, c)
        self.stem = nn.Sequential(nn.Conv2d(3, a, 4, 2, 1, bias=bias), make_norm(norm, a), make_activation(activation))
        self.down1 = nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=bias), make_norm(norm, b), make_activation(activation))
        self.down2 = nn.Sequential(nn.Conv2d(b, c, 3, 2, 1, bias=bias), make_norm(norm, c), make_activation(activation))
        self.body = nn.ModuleList(ConditionedBlock(c, norm, activation, attributes) for _ in range(blocks))
        self.balanced = balanced
        self.up0 = nn.Sequential(_up(c, b, bias, balanced), make_norm(norm, b), make_activation(activation))
        self.up1 = nn.Sequential(_up(b, a, bias, balanced), make_norm(norm, a), make_activation(activation))
        self.head: nn.Module = nn.Conv2d(a, 4 * (4 if mask else 3), 3, 1, 1)
        if norm == "none":
            initialise_without_norm(self)
            with torch.no_grad():
                for layer in (module.conv2 for module in self.modules() if isinstance(module, ConditionedBlock)):
                    layer.weight.mul_(0.1)  # start near the identity: nothing else bounds the sum of many blocks
            nn.init.normal_(self.head.weight, 0.0, 0.02)
        else:
            initialise(self)
        if balanced:
            self.head = BalancedHead(a + UNSHUFFLED, 4 if mask else 3)
            self.register_buffer("unshuffle", unshuffle_weights(), persistent=False)
        self.head_condition = LabelScale(attributes, a + UNSHUFFLED) if labelled_head and balanced else None

    def way_up(self, h: Tensor, h1: Tensor, h0: Tensor) -> Tensor:
        """Two steps, each with the skip added."""
        return self.up1(self.up0(h) + h1) + h0  # type: ignore[no-any-return]

    def answer(self, x: Tensor, up: Tensor, h: Tensor, attributes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The head's picture, and what becomes the mask."""
        if self.balanced:
            joined = join_picture(up, x, self.unshuffle)
            if self.head_condition is not None:
                joined = self.head_condition(joined, attributes)
            y = self.head(joined)
        else:
            y = functional.pixel_shuffle(self.head(up), 2)
        picture, logits = self.parts(y)
        return torch.tanh(picture), logits
