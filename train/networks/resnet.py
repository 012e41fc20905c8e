"""The CycleGAN generator: two stride-2 convolutions, residual blocks at 1/4 scale, two transposed convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ..config import Activation
from ..layers import initialise, make_activation


class ResidualBlock(nn.Module):
    """Two reflect-padded 3x3 convolutions with instance norm; no activation after the sum."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            make_activation(activation),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.layers(x)  # type: ignore[no-any-return]


class ResNetGenerator(nn.Module):
    """ResNet-9 (256 px) or ResNet-6 (below) of CycleGAN; instance norm without parameters, convolutions with bias."""

    multiple_of = 4
    feature_channels = (256, 256, 256)

    def __init__(self, blocks: int = 9, *, activation: Activation = "relu", width: int = 64) -> None:
        super().__init__()
        w = width
        self.feature_channels = (4 * w, 4 * w, 4 * w)
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_convolution(nn.Conv2d(3, w, 7), activation),
            *_convolution(nn.Conv2d(w, 2 * w, 3, 2, 1), activation),
            *_convolution(nn.Conv2d(2 * w, 4 * w, 3, 2, 1), activation),
        )
        self.body = nn.ModuleList(ResidualBlock(4 * w, activation) for _ in range(blocks))
        self.decoder = nn.Sequential(
            *_convolution(nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, output_padding=1), activation),
            *_convolution(nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), activation),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, 3, 7),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], H and W multiples of 4, to the same."""
        return self.forward_features(x)[0]

    def forward_features(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The output, and the features after the encoder, the middle and the end of the body (for distillation)."""
        h = start = middle = self.encoder(x)  # (N, 256, H/4, W/4)
        for number, block in enumerate(self.body, 1):
            h = block(h)
            if number == (len(self.body) + 1) // 2:
                middle = h
        return self.decoder(h), (start, middle, h)


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, activation: Activation) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(layer.out_channels), make_activation(activation)]
