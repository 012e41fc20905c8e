"""What is done to all pictures that a discriminator sees, so that it cannot judge by what no eye would."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def shift_randomly(images: Tensor, most: int) -> Tensor:
    """The batch moved by up to ``most`` pixels each way, mirrored at the border; the same move for all of it.

    A discriminator with strides looks at pixels of one phase of its grid more than at others, and a generator with a
    grid of its own answers with dots of just that period. Under a grid that moves, dots gain nothing.
    """
    if not most:
        return images
    down, right = (int(offset) for offset in torch.randint(0, 2 * most + 1, (2,)))
    height, width = images.shape[2:]
    padded = pad(images, (most, most, most, most), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]


def add_noise(images: Tensor, deviation: float) -> Tensor:
    """Instance noise (Sønderby et al. 2016): hides differences fainter than the noise from the discriminator."""
    return images + deviation * torch.randn_like(images) if deviation else images
