"""The CycleGAN generator: two stride-2 convolutions, residual blocks at 1/4 scale, two transposed convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ..config import Activation, Norm
from .layers import initialise, initialise_without_norm, make_activation, make_norm


class ResidualBlock(nn.Module):
    """Two reflect-padded 3x3 convolutions with a norm; no activation after the sum."""

    def __init__(self, channels: int, activation: Activation, norm: Norm = "in") -> None:
        super().__init__()
        bias = norm != "bn"
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            plain_norm(norm, channels),
            make_activation(activation),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            plain_norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.layers(x)  # type: ignore[no-any-return]


class ResNetGenerator(nn.Module):
    """ResNet-9 (256 px) or ResNet-6 (below) of CycleGAN.

    Args:
        blocks: residual blocks, 9 or 6.
        norm: "in" (as published: without parameters, convolutions with bias), "bn" (batch norm, convolutions without
            bias), or "none".
        activation: "relu" (as published) or "leaky".
        width: channels of the first layer; 64 as published.
    """

    multiple_of = 4
    feature_channels = (256, 256, 256)

    def __init__(self, blocks: int = 9, *, norm: Norm = "in", activation: Activation = "relu", width: int = 64) -> None:
        super().__init__()
        w, bias = width, norm != "bn"
        self.feature_channels = (4 * w, 4 * w, 4 * w)
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_convolution(nn.Conv2d(3, w, 7, bias=bias), norm, activation),
            *_convolution(nn.Conv2d(w, 2 * w, 3, 2, 1, bias=bias), norm, activation),
            *_convolution(nn.Conv2d(2 * w, 4 * w, 3, 2, 1, bias=bias), norm, activation),
        )
        self.body = nn.ModuleList(ResidualBlock(4 * w, activation, norm) for _ in range(blocks))
        self.decoder = nn.Sequential(
            *_convolution(nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, output_padding=1, bias=bias), norm, activation),
            *_convolution(nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1, bias=bias), norm, activation),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w, 3, 7),
            nn.Tanh(),
        )
        if norm == "none":
            initialise_without_norm(self)
        else:
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


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, norm: Norm, activation: Activation) -> list[nn.Module]:
    return [layer, plain_norm(norm, layer.out_channels), make_activation(activation)]


def plain_norm(kind: Norm, channels: int) -> nn.Module:
    """CycleGAN's norms: an instance norm has no parameters."""
    return nn.InstanceNorm2d(channels) if kind == "in" else make_norm(kind, channels)
