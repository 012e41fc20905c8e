"""The training methods: a row for each. A new one is a configuration, a class, and a row here.

Nothing here imports PyTorch; a method's class is loaded when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from ganlens.engine.errors import TrainingError, did_you_mean

from ..config import (
    ACLGANConfig,
    ClassifierConfig,
    CycleGANConfig,
    DCGANConfig,
    DistillConfig,
    HairConfig,
    PairedConfig,
    PerceptualConfig,
    PSCGANConfig,
    StarGANConfig,
    TrainConfig,
)

if TYPE_CHECKING:
    from .base import Method


class MethodEntry(NamedTuple):
    """What is known of a method before it is loaded."""

    config: type[TrainConfig]
    """Its options; the command ``engine train NAME`` is made from them."""
    implementation: str
    """``module:class`` of its :class:`.base.Method`; a module that begins with a dot is one of this package."""
    evaluation: str
    """What ``engine train evaluate`` measures, a key of :data:`ganlens.train.evaluate.command.EVALUATIONS`."""

    def load(self) -> type[Method]:
        """The class; PyTorch is imported here.

        Raises:
            TrainingError: it does not define all that a method has to.
        """
        module, _, name = self.implementation.partition(":")
        kind = cast("type[Method]", getattr(import_module(module, __name__), name))
        if missing := sorted(kind.__abstractmethods__):
            raise TrainingError(f"{self.implementation} is no complete method: define {', '.join(missing)} in it.")
        return kind


METHODS: dict[str, MethodEntry] = {
    "cyclegan": MethodEntry(CycleGANConfig, ".cyclegan:CycleGAN", "translation"),
    "paired": MethodEntry(PairedConfig, ".paired:Paired", "translation"),
    "perceptual": MethodEntry(PerceptualConfig, ".perceptual:Perceptual", "translation"),
    "distill": MethodEntry(DistillConfig, ".distill:Distillation", "translation"),
    "acl-gan": MethodEntry(ACLGANConfig, ".acl_gan:ACLGAN", "edits"),
    "hair": MethodEntry(HairConfig, ".hair:Hair", "edits"),
    "stargan": MethodEntry(StarGANConfig, ".stargan:StarGAN", "edits"),
    "dcgan": MethodEntry(DCGANConfig, ".dcgan:DCGAN", "generated"),
    "classifier": MethodEntry(ClassifierConfig, ".classifier:Classification", "classifier"),
    "psc-gan": MethodEntry(PSCGANConfig, ".psc_gan:PSCGAN", "labels"),
}


def method_of(config: TrainConfig) -> type[Method]:
    """The class of the method that a configuration names.

    Raises:
        TrainingError: there is none.
    """
    if config.method not in METHODS:
        raise TrainingError(f"No training method is called '{config.method}'. {did_you_mean(config.method, METHODS)}")
    return METHODS[config.method].load()
