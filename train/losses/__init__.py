"""Adversarial losses, their table, gradient penalties, and what is done to pictures before they are judged."""

from __future__ import annotations

from collections.abc import Callable

from ganlens.engine.errors import OptionError, did_you_mean

from .disturb import add_noise, shift_randomly
from .families import (
    BEGAN,
    CGAN,
    EBGAN,
    GAN,
    LSGAN,
    WGAN,
    WGANGP,
    AdversarialLoss,
    OptimizerDefaults,
    pulling_away,
)
from .penalty import mix, slope_penalty, slopes
from .shift import shift_loss

__all__ = [
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
    "OptimizerDefaults",
    "add_noise",
    "adversarial_loss",
    "mix",
    "patch_loss",
    "pulling_away",
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

LEAST_SQUARES = LSGAN(generator_weight=1.0)
"""LSGAN with the factors of CycleGAN: 1/2 around D, none in G."""

PATCH_LOSSES: dict[str, Callable[[], AdversarialLoss]] = {
    "lsgan": lambda: LEAST_SQUARES,
    "gan": GAN,
    "wgan-gp": WGANGP,
}
"""Name → the loss as translation methods play it: on maps of scores, with Adam, without labels."""

NO_PATCH_LOSSES = {
    "cgan": "it tells both networks a label, and two folders of pictures have none",
    "wgan": "it clips weights and bears no optimiser with momentum, and this method trains with Adam; wgan-gp is made "
    "for that",
    "ebgan": "it judges by the error of an autoencoder, and a patch critic reconstructs nothing",
    "began": "it judges by the error of an autoencoder, and a patch critic reconstructs nothing",
}


def adversarial_loss(name: str, **options: float) -> AdversarialLoss:
    """The loss of that name, with options of its own.

    Raises:
        OptionError: there is none.
    """
    if name not in FAMILIES:
        raise OptionError(f"No adversarial loss is called '{name}'. {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name](**options)


def patch_loss(name: str) -> AdversarialLoss:
    """The loss of that name for a translation method with patch critics.

    Raises:
        OptionError: there is none, or it makes no sense there; the message says why.
    """
    if name in NO_PATCH_LOSSES:
        raise OptionError(
            f"--loss {name} does not fit: {NO_PATCH_LOSSES[name]}. Use one of {', '.join(PATCH_LOSSES)}; engine train "
            f"dcgan takes {name}."
        )
    if name not in PATCH_LOSSES:
        raise OptionError(f"No adversarial loss is called '{name}'. {did_you_mean(name, PATCH_LOSSES)}")
    return PATCH_LOSSES[name]()
