"""Options of the methods that train against a discriminator, for few pictures and for stability."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from .base import TrainConfig, Weight
from .marks import MayChange, NotWith

AUGMENTATION_NAMES = ("color", "translation", "cutout")


class CriticConfig(TrainConfig):
    """What the methods share that train against a discriminator."""

    augment: Annotated[str, MayChange] = Field(
        "",
        description="DiffAugment: what is done to all that the discriminator sees, real or generated, so that it does "
        "not learn few pictures by heart: some of color, translation, cutout, separated by commas.",
    )
    r1: Annotated[Weight, MayChange, NotWith("loss", ("wgan", "wgan-gp", "ebgan", "began"))] = Field(
        0.0,
        description="Weight of the R1 penalty on the discriminator's gradient at real pictures; 1 to 10 with few "
        "pictures, 0: none. Differentiated twice, it doubles a discriminator step.",
    )
    spectral_norm: Annotated[bool, NotWith("loss", ("wgan",))] = Field(
        False, description="Spectral norm of all layers of the discriminator; belongs to --loss hinge, fits others."
    )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The augmentations, in their order."""
        return tuple(name.strip() for name in self.augment.split(",") if name.strip())

    @model_validator(mode="after")
    def _augmentations_exist(self) -> CriticConfig:
        unknown = [name for name in self.augmentations if name not in AUGMENTATION_NAMES]
        if unknown:
            raise ValueError(f"augment knows {', '.join(AUGMENTATION_NAMES)}, got {', '.join(unknown)}")
        return self
