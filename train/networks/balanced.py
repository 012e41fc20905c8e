"""Kernels whose phases answer a flat picture alike: what is painted then has no grid.

A convolution that doubles the size treats even and odd output pixels with different weights. Where its kernel, in the
output's grid, is a free kernel convolved with a 2x2 box, each output pixel meets the same sum of weights, whatever its
phase. At export :func:`ganlens.train.networks.layers.fold` makes plain convolutions of these, with the same outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import Foldable


def _boxed(weight: Tensor, box: Tensor) -> Tensor:
    """(I, O, K, K) kernels convolved with the box: (I, O, K + 1, K + 1)."""
    inputs, outputs, side, _ = weight.shape
    full = functional.conv2d(weight.reshape(inputs * outputs, 1, side, side), box, padding=1)
    return full.reshape(inputs, outputs, side + 1, side + 1)


def _unboxed(full: Tensor, box: Tensor) -> Tensor:
    """The inverse of :func:`_boxed`, by least squares."""
    inputs, outputs, side, _ = full.shape
    free = (side - 1) ** 2
    columns = _boxed(torch.eye(free, dtype=torch.float64).view(free, 1, side - 1, side - 1), box.double().cpu())
    wanted = full.double().cpu().reshape(inputs * outputs, -1)
    found: Tensor = torch.linalg.lstsq(columns.reshape(free, -1).T, wanted.T).solution.T
    return found.reshape(inputs, outputs, side - 1, side - 1).to(full)


class BalancedUp(nn.Module, Foldable):
    """Transposed 4x4 convolution of stride 2 whose four phases answer a flat input alike.

    Args:
        inputs, outputs: channels.
        bias: whether a bias is added.
    """

    GAIN = 0.7
    """Standard deviation of the initial weights of layers followed by a norm."""
    box: Tensor

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        # Each output pixel sums over a quarter of the 3x3 kernel's places; the box gives back a part of the variance.
        self.weight = nn.Parameter(torch.randn(inputs, outputs, 3, 3) * (self.GAIN * (2 / (inputs * 9 / 2)) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("box", torch.full((1, 1, 2, 2), 0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2H, 2W)."""
        return functional.conv_transpose2d(x, _boxed(self.weight, self.box), self.bias, 2, 1)

    def folded(self) -> nn.Module:
        """A transposed convolution with the same outputs."""
        inputs, outputs = self.weight.shape[:2]
        plain = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=self.bias is not None)
        with torch.no_grad():
            plain.weight.copy_(_boxed(self.weight, self.box))
            if plain.bias is not None and self.bias is not None:
                plain.bias.copy_(self.bias)
        return plain

    def unfold(self, plain: nn.Module) -> None:
        """Take the weights of a transposed convolution."""
        assert isinstance(plain, nn.ConvTranspose2d)
        with torch.no_grad():
            self.weight.copy_(_unboxed(plain.weight, self.box))
            if plain.bias is not None and self.bias is not None:
                self.bias.copy_(plain.bias)


class BalancedHead(nn.Module, Foldable):
    """3x3 convolution and pixel shuffle by 2 whose four phases answer a flat input alike.

    Args:
        inputs: channels of the features, at half the output's size.
        outputs: channels of the picture (3, or 4 with a mask).
    """

    box: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 5, 5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, 0.0, 0.12 / inputs**0.5)
        self.register_buffer("box", torch.full((1, 1, 2, 2), 0.5), persistent=False)

    def kernel(self) -> Tensor:
        """The weights of the plain convolution, (4 outputs, inputs, 3, 3)."""
        inputs, outputs = self.weight.shape[:2]
        full = _boxed(self.weight, self.box)
        taps = full.reshape(inputs, outputs, 3, 2, 3, 2).flip(2, 4)  # taps of a convolution run against the offsets
        return taps.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2H, 2W)."""
        bias = self.bias.repeat_interleave(4)
        return functional.pixel_shuffle(functional.conv2d(x, self.kernel(), bias, padding=1), 2)

    def folded(self) -> nn.Module:
        """A convolution and a shuffle with the same outputs."""
        inputs, outputs = self.weight.shape[:2]
        plain = nn.Conv2d(inputs, 4 * outputs, 3, 1, 1)
        with torch.no_grad():
            plain.weight.copy_(self.kernel())
            assert plain.bias is not None
            plain.bias.copy_(self.bias.repeat_interleave(4))
        return nn.Sequential(plain, nn.PixelShuffle(2))

    def unfold(self, plain: nn.Module) -> None:
        """Take the weights of a convolution before a shuffle."""
        assert isinstance(plain, nn.Sequential)
        convolution = plain[0]
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        inputs, outputs = self.weight.shape[:2]
        taps = convolution.weight.reshape(outputs, 2, 2, inputs, 3, 3).permute(3, 0, 4, 1, 5, 2)
        with torch.no_grad():
            self.weight.copy_(_unboxed(taps.flip(2, 4).reshape(inputs, outputs, 6, 6), self.box))
            self.bias.copy_(convolution.bias.view(outputs, 4).mean(1))


UNSHUFFLED = 12
"""Channels of a picture whose 2x2 pixels are in one place."""


def unshuffle_weights() -> Tensor:
    """(12, 3, 2, 2): a strided convolution with these is a pixel unshuffle.

    One convolution in place of reshape and transpose: runtimes keep their blocked layout, NPUs have no transpose.
    """
    return torch.eye(UNSHUFFLED).reshape(UNSHUFFLED, 3, 2, 2)


def join_picture(features: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """Features at 1/2 scale and the picture's own 2x2 pixels, (N, C + 12, H/2, W/2).

    Args:
        features: (N, C, H/2, W/2).
        x: (N, 3, H, W).
        weights: those of :func:`unshuffle_weights`.
    """
    return torch.cat([features, functional.conv2d(x, weights, stride=2)], 1)
