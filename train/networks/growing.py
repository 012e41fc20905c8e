"""Bidirectional growing: an ACL-GAN generator and discriminator that grow at the input end and at the output end.

Built on PGGAN (1710.10196); the paper says only that it grows "in both directions". Training starts at 32 px. Each new
level brings layers at both ends, faded in with one ``alpha``: at 0 the network is the smaller one on the pooled
picture, enlarged; at 1 it is the network of the new size. All levels exist from the start; unused ones get no gradient,
and Adam leaves such parameters alone: old layers keep their moments, and new ones join when they are first used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ganlens.engine.errors import TrainingError

from .mobile import ConditionedBlock
from .stargan import SLOPE

BASE_PX = 32
LARGEST_PX = 256
BLOCKS = 6


def levels(size: int) -> list[int]:
    """The resolutions on the way to ``size``: 32, 64, …

    Raises:
        TrainingError: ``size`` is not one of 32, 64, 128, 256.
    """
    found = [BASE_PX]
    while found[-1] < size:
        found.append(2 * found[-1])
    if found[-1] != size or size > LARGEST_PX:
        raise TrainingError(f"A growing network has 32, 64, 128 or 256 px, got {size}.")
    return found


def growth(images: int, size: int, fade: int, stable: int) -> tuple[int, float]:
    """(resolution, alpha) after so many images.

    Args:
        fade: images for which alpha of a new level rises; ``stable``: images for which it then stays 1.
    """
    images -= stable  # the first level has nothing to fade in
    for resolution in levels(size)[1:]:
        if images < 0:
            return resolution // 2, 1.0
        if images < fade:
            return resolution, images / fade
        images -= fade + stable
    return size, 1.0


class Growing(nn.Module):
    """What both ends share: where the network stands."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.levels = levels(size)
        self.resolution = size
        self.alpha = 1.0

    def stand(self, resolution: int, alpha: float) -> None:
        """Work at a resolution, its newest level faded in by ``alpha``."""
        assert resolution in self.levels
        self.resolution = resolution
        self.alpha = alpha if resolution > BASE_PX else 1.0


class GrowingGenerator(Growing):
    """The generator: six conditioned blocks at 32 px, and a convolution each way for each doubling.

    Args:
        attributes: length of the label vector.
        size: largest resolution.
        width: channels at 32 px; 256 as specified. They halve with each doubling.
    """

    multiple_of = 8

    def __init__(self, attributes: int, size: int = 128, width: int = 256) -> None:
        super().__init__(size)
        self.mask = True
        channels = {level: width * BASE_PX // level for level in self.levels}
        self.from_rgb = nn.ModuleDict(
            {str(r): _normed(nn.Conv2d(3, c, 3, 1, 1, bias=False)) for r, c in channels.items()}
        )
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        for r in self.levels[1:]:
            self.down[str(r)] = _normed(nn.Conv2d(channels[r], channels[r // 2], 4, 2, 1, bias=False))
            self.up[str(r)] = _normed(nn.ConvTranspose2d(channels[r // 2], channels[r], 4, 2, 1, bias=False))
        self.to_rgbm = nn.ModuleDict({str(r): nn.Conv2d(c, 4, 3, 1, 1) for r, c in channels.items()})
        self.body = nn.ModuleList(ConditionedBlock(width, "in", "relu", attributes) for _ in range(BLOCKS))

    def forward(self, x: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, r, r) in [-1, 1] and (N, A) to segment (N, 3, r, r) and mask (N, 1, r, r)."""
        h = _enter(self, x)
        for level in reversed([r for r in self.levels[1:] if r < self.resolution]):
            h = self.down[str(level)](h)
        for block in self.body:
            h = block(h, attributes)
        for level in [r for r in self.levels[1:] if r < self.resolution]:
            h = self.up[str(level)](h)
        y = self._leave(h)
        return torch.tanh(y[:, :3]), torch.sigmoid(y[:, 3:])

    def _leave(self, h: Tensor) -> Tensor:
        """Features of the level before to (N, 4, r, r), the newest level faded in."""
        r = self.resolution
        if r == BASE_PX:
            return self.to_rgbm[str(r)](h)  # type: ignore[no-any-return]
        old = new = torch.zeros((), device=h.device)
        if self.alpha < 1:
            old = interpolate(self.to_rgbm[str(r // 2)](h), scale_factor=2, mode="nearest")
        if self.alpha > 0:
            new = self.to_rgbm[str(r)](self.up[str(r)](h))
        return _fade(old, new, self.alpha)


class GrowingDiscriminator(Growing):
    """The discriminator: one score for each attribute, at whatever resolution it stands.

    Args:
        size: largest resolution.
        heads: attributes, twice that with the complement.
        width: channels at 64 px; 64 as specified. They double with each halving, down to 2 px.
    """

    def __init__(self, size: int, heads: int, width: int = 64) -> None:
        super().__init__(size)
        channels = {2**power: max(1, width * 64 // 2**power) for power in range(1, size.bit_length())}
        self.from_rgb = nn.ModuleDict(
            {str(r): nn.Sequential(nn.Conv2d(3, channels[r], 3, 1, 1), nn.LeakyReLU(SLOPE)) for r in self.levels}
        )
        self.down = nn.ModuleDict(
            {
                str(q): nn.Sequential(nn.Conv2d(channels[q], channels[q // 2], 4, 2, 1), nn.LeakyReLU(SLOPE))
                for q in channels
                if q > 2
            }
        )
        self.attributes = nn.Conv2d(channels[2], heads, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, r, r) to scores (N, heads)."""
        h = _enter(self, x)
        side = h.shape[-1]
        while side > 2:
            h = self.down[str(side)](h)
            side //= 2
        return self.attributes(h).flatten(1)  # type: ignore[no-any-return]

    def initialise(self) -> None:
        """He's initialisation of all but the heads, in place."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer is not self.attributes:
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _enter(network: GrowingGenerator | GrowingDiscriminator, x: Tensor) -> Tensor:
    """A picture at r to features at r / 2 (at 32 px: at 32), the newest level faded in."""
    r = network.resolution
    if r == BASE_PX:
        return network.from_rgb[str(r)](x)  # type: ignore[no-any-return]
    old = new = torch.zeros((), device=x.device)
    if network.alpha < 1:
        old = network.from_rgb[str(r // 2)](avg_pool2d(x, 2))
    if network.alpha > 0:
        new = network.down[str(r)](network.from_rgb[str(r)](x))
    return _fade(old, new, network.alpha)


def _fade(old: Tensor, new: Tensor, alpha: float) -> Tensor:
    """At the ends exactly the one or the other, to the last bit."""
    if alpha <= 0:
        return old
    return new if alpha >= 1 else (1 - alpha) * old + alpha * new


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU())
