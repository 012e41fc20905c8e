"""The 70x70 PatchGAN discriminator."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import initialise


class PatchGAN(nn.Module):
    """A map of logits, one per overlapping 70x70 patch.

    Args:
        width: channels of the first layer; 64 as published, 32 is a quarter of the work.
        channels: of the input; 6 for a picture and a translation of it, judged together.
    """

    def __init__(self, width: int = 64, *, channels: int = 3) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, w, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *_block(w, 2 * w, stride=2),
            *_block(2 * w, 4 * w, stride=2),
            *_block(4 * w, 8 * w, stride=1),
            nn.Conv2d(8 * w, 1, 4, 1, 1),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) in [-1, 1] to logits (N, 1, H/8 - 2, W/8 - 2); needs H, W >= 24."""
        return self.layers(x)  # type: ignore[no-any-return]


def _block(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 4, stride, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)]
