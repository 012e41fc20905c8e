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
from .balanced import UNSHUFFLED, BalancedHead, BalancedUp, unshuffle_weights
from .layers import initialise, initialise_without_norm, make_activation, make_norm


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
        self.condition = nn.Linear(attributes, 2 * channels) if attributes else None
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N, A) to (N, C, H, W)."""
        h = self.norm1(self.conv1(x))
        if self.condition is not None:
            assert attributes is not None
            gain, shift = self.condition(attributes)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + gain) + shift
        return x + self.norm2(self.conv2(self.activation(h)))  # type: ignore[no-any-return]


def _up(inputs: int, outputs: int, bias: bool, balanced: bool) -> nn.Module:
    if balanced:
        return BalancedUp(inputs, outputs, bias=bias)
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)


class MobileGenerator(nn.Module):
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

    multiple_of = 8
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
        self.head_condition = nn.Linear(attributes, 2 * (a + UNSHUFFLED)) if labelled_head and balanced else None
        if self.head_condition is not None:
            nn.init.zeros_(self.head_condition.weight)
            nn.init.zeros_(self.head_condition.bias)

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Translate.

        Args:
            x: (N, 3, H, W) in [-1, 1], H and W multiples of 8.
            attributes: (N, A); required if the network was made with labels.

        Returns:
            (N, 3, H, W) in [-1, 1]; with a mask also (N, 1, H, W) in [0, 1], and the first is then a segment.
        """
        return self.forward_features(x, attributes)[0]

    def forward_features(
        self, x: Tensor, attributes: Tensor | None = None
    ) -> tuple[Tensor | tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """The output, and the features before, in the middle and at the end of the body (for distillation)."""
        h0 = self.stem(x)  # (N, a, H/2, W/2)
        h1 = self.down1(h0)  # (N, b, H/4, W/4)
        h = start = middle = self.down2(h1)  # (N, c, H/8, W/8)
        for number, block in enumerate(self.body, 1):
            h = block(h, attributes)
            if number == (len(self.body) + 1) // 2:
                middle = h
        up = self.up0(h) + h1  # (N, b, H/4, W/4)
        up = self.up1(up) + h0  # (N, a, H/2, W/2)
        if self.balanced:
            picture = functional.conv2d(x, self.unshuffle, stride=2)  # (N, 12, H/2, W/2)
            joined = torch.cat([up, picture], 1)
            if self.head_condition is not None:
                assert attributes is not None
                gain, shift = self.head_condition(attributes)[:, :, None, None].chunk(2, dim=1)
                joined = joined * (1 + gain) + shift
            y = self.head(joined)  # (N, 3 or 4, H, W)
        else:
            y = functional.pixel_shuffle(self.head(up), 2)
        if self.mask:
            return (torch.tanh(y[:, :3]), torch.sigmoid(y[:, 3:])), (start, middle, h)
        return torch.tanh(y), (start, middle, h)
