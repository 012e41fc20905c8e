"""Adversarial losses, their table, gradient penalties, and what is done to pictures before they are judged."""

from __future__ import annotations

from collections.abc import Callable

from ganlens.engine.errors import OptionError, did_you_mean

from .disturb import AUGMENTATIONS, add_noise, disturb, shift_randomly
from .families import (
    BEGAN,
    CGAN,
    EBGAN,
    GAN,
    LSGAN,
    WGAN,
    WGANGP,
    AdversarialLoss,
    AttributeGAN,
    Hinge,
    OptimizerDefaults,
    pulling_away,
)
from .penalty import mix, r1_penalty, slope_penalty, slopes
from .shift import grid_loss, shift_loss

__all__ = [
    "AUGMENTATIONS",
    "BEGAN",
    "CGAN",
    "EBGAN",
    "FAMILIES",
    "GAN",
    "LEAST_SQUARES",
    "LSGAN",
    "WGAN",
    "WGANGP",
    "AdversarialLoss",
    "AttributeGAN",
    "Hinge",
    "OptimizerDefaults",
    "add_noise",
    "adversarial_loss",
    "disturb",
    "grid_loss",
    "mix",
    "pulling_away",
    "r1_penalty",
    "score_loss",
    "shift_loss",
    "shift_randomly",
    "slope_penalty",
    "slopes",
]

FAMILIES: dict[str, Callable[..., AdversarialLoss]] = {
    "gan": GAN,
    "cgan": CGAN,
    "wgan": WGAN,
    "wgan-gp": WGANGP,
    "ebgan": EBGAN,
    "began": BEGAN,
    "lsgan": LSGAN,
}
"""Name → family, in the survey's order. Keyword arguments are the family's own options."""

LOSSES: dict[str, Callable[..., AdversarialLoss]] = {**FAMILIES, "hinge": Hinge, "attribute": AttributeGAN}
"""All that can be trained with: the survey's, and what has come after it."""

LEAST_SQUARES = LSGAN(generator_weight=1.0)
"""LSGAN with the factors of CycleGAN: 1/2 around D, none in G. It has no state."""

SCORE_LOSSES: dict[str, Callable[[], AdversarialLoss]] = {
    "lsgan": lambda: LSGAN(generator_weight=1.0),
    "gan": GAN,
    "wgan-gp": WGANGP,
    "hinge": Hinge,
}
"""Name → the loss as methods play it that have other losses beside it: on scores, with Adam, without labels."""

NO_SCORE_LOSSES = {
    "cgan": "it conditions both networks on a label",
    "wgan": "it clips weights, which needs an optimiser without momentum, and this method uses Adam; use wgan-gp",
    "ebgan": "it needs an autoencoder as discriminator, and this method has a critic that outputs scores",
    "began": "it needs an autoencoder as discriminator, and this method has a critic that outputs scores",
    "attribute": "it has a head for each attribute",
}


def adversarial_loss(name: str, **options: float) -> AdversarialLoss:
    """The loss of that name, with options of its own.

    Raises:
        OptionError: there is none.
    """
    if name not in LOSSES:
        raise OptionError(f"No adversarial loss is called '{name}'. {did_you_mean(name, LOSSES)}")
    return LOSSES[name](**options)


def score_loss(name: str, *, r1: float = 0.0, no_cgan: str = "two folders have no labels") -> AdversarialLoss:
    """The loss of that name for a method whose critic gives scores and that trains with Adam.

    Args:
        r1: weight of the R1 penalty; 0: none.
        no_cgan: why that method does not take CGAN, which tells both networks a label.

    Raises:
        OptionError: there is none, or it makes no sense there; the message says why.
    """
    if name in NO_SCORE_LOSSES:
        reason = NO_SCORE_LOSSES[name] + (f", and {no_cgan}" if name == "cgan" else "")
        raise OptionError(
            f"--loss {name} does not fit: {reason}. Use one of {', '.join(SCORE_LOSSES)}; engine train dcgan takes "
            f"{name}."
        )
    if name not in SCORE_LOSSES:
        raise OptionError(f"No adversarial loss is called '{name}'. {did_you_mean(name, SCORE_LOSSES)}")
    loss = SCORE_LOSSES[name]()
    loss.r1 = r1
    return loss
