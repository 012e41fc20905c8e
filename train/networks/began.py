"""BEGAN's networks (1703.10717): 3x3 convolutions with ELU, two at each scale, no norm, enlarged by repetition.

``width`` is the paper's n: the encoder has n, 2n, 3n, … channels from the picture down to 8x8, the decoder and the
generator, which are of one shape, n at all scales. Published: n = 128, noise and code of 64 numbers, 64 or 128 px.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganlens.engine.errors import TrainingError

from .dcgan import AutoencoderCritic

START_PX = 8
"""Side of the smallest feature map."""


def scales_of(size: int) -> int:
    """How many scales there are from the picture down to 8x8; 4 for 64 px.

    Raises:
        TrainingError: the side is not a power of two, or below 16.
    """
    scales = size.bit_length() - START_PX.bit_length() + 1
    if size != START_PX << max(scales - 1, 1):
        raise TrainingError(f"BEGAN's networks need pictures of 16, 32, 64, 128 or 256 px, got {size}.")
    return scales


class BEGANDecoder(nn.Module):
    """A vector to an unbounded picture.

    Args:
        inputs: length of the vector.
        size, width: see the module's text.
    """

    def __init__(self, inputs: int, size: int, width: int) -> None:
        super().__init__()
        self.start = nn.Linear(inputs, width * START_PX**2)
        layers: list[nn.Module] = []
        for scale in range(scales_of(size)):
            if scale:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers += [*_convolution(width, width), *_convolution(width, width)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        """(N, inputs) to (N, 3, size, size)."""
        return self.layers(self.start(h).unflatten(1, (-1, START_PX, START_PX)))  # type: ignore[no-any-return]


class BEGANEncoder(nn.Sequential):
    """A picture (N, 3, size, size) to features (N, C, 8, 8); ``channels`` is C."""

    def __init__(self, size: int, width: int) -> None:
        scales = scales_of(size)
        layers, before = _convolution(3, width), width
        for scale in range(1, scales + 1):
            channels = scale * width
            layers += [*_convolution(before, channels), *_convolution(channels, channels)]
            if scale < scales:
                layers += _convolution(channels, channels, stride=2)
            before = channels
        super().__init__(*layers)
        self.channels = before


class BEGANGenerator(nn.Module):
    """Noise to a picture. The last layer is linear, as published; a trained network's pictures are clamped to [-1, 1].

    Args:
        latent: length of the noise.
        size, width: see the module's text.
    """

    def __init__(self, latent: int = 64, size: int = 64, width: int = 128) -> None:
        super().__init__()
        self.latent = latent
        self.decoder = BEGANDecoder(latent, size, width)

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) to (N, 3, size, size); in eval mode in [-1, 1]."""
        made: Tensor = self.decoder(z)
        return made if self.training else made.clamp(-1, 1)


def began_critic(size: int = 64, width: int = 128, power: int = 1, code: int = 64) -> AutoencoderCritic:
    """BEGAN's autoencoder; arguments as of :class:`.dcgan.AutoencoderCritic`."""
    encoder = BEGANEncoder(size, width)
    return AutoencoderCritic(encoder, encoder.channels * START_PX**2, BEGANDecoder(code, size, width), power, code)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ELU()]
