"""The training methods, and the table from a method's name to its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganlens.engine.errors import OptionError, did_you_mean

from ..config import TrainConfig
from .acl_gan import ACLGAN
from .base import Batch, Method, Parts, Phase
from .classifier import Classification
from .cyclegan import CycleGAN
from .dcgan import DCGAN
from .distill import Distillation
from .paired import Paired
from .psc_gan import PSCGAN
from .stargan import StarGAN

__all__ = [
    "ACLGAN",
    "DCGAN",
    "METHODS",
    "PSCGAN",
    "Batch",
    "CycleGAN",
    "Distillation",
    "Method",
    "Paired",
    "Parts",
    "Phase",
    "StarGAN",
    "make_method",
]

METHODS: dict[str, Callable[[Any], Method]] = {
    "cyclegan": CycleGAN,
    "paired": Paired,
    "distill": Distillation,
    "acl-gan": ACLGAN,
    "stargan": StarGAN,
    "dcgan": DCGAN,
    "classifier": Classification,
    "psc-gan": PSCGAN,
}
"""Method name → class, made from the configuration of the same name in ``config.CONFIGS``."""


def make_method(config: TrainConfig) -> Method:
    """The method that a configuration names, with freshly initialised networks."""
    if config.method not in METHODS:
        raise OptionError(f"No training method is called '{config.method}'. {did_you_mean(config.method, METHODS)}")
    return METHODS[config.method](config)
