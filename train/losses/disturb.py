"""Adversarial losses as pairs of pure functions on logits, and the table of their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ganlens.engine.errors import OptionError, did_you_mean


class AdversarialLoss(NamedTuple):
    """One adversarial game; both are minimised, logits are raw scores, means run over maps and batch."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) → scalar."""
    generator: Callable[[Tensor], Tensor]
    """(fake_logits) → scalar."""


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # The 0.5 halves the discriminator's learning speed, as CycleGAN's code does.
    return 0.5 * ((_wide(real) - 1).square().mean() + _wide(fake).square().mean())


def _least_squares_generator(fake: Tensor) -> Tensor:
    return (_wide(fake) - 1).square().mean()


def _wide(logits: Tensor) -> Tensor:
    """Half-precision logits (mixed precision) in float32: squares and sums of them overflow."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


LEAST_SQUARES = AdversarialLoss(_least_squares_discriminator, _least_squares_generator)
"""LSGAN with the factors of CycleGAN (0.5 around D, none in G)."""

ADVERSARIAL_LOSSES: dict[str, AdversarialLoss] = {"lsgan": LEAST_SQUARES}


def adversarial_loss(name: str) -> AdversarialLoss:
    """The loss of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in ADVERSARIAL_LOSSES:
        raise OptionError(f"No adversarial loss is called '{name}'. {did_you_mean(name, ADVERSARIAL_LOSSES)}")
    return ADVERSARIAL_LOSSES[name]


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
    """Instance noise (Sønderby et al. 2016): what is fainter than this no discriminator can judge by."""
    return images + deviation * torch.randn_like(images) if deviation else images
