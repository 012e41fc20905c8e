"""DCGAN's networks (1511.06434), the common test bed of the adversarial losses: only the critic's last layers differ.

Pictures are square, their side a power of two. ``width`` channels stand beside the picture, twice as many at half its
side, and so on down to 4x4: 64, 128, 256, 512 at 64 px, as published. The scores of a :class:`ScoreCritic` are high for
what is real; the energies of an :class:`AutoencoderCritic` are low.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ganlens.engine.errors import TrainingError

from ..config import Norm
from .layers import initialise, initialise_without_norm, make_norm

SLOPE = 0.2
"""Slope of the critics' LeakyReLU."""

START_PX = 4
"""Side of the smallest feature map."""


def channels_of(size: int, width: int) -> list[int]:
    """Channels from half the picture's side down to 4x4; [64, 128, 256, 512] for 64 px and width 64.

    Raises:
        TrainingError: the side is not a power of two, or below 16.
    """
    levels = size.bit_length() - START_PX.bit_length()
    if size != START_PX << max(levels, 2):
        raise TrainingError(f"DCGAN's networks need pictures of 16, 32, 64, 128 or 256 px, got {size}.")
    return [width * 2**level for level in range(levels)]


class Decoder(nn.Module):
    """A vector to an unbounded picture: a linear layer to 4x4, then transposed convolutions, each doubling the side.

    Args:
        inputs: length of the vector.
        size, width: see the module's text.
        norm: "bn" as published, with ReLU behind each.
    """

    def __init__(self, inputs: int, size: int, width: int, norm: Norm = "bn") -> None:
        super().__init__()
        channels = channels_of(size, width)[::-1]
        bias = norm == "none"
        self.start = nn.Linear(inputs, channels[0] * START_PX**2, bias=bias)  # a transposed convolution of a 1x1 map
        layers: list[nn.Module] = [make_norm(norm, channels[0]), nn.ReLU()]
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias), make_norm(norm, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels[-1], 3, 4, 2, 1))

    def forward(self, h: Tensor) -> Tensor:
        """(N, inputs) to (N, 3, size, size)."""
        maps = self.start(h).unflatten(1, (-1, START_PX, START_PX))  # len(h) would fix the batch of an exported graph
        return self.layers(maps)  # type: ignore[no-any-return]


class DCGANGenerator(nn.Module):
    """Noise, and the class where there are classes, to a picture.

    Args:
        latent: length of the noise.
        classes: length of the one-hot class vector that is appended to it; 0: none.
        size, width: see the module's text.
    """

    def __init__(self, latent: int = 100, classes: int = 0, size: int = 64, width: int = 64) -> None:
        super().__init__()
        self.latent = latent
        self.classes = classes
        self.decoder = Decoder(latent + classes, size, width)
        initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            z: (N, latent).
            labels: (N, classes), one-hot; required if the network was made with classes.

        Returns:
            (N, 3, size, size) in [-1, 1].
        """
        h = z if labels is None else torch.cat([z, labels], dim=1)
        return torch.tanh(self.decoder(h))


class Trunk(nn.Sequential):
    """The critics' convolutions, each halving the side: (N, inputs, size, size) to (N, C, 4, 4)."""

    def __init__(self, inputs: int, size: int, width: int, norm: Norm) -> None:
        channels = channels_of(size, width)
        layers: list[nn.Module] = [nn.Conv2d(inputs, channels[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(channels):
            convolution = nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none")
            layers += [convolution, make_norm(norm, after), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers)
        self.channels = channels[-1]
        """Channels of its output."""


class ScoreCritic(nn.Module):
    """One score for each picture.

    Args:
        classes: length of the class vector, which enters as constant planes beside the picture; 0: none.
        size, width: see the module's text.
        norm: of all layers but the first.
        heads: scores for each picture; more than one: (N, heads).
    """

    def __init__(self, size: int = 64, width: int = 64, norm: Norm = "bn", classes: int = 0, *, heads: int = 1) -> None:
        super().__init__()
        self.trunk = Trunk(3 + classes, size, width, norm)
        self.score = nn.Conv2d(self.trunk.channels, heads, START_PX)
        _initialise(self, norm)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, 3, size, size), and labels (N, classes) where there are classes, to scores (N,) or (N, heads)."""
        if labels is not None:
            planes = labels[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
            x = torch.cat([x, planes], dim=1)  # (N, 3 + classes, H, W)
        scores: Tensor = self.score(self.trunk(x)).flatten(1)
        return scores[:, 0] if scores.shape[1] == 1 else scores


class AutoencoderCritic(nn.Module):
    """The error with which it reconstructs each picture: its energy.

    Args:
        trunk: pictures (N, 3, size, size) to feature maps.
        features: how many numbers ``trunk`` gives for a picture.
        decoder: codes (N, code) to pictures.
        power: 2: mean squared error (EBGAN); 1: mean absolute error (BEGAN).
        code: length of the vector between trunk and decoder.
    """

    def __init__(self, trunk: nn.Module, features: int, decoder: nn.Module, power: int, code: int) -> None:
        super().__init__()
        self.power = power
        self.trunk = trunk
        self.code = nn.Linear(features, code)
        self.decoder = decoder

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, size, size) to energies (N,)."""
        return self.energy_and_code(x)[0]

    def energy_and_code(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (N,) and codes (N, code)."""
        code = self.code(self.trunk(x).flatten(1))
        error = (self.decoder(code).float() - x.float()).abs()
        return (error if self.power == 1 else error.square()).flatten(1).mean(dim=1), code


def autoencoder_critic(
    size: int = 64, width: int = 64, norm: Norm = "bn", power: int = 2, code: int = 64
) -> AutoencoderCritic:
    """The test bed's autoencoder: the critics' trunk, then the generator's layers.

    Args:
        size, width: see the module's text.
        norm: of all layers but the first and the last.
        power, code: as of :class:`AutoencoderCritic`.
    """
    trunk = Trunk(3, size, width, norm)
    critic = AutoencoderCritic(trunk, trunk.channels * START_PX**2, Decoder(code, size, width, norm), power, code)
    _initialise(critic, norm)
    return critic


def _initialise(network: nn.Module, norm: Norm) -> None:
    initialise(network)
    if norm == "none":
        initialise_without_norm(network)
