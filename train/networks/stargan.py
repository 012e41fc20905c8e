"""StarGAN's networks (1711.09020), and what ACL-GAN makes of them: a mask beside the picture, attributes as heads.

Layers are initialised as PyTorch does it, as in the public code. Zero padding only: a constant label plane survives the
instance norm after it through the padded border alone, and a reflected border would cancel it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganlens.engine.errors import TrainingError

SLOPE = 0.01
"""Slope of the discriminators' LeakyReLU."""

TRUNK_LAYERS = 6


class StarGANGenerator(nn.Module):
    """Two stride-2 convolutions down, six residual blocks at 1/4 scale, two transposed convolutions up.

    Args:
        attributes: length of the label vector; it enters as constant planes beside the picture.
        mask: True gives a fourth output channel, and :meth:`forward` returns segment and mask (ACL-GAN).
        width: channels of the first layer; 64 as published.
    """

    multiple_of = 4

    def __init__(self, attributes: int, *, mask: bool = False, width: int = 64) -> None:
        super().__init__()
        w = width
        self.attributes = attributes
        self.mask = mask
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(3 + attributes, w, 7, 1, 3, bias=False)),
            *_normed(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False)),
            *_normed(nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False)),
            *(PlainBlock(4 * w) for _ in range(6)),
            *_normed(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False)),
            *_normed(nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False)),
            nn.Conv2d(w, 4 if mask else 3, 7, 1, 3, bias=False),
        )

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Translate.

        Args:
            x: (N, 3, H, W) in [-1, 1], H and W multiples of 4.
            attributes: (N, A); required if the network was made with labels.

        Returns:
            (N, 3, H, W) in [-1, 1]; with a mask also (N, 1, H, W) in [0, 1], and the first is then a segment.
        """
        if attributes is not None:
            planes = attributes[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
            x = torch.cat([x, planes], dim=1)  # (N, 3 + A, H, W)
        y = self.layers(x)  # (N, 3 or 4, H, W)
        if self.mask:
            return torch.tanh(y[:, :3]), torch.sigmoid(y[:, 3:])
        return torch.tanh(y)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with affine instance norm, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(channels, channels, 3, 1, 1, bias=False)),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.layers(x)  # type: ignore[no-any-return]


class Trunk(nn.Sequential):
    """The discriminators' common layers: up to six stride-2 convolutions, each with twice the channels.

    Args:
        size: side of the pictures, at least 32. Below 64 px there are fewer layers, so that a pixel remains.
        width: channels of the first layer; 64 as published.
        layers: at most so many; 6 as published. The last two hold nine tenths of the weights and, on a CPU, as much of
            the time, for a twentieth of the arithmetic.

    Raises:
        TrainingError: the pictures are too small.
    """

    def __init__(self, size: int, width: int, layers: int = TRUNK_LAYERS) -> None:
        if size < 32:
            raise TrainingError(f"The discriminator needs pictures of at least 32 px, got {size}.")
        count = min(layers, size.bit_length() - 1)
        channels = [3, *(width * 2**layer for layer in range(count))]
        super().__init__(
            *(
                module
                for inputs, outputs in pairwise(channels)
                for module in (nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE))
            )
        )
        self.channels = channels[-1]
        """Channels of its output."""
        self.remaining = size >> count
        """Side of its output; 2 at 128 px."""

    def initialise(self) -> None:
        """He's initialisation, in place: PyTorch's own shrinks the signal in each of the layers."""
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class StarGANDiscriminator(nn.Module):
    """Real or fake, patch by patch, and which attributes.

    Args:
        size: side of the square pictures.
        heads: attributes.
        width: channels of the first layer.
        layers: see :class:`Trunk`.
    """

    def __init__(self, size: int, heads: int, width: int = 64, layers: int = TRUNK_LAYERS) -> None:
        super().__init__()
        self.trunk = Trunk(size, width, layers)
        self.source = nn.Conv2d(self.trunk.channels, 1, 3, 1, 1, bias=False)
        self.attributes = nn.Conv2d(self.trunk.channels, heads, self.trunk.remaining, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, size, size) to scores (N, 1, r, r), high for real, and attribute logits (N, heads)."""
        h = self.trunk(x)
        return self.source(h), self.attributes(h).flatten(1)


class AttributeDiscriminator(nn.Module):
    """One score for each attribute (or absence of one): real with it, or made to have it. There is no other head.

    Args:
        size: side of the square pictures that it looks at; larger ones are averaged down to it.
        heads: attributes, twice that with the complement.
        width: channels of the first layer.
        layers: see :class:`Trunk`.
    """

    def __init__(self, size: int, heads: int, width: int = 64, layers: int = TRUNK_LAYERS) -> None:
        super().__init__()
        self.size = size
        self.trunk = Trunk(size, width, layers)
        self.attributes = nn.Conv2d(self.trunk.channels, heads, self.trunk.remaining, bias=False)

    def initialise(self) -> None:
        """He's initialisation of all but the heads, in place."""
        self.trunk.initialise()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, k size, k size) to scores (N, heads)."""
        if x.shape[-1] > self.size:
            x = avg_pool2d(x, x.shape[-1] // self.size)
        return self.attributes(self.trunk(x)).flatten(1)  # type: ignore[no-any-return]


class WindowedDiscriminator(nn.Module):
    """The scores of a discriminator of the whole picture and of one that sees a square of it at full resolution, added.

    Where an edit is small, as of a mouth, what a discriminator of 32 px sees of it is a handful of pixels.

    Args:
        whole: the discriminator of the whole picture.
        window: left, top and side of the square, at least 32.
        heads, width, layers: of the second one, as of :class:`AttributeDiscriminator`.
    """

    def __init__(
        self,
        whole: AttributeDiscriminator,
        window: tuple[int, int, int],
        heads: int,
        width: int = 64,
        layers: int = TRUNK_LAYERS,
    ) -> None:
        super().__init__()
        self.whole = whole
        self.window = window
        self.part = AttributeDiscriminator(window[2], heads, width, layers)

    def initialise(self) -> None:
        """He's initialisation of all but the heads, in place."""
        self.whole.initialise()
        self.part.initialise()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, size, size) to scores (N, heads)."""
        left, top, side = self.window
        return self.whole(x) + self.part(x[:, :, top : top + side, left : left + side])  # type: ignore[no-any-return]


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU()]
