"""A toy training method, first file: its configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganlens.train.config import UnpairedConfig
from ganlens.train.config.base import Weight
from ganlens.train.config.marks import MayChange


class ToyConfig(UnpairedConfig):
    """A generator that only learns to be brighter."""

    method: Literal["toy"] = "toy"
    brightness: Annotated[Weight, MayChange] = Field(0.25, description="How much brighter, in units of [-1, 1].")
    colour: str = Field("grey", description="Cannot change on the way.")
