"""Configuration of the method that colours hair."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import JPEG, BatchSize, Weight, last_part
from .marks import MayChange
from .paired import PhotosConfig

HAIR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Blue_Hair", "Pink_Hair")


class HairConfig(PhotosConfig):
    """Hair colours of faces, taught by masks of the hair.

    Where the hair is, a segmentation network says; what it becomes, the statistics of real hair. The pictures are
    aligned faces, as the runtime cuts them out of a frame.
    """

    method: Literal["hair"] = "hair"
    segmenter: Annotated[str, MayChange] = Field(
        description="ONNX segmentation network whose last channel is the probability of hair."
    )
    segmenter_licence: Annotated[str, MayChange] = Field("", description="Its licence, for the record.")
    pairs: Annotated[str, MayChange] = Field(
        "", description="Folder for pictures and masks, to share them between runs; default: pairs in --out."
    )
    attributes: str = Field(",".join(HAIR_NAMES), description="The colours, separated by commas.")
    size: Annotated[int, Field(ge=32)] = Field(128, description="Side of the square picture of a face, in pixels.")
    batch: BatchSize = Field(8, description="Batch size: pictures per step, in each process.")
    varied: Annotated[int, Field(ge=0)] = Field(0, description="Varied copies are made anew in each step instead.")
    border: Annotated[int, Field(ge=0)] = Field(
        0, description="Border that the edit leaves unchanged, in pixels of the generator's picture."
    )
    jpeg: Annotated[float, Field(ge=0, le=1), MayChange] = Field(0.5, description=JPEG)
    calm_from: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Fraction of the run after which camera noise is added to the input, but not to the target."
    )
    lambda_image: Annotated[Weight, MayChange] = Field(1.0, description="Weight of the L1 distance to the target.")
    lambda_hair: Annotated[Weight, MayChange] = Field(
        1.0, description="Weight of the same distance and of the neighbours' differences, a pixel of hair."
    )
    lambda_mask: Annotated[Weight, MayChange] = Field(1.0, description="Weight of the cross-entropy of the mask.")

    mask_contrast: Annotated[float, Field(ge=1), MayChange] = Field(
        1.7, description="Contrast of the mask of the saved generator: above 1 what is weak vanishes; 1: as learned."
    )

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The colours, in the order of the label vector."""
        return tuple(name.strip() for name in self.attributes.split(",") if name.strip())

    @property
    def exclusive_names(self) -> tuple[str, ...]:
        """Hair has one colour."""
        return self.attribute_names

    @property
    def teacher_words(self) -> str:
        """The segmentation network and its licence."""
        return ", ".join(filter(None, (f"masks of {last_part(self.segmenter)}", self.segmenter_licence)))

    @model_validator(mode="after")
    def _known_colours(self) -> HairConfig:
        unknown = [name for name in self.attribute_names if name not in HAIR_NAMES]
        if unknown or not self.attribute_names:
            raise ValueError(f"attributes takes some of {', '.join(HAIR_NAMES)}; got '{self.attributes}'")
        if self.shape != "balanced":
            raise ValueError(f"shape {self.shape} has no labels at its head; use balanced")
        if self.tier not in ("nano", "mobile", "light"):
            raise ValueError(f"tier {self.tier} has no mask output with attributes; use nano, mobile or light")
        return self
