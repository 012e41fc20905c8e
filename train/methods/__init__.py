"""The training methods, and the table from a method's name to its class."""

from __future__ import annotations

from typing import cast

from ganlens.engine.errors import OptionError, did_you_mean

from ..config import CycleGANConfig, TrainConfig
from .base import Batch, Method, Parts, Phase
from .cyclegan import CycleGAN

__all__ = ["METHODS", "Batch", "CycleGAN", "Method", "Parts", "Phase", "make_method"]

METHODS = {"cyclegan": CycleGAN}
"""Method name → class, made from its configuration."""


def make_method(config: TrainConfig) -> Method:
    """The method that a configuration names, with freshly initialised networks."""
    kind = METHODS.get(config.method)
    if kind is None:
        raise OptionError(f"No training method is called '{config.method}'. {did_you_mean(config.method, METHODS)}")
    return kind(cast(CycleGANConfig, config))
